"""The ladder of transfer: frozen features with a linear model, then fine-tuning that starts from its solution."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from earnest.api import recipes
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import NetworkPart
from earnest.api.pictures import Pictures, batches, task_for
from earnest.api.question import Bench, Candidate, Floats, Predict, Question, Rows, cross_fitted
from earnest.api.request import Request
from earnest.core import weights as known_weights
from earnest.core.progress import Screen, duration
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.weights import Weights
from earnest.core.words import InputSpec
from earnest.data.cache import cache_folder
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training import processes
from earnest.training.features import extract_features
from earnest.training.linear_head import LinearHead, fit_linear_head

FEW = 10_000
"""Rows up to which pretrained weights are used unasked."""
LEAST_SIDE = 64
"""Pixels below which images hold too little for networks that learned from photographs."""
FINE_TUNING_COST = 3.0
"""Seconds to fine-tune on an image for an epoch, as a multiple of the seconds to see it and its mirror image once."""


@dataclass(frozen=True)
class Pretrained:
    """A network with its weights, and what it expects to see."""

    weights: Weights
    model: nn.Module
    normalise: Normalise

    def with_head(self, head: LinearHead) -> nn.Module:
        """A copy whose head is the linear model."""
        model = build(self.weights.architecture, len(head.bias))
        state = {name: tensor for name, tensor in self.model.state_dict().items() if not name.startswith("head.")}
        model.load_state_dict(state, strict=False)
        assert isinstance(model.head, nn.Linear)
        head.install(model.head)
        return model


def suited(request: Request, num_rows: int, side: int) -> Weights | None:
    """The weights to start from: those the user named, or for few and large enough images the first on this machine."""
    if request.from_scratch or side < LEAST_SIDE:
        return None
    here = known_weights.available()
    if request.model is not None:
        return next((weights for weights in here if weights.architecture == request.model), None)
    return here[0] if here and num_rows <= FEW else None


def fetch(weights: Weights, request: Request, screen: Screen) -> Pretrained:
    """The network with its weights, verified.

    Raises:
        OptionError: the file is not here and may not be fetched; the message says how to get it.
    """
    state = known_weights.load_state_dict(weights.name, offline=request.offline, announce=screen.say)
    renamed = models[weights.architecture].about["layouts"][weights.layout](state)
    model = build(weights.architecture, len(renamed["head.bias"]))
    model.load_state_dict(renamed)
    return Pretrained(
        weights, model, Normalise(weights.preprocessing.mean, weights.preprocessing.std, weights.preprocessing.size)
    )


def build(architecture: str, num_outputs: int) -> nn.Module:
    """The architecture for colour images of its usual size, with `num_outputs`."""
    shape = models[architecture].about["input"]
    model: nn.Module = models[architecture].build(InputSpec("image", shape), num_outputs)
    return model


class Frozen:
    """The pictures as the pretrained network sees them."""

    def __init__(self, bench: Bench, pretrained: Pretrained, pictures: Pictures) -> None:
        self.pretrained = pretrained
        started = time.monotonic()
        with bench.screen.bar(f"features of {pretrained.weights.architecture}", len(pictures.array)) as bar:
            self.features: NDArray[np.float32] = extract_features(
                pretrained.model,
                pictures.array,
                preprocessing=pretrained.normalise,
                cache_folder=cache_folder(),
                device=bench.device,
                progress=lambda done, total: bar(done),
            )
        self.seconds = time.monotonic() - started

    def fit_head(self, question: Question, task: Classification | Regression, train: Rows, *, seed: int) -> LinearHead:
        """A linear model on the training rows' features, its penalty chosen among them, as a head for `task`."""
        wanted = question.truth[train]
        if isinstance(task, Regression):
            wanted = task.standardise(torch.from_numpy(wanted)).numpy()
        return fit_linear_head(self.features[train], wanted, num_classes=question.num_classes, seed=seed % 2**32)

    def answers(self, head: LinearHead, task: Classification | Regression, rows: Rows) -> Floats:
        """What a head says of rows: probabilities (N, C) or values (N,)."""
        outputs = head(self.features[rows])
        if isinstance(task, Regression):
            values: Floats = task.decode(torch.from_numpy(outputs)).numpy()
            return values
        return softmax(outputs, axis=1)


def linear_on_features(bench: Bench, question: Question, pictures: Pictures, frozen: Frozen) -> Candidate:
    """Frozen features and a linear model: the rung that costs a look at each picture."""
    started = time.monotonic()
    architecture = frozen.pretrained.weights.architecture
    recipe = Recipe(model=architecture, views=2)
    fitted: list[NetworkPart] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        task = task_for(question, recipe, train)
        head = frozen.fit_head(question, task, train, seed=bench.seed)
        fitted.append(_part(frozen.pretrained, frozen.pretrained.with_head(head), task))
        return lambda rows: frozen.answers(head, task, rows)

    predictions, predict = cross_fitted(question, fit)
    seconds = frozen.seconds + time.monotonic() - started
    name = f"frozen {architecture} + linear"
    return Candidate(name, predictions, predict, pictures.shipped(fitted[-1]), seconds)


def worth_fine_tuning(bench: Bench, question: Question, pictures: Pictures, frozen: Frozen, *, score: float) -> bool:
    """Whether there is something left to gain and time to gain it; decided once and kept in run.json."""
    decided = processes.of_first(bench.run.facts().get("fine_tune"))
    if decided is not None:
        return bool(decided)
    recipe = recipes.for_fine_tuning(bench.request, frozen.pretrained.weights.architecture)
    rows = len(question.scored) * len(question.folds) if question.folds else len(question.split.train)
    a_look = frozen.seconds / max(len(pictures.array), 1)
    needed = a_look * FINE_TUNING_COST * recipe.epochs * rows
    seconds = min(recipes.seconds_for(bench.request, rows), bench.clock.left() - recipes.reserve(bench.request))
    perfect = question.metric.limits[1] if question.metric.higher_is_better else question.metric.limits[0]
    worth = bool(processes.of_first(bool(needed < seconds and score != perfect)))
    bench.run.update(fine_tune=worth)
    if needed >= seconds:
        bench.screen.say(f"fine-tuning would take about {duration(needed)}, which is more than there is: left out")
    return worth


def fine_tuned(bench: Bench, question: Question, pictures: Pictures, frozen: Frozen) -> Candidate:
    """Fine-tuning from the linear solution, deeper layers at smaller rates."""
    started = time.monotonic()
    recipe = recipes.for_fine_tuning(bench.request, frozen.pretrained.weights.architecture)
    recipe.write(bench.run.path / "recipe.toml")
    seconds = recipes.seconds_for(bench.request, len(question.split.train))
    normalise = frozen.pretrained.normalise
    fitted: list[NetworkPart] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        task = task_for(question, recipe, train)
        head = frozen.fit_head(question, task, train, seed=bench.seed)
        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, ("fine-tuned", name))),
                build=lambda: frozen.pretrained.with_head(head),
                task=task,
                source=batches(question, pictures, train, recipe, normalise, learning=True),
                validation=batches(question, pictures, validation, recipe, normalise) if len(validation) else None,
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        part = _part(frozen.pretrained, state.model, task)
        fitted.append(part)
        return lambda rows: part.predict(pictures.array[rows])

    predictions, predict = cross_fitted(question, fit)
    seconds = time.monotonic() - started
    return Candidate(f"fine-tuned {recipe.model}", predictions, predict, pictures.shipped(fitted[-1]), seconds)


def _part(pretrained: Pretrained, model: nn.Module, task: Classification | Regression) -> NetworkPart:
    architecture = pretrained.weights.architecture
    spec = InputSpec("image", models[architecture].about["input"])
    return NetworkPart(model, task, architecture, {}, spec, pretrained.normalise)
