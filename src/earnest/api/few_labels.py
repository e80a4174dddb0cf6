"""Learning from rows without an answer too, beside twins that learn from the labelled ones alone.

Much of what such methods gain comes from training longer, and from strong views. So that it is not taken for what the
unlabelled rows gave, the twins have the same network and as many steps: one sees the usual views, one strong views.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.api import recipes
from earnest.api.deadline import has_time
from earnest.api.frozen import Frozen
from earnest.api.model_folder import Shipped
from earnest.api.networks import Fit, a_while, fit_network
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Floats, Predict, Question, Rows, cross_fitted
from earnest.api.unlabelled import LEAST
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import Batch, InputSpec, Source, Step
from earnest.data.batches import ArrayBatches, Transform
from earnest.data.unlabelled import UnlabelledBatches
from earnest.tasks.classification import Classification
from earnest.tasks.semi_supervised import SoftMatch
from earnest.training import processes
from earnest.training.linear_head import LinearHead

LONGER, STRONGER, METHOD = "more steps", "strong views", "SoftMatch"
WAYS = (LONGER, STRONGER, METHOD)
BATCH, BESIDE = 64, 5
"""Labelled rows in a batch, at most, and unlabelled ones to each of them."""
LEAST_STEPS = 300
"""Fewer would do little, however small the data."""
SHARE = {LONGER: 0.2, STRONGER: 0.25, METHOD: 0.7}
"""Of the time that is left when it is a way's turn."""
LOOK_SHARE = 0.25
"""Of the time that is left, what looks at unlabelled rows may take."""
HEAD = Recipe(model="mlp", epochs=30, optimiser="adamw", lr=1e-3, weight_decay=0.01, schedule="cosine", warmup=0.05)
DROPOUT = 0.3
"""Of the features, in the views that a linear head learns from."""

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Views:
    """Rows with and without an answer, and how both are seen."""

    labelled: Arrays
    """Row for row with the data set."""
    unlabelled: Arrays
    weak: Transform | None
    strong: Transform

    def batch_size(self, train: Rows) -> int:
        """Labelled rows in a batch."""
        return min(BATCH, len(train), len(self.unlabelled[0]))

    def batches(self, question: Question, train: Rows, way: str) -> ArrayBatches | UnlabelledBatches:
        """What is learned from."""
        size = self.batch_size(train)

        def some(arrays: Arrays, truth: NDArray[Any] | None, rows: Rows, num: int, view: Transform | None) -> Any:
            return ArrayBatches(arrays, truth, rows, batch_size=num, shuffle=True, transform=view)

        if way != METHOD:
            return some(self.labelled, question.truth, train, size, self.weak if way == LONGER else self.strong)
        known = some(self.labelled, question.truth, train, size, self.weak)
        others = some(self.unlabelled, None, np.arange(len(self.unlabelled[0])), BESIDE * size, self.weak)
        return UnlabelledBatches(known, others, strong=self.strong)


@dataclass(frozen=True)
class Pupil:
    """A network and how it is taught."""

    name: str
    build: Callable[[], nn.Module]
    recipe: Recipe
    """Its epochs are passes over the unlabelled rows."""
    views: Views
    rise: float = 0.5
    """See `SemiSupervised`; 0 for a network that knows something already."""


def taught(
    bench: Bench, question: Question, pupil: Pupil, way: str, *, fold: str, train: Rows, validation: Source | None
) -> nn.Module:
    """The network, taught in one of `WAYS`; all take as many steps, unless time runs out."""
    plain, views = task_for(question, pupil.recipe, train), pupil.views
    assert isinstance(plain, Classification)
    fits = len(question.folds) + 1
    seconds = recipes.seconds_for(bench.request, len(train) + len(views.unlabelled[0])) / fits
    bench = a_while(bench, 1 / (fits + 1 - int(fold.removeprefix("fold-") or fits)))  # each fit has its share
    source, steps = views.batches(question, train, way), views.batches(question, train, METHOD).num_batches()
    size = views.batch_size(train)
    epochs = bench.request.epochs or max(pupil.recipe.epochs, math.ceil(LEAST_STEPS / steps))
    name = f"{pupil.name}-{way}".replace(" ", "-").lower()
    state = fit_network(
        bench,
        Fit(
            name="-".join(filter(None, (name, fold))),
            build=pupil.build,
            task=_semi_supervised(plain, pupil.rise) if way == METHOD else plain,
            source=source,
            validation=validation,
            recipe=pupil.recipe.but(epochs=math.ceil(epochs * steps / source.num_batches()), batch_size=size),
            seconds=seconds,
            paced_as=f"{name}-fold-1" if question.folds else None,
        ),
    )
    return state.model


def candidate(
    name: str, way: str, predictions: Floats, predict: Predict, shipped: Shipped, seconds: float
) -> Candidate:
    """What was taught in one of `WAYS`, as something to compare and to ship."""
    return Candidate(f"{name} ({way})", predictions, predict, shipped, seconds, unlabelled=way == METHOD)


def _semi_supervised(plain: Classification, rise: float) -> SoftMatch:
    """The same question, for labelled and unlabelled rows together."""
    return SoftMatch(
        plain.num_classes,
        rise=rise,
        metric=plain.metric,
        score=plain.score,
        higher_is_better=plain.higher_is_better,
        label_smoothing=plain.label_smoothing,
        views=plain.views,
    )


def in_turn(bench: Bench, question: Question, fit: Callable[[Bench, str], Candidate]) -> Iterator[Candidate]:
    """The twins, then what learns from unlabelled rows too, where there are some and there is time."""
    if question.unlabelled is None:
        return
    for way in WAYS:
        if has_time(bench, f"learning with {way}"):
            yield fit(a_while(bench, SHARE[way]), way)


def on_features(bench: Bench, question: Question, frozen: Frozen) -> Iterator[Candidate]:
    """The linear model on frozen features, from where the one that learned from labels alone came to.

    Weak views are features, strong ones those of an altered copy of the row; dropout goes over both.
    """
    if question.unlabelled is None or not has_time(bench, "a look at unlabelled rows"):
        return
    started = time.monotonic()
    labelled, unlabelled = _two_views(bench, question, frozen)
    scale = Scale.of(unlabelled[:, 0])
    views = Views((scale(labelled),), (scale(unlabelled),), itself, altered_copy)
    looked = time.monotonic() - started
    yield from in_turn(
        bench, question, lambda its, way: _linear(its, question, frozen, views, scale, way, seconds=looked)
    )


def _linear(
    bench: Bench, question: Question, frozen: Frozen, views: Views, scale: Scale, way: str, *, seconds: float
) -> Candidate:
    started = time.monotonic()
    spec = InputSpec("vector", (frozen.features.shape[1],))
    task = task_for(question, frozen.recipe, question.split.train)

    def fit(fold: str, train: Rows, validation: Rows) -> Predict:
        def build() -> nn.Module:
            network = models[HEAD.model].build(spec, question.num_classes or 1, hidden=(), dropout=DROPOUT)
            scale.scaled(frozen.heads[fold]).install(network.head)
            return network

        pupil = Pupil(f"{frozen.architecture}-linear", build, HEAD, views, rise=0.0)
        held = None
        if len(validation):
            held = ArrayBatches(views.labelled, question.truth, validation, batch_size=4096, transform=itself)
        known = frozen.known(train)
        network: Any = taught(bench, question, pupil, way, fold=fold, train=known, validation=held)
        head = frozen.heads[f"{way} {fold}"] = scale.unscaled(network.head)
        return lambda rows: frozen.answers(head, task, rows)

    predictions, predict = cross_fitted(question, fit)
    shipped = frozen.shipped(frozen.part(frozen.model(f"{way} "), task))
    took = frozen.seconds + seconds + time.monotonic() - started
    return candidate(f"frozen {frozen.architecture} + linear", way, predictions, predict, shipped, took)


@dataclass(frozen=True)
class Scale:
    """Features centred and divided by one number, as `fit_linear_head` has them."""

    centre: NDArray[np.float64]
    deviation: float

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Scale:
        """From features (N, F)."""
        centre = features.mean(0, dtype=np.float64)
        return cls(centre, max(float(np.sqrt(np.square(features - centre).mean())), 1e-12))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (..., F) on that scale."""
        return ((features - self.centre) / self.deviation).astype(np.float32)

    def scaled(self, head: LinearHead) -> LinearHead:
        """The head that says of scaled features what `head` says of others."""
        return LinearHead(head.weight * self.deviation, head.bias + head.weight @ self.centre, head.strength)

    def unscaled(self, layer: nn.Linear) -> LinearHead:
        """The head that says of features what `layer` says of scaled ones."""
        weight = layer.weight.detach().cpu().double().numpy() / self.deviation
        return LinearHead(weight, layer.bias.detach().cpu().double().numpy() - weight @ self.centre, math.nan)


def itself(batch: Batch, step: Step) -> Batch:
    """The features of the rows, of (B, 2, F) with those of altered copies."""
    assert isinstance(batch.inputs, Tensor)
    return replace(batch, inputs=batch.inputs[:, 0])


def altered_copy(batch: Batch, step: Step) -> Batch:
    """The features of the altered copies, of the same."""
    assert isinstance(batch.inputs, Tensor)
    return replace(batch, inputs=batch.inputs[:, 1])


def _two_views(bench: Bench, question: Question, frozen: Frozen) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, 2, F) of rows and of altered copies: of the labelled ones that are learned from, and of the others.

    Of the others as many as there is time to look at; decided once, kept in run.json.
    """
    assert question.unlabelled is not None
    num = len(question.unlabelled.dataset)
    decided = processes.of_first(bench.run.facts().get("unlabelled_rows", {}))
    if frozen.architecture not in decided:
        seconds = min(recipes.fine_tuning_seconds(bench.request), bench.clock.left() - recipes.reserve(bench.request))
        most = max(LEAST, int(LOOK_SHARE * seconds / (2 * frozen.seconds_a_look())))
        decided[frozen.architecture] = processes.of_first(min(num, most))
        bench.run.update(unlabelled_rows=decided)
    kept = decided[frozen.architecture]
    if kept < num:
        bench.screen.say(f"{kept:,} of {num:,} rows without an answer are looked at: more would take too long")
    learned = frozen.known(question.scored if question.folds else question.split.train)
    labelled = np.repeat(frozen.features[:, None], 2, axis=1)
    labelled[learned, 1] = frozen.altered(learned)
    rows = np.linspace(0, num - 1, kept).astype(np.int64)
    return labelled, frozen.of_unlabelled(question.unlabelled, rows)
