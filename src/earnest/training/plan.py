"""What to decide on the machine at hand, before the first step: device, precision, layout, threads, and how long."""

from __future__ import annotations

import copy
import ctypes
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Phase, Source, Step, Task
from earnest.training import freezing, optimisers, processes, update
from earnest.training.state import Plan, TrainState

PAYS, BF16_PAYS = 0.95, 0.89
"""A choice is taken when it needs at most this share of the time; bfloat16, which costs digits, at most so much of
that."""
LOSS_AGREES, DIRECTION_AGREES = 0.02, 0.98
"""bfloat16 is taken only where on every batch tried its loss differs by at most this share from float32's, and the
cosine between their gradients is at least this."""
COMPARED_STEPS = 3
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
    order = source.batches(Step(seed=seed), processes.rank(), processes.world())
    batches = list(itertools.islice(order, COMPARED_STEPS))
    threads = torch.get_num_threads()
    best = _pace(Plan(device=device, threads=threads), model, task, batches[0], recipe, seed)
    trials: list[dict[str, Any]] = []
    if any(x.ndim == 4 for x in ([batches[0].inputs] if isinstance(batches[0].inputs, Tensor) else batches[0].inputs)):
        trials.append({"channels_last": True})
    if may_have_fast_bf16(device):
        trials.append({"precision": "bf16"})
    if device == "cpu" and threads > 1:
        trials.append({"threads": 1})
    for change in trials:
        pace = _pace(replace(best.plan, **change), model, task, batches[0], recipe, seed)
        lower = "precision" in change
        pays = pace.seconds_per_step < PAYS * (BF16_PAYS if lower else 1.0) * best.seconds_per_step
        if processes.of_first(pays) and (not lower or bf16_agrees(best.plan, model, task, batches, recipe, seed)):
            best = pace
    return best


def bf16_agrees(plan: Plan, model: nn.Module, task: Task, batches: Sequence[Batch], recipe: Recipe, seed: int) -> bool:
    """Whether bfloat16 would lead `model` where float32 does.

    A copy trains in float32, one step a batch; at each, bfloat16 has to find the same loss and the same direction from
    the same weights. Several processes must call it together.
    """
    walker = _copied(replace(plan, precision="fp32"), model, task, recipe, seed)
    phase = freezing.upper(Phase(), recipe)
    with used(plan):
        for batch in batches:
            loss, gradient = _gradient(walker, "fp32", batch, recipe, seed)
            low_loss, low_gradient = _gradient(walker, "bf16", batch, recipe, seed)
            scale = float(gradient.norm() * low_gradient.norm())
            cosine = float(gradient @ low_gradient) / scale if scale else float(torch.equal(gradient, low_gradient))
            if not (abs(low_loss - loss) <= LOSS_AGREES * max(abs(loss), 1e-6) and cosine >= DIRECTION_AGREES):
                return False
            here = Step(seed=seed)
            update.take(walker, update.placed(batch, walker), recipe, phase, here, lambda: torch.manual_seed(seed))
    return True


def _gradient(walker: TrainState, precision: str, batch: Batch, recipe: Recipe, seed: int) -> tuple[float, Tensor]:
    """The mean loss on `batch` and its whole gradient, flat, at the walker's weights; the walker stays as it is."""
    state = _copied(replace(walker.plan, precision=precision), walker.model, walker.task, recipe, seed)
    torch.manual_seed(seed)
    sums = update.sum_gradients(state, update.placed(batch, state), Step(seed=seed))
    gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
    totals = torch.stack([sums["loss"], sums["weight"]])
    processes.sum_over_processes([*gradients, totals])
    loss, weight = totals.tolist()
    return loss / max(weight, 1e-12), torch.cat([gradient.reshape(-1).float() for gradient in gradients])


def _copied(plan: Plan, model: nn.Module, task: Task, recipe: Recipe, seed: int) -> TrainState:
    """Copies of model and task as `plan` has them, with an optimiser, ready to train."""
    state = TrainState(copy.deepcopy(model).to(plan.device), copy.deepcopy(task).to(plan.device), seed=seed, plan=plan)
    if plan.channels_last:
        state.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    phase = freezing.upper(Phase(), recipe)
    state.optimisers = {phase.name: optimisers.build(phase.params(state.model), recipe)}
    freezing.set_training(state.model, recipe)
    return state


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
    state = _copied(plan, model, task, recipe, seed)
    phase = freezing.upper(Phase(), recipe)
    batch = update.placed(batch, state)
    seconds = []
    with used(plan):
        for _ in range(WARM_STEPS + TIMED_STEPS):
            started = time.perf_counter()
            update.take(state, batch, recipe, phase, Step(), lambda: torch.manual_seed(seed))
            if plan.device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    return Pace(plan, min(seconds[WARM_STEPS:]))


def may_have_fast_bf16(device: str) -> bool:
    """Whether bfloat16 could be faster on this device."""
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
