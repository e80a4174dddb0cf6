"""Networks with pretrained weights for pictures, and what they see in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from earnest.api import recipes
from earnest.api.frozen import Frozen
from earnest.api.model_folder import Shipped
from earnest.api.parts import Inputs, NetworkPart
from earnest.api.pictures import Pictures, batches
from earnest.api.question import Bench, Question, Rows, Unlabelled
from earnest.api.request import Request
from earnest.core import weights as known_weights
from earnest.core.progress import Screen
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.weights import Preprocessing, Weights
from earnest.core.words import InputSpec
from earnest.data.augment import STRONG, altered
from earnest.data.batches import ArrayBatches
from earnest.data.cache import cache_folder
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training.features import extract_features
from earnest.training.linear_head import LinearHead

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
    if request.model is not None:
        return known_weights.of(request.model, "image")
    here = known_weights.available()
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


class FrozenPictures(Frozen):
    """A pretrained network and what it sees in a column of pictures."""

    def __init__(self, bench: Bench, question: Question, pretrained: Pretrained, pictures: Pictures) -> None:
        super().__init__()
        self.bench = bench
        self.pictures = pictures
        self.pretrained = pretrained
        self.architecture = pretrained.weights.architecture
        self.normalise = pretrained.normalise
        self.recipe = Recipe(model=self.architecture, views=recipes.views_of_photos(question.labels))
        self.flips = question.task == "classification" and self.recipe.views > 1
        started = time.monotonic()
        with bench.screen.bar(f"features of {self.architecture}", len(pictures.array)) as bar:
            self.features = self._look(pictures.array, cache_folder(), lambda done, total: bar(done))
        self.seconds = time.monotonic() - started

    def model(self, name: str) -> nn.Module:
        return self.pretrained.with_head(self.heads[name])

    def part(self, model: nn.Module, task: Classification | Regression) -> NetworkPart:
        spec = InputSpec("image", models[self.architecture].about["input"])
        return NetworkPart(model, task, self.architecture, {}, spec, (self.normalise,))

    def shipped(self, part: NetworkPart) -> Shipped:
        return self.pictures.shipped(part)

    def inputs(self, rows: Rows) -> Inputs:
        return self.pictures.inputs(rows)

    def batches(self, question: Question, rows: Rows, recipe: Recipe, *, learning: bool = False) -> ArrayBatches:
        return batches(question, self.pictures, rows, recipe, self.normalise, learning=learning)

    def altered(self, rows: Rows) -> NDArray[np.float32]:
        return self._of_copies(self.pictures.array[rows])

    def of_unlabelled(self, unlabelled: Unlabelled, rows: Rows) -> NDArray[np.float32]:
        assert unlabelled.pictures is not None
        array = unlabelled.pictures[rows]
        return np.stack([self._look(array, cache_folder()), self._of_copies(array)], axis=1)

    def _of_copies(self, array: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of pictures that were turned and recoloured, and of which a part was erased."""
        return self._look(altered(array, STRONG, seed=self.bench.seed), cache_folder())

    def recipes(self, question: Question) -> list[Recipe]:
        return recipes.for_fine_tuning(self.bench.request, self.architecture, question.labels)

    def seconds_a_look(self) -> float:
        some = self.pictures.array[:FEW_LOOKS]
        self._look(some[:1], None)
        started = time.monotonic()
        self._look(some, None)
        return (time.monotonic() - started) / (len(some) * (1 + self.flips))

    def _look(
        self, array: NDArray[np.uint8], cache: Path | None, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        return extract_features(
            self.pretrained.model,
            array,
            preprocessing=self.normalise,
            cache_folder=cache,
            device=self.bench.device,
            flips=self.flips,
            progress=progress,
        )


def look(bench: Bench, question: Question, pictures: Pictures) -> FrozenPictures:
    """The pictures as the network with the weights that suit them sees them.

    Raises:
        OptionError: the weights' file is not here and may not be fetched.
    """
    assert pictures.weights is not None
    return FrozenPictures(bench, question, fetch(pictures.weights, bench.request, bench.screen), pictures)
