"""The rung of Boltzmann machines and deep belief nets: pictures as rows of values from 0 to 1, first without labels."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from earnest.api import recipes
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import NetworkPart
from earnest.api.pictures import Pictures, batches, task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.seeds import derive
from earnest.data.preparation import Normalise
from earnest.evaluation.boltzmann import MOST_COUNTED, counted, estimated
from earnest.nn.boltzmann import BoltzmannMachine
from earnest.tasks.deep_belief import COMPARED, DeepBelief, net_of

FAMILIES = ("rbm", "dbn")
LOOKED_AT = 5000
"""Rows by which it is told how light each pixel is."""
SHOWN = (10, 10)
"""Filters and samples in a picture, down and across."""
SAMPLING_STEPS, ANNEALING_STEPS = 500, 2000
ANNEALING_SECONDS = 60.0
"""Time that has to be left for log Z to be estimated."""


def is_belief_net(model: str | None) -> bool:
    """Whether that architecture learns as Boltzmann machines do."""
    return model is not None and models[model].about["family"] in FAMILIES


def fit_belief_net(bench: Bench, question: Question, pictures: Pictures) -> Candidate:
    """The net, its layers taught one by one, then the labels; what the lowest learned is put on record."""
    started = time.monotonic()
    recipe = recipes.for_belief_nets(bench.request)
    recipe.write(bench.run.path / "recipe.toml")
    channels = pictures.spec.shape[0]
    to_unit = Normalise((0.0,) * channels, (255.0,) * channels)
    fitted: list[NetworkPart] = []

    def fit(fold: str, train: Rows, validation: Rows) -> Predict:
        seen = to_unit.pixels(torch.from_numpy(pictures.array[train[:LOOKED_AT]])).flatten(1)
        with torch.device("meta"):
            outline: Any = models[recipe.model].build(pictures.spec, 1, **_options(recipe))
        task = task_for(question, recipe, train)
        seconds = recipes.seconds_for(bench.request, len(question.split.train))
        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, (recipe.model, fold))),
                build=lambda: _untrained(question, pictures, recipe, seen),
                task=DeepBelief(task, net_of(outline), seen, num_chains=recipe.batch_size),
                source=batches(question, pictures, train, recipe, to_unit, learning=True),
                validation=batches(question, pictures, validation, recipe, to_unit) if len(validation) else None,
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        part = NetworkPart(state.model, task, recipe.model, _options(recipe), pictures.spec, (to_unit,))
        fitted.append(part)
        return lambda rows: part.predict(pictures.inputs(rows))

    predictions, predict = cross_fitted(question, fit)
    _put_on_record(bench, question, pictures, fitted[-1].model, to_unit)
    return Candidate(recipe.model, predictions, predict, pictures.shipped(fitted[-1]), time.monotonic() - started)


def _options(recipe: Recipe) -> dict[str, Any]:
    return {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}


def _untrained(question: Question, pictures: Pictures, recipe: Recipe, seen: Tensor) -> nn.Module:
    """The net as it begins: with pretraining, from how light each pixel is, and else with weights of some size."""
    model: nn.Module = models[recipe.model].build(pictures.spec, question.num_classes or 1, **_options(recipe))
    if recipe.pretraining:
        first, *others = net_of(model).machines
        first.start_from(seen.mean(0))
        for machine in others:
            machine.start_from(torch.full_like(machine.visible_bias, 0.5))
    return model


def _put_on_record(bench: Bench, question: Question, pictures: Pictures, model: nn.Module, to_unit: Normalise) -> None:
    """boltzmann.json: the filters, and of a machine that labels have not moved, samples and its log-likelihood."""
    machine, shape = net_of(model).machines[0], pictures.spec.shape
    weights = machine.weight.detach().cpu()
    record: dict[str, Any] = {"filters": sheet((weights / weights.abs().amax(1, keepdim=True) + 1) / 2, shape)}
    if model.frozen:
        its = torch.Generator(machine.weight.device).manual_seed(derive(bench.seed, "samples"))
        drawn = machine.sample(SHOWN[0] * SHOWN[1], steps=SAMPLING_STEPS, generator=its)
        record["samples"] = sheet(drawn.cpu(), shape)
        rows = question.split.validation if len(question.split.validation) else question.scored
        seen, held = (
            to_unit.pixels(torch.from_numpy(pictures.array[some])).flatten(1).to(machine.weight)
            for some in (question.split.train[:LOOKED_AT], rows[:COMPARED])
        )
        record["log_likelihood"] = _log_likelihood(bench, machine, seen, held)
    bench.run.write("boltzmann.json", record)


def _log_likelihood(bench: Bench, machine: BoltzmannMachine, seen: Tensor, held: Tensor) -> dict[str, Any] | None:
    """Of the rows `held`, as far as there is time."""
    exact = len(machine.weight) <= MOST_COUNTED
    if not exact and bench.clock.left() - recipes.reserve(bench.request) < ANNEALING_SECONDS:
        return None
    if exact:
        found = counted(machine)
    else:
        its = torch.Generator(machine.weight.device).manual_seed(derive(bench.seed, "log Z"))
        with bench.screen.bar("log Z", ANNEALING_STEPS) as bar:
            found = estimated(
                machine, seen.mean(0), num_steps=ANNEALING_STEPS, generator=its, progress=lambda step: bar(step)
            )
    with torch.no_grad():
        energy = float(machine.free_energy(held).double().mean())
    return {
        "value": -energy - found.value,
        "low": -energy - found.high,
        "high": -energy - found.low,
        "n": len(held),
        "exact": exact,
        "steps": ANNEALING_STEPS,
    }


def sheet(pictures: Tensor, shape: tuple[int, ...]) -> str:
    """Pictures (N, C * H * W) of values from 0 to 1, as many as are shown, in one, as a data URI."""
    channels, height, width = shape
    down, across = SHOWN
    some = (255 * pictures[: down * across]).round().byte().view(-1, channels, height, width).numpy()
    tiles: NDArray[np.uint8] = np.full((down * across, channels, height + 1, width + 1), 255, dtype=np.uint8)
    tiles[: len(some), :, :height, :width] = some
    grid = tiles.reshape(down, across, channels, height + 1, width + 1).transpose(0, 3, 1, 4, 2)
    pixels = np.ascontiguousarray(grid.reshape(down * (height + 1), across * (width + 1), channels))
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels[..., :3]).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
