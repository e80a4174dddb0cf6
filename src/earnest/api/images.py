"""Fits candidates to pictures, rung by rung: a linear model on pixels, then transfer, or a network from scratch."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.api import belief_images, few_labels, fine_tuning, recipes, transfer
from earnest.api.deadline import has_time
from earnest.api.frozen import linear_on_features
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import LinearPart, NetworkPart
from earnest.api.pictures import Pictures, batches, check_takes_images, task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted, tell, with_validation
from earnest.api.recipes import named_model
from earnest.api.transfer import FrozenPictures
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.data.augment import STRONG, Augmented
from earnest.data.preparation import Normalise
from earnest.evaluation.baselines import linear, pixels

QUICK_ROWS = 20_000
"""Images that the quick network learns from, at most."""
WHITENED_ON = 5000
"""Training images that a whitening layer is fitted to."""


def fit_images(
    bench: Bench, question: Question, pictures: Pictures, *, frozen: FrozenPictures | None = None, suffix: str = ""
) -> list[Candidate]:
    """The candidates, simplest first, as far as there is time; each rung is told with its score and its seconds.

    `frozen` spares a look at all pictures that was taken already; `suffix` ends the candidates' names.
    """
    candidates: list[Candidate] = []

    def rung(candidate: Candidate) -> None:
        candidates.append(replace(candidate, name=candidate.name + suffix))
        tell(bench, question, candidates[-1])

    rung(linear_on_pixels(bench, question, pictures))
    if not has_time(bench, f"a network for the pictures{suffix}"):
        return candidates
    if belief_images.is_belief_net(named_model(bench.request)):
        rung(belief_images.fit_belief_net(bench, question, pictures))
        return candidates
    if pictures.weights is None:
        spec, num_rows = pictures.spec, len(question.split.train)
        quick = recipes.for_a_quick_try(bench.request, spec, num_rows, question.labels)
        if quick is not None:
            rung(from_scratch(bench, question, pictures, quick, name="a quick airnet", most_rows=QUICK_ROWS))
        recipe = recipes.for_images(bench.request, spec, num_rows, question.labels)
        recipe.write(bench.run.path / "recipe.toml")
        rung(from_scratch(bench, question, pictures, recipe, name=recipe.model))
        for candidate in few_labels.in_turn(
            bench, question, lambda its, way: from_few_labels(its, question, pictures, recipe, way)
        ):
            rung(candidate)
        return candidates
    frozen = frozen or transfer.look(bench, question, pictures)
    rung(linear := linear_on_features(bench, question, frozen))
    for candidate in few_labels.on_features(bench, question, frozen):
        rung(candidate)
    for candidate in fine_tuning.climb(bench, question, frozen, linear):
        rung(candidate)
    return candidates


def linear_on_pixels(bench: Bench, question: Question, pictures: Pictures) -> Candidate:
    """The baseline that any network has to beat."""
    started = time.monotonic()
    features = pixels(pictures.array)
    fitted: list[Any] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        learns, chooses = with_validation(train, validation)
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


def from_scratch(
    bench: Bench, question: Question, pictures: Pictures, recipe: Recipe, *, name: str, most_rows: int | None = None
) -> Candidate:
    """A network that knows nothing but these pictures, or `most_rows` of them."""
    started = time.monotonic()
    spec = pictures.spec
    check_takes_images(recipe.model)
    seconds = recipes.seconds_for(bench.request, len(question.split.train))
    fitted: list[NetworkPart] = []

    def fit(fold: str, train: Rows, validation: Rows) -> Predict:
        train = spread(train, most_rows)
        some = pictures.array[spread(train, WHITENED_ON)]
        normalise = Normalise.of(some)
        task = task_for(question, recipe, train)

        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, (name.replace(" ", "-"), fold))),
                build=lambda: _untrained(question, pictures, recipe, normalise, some),
                task=task,
                source=batches(question, pictures, train, recipe, normalise, learning=True),
                validation=batches(question, pictures, validation, recipe, normalise) if len(validation) else None,
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        part = NetworkPart(state.model, task, recipe.model, _options(recipe), spec, (normalise,))
        fitted.append(part)
        return lambda rows: part.predict(pictures.inputs(rows))

    predictions, predict = cross_fitted(question, fit)
    return Candidate(name, predictions, predict, pictures.shipped(fitted[-1]), time.monotonic() - started)


def from_few_labels(bench: Bench, question: Question, pictures: Pictures, recipe: Recipe, way: str) -> Candidate:
    """The network, from strong views of the labelled pictures, or from pictures without an answer too."""
    started = time.monotonic()
    assert question.unlabelled is not None
    others = question.unlabelled.pictures
    assert others is not None
    some = others[spread(np.arange(len(others)), WHITENED_ON)]
    normalise = Normalise.of(some)
    usual, strong = Augmented(normalise, recipe.augment), Augmented(normalise, (*recipe.augment, *STRONG))
    pupil = few_labels.Pupil(
        recipe.model,
        lambda: _untrained(question, pictures, recipe, normalise, some),
        recipe,
        few_labels.Views((pictures.array,), (others,), usual, strong),
    )
    fitted: list[NetworkPart] = []

    def fit(fold: str, train: Rows, validation: Rows) -> Predict:
        held = batches(question, pictures, validation, recipe, normalise) if len(validation) else None
        model = few_labels.taught(bench, question, pupil, way, fold=fold, train=train, validation=held)
        task = task_for(question, recipe, train)
        part = NetworkPart(model, task, recipe.model, _options(recipe), pictures.spec, (normalise,))
        fitted.append(part)
        return lambda rows: part.predict(pictures.inputs(rows))

    predictions, predict = cross_fitted(question, fit)
    return few_labels.candidate(
        recipe.model, way, predictions, predict, pictures.shipped(fitted[-1]), time.monotonic() - started
    )


def _untrained(
    question: Question, pictures: Pictures, recipe: Recipe, normalise: Normalise, some: NDArray[np.uint8]
) -> nn.Module:
    """The network as it begins; `some` pictures are what a whitening layer is fitted to."""
    model: Any = models[recipe.model].build(pictures.spec, question.num_classes or 1, **_options(recipe))
    if hasattr(model, "whiten"):
        model.whiten(normalise.pixels(torch.from_numpy(np.ascontiguousarray(some))))
    return model


def _options(recipe: Recipe) -> dict[str, Any]:
    return {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}


def spread(rows: Rows, most: int | None) -> Rows:
    """At most `most` of the rows, evenly chosen."""
    return rows if most is None or len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
