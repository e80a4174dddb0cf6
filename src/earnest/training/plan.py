"""What to decide on the machine at hand, before the first step: device, precision, layout, threads, and how long."""

from __future__ import annotations

import copy
import ctypes
import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Phase, Source, Step, Task
from earnest.training import optimisers, processes, update
from earnest.training.state import Plan, TrainState

PAYS = 0.95
"""A choice is taken when it needs at most this share of the time."""
AGREES = 0.02
"""bfloat16 is taken only when its loss differs by at most this share from float32's."""
WARM_STEPS, TIMED_STEPS = 1, 3
CHECKPOINT_SECONDS, SECONDS_A_GIGABYTE = 5.0, 150.0
"""Between checkpoints: more where there is more to write, so that writing stays a few hundredths of the time."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of mallopt's parameters, from glibc's malloc.h."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a plan trains here."""

    plan: Plan
    seconds_per_step: float
    loss: float
    """At the last of the steps tried."""


def choose_device(wanted: str | None) -> str:
    """The device to train on: the one asked for, else a GPU where there is one.

    Raises:
        OptionError: there is no such device here.
    """
    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"--device {wanted}: there is no such device here; leave it out, or try cpu.") from error
    return wanted


def probe(model: nn.Module, task: Task, source: Source, recipe: Recipe, *, device: str, seed: int) -> Pace:
    """The fastest way to train `model` here that agrees with float32; trains copies, and leaves `model` as it is.

    Tries the channels-last layout for pictures, bfloat16, and on a CPU one thread for small nets. Several processes
    must call it together.
    """
    with torch.random.fork_rng():
        best = _fastest(model, task, source, recipe, device=device, seed=seed)
    gigabytes = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
    every = (CHECKPOINT_SECONDS + SECONDS_A_GIGABYTE * gigabytes) / max(best.seconds_per_step, 1e-6)
    return replace(best, plan=replace(best.plan, checkpoint_every_steps=min(max(1, round(every)), 1000)))


@contextmanager
def used(plan: Plan) -> Iterator[None]:
    """Inside, the whole process works as the plan says; threads are then put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.threads or threads)
    if plan.device == "cpu" and sys.platform == "linux":
        _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fastest(model: nn.Module, task: Task, source: Source, recipe: Recipe, *, device: str, seed: int) -> Pace:
    batch = next(source.batches(Step(seed=seed), processes.rank(), processes.world()))
    threads = torch.get_num_threads()
    best = _pace(Plan(device=device, threads=threads), model, task, batch, recipe, seed)
    plain_loss = best.loss
    trials: list[dict[str, Any]] = []
    if any(x.ndim == 4 for x in ([batch.inputs] if isinstance(batch.inputs, torch.Tensor) else batch.inputs)):
        trials.append({"channels_last": True})
    if _may_have_fast_bf16(device):
        trials.append({"precision": "bf16"})
    if device == "cpu" and threads > 1:
        trials.append({"threads": 1})
    for change in trials:
        pace = _pace(replace(best.plan, **change), model, task, batch, recipe, seed)
        agrees = abs(pace.loss - plain_loss) <= AGREES * max(abs(plain_loss), 1e-6)
        if agrees and pace.seconds_per_step < PAYS * best.seconds_per_step:
            best = pace
    return best


def _keep_freed_memory() -> None:
    """Ask glibc's allocator to keep what is freed: the next step needs as much again.

    By default it gives every large tensor's pages back and lets the system clear new ones, over and over; keeping them
    saved 12% of a small convolutional net's step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _pace(plan: Plan, model: nn.Module, task: Task, batch: Batch, recipe: Recipe, seed: int) -> Pace:
    """A few steps on one batch, by copies of model and task."""
    state = TrainState(copy.deepcopy(model).to(plan.device), copy.deepcopy(task).to(plan.device), seed=seed, plan=plan)
    if plan.channels_last:
        state.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = Phase()
    state.optimisers = {phase.name: optimisers.build(state.model.named_parameters(), recipe)}
    state.model.train()
    batch = update.placed(batch, state)
    seconds = []
    with used(plan):
        for _ in range(WARM_STEPS + TIMED_STEPS):
            started = time.perf_counter()
            update.take(state, batch, recipe, phase, Step(), lambda: torch.manual_seed(seed))
            if plan.device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    return Pace(plan, min(seconds[WARM_STEPS:]), state.latest["loss"])


def _may_have_fast_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    return device == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in itertools.islice(file, 200) if line.startswith("flags")), "")
    except OSError:
        return os.uname().machine == "arm64" if hasattr(os, "uname") else False
    return "avx512_bf16" in flags or "amx_bf16" in flags
