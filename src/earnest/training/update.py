"""One update of one phase's parameters: sum the gradients, judge them, and step or skip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from earnest.core.errors import UsageError
from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Phase, Step
from earnest.training import optimisers, processes
from earnest.training.state import TrainState

SPIKE_WINDOW = 50
SPIKE_NEEDS = 20
LASTING = 10
"""As many steps skipped in a row are no spikes but a new scale: what was usual is then forgotten."""
MOST_SKIPS_IN_A_ROW = 25
MOST_MICRO_BATCHES = 64


class Diverged(UsageError):
    """Training came to nothing: step after step had no finite loss."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong in an update and was dealt with."""

    kind: Literal["skipped", "memory"]
    values: dict[str, Any]


def take(
    state: TrainState, batch: Batch, recipe: Recipe, phase: Phase, here: Step, reseed: Callable[[], object]
) -> list[Trouble]:
    """Update the phase's parameters once, or skip a bad step; `state.latest` says how it went.

    When memory runs out, the same batch is cut into twice as many micro-batches and tried again: the effective batch
    stays as it is.

    Raises:
        Diverged: this was the last of 25 bad steps in a row.
    """
    recipe = recipe.but(**phase.overrides) if phase.overrides else recipe
    moved, kept = state.parameters_of(phase)
    before = [buffer.clone() for buffer in _buffers(state)]
    troubles = []
    factor = optimisers.set_progress(state.optimisers[phase.name], recipe, here.progress)
    while True:
        reseed()
        try:
            with _without_gradients(kept):
                sums = sum_gradients(state, batch, here)
            break
        except RuntimeError as error:
            if not _out_of_memory(error) or state.micro_batches >= min(MOST_MICRO_BATCHES, len(batch)):
                raise
        state.micro_batches *= 2
        _put_back(state, moved, before)
        troubles.append(Trouble("memory", {"micro_batches": state.micro_batches}))
    gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
    totals = torch.stack(list(sums.values()))
    processes.sum_over_processes([*gradients, totals])
    numbers = dict(zip(sums, totals.tolist(), strict=True))
    weight = max(numbers.pop("weight"), 1e-12)
    norm = float(nn.utils.get_total_norm(gradients)) / weight if gradients else 0.0
    state.latest = {name: value / weight for name, value in numbers.items()}
    state.latest |= {"lr": recipe.lr * factor, "gradient_norm": norm}
    usual = state.norms.get(phase.name, [])
    why = _what_is_bad(state.latest["loss"], norm, usual, recipe)
    if why:
        _put_back(state, moved, before)
        _count_skip(state, recipe, why)
        return [*troubles, Trouble("skipped", {"why": why})]
    state.skipped_in_a_row = 0
    state.norms[phase.name] = [*usual[1 - SPIKE_WINDOW :], norm]
    if gradients:  # the mean, and clipped, in one pass
        clipped = recipe.clip / norm if recipe.clip and norm > recipe.clip else 1.0
        torch._foreach_mul_(gradients, clipped / weight)
    for optimiser in state.optimisers[phase.name]:
        optimiser.step()
    _forget_gradients(moved)
    state.move_average(recipe.ema, moved)
    state.add(phase.name, {"weight": weight, **numbers})
    return troubles


def placed(batch: Batch, state: TrainState) -> Batch:
    """The batch as the task takes it, on the plan's device and in its memory layout."""
    batch = state.task.encode(batch).to(state.plan.device)
    if not state.plan.channels_last:
        return batch
    return batch.map(lambda x: x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)


def autocast(state: TrainState) -> AbstractContextManager[object]:
    """Lower precision where the plan wants it."""
    if state.plan.precision != "bf16":
        return nullcontext()
    return torch.autocast(torch.device(state.plan.device).type, torch.bfloat16)


def sum_gradients(state: TrainState, batch: Batch, here: Step) -> dict[str, Tensor]:
    """Leave the batch's summed gradients on the parameters; gives the summed loss, weight and logs."""
    sums: dict[str, Tensor] = {}
    for part in batch.split(state.micro_batches) if state.micro_batches > 1 else [batch]:
        with autocast(state):
            loss = state.task.loss(state.model, part, here)
        loss.total.backward()
        weight = torch.as_tensor(loss.weight, device=loss.total.device)
        for name, value in {"loss": loss.total, "weight": weight, **loss.logs}.items():
            value = value.detach().float()
            sums[name] = sums[name] + value if name in sums else value
    return sums


def _what_is_bad(loss: float, norm: float, norms: Sequence[float], recipe: Recipe) -> str | None:
    if not math.isfinite(loss):
        return f"a loss of {loss}"
    if not math.isfinite(norm):
        return f"a gradient norm of {norm}"
    largest = max(*norms, 1e-6) if len(norms) >= SPIKE_NEEDS else math.inf
    if norm <= recipe.spike * largest:
        return None
    return f"a gradient norm of {norm:.3g}, {norm / largest:.0f} times the largest of the {len(norms)} before it"


def _count_skip(state: TrainState, recipe: Recipe, why: str) -> None:
    state.skipped += 1
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row == LASTING:
        state.norms = {}
    if state.skipped_in_a_row >= MOST_SKIPS_IN_A_ROW:
        raise Diverged(
            f"training diverged: {MOST_SKIPS_IN_A_ROW} steps in a row were unusable, the last for {why}; "
            f"give a smaller learning rate (lr is {recipe.lr:g}) in a recipe with --recipe."
        )


def _buffers(state: TrainState) -> list[Tensor]:
    return [*state.model.buffers(), *state.task.buffers()]


def _put_back(state: TrainState, moved: Sequence[nn.Parameter], before: Sequence[Tensor]) -> None:
    """Undo what a failed forward and backward pass left behind."""
    with torch.no_grad():
        for buffer, value in zip(_buffers(state), before, strict=True):
            buffer.copy_(value)
    _forget_gradients(moved)


def _forget_gradients(parameters: Sequence[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


@contextmanager
def _without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Inside, these parameters want no gradients."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
