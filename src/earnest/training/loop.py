"""The one loop. It joins a model, a task and a source, and tells what happens as events.

It has no hooks: progress bars, logs, checkpoints, pruning and early stops *consume* the events. At each yield the state
is whole, so that whoever holds the iterator may save it, or stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from earnest.core.recipe import Recipe
from earnest.core.seeds import derive
from earnest.core.words import Clock, Source, Stage, Step
from earnest.training import freezing, optimisers, processes, update
from earnest.training.state import TrainState

Kind = Literal["step", "skipped", "memory", "epoch", "replanned", "stopped", "finished"]

WORTH_GOING_ON = 1.1
"""A schedule is made longer where the clock allows this many times what is left of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; the state is whole when it is told."""

    kind: Kind
    step: Step
    number: int
    """Steps taken so far, over all stages."""
    values: dict[str, Any] = field(default_factory=dict)
    improved: bool = False
    """An epoch whose validation score is the best so far."""


def train(
    state: TrainState, source: Source, validation: Source | None, recipe: Recipe, *, clock: Clock
) -> Iterator[Event]:
    """Train `state.model` for `state.task` on `source`, from where `state` stands to the end.

    The end is that of the task's stages, of the recipe's patience with the validation score, or of the clock. Yields
    an event a step and an epoch, and at last "finished", or "stopped" when the clock ran out.

    Raises:
        Diverged: step after step had no finite loss.
    """
    stages = state.task.stages(state.model, recipe)
    while state.position.stage < len(stages):
        stage = stages[state.position.stage]
        its = recipe.but(**stage.overrides)
        phases = tuple(freezing.upper(phase, its.but(**phase.overrides)) for phase in stage.phases)
        stage = replace(stage, phases=phases)
        ran_out = yield from _train_stage(state, source, validation, its, stage, clock)
        if ran_out:
            return
        state.next_stage()
    yield Event("finished", Step(stage="end", progress=1.0, seed=state.seed), state.position.step)


def _train_stage(
    state: TrainState, source: Source, validation: Source | None, recipe: Recipe, stage: Stage, clock: Clock
) -> Generator[Event, None, bool]:
    """The epochs of one stage; whether the clock ran out."""
    position = state.position
    _begin_stage(state, recipe, stage)
    while position.epoch < state.course[2]:
        here = Step(stage.name, epoch=position.epoch, index=position.index, seed=state.seed)
        if position.index == 0:
            _reseed(here, "refresh")
            source.refresh(state.model, here, clock)
            state.source, state.sums = source.state_dict(), {}
        else:
            source.load_state_dict(state.source)
        size = source.num_batches(processes.world())
        started, first = time.monotonic(), position.index
        ran_out = yield from _train_epoch(state, source, recipe, stage, size, clock)
        if ran_out:
            yield Event("stopped", here, position.step, {"why": "out of time"})
            return True
        steps = position.index - first
        stepped = time.monotonic() - started
        position.epoch, position.index = position.epoch + 1, 0
        yield _end_epoch(state, validation, here.at(index=size, progress=_progress(state, size)), started)
        if recipe.patience and state.stale_epochs >= recipe.patience:
            return False
        validated = time.monotonic() - started - stepped
        if steps and _replan(state, stage, stepped * size / steps + validated, size, clock):
            yield Event("replanned", here, position.step, {"epochs": state.course[2]})
    return False


def _train_epoch(
    state: TrainState, source: Source, recipe: Recipe, stage: Stage, size: int, clock: Clock
) -> Generator[Event, None, bool]:
    """Steps from where the state stands to the epoch's end; whether the clock ran out on the way."""
    position = state.position
    end = min(size, math.ceil((state.course[2] - position.epoch) * size))
    here = Step(stage.name, epoch=position.epoch, index=position.index, seed=state.seed)
    freezing.set_training(state.model, recipe)
    state.task.train()
    _reseed(here, "batch")
    batches = source.batches(here, processes.rank(), processes.world())
    while position.index < end:
        here = here.at(index=position.index, progress=_progress(state, size))
        _reseed(here, "batch")
        batch = update.placed(next(batches), state)
        values: dict[str, Any] = {}
        troubles: list[Event] = []
        for phase in stage.phases:
            if position.index % phase.every == 0:
                its = here.at(phase=phase.name)
                found = update.take(state, batch, recipe, phase, its, lambda s=its: _reseed(s, s.phase))  # type: ignore[misc]
                troubles += [Event(trouble.kind, its, position.step, trouble.values) for trouble in found]
                values |= state.latest if len(stage.phases) == 1 else _prefixed(phase.name, state.latest)
        if processes.world() > 1:
            processes.same_everywhere([*state.model.buffers(), *state.task.buffers()])
        position.index += 1
        position.step += 1
        yield from troubles
        yield Event("step", here, position.step, values)
        if _ran_out(clock):
            return True
    return False


def _end_epoch(state: TrainState, validation: Source | None, here: Step, started: float) -> Event:
    """Score the epoch, with the averaged weights where there are any; the state remembers the best."""
    values = {f"train_{name}": value for name, value in state.means().items()}
    improved = False
    if validation is not None:
        state.model.eval()
        state.task.eval()
        _reseed(here, "validate")
        with torch.no_grad(), state.averaged(), update.autocast(state):
            scores = processes.of_first(state.task.validate(state.model, validation, here))
        values |= scores
        improved = state.remember(scores[state.task.metric])
    values["seconds"] = time.monotonic() - started
    return Event("epoch", here, state.position.step, values, improved)


def _begin_stage(state: TrainState, recipe: Recipe, stage: Stage) -> None:
    """Build the stage's optimisers and average, or take them back from a checkpoint."""
    tensors: list[Tensor] = [*state.model.parameters(), *state.model.buffers(), *state.task.buffers()]
    processes.same_everywhere(tensors)
    if state.plan.channels_last:
        state.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state.optimisers = {
        phase.name: optimisers.build(phase.params(state.model), recipe.but(**phase.overrides)) for phase in stage.phases
    }
    state.restore_optimisers()
    state.micro_batches = max(state.micro_batches, recipe.accumulate)
    if recipe.ema and not state.average:
        state.average = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    if not state.course:
        state.course = (0.0, 0.0, float(stage.epochs))


def _progress(state: TrainState, size: int) -> float:
    """Where the schedule stands: on a straight line from where it was last planned to its end."""
    start, progress, end = state.course
    epochs = state.position.epoch + state.position.index / max(size, 1)
    return min(progress + (1 - progress) * (epochs - start) / max(end - start, 1e-9), 1.0)


def _replan(state: TrainState, stage: Stage, epoch_seconds: float, size: int, clock: Clock) -> bool:
    """Plan as many of the stage's epochs as the clock allows, so that the schedule comes to its end when time does."""
    left = clock.left()
    if not math.isfinite(left):
        return False
    here, end = state.position.epoch, state.course[2]
    reach = here + processes.of_first(max(left * 0.97 / epoch_seconds, 1 / size))
    reach = min(reach, float(stage.epochs))
    if here >= end or end <= reach < here + WORTH_GOING_ON * (end - here):
        return False
    state.course = (float(here), _progress(state, size), reach)
    return True


def _ran_out(clock: Clock) -> bool:
    """Whether the time is up, for any of the processes."""
    left = clock.left()
    return math.isfinite(left) and processes.anywhere(left <= 0)


def _reseed(here: Step, why: str) -> None:
    """Make everything random that follows a function of the place alone; only batches and steps differ by process."""
    rank = 0 if why in ("refresh", "validate") else processes.rank()
    seed = derive(here.seed, why, here.stage, here.epoch, here.index, rank)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def _prefixed(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{key}": value for key, value in values.items()}
