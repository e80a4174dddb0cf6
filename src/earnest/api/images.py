"""Fits candidates to pictures: a linear model on pixels, pretrained features, fine-tuning, a network from scratch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.api import recipes
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import LinearPart, NetworkPart, Shipped
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.augment import Augmented
from earnest.data.batches import ArrayBatches
from earnest.data.cache import cache_folder
from earnest.data.dataset import Dataset
from earnest.data.images import choose_channels, choose_size, decode, drop_unreadable
from earnest.data.preparation import Normalise
from earnest.evaluation.baselines import linear, pixels
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression


@dataclass(frozen=True)
class Pictures:
    """Decoded images, row for row with the data set."""

    array: NDArray[np.uint8]
    """(N, H, W, C)"""

    @property
    def spec(self) -> InputSpec:
        """What a model is told."""
        _, height, width, channels = self.array.shape
        return InputSpec("image", (channels, height, width))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.array.shape[1], self.array.shape[2]

    def shipped(self, part: LinearPart | NetworkPart) -> Shipped:
        """The part as something to ship."""
        return Shipped((part,), self.size, self.array.shape[3])


def look(bench: Bench, dataset: Dataset) -> tuple[Dataset, Pictures]:
    """Decode every image once; those that cannot be read leave the data set, listed."""
    (column,) = dataset.images
    images = dataset.images[column]
    with bench.screen.bar("decoding images", len(images)) as bar:
        decoded = decode(
            images,
            size=choose_size(images),
            channels=choose_channels(images),
            cache_folder=cache_folder(),
            progress=lambda done, total: bar(done),
        )
    return drop_unreadable(dataset, decoded), Pictures(decoded.array)


def fit_images(bench: Bench, question: Question, pictures: Pictures) -> list[Candidate]:
    """The candidates, simplest first."""
    candidates = [linear_on_pixels(bench, question, pictures)]
    recipe, seconds = recipes.for_images(bench.request, pictures.array.shape, len(question.split.train))
    recipe.write(bench.run.path / "recipe.toml")
    reserve = recipes.reserve(bench.request)
    candidates.append(network(bench, question, pictures, recipe, seconds=seconds, reserve=reserve))
    for candidate in candidates:
        bench.run.log(
            "rung", name=candidate.name, score=question.score(candidate.predictions), seconds=candidate.seconds
        )
    return candidates


def linear_on_pixels(bench: Bench, question: Question, pictures: Pictures) -> Candidate:
    """The baseline that any network has to beat."""
    started = time.monotonic()
    features = pixels(pictures.array)
    fitted: list[Any] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        chooses = validation if len(validation) else train[::5]
        learns = train if len(validation) else np.setdiff1d(train, chooses)
        model = linear(
            (features[learns], question.truth[learns]),
            (features[chooses], question.truth[chooses]),
            num_classes=question.num_classes,
            seed=bench.seed,
            name="linear on pixels",
        )
        fitted.append(model)
        return lambda rows: model.predict(features[rows])

    predictions, predict = cross_fitted(question, fit)
    shipped = pictures.shipped(LinearPart(fitted[-1]))
    return Candidate(fitted[-1].name, predictions, predict, shipped, time.monotonic() - started)


def network(
    bench: Bench, question: Question, pictures: Pictures, recipe: Recipe, *, seconds: float, reserve: float
) -> Candidate:
    """A network trained from scratch."""
    started = time.monotonic()
    spec = pictures.spec
    _check_takes_images(recipe.model)
    num_fits = len(question.folds) + 1
    fitted: list[NetworkPart] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        normalise = Normalise.of(pictures.array[train[:5000]])
        task = image_task(question, recipe, train)
        options = {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}

        def build() -> nn.Module:
            model: nn.Module = models[recipe.model].build(spec, question.num_classes or 1, **options)
            if hasattr(model, "whiten"):
                model.whiten(normalise.pixels(torch.from_numpy(np.ascontiguousarray(pictures.array[train[:5000]]))))
            return model

        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, (recipe.model, name))),
                build=build,
                task=task,
                source=batches(question, pictures, train, recipe, normalise, learning=True),
                validation=batches(question, pictures, validation, recipe, normalise) if len(validation) else None,
                recipe=recipe,
                epochs=bench.request.epochs,
                seconds=seconds / num_fits,
                reserve=reserve,
            ),
        )
        part = NetworkPart(state.model, task, recipe.model, options, spec, normalise)
        fitted.append(part)
        return lambda rows: part.predict(pictures.array[rows])

    predictions, predict = cross_fitted(question, fit)
    return Candidate(recipe.model, predictions, predict, pictures.shipped(fitted[-1]), time.monotonic() - started)


def image_task(question: Question, recipe: Recipe, train: Rows) -> Classification | Regression:
    """The task that the question is."""
    if question.num_classes is None:
        return Regression(
            question.truth[train],
            metric=question.metric.name,
            score=question.metric,
            higher_is_better=question.metric.higher_is_better,
        )
    return Classification(
        question.num_classes,
        metric=question.metric.name,
        score=question.metric,
        higher_is_better=question.metric.higher_is_better,
        label_smoothing=recipe.label_smoothing,
        flip_average=recipe.flip_average,
    )


def batches(
    question: Question,
    pictures: Pictures,
    rows: Rows,
    recipe: Recipe,
    normalise: Normalise,
    *,
    learning: bool = False,
) -> ArrayBatches:
    """The rows as a source: shuffled and augmented for learning, in order and as they are for validation."""
    augmented = Augmented(normalise, recipe.augment, recipe.mixup, recipe.cutmix, question.num_classes)
    return ArrayBatches(
        (pictures.array,),
        question.truth,
        rows,
        batch_size=recipe.batch_size if learning else 4 * recipe.batch_size,
        shuffle=learning,
        transform=augmented if learning else normalise,
    )


def _check_takes_images(name: str) -> None:
    kinds: Sequence[str] = models[name].about.get("kinds", ())
    if "image" not in kinds:
        raise OptionError(f"--model {name} takes no images; `earnest zoo` lists those that do, such as airnet.")
