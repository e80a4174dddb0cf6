"""Transfer: a network with pretrained weights, what it sees in pictures, and a linear model on that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from earnest.api import recipes
from earnest.api.parts import NetworkPart
from earnest.api.pictures import Pictures, task_for
from earnest.api.question import Bench, Candidate, Floats, Predict, Question, Rows, cross_fitted
from earnest.api.request import Request
from earnest.core import weights as known_weights
from earnest.core.progress import Screen
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.weights import Preprocessing, Weights
from earnest.core.words import InputSpec
from earnest.data.cache import cache_folder
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training.features import extract_features
from earnest.training.linear_head import LinearHead, fit_linear_head

FEW = 10_000
"""Rows up to which pretrained weights are used unasked."""
LEAST_SIDE = 64
"""Pixels below which images hold too little for networks that learned from photographs."""
FEW_LOOKS = 16
"""Pictures from which the network's pace is told."""


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
    expected = weights.preprocessing
    assert isinstance(expected, Preprocessing)
    return Pretrained(weights, model, Normalise(expected.mean, expected.std, expected.size))


def build(architecture: str, num_outputs: int) -> nn.Module:
    """The architecture for colour images of its usual size, with `num_outputs`."""
    shape = models[architecture].about["input"]
    model: nn.Module = models[architecture].build(InputSpec("image", shape), num_outputs)
    return model


class Frozen:
    """The pictures as the pretrained network sees them, and the linear models fitted to that."""

    def __init__(self, bench: Bench, question: Question, pretrained: Pretrained, pictures: Pictures) -> None:
        self.pretrained = pretrained
        self.architecture = pretrained.weights.architecture
        self.normalise = pretrained.normalise
        self.recipe = Recipe(model=self.architecture, views=recipes.views_of_photos(question.labels))
        self.flips = question.task == "classification" and self.recipe.views > 1
        self.heads: dict[str, LinearHead] = {}
        started = time.monotonic()
        with bench.screen.bar(f"features of {self.architecture}", len(pictures.array)) as bar:
            self.features = self._look(bench, pictures.array, cache_folder(), lambda done, total: bar(done))
        self.seconds = time.monotonic() - started

    def seconds_a_look(self, bench: Bench, pictures: Pictures) -> float:
        """Seconds to see a picture once, from a few: the features may have come from the cache."""
        some = pictures.array[:FEW_LOOKS]
        self._look(bench, some[:1], None)
        started = time.monotonic()
        self._look(bench, some, None)
        return (time.monotonic() - started) / (len(some) * (1 + self.flips))

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

    def model(self, name: str) -> nn.Module:
        """The network with the head of the fit of that name."""
        return self.pretrained.with_head(self.heads[name])

    def _look(
        self,
        bench: Bench,
        array: NDArray[np.uint8],
        cache: Path | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        return extract_features(
            self.pretrained.model,
            array,
            preprocessing=self.normalise,
            cache_folder=cache,
            device=bench.device,
            flips=self.flips,
            progress=progress,
        )


def look(bench: Bench, question: Question, pictures: Pictures) -> Frozen:
    """The pictures as the network with the weights that suit them sees them.

    Raises:
        OptionError: the weights' file is not here and may not be fetched.
    """
    assert pictures.weights is not None
    return Frozen(bench, question, fetch(pictures.weights, bench.request, bench.screen), pictures)


def linear_on_features(bench: Bench, question: Question, pictures: Pictures, frozen: Frozen) -> Candidate:
    """Frozen features and a linear model: the rung that costs a look at each picture."""
    started = time.monotonic()
    fitted: list[NetworkPart] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        task = task_for(question, frozen.recipe, train)
        head = frozen.heads[name] = frozen.fit_head(question, task, train, seed=bench.seed)
        fitted.append(part_of(frozen.pretrained, frozen.model(name), task))
        return lambda rows: frozen.answers(head, task, rows)

    predictions, predict = cross_fitted(question, fit)
    seconds = frozen.seconds + time.monotonic() - started
    name = f"frozen {frozen.architecture} + linear"
    return Candidate(name, predictions, predict, pictures.shipped(fitted[-1]), seconds)


def part_of(pretrained: Pretrained, model: nn.Module, task: Classification | Regression) -> NetworkPart:
    """`model`, which has the pretrained network's architecture, as something to ship."""
    architecture = pretrained.weights.architecture
    spec = InputSpec("image", models[architecture].about["input"])
    return NetworkPart(model, task, architecture, {}, spec, (pretrained.normalise,))
