"""Fits candidates to a table: linear, gradient-boosted trees, a network, and the average of the best two."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from earnest.api import recipes
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import LinearPart, NetworkPart, Part, Shipped, TreesPart, average, table_features
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted, with_validation
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.batches import ArrayBatches
from earnest.data.encode import EncodedTable, TableEncoder
from earnest.evaluation.baselines import linear
from earnest.evaluation.trees import fit_lightgbm
from earnest.models.tabular import TabM


def fit_tables(bench: Bench, question: Question) -> list[Candidate]:
    """The candidates, simplest first."""
    candidates = []
    for fit in (fit_linear, fit_trees, fit_tabular_network):
        candidate = fit(bench, question)
        score = question.score(candidate.predictions)
        bench.run.log("rung", name=candidate.name, score=score, seconds=candidate.seconds)
        bench.screen.say(f"{candidate.name}: {question.metric.name} {score:.4g} on validation")
        candidates.append(candidate)
    candidates.append(blend(question, candidates[1:]))
    return candidates


def fit_linear(bench: Bench, question: Question) -> Candidate:
    """Softmax or ridge regression."""

    def fit(table: Encoded, train: Rows, validation: Rows) -> Part:
        features = table_features(table.all, table.encoder.cardinalities)
        learns, chooses = with_validation(train, validation)
        model = linear(
            (features[learns], question.truth[learns]),
            (features[chooses], question.truth[chooses]),
            num_classes=question.num_classes,
            seed=bench.seed,
        )
        return LinearPart(model, table.encoder.cardinalities)

    return _fitted(question, "linear", fit)


def fit_trees(bench: Bench, question: Question) -> Candidate:
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

    return _fitted(question, "LightGBM", fit)


def fit_tabular_network(bench: Bench, question: Question) -> Candidate:
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

        def build() -> nn.Module:
            model = models[recipe.model].build(spec, question.num_classes or 1, **recipe.model_options)
            if isinstance(model, TabM):
                model.set_bins(torch.from_numpy(arrays[0][learns]))
            return model

        def source(rows: Rows, *, learning: bool) -> ArrayBatches:
            size = recipe.batch_size if learning else 4096
            return ArrayBatches(arrays, question.truth, rows, batch_size=size, shuffle=learning)

        state = fit_network(
            bench,
            Fit(
                name=recipe.model if not question.folds else f"{recipe.model}-{len(fits)}",
                build=build,
                task=task,
                source=source(learns, learning=True),
                validation=source(stops, learning=False),
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        return NetworkPart(state.model, task, recipe.model, recipe.model_options, spec)

    return _fitted(question, recipe.model, fit)


def blend(question: Question, candidates: list[Candidate]) -> Candidate:
    """The average of the candidates' answers."""
    return Candidate(
        " + ".join(candidate.name for candidate in candidates),
        np.mean([candidate.predictions for candidate in candidates], axis=0),
        lambda rows: np.mean([candidate.predict(rows) for candidate in candidates], axis=0),
        average([candidate.shipped for candidate in candidates]),
        sum(candidate.seconds for candidate in candidates),
        "the average of their answers",
    )


class Encoded:
    """The table, encoded by what the training rows showed."""

    def __init__(self, question: Question, train: Rows) -> None:
        dataset = question.dataset
        self.encoder = TableEncoder.fit(dataset.frame[train], dataset.inputs())
        self.all: EncodedTable = self.encoder.transform(dataset.frame)


def _fitted(question: Question, name: str, fit: Callable[[Encoded, Rows, Rows], Part]) -> Candidate:
    started = time.monotonic()
    last: list[Shipped] = []

    def one(fold: str, train: Rows, validation: Rows) -> Predict:
        table = Encoded(question, train)
        part = fit(table, train, validation)
        last.append(Shipped((part,), encoder=table.encoder))
        return lambda rows: part.predict(table.encoder.transform(question.dataset.frame[rows]))

    predictions, predict = cross_fitted(question, one)
    return Candidate(name, predictions, predict, last[-1], time.monotonic() - started)
