"""Fits candidates to a table: linear, gradient-boosted trees, a network, and the average of the best two."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.api import few_labels, recipes
from earnest.api.deadline import has_time
from earnest.api.encoded import Encoded, Encodings, Scope
from earnest.api.model_folder import Shipped, average
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import LinearPart, NetworkPart, Part, TreesPart, table_features
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted, tell, with_validation
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.batches import ArrayBatches
from earnest.data.corrupt import SwapFeatures
from earnest.evaluation.baselines import linear
from earnest.evaluation.trees import fit_lightgbm
from earnest.models.tabular import TabM


def fit_tables(bench: Bench, question: Question, scope: Scope | None = None) -> list[Candidate]:
    """The candidates, simplest first, as far as there is time.

    They are for what of a row is in `scope`: by default all columns that are no pictures.
    """
    candidates, encodings = [], Encodings(question, scope)

    def rung(candidate: Candidate) -> None:
        candidates.append(candidate)
        tell(bench, question, encodings.scope.named(candidate))

    rung(fit_linear(bench, question, encodings))
    rung(fit_trees(bench, question, encodings))
    if has_time(bench, f"a network for the table{encodings.scope.suffix}"):
        rung(fit_tabular_network(bench, question, encodings))
        candidates.append(blend(question, candidates[1:]))
        for candidate in few_labels.in_turn(
            bench, question, lambda its, way: from_few_labels(its, question, encodings, way)
        ):
            rung(candidate)
    return [encodings.scope.named(candidate) for candidate in candidates]


def fit_linear(bench: Bench, question: Question, encodings: Encodings) -> Candidate:
    """Softmax or ridge regression, on the TF-IDF of texts too."""
    name = "tf-idf + linear" if any(column.kind == "text" for column in question.dataset.inputs()) else "linear"

    def fit(table: Encoded, train: Rows, validation: Rows) -> Part:
        features = table_features(table.all, table.encoder.cardinalities)
        learns, chooses = with_validation(train, validation)
        model = linear(
            (features[learns], question.truth[learns]),
            (features[chooses], question.truth[chooses]),
            num_classes=question.num_classes,
            seed=bench.seed,
            refit=not len(validation),
            name=name,
        )
        return LinearPart(model, table.encoder.cardinalities)

    return _fitted(question, name, fit, encodings)


def fit_trees(bench: Bench, question: Question, encodings: Encodings) -> Candidate:
    """LightGBM, stopped early."""
    seconds = bench.clock.left() / 4 / (len(question.folds) + 1)

    def fit(table: Encoded, train: Rows, validation: Rows) -> Part:
        numbers = table.all.trees_numbers()
        learns, stops = with_validation(train, validation)
        trees = fit_lightgbm(
            (numbers[learns], table.all.codes[learns], question.truth[learns]),
            validation=(numbers[stops], table.all.codes[stops], question.truth[stops]),
            num_classes=question.num_classes,
            metric=question.metric.name,
            seed=bench.seed % 2**31,
            seconds=seconds,
        )
        return TreesPart(trees)

    return _fitted(question, "LightGBM", fit, encodings)


def fit_tabular_network(bench: Bench, question: Question, encodings: Encodings) -> Candidate:
    """The network for tables."""
    recipe = recipes.for_tables(bench.request, len(question.split.train))
    seconds = recipes.seconds_for(bench.request, len(question.split.train))
    recipe.write(bench.run.path / "recipe.toml")
    fits: list[None] = []

    def fit(table: Encoded, train: Rows, validation: Rows) -> Part:
        fits.append(None)
        learns, stops = with_validation(train, validation)
        arrays = (table.all.network_numbers(), table.all.codes)
        spec = InputSpec("table", (arrays[0].shape[1],), table.encoder.cardinalities)
        task = task_for(question, recipe, learns, stops_by_loss=True)

        def source(rows: Rows, *, learning: bool) -> ArrayBatches:
            size = recipe.batch_size if learning else 4096
            return ArrayBatches(arrays, question.truth, rows, batch_size=size, shuffle=learning)

        state = fit_network(
            bench,
            Fit(
                name=encodings.scope.prefix + recipe.model + (f"-{len(fits)}" if question.folds else ""),
                build=lambda: _untrained(question, recipe, spec, arrays[0][learns]),
                task=task,
                source=source(learns, learning=True),
                validation=source(stops, learning=False),
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        return NetworkPart(state.model, task, recipe.model, recipe.model_options, spec)

    return _fitted(question, recipe.model, fit, encodings)


def from_few_labels(bench: Bench, question: Question, encodings: Encodings, way: str) -> Candidate:
    """The network for tables, from strong views of the labelled rows, or from rows without an answer too.

    In a strong view some of a row's values are another row's.
    """
    assert question.unlabelled is not None
    others = question.unlabelled.dataset
    recipe = recipes.for_tables(bench.request, len(question.split.train)).but(schedule="cosine", patience=0)

    def fit(table: Encoded, train: Rows, validation: Rows) -> Part:
        arrays = (table.all.network_numbers(), table.all.codes)
        encoded = table.encoder.transform(others.frame)
        spec = InputSpec("table", (arrays[0].shape[1],), table.encoder.cardinalities)
        views = few_labels.Views(arrays, (encoded.network_numbers(), encoded.codes), None, SwapFeatures())
        pupil = few_labels.Pupil(
            recipe.model, lambda: _untrained(question, recipe, spec, arrays[0][train]), recipe, views
        )
        held = ArrayBatches(arrays, question.truth, validation, batch_size=4096) if len(validation) else None
        fold = f"fold-{next(counter)}" if question.folds else ""
        model = few_labels.taught(bench, question, pupil, way, fold=fold, train=train, validation=held)
        return NetworkPart(model, task_for(question, recipe, train), recipe.model, recipe.model_options, spec)

    counter = itertools.count(1)
    found = _fitted(question, f"{recipe.model} ({way})", fit, encodings)
    return replace(found, unlabelled=way == few_labels.METHOD)


def _untrained(question: Question, recipe: Recipe, spec: InputSpec, numbers: NDArray[np.float32]) -> nn.Module:
    """The network as it begins; `numbers` of the training rows tell where its bins lie."""
    model: nn.Module = models[recipe.model].build(spec, question.num_classes or 1, **recipe.model_options)
    if isinstance(model, TabM):
        model.set_bins(torch.from_numpy(numbers))
    return model


def blend(question: Question, candidates: list[Candidate]) -> Candidate:
    """The average of the candidates' answers."""
    return Candidate(
        " + ".join(candidate.name for candidate in candidates),
        np.mean([candidate.predictions for candidate in candidates], axis=0),
        lambda rows: np.mean([candidate.predict(rows) for candidate in candidates], axis=0),
        average([candidate.shipped for candidate in candidates]),
        sum(candidate.seconds for candidate in candidates),
        "the average of their answers",
        any(candidate.unlabelled for candidate in candidates),
    )


def _fitted(
    question: Question, name: str, fit: Callable[[Encoded, Rows, Rows], Part], encodings: Encodings
) -> Candidate:
    started = time.monotonic()
    last: list[Shipped] = []

    def one(fold: str, train: Rows, validation: Rows) -> Predict:
        table = encodings.by(train)
        part = fit(table, train, validation)
        last.append(table.shipped(part))
        return lambda rows: part.predict(table.inputs(rows))

    predictions, predict = cross_fitted(question, one)
    return Candidate(name, predictions, predict, last[-1], time.monotonic() - started)
