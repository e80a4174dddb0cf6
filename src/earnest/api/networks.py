"""Fits one network inside a run: probes the machine, makes the plan, tells it, trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from earnest.api.question import Bench
from earnest.api.recipes import reserve
from earnest.core.progress import duration
from earnest.core.recipe import Recipe
from earnest.core.seeds import derive
from earnest.core.words import Clock, Source, Task
from earnest.training import plan as plans
from earnest.training import processes
from earnest.training.session import train_in_run
from earnest.training.state import Plan, TrainState

VALIDATION_COST = 0.35
"""Seconds to validate an example, as a share of the seconds to train on one."""


@dataclass(frozen=True)
class Within:
    """A clock that ends `reserve` seconds before another, for what comes after training."""

    clock: Clock
    reserve: float

    def spent(self) -> float:
        return self.clock.spent()

    def left(self) -> float:
        return self.clock.left() - self.reserve


@dataclass(frozen=True)
class Fit:
    """A network to be fitted and what it is fitted on."""

    name: str
    """Names its checkpoints and its lines in the log."""
    build: Callable[[], nn.Module]
    """Makes the untrained model; called under a seed of its own."""
    task: Task
    source: Source
    validation: Source | None
    recipe: Recipe
    seconds: float
    """To train for, at most, unless the user says how many epochs."""
    paced_as: str | None = None
    """Another training of the same network by the same recipe, whose plan is taken if it was made: another fold's."""
    give_up: Callable[[], str | None] | None = None
    """Asked after every epoch why training should end there; None goes on."""


def a_while(bench: Bench, share: float) -> Bench:
    """The bench with a share of the time that is left, as if the user had given no more."""
    left = bench.clock.left() - reserve(bench.request)
    if not math.isfinite(left):
        return bench
    request = replace(bench.request, minutes=max(share * left, 1) / 60)
    kept = (1 - share) * left + reserve(bench.request) - reserve(request)
    return replace(bench, request=request, clock=Within(bench.clock, kept))


def fit_network(bench: Bench, fit: Fit) -> TrainState:
    """Train, or go on training, or find that it is done; the state then has the weights to ship."""
    torch.default_generator.manual_seed(derive(bench.seed, "initial weights", fit.name))
    model = fit.build()
    frozen = processes.of_first(bench.run.facts().get("plan", {}).get("trainings", {}).get(fit.name))
    if frozen is None:
        frozen = processes.of_first(_make_plan(bench, fit, model))
    plan = Plan(**{field.name: frozen[field.name] for field in fields(Plan)})
    state = TrainState(model.to(plan.device), fit.task.to(plan.device), seed=derive(bench.seed, fit.name), plan=plan)
    started = time.monotonic()
    recipe = fit.recipe.but(epochs=frozen["epochs"])
    if len(fit.task.stages(model, recipe)) == 1:
        recipe = fit.recipe.but(epochs=frozen["most_epochs"])
        state.course = (0.0, 0.0, float(frozen["epochs"]))
    clock = Within(bench.clock, reserve(bench.request))
    with plans.used(plan):
        train_in_run(
            bench.run,
            state,
            fit.source,
            fit.validation,
            recipe,
            name=fit.name,
            clock=clock,
            screen=bench.screen,
            give_up=fit.give_up,
        )
    bench.run.log("trained", training=fit.name, step=state.position.step, seconds=time.monotonic() - started)
    return state


def _make_plan(bench: Bench, fit: Fit, model: nn.Module) -> dict[str, Any]:
    """Decide and freeze how and how long to train, and tell the user before it starts.

    With a deadline the last epoch that has begun counts: the loop shortens the schedule to what fits, or makes it
    longer, up to the recipe's epochs.
    run.json keeps the plan of every training by name, and that of the last one, which is shipped, at the top.
    """
    steps = fit.source.num_batches()
    checked = fit.validation.num_batches() if fit.validation is not None else 0
    work = steps + VALIDATION_COST * checked
    trainings = processes.of_first(bench.run.facts().get("plan", {}).get("trainings", {}))
    if fit.paced_as in trainings:
        frozen = {**trainings[fit.paced_as], "steps": steps * trainings[fit.paced_as]["epochs"]}
    else:
        frozen = _probed(bench, fit, model, steps, work)
    epochs = frozen["epochs"]
    plan = bench.run.facts().get("plan", {})
    trainings = {**trainings, fit.name: frozen}
    bench.run.update(plan={**plan, **frozen, "trainings": trainings})
    bench.run.log("plan", training=fit.name, **frozen)
    bench.screen.say(
        f"plan for {fit.name}: {epochs} epoch{'s' if epochs > 1 else ''} of {steps} steps, "
        f"about {duration(frozen['seconds_per_step'] * work * epochs)} ({frozen['precision']} on {frozen['device']})"
    )
    return frozen


def _probed(bench: Bench, fit: Fit, model: nn.Module, steps: int, work: float) -> dict[str, Any]:
    """The plan that the machine's pace allows, for epochs of `steps` that cost as much as `work` steps."""
    pace = plans.probe(model, fit.task, fit.source, fit.recipe, device=bench.device, seed=bench.seed)
    left = bench.clock.left() - reserve(bench.request)
    seconds = min(fit.seconds, left)
    rounded = math.ceil if left <= fit.seconds else math.floor if math.isfinite(left) else round
    affordable = max(1, rounded(seconds / (pace.seconds_per_step * work)))
    epochs = fit.recipe.epochs if bench.request.epochs else min(fit.recipe.epochs, affordable)
    return {
        **asdict(pace.plan),
        "epochs": epochs,
        "most_epochs": fit.recipe.epochs if left <= fit.seconds else epochs,
        "steps": steps * epochs,
        "batch_size": fit.recipe.batch_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "model": fit.recipe.model,
        "seconds_per_step": pace.seconds_per_step,
    }
