"""The question as training sees it: rows, parts, true answers, and what to select by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.api.model_folder import Shipped
from earnest.api.request import Request
from earnest.core.progress import Screen, duration
from earnest.core.run import Run
from earnest.core.words import Clock
from earnest.data.dataset import Dataset, Split
from earnest.evaluation.metrics import Metric, TaskName

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Predict = Callable[[Rows], Floats]
"""From positions of rows to probabilities (N, C) or values (N,)."""

SMALL = 1000
SMALL_TEXTS = 2000
"""Below so many rows to learn from, or texts, scores are cross-fitted and the shipped model is fitted on all of them:
with texts, most candidates are linear models on features that are computed once."""
NUM_FOLDS = 5
KEPT_BACK = 5
"""Where there is no validation part, every fifth row to learn from is kept back."""


@dataclass(frozen=True)
class Unlabelled:
    """Rows without an answer, to learn from beside those that have one; none of them is among those."""

    dataset: Dataset
    """With the input columns alone."""
    pictures: NDArray[np.uint8] | None = None
    """(N, H, W, C), decoded as those with an answer are."""
    taken_out: int = 0
    """Rows that were among those with an answer too."""


@dataclass(frozen=True)
class Question:
    """What is asked, over which rows."""

    dataset: Dataset
    split: Split
    task: TaskName
    labels: tuple[str, ...]
    """Class names by number; empty for a regression."""
    truth: NDArray[Any]
    """(N,) class numbers or values, for every row."""
    metric: Metric
    groups: NDArray[np.generic] | None
    """(N,) what rows belong together, or None."""
    folds: tuple[tuple[Rows, Rows], ...]
    """(train, held out) positions for cross-fitting; empty when there are rows enough for a validation part."""
    unlabelled: Unlabelled | None = None

    @property
    def num_classes(self) -> int | None:
        """None for a regression."""
        return len(self.labels) if self.task == "classification" else None

    @property
    def scored(self) -> Rows:
        """The rows on which candidates are compared: the validation part, or all that are cross-fitted."""
        if not self.folds:
            return self.split.validation
        return np.sort(np.concatenate([held_out for _, held_out in self.folds]))

    def score(self, predictions: Floats) -> float:
        """The metric of predictions for the scored rows."""
        return self.metric(self.truth[self.scored], predictions)


@dataclass(frozen=True)
class Bench:
    """What every candidate is fitted with: the run, its clock and its screen."""

    run: Run
    request: Request
    clock: Clock
    screen: Screen
    device: str

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.request.seed


@dataclass(frozen=True)
class Candidate:
    """A fitted model that could be shipped."""

    name: str
    predictions: Floats
    """For `Question.scored`, by models that had not seen those rows."""
    predict: Predict
    """For any other rows, by the model that would be shipped."""
    shipped: Shipped
    seconds: float
    note: str = ""
    unlabelled: bool = False
    """Whether it learned from rows without an answer too."""


def cross_fitted(question: Question, fit: Callable[[str, Rows, Rows], Predict]) -> tuple[Floats, Predict]:
    """Honest predictions for the scored rows, and the model to ship.

    `fit(name, train, validation)` gives a predictor. With rows enough it is called once. With few, it is called for
    each fold, with no validation rows, then once more on all rows; `name` tells the fits apart.
    """
    nobody = np.empty(0, np.int64)
    if not question.folds:
        predict = remembered(fit("", question.split.train, question.split.validation))
        return predict(question.split.validation), predict
    scored = question.scored
    predictions: Floats | None = None
    for number, (train, held_out) in enumerate(question.folds):
        answers = fit(f"fold-{number + 1}", train, nobody)(held_out)
        if predictions is None:
            predictions = np.zeros((len(scored), *answers.shape[1:]))
        predictions[np.searchsorted(scored, held_out)] = answers
    assert predictions is not None
    return predictions, remembered(fit("", scored, nobody))


def remembered(predict: Predict) -> Predict:
    """`predict`, which answers at once when it is asked for the same rows as the last time."""
    last: list[tuple[bytes, Floats]] = []

    def answer(rows: Rows) -> Floats:
        key = rows.tobytes()
        if not last or last[0][0] != key:
            last[:] = [(key, predict(rows))]
        return last[0][1]

    return answer


def tell(bench: Bench, question: Question, candidate: Candidate) -> None:
    """Log a candidate that was just fitted, and show it with its score and its seconds."""
    score = question.score(candidate.predictions)
    bench.run.log("rung", name=candidate.name, score=score, seconds=candidate.seconds)
    bench.screen.say(f"{candidate.name}: {question.metric.name} {score:.4g}, {duration(candidate.seconds)}")


def with_validation(train: Rows, validation: Rows) -> tuple[Rows, Rows]:
    """Rows to learn from and rows to choose or stop by; the same ones where there are too few to keep any back."""
    if len(validation):
        return train, validation
    if len(train) < KEPT_BACK:
        return train, train
    return np.delete(train, np.s_[::KEPT_BACK]), train[::KEPT_BACK]
