"""Fits candidates to pictures with other columns: these alone, the pictures alone, then all of them together."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from earnest.api import recipes, transfer
from earnest.api.checks import Group, concerning
from earnest.api.deadline import has_time
from earnest.api.encoded import Encoded, Scope, Seen
from earnest.api.frozen import linear_on_features
from earnest.api.images import WHITENED_ON, fit_images, linear_on_pixels, spread
from earnest.api.model_folder import Shipped
from earnest.api.networks import Fit, a_while, fit_network
from earnest.api.parts import Inputs, NetworkPart
from earnest.api.pictures import Pictures, task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted, tell
from earnest.api.tables import fit_tables
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.augment import Augmented
from earnest.data.batches import ArrayBatches
from earnest.data.preparation import Normalise, OnPictures

TABLE_SHARE, PICTURES_SHARE = 0.2, 0.5
"""Of the time that is left, what the other columns alone, and then the pictures alone, may take."""


def fit_columns(bench: Bench, question: Question, pictures: tuple[Pictures, ...]) -> list[Candidate]:
    """The candidates, simplest first, so that it shows what the pictures, and what the other columns, add.

    Pretrained networks' features join the table as columns of numbers; without weights, one network learns from all.
    """
    candidates: list[Candidate] = []
    if _others(question):
        candidates += fit_tables(_part_of(bench, "table", TABLE_SHARE), question, Scope(suffix=" (no pictures)"))
    seen: tuple[Seen, ...] = ()
    if pictures[0].weights is not None:
        seen = tuple(Seen(one, transfer.look(bench, question, one)) for one in pictures)
    candidates += _pictures_alone(_part_of(bench, "image", PICTURES_SHARE), question, pictures, seen)
    if seen:
        scope = Scope(seen, " (all columns)", "all-")
        return candidates + fit_tables(_part_of(bench, "table"), question, scope)
    if has_time(bench, "a network for all columns"):
        candidates.append(fit_together(_part_of(bench, "columns"), question, pictures))
        tell(bench, question, candidates[-1])
    return candidates


def _others(question: Question) -> bool:
    """Whether there are columns that are no pictures."""
    return any(column.kind != "image" for column in question.dataset.inputs())


def _part_of(bench: Bench, group: Group, share: float = 1.0) -> Bench:
    """The bench with what of the request concerns such columns, and a share of the time that is left."""
    bench = replace(bench, request=concerning(bench.request, group))
    return bench if share == 1 else a_while(bench, share)


def _pictures_alone(
    bench: Bench, question: Question, pictures: tuple[Pictures, ...], seen: tuple[Seen, ...]
) -> list[Candidate]:
    """The whole ladder for a single column of pictures; the lower rungs for each of several."""
    if len(pictures) == 1:
        frozen = seen[0].frozen if seen else None
        return fit_images(bench, question, pictures[0], frozen=frozen, suffix=" (pictures alone)")
    candidates = []
    for number, one in enumerate(pictures):
        rungs = [linear_on_pixels(bench, question, one)]
        if seen:
            rungs.append(linear_on_features(bench, question, seen[number].frozen))
        for rung in rungs:
            candidates.append(replace(rung, name=f"{rung.name} ({one.column} alone)"))
            tell(bench, question, candidates[-1])
    return candidates


def fit_together(bench: Bench, question: Question, pictures: tuple[Pictures, ...]) -> Candidate:
    """One network for all columns, from scratch."""
    started = time.monotonic()
    num_rows = len(question.split.train)
    recipe = recipes.for_columns(bench.request, [one.spec for one in pictures], num_rows, question.labels)
    if recipe.mixup or recipe.cutmix:
        raise OptionError("mixup and cutmix blend pictures, not the columns beside them; set both to 0 in the recipe.")
    recipe.write(bench.run.path / "recipe.toml")
    seconds = recipes.seconds_for(bench.request, num_rows)
    options = {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}
    fitted: list[Shipped] = []

    def fit(fold: str, train: Rows, validation: Rows) -> Predict:
        columns = Columns(question, pictures, train)
        task = task_for(question, recipe, train)

        def build() -> nn.Module:
            model: nn.Module = models[recipe.model].build(columns.spec, question.num_classes or 1, **options)
            model.prepare(columns.sample(train))  # type: ignore[operator]
            return model

        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, (recipe.model, fold))),
                build=build,
                task=task,
                source=columns.batches(train, recipe, learning=True),
                validation=columns.batches(validation, recipe) if len(validation) else None,
                recipe=recipe,
                seconds=seconds / (len(question.folds) + 1),
            ),
        )
        part = NetworkPart(state.model, task, recipe.model, options, columns.spec, columns.normalise)
        fitted.append(columns.shipped(part))
        return lambda rows: part.predict(columns.inputs(rows))

    predictions, predict = cross_fitted(question, fit)
    return Candidate(f"{recipe.model} (all columns)", predictions, predict, fitted[-1], time.monotonic() - started)


class Columns:
    """All columns of all rows, prepared by what the training rows showed."""

    def __init__(self, question: Question, pictures: tuple[Pictures, ...], train: Rows) -> None:
        self.question = question
        self.pictures = pictures
        self.table = Encoded(question, train) if _others(question) else None
        some = spread(train, WHITENED_ON)
        self.normalise = tuple(Normalise.of(one.array[some]) for one in pictures)
        everything = None if self.table is None else self.table.all
        self.arrays = Inputs(tuple(one.array for one in pictures), everything).arrays()

    @property
    def spec(self) -> InputSpec:
        """What a model is told."""
        parts = [one.spec for one in self.pictures]
        if self.table is not None:
            num_numbers = self.table.all.network_numbers().shape[1]
            parts.append(InputSpec("table", (num_numbers,), self.table.encoder.cardinalities))
        return InputSpec("columns", (), parts=tuple(parts))

    def sample(self, train: Rows) -> tuple[Tensor, ...]:
        """Some training rows as a model is given them."""
        rows = spread(train, WHITENED_ON)
        tensors = [torch.from_numpy(np.ascontiguousarray(array[rows])) for array in self.arrays]
        for place, normalise in enumerate(self.normalise):
            tensors[place] = normalise.pixels(tensors[place])
        return tuple(tensors)

    def batches(self, rows: Rows, recipe: Recipe, *, learning: bool = False) -> ArrayBatches:
        """The rows as a source: shuffled and their pictures augmented for learning, in order and as they are else."""
        augmented = tuple(Augmented(normalise, recipe.augment) for normalise in self.normalise)
        return ArrayBatches(
            self.arrays,
            self.question.truth,
            rows,
            batch_size=recipe.batch_size if learning else 4 * recipe.batch_size,
            shuffle=learning,
            transform=OnPictures(augmented if learning else self.normalise),
        )

    def inputs(self, rows: Rows) -> Inputs:
        """Some of the rows, as parts take them."""
        table = None if self.table is None else self.table.all.take(rows)
        return Inputs(tuple(one.array[rows] for one in self.pictures), table)

    def shipped(self, part: NetworkPart) -> Shipped:
        """The part as something to ship."""
        encoder = None if self.table is None else self.table.encoder
        return Shipped((part,), tuple(one.described() for one in self.pictures), encoder)
