"""The scores, under scikit-learn's names and with its values.

Predictions are probabilities (N, classes) for a classification, whose truth is the classes' numbers (N,), and values
(N,) for a regression. Each metric prepares its rows once and then scores any number of resamples of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from earnest.core.errors import OptionError, nearest
from earnest.evaluation.intervals import Floats, Statistic, Weighted

TaskName = Literal["classification", "regression"]
MOST_AUC_CLASSES = 100


@dataclass(frozen=True, slots=True)
class Metric:
    """One score."""

    name: str
    task: TaskName
    prepare: Callable[[NDArray[Any], Floats], Weighted]
    """(truth, predictions) -> the score as a function of (R, N) weights."""
    higher_is_better: bool
    is_proportion: bool = False
    """Whether it is a share of rows, for which Wilson's interval is right."""
    limits: tuple[float, float] = (0.0, 1.0)

    def __call__(self, truth: NDArray[Any], predictions: Floats) -> float:
        """The score on all rows."""
        return float(self.prepare(truth, predictions)(np.ones((1, len(truth))))[0])

    def statistic(self, truth: NDArray[Any], predictions: Floats) -> Statistic:
        """The score to be bootstrapped; an error's scale is the truth's standard deviation."""
        scale = float(np.std(truth)) if self.name in ("rmse", "mae") else 1.0
        return Statistic(self.prepare(truth, predictions), self.limits, scale)

    def better(self, a: float, b: float) -> bool:
        """Whether score `a` is better than `b`."""
        return a > b if self.higher_is_better else a < b


def accuracy(truth: NDArray[np.int64], probabilities: Floats) -> Weighted:
    """Share of rows whose most probable class is the true one."""
    right = (probabilities.argmax(1) == truth).astype(np.float64)
    return lambda weights: weights @ right / weights.sum(1)


def balanced_accuracy(truth: NDArray[np.int64], probabilities: Floats) -> Weighted:
    """Mean recall of the classes that occur."""
    right, true, _ = _class_counts(truth, probabilities)

    def score(weights: Floats) -> Floats:
        support = true(weights)
        recall = np.divide(right(weights), support, out=np.zeros_like(support), where=support > 0)
        return recall.sum(1) / (support > 0).sum(1)

    return score


def f1_macro(truth: NDArray[np.int64], probabilities: Floats) -> Weighted:
    """Mean F1 of the classes that occur in the truth or among the predictions."""
    right, true, predicted = _class_counts(truth, probabilities)

    def score(weights: Floats) -> Floats:
        total = true(weights) + predicted(weights)
        f1 = np.divide(2 * right(weights), total, out=np.zeros_like(total), where=total > 0)
        return f1.sum(1) / (total > 0).sum(1)

    return score


def log_loss(truth: NDArray[np.int64], probabilities: Floats) -> Weighted:
    """Mean negative log-probability of the true class, in nats; probabilities are kept off 0 by float64's epsilon."""
    given = probabilities[np.arange(len(truth)), truth]
    losses = -np.log(np.clip(given, np.finfo(np.float64).eps, 1.0))
    return lambda weights: weights @ losses / weights.sum(1)


def roc_auc(truth: NDArray[np.int64], probabilities: Floats) -> Weighted:
    """Area under the ROC curve: of class 1 for two classes, else the mean over classes of one against the rest.

    Undefined (NaN) where a class is missing.
    """
    if probabilities.shape[1] == 2:
        return _binary_auc(truth == 1, probabilities[:, 1])
    curves = [_binary_auc(truth == k, probabilities[:, k]) for k in range(probabilities.shape[1])]
    return lambda weights: np.mean([curve(weights) for curve in curves], axis=0)


def rmse(truth: Floats, values: Floats) -> Weighted:
    """Root of the mean squared error, in the target's unit."""
    squared = (values - truth) ** 2
    return lambda weights: np.sqrt(weights @ squared / weights.sum(1))


def mae(truth: Floats, values: Floats) -> Weighted:
    """Mean absolute error, in the target's unit."""
    errors = np.abs(values - truth)
    return lambda weights: weights @ errors / weights.sum(1)


def r2(truth: Floats, values: Floats) -> Weighted:
    """Share of the variance that is explained; NaN where the truth does not vary."""
    squared = (values - truth) ** 2
    centred = truth - truth.mean()

    def score(weights: Floats) -> Floats:
        total = weights @ centred**2 - (weights @ centred) ** 2 / weights.sum(1)
        return 1 - np.divide(weights @ squared, total, out=np.full(len(weights), np.nan), where=total > 0)

    return score


INF = float("inf")
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "classification", accuracy, True, is_proportion=True),
        Metric("balanced_accuracy", "classification", balanced_accuracy, True),
        Metric("f1_macro", "classification", f1_macro, True),
        Metric("log_loss", "classification", log_loss, False, limits=(0.0, INF)),
        Metric("roc_auc", "classification", roc_auc, True),
        Metric("rmse", "regression", rmse, False, limits=(0.0, INF)),
        Metric("mae", "regression", mae, False, limits=(0.0, INF)),
        Metric("r2", "regression", r2, True, limits=(-INF, 1.0)),
    )
}


def find_metric(name: str, task: TaskName) -> Metric:
    """The metric called `name`.

    Raises:
        OptionError: there is none, or it is for the other task.
    """
    known = [metric.name for metric in METRICS.values() if metric.task == task]
    if name not in known:
        raise OptionError(
            f"there is no metric {name!r} for a {task}{nearest(name, known)} Known to --metric: {', '.join(known)}."
        )
    return METRICS[name]


def metrics_of(
    task: TaskName, truth: NDArray[Any], num_classes: int | None = None
) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that are defined on these rows, and why each of the others is left out."""
    fitting = [metric for metric in METRICS.values() if metric.task == task]
    left_out: dict[str, str] = {}
    if task == "classification":
        assert num_classes is not None
        missing = num_classes - len(np.unique(truth))
        if missing:
            left_out["roc_auc"] = f"{missing} of {num_classes} classes do not occur among these {len(truth):,} rows"
        elif num_classes > MOST_AUC_CLASSES:
            left_out["roc_auc"] = f"not computed for more than {MOST_AUC_CLASSES} classes"
    elif len(np.unique(truth)) < 2:
        left_out["r2"] = "the target is the same in all of these rows"
    return [metric for metric in fitting if metric.name not in left_out], left_out


def _class_counts(truth: NDArray[np.int64], probabilities: Floats) -> tuple[Weighted, Weighted, Weighted]:
    """For each class: rows predicted rightly, rows of it, rows predicted as it; functions of weights, to (R, C)."""
    num_classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    right = predicted == truth

    def counter(codes: NDArray[np.int64], of: NDArray[np.bool_]) -> Weighted:
        members = csr_matrix((of.astype(np.float64), (codes, np.arange(len(codes)))), (num_classes, len(codes)))
        return lambda weights: np.asarray(members @ weights.T).T

    everything = np.ones(len(truth), dtype=bool)
    return counter(truth, right), counter(truth, everything), counter(predicted, everything)


def _binary_auc(positive: NDArray[np.bool_], scores: Floats) -> Weighted:
    """P(score of a positive > score of a negative), a tie counting half (Mann and Whitney, 1947)."""
    positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    up_to = np.searchsorted(scores[negatives], scores[positives], side="right")
    ties = bool(np.any(below < up_to))

    def score(weights: Floats) -> Floats:
        chosen = weights[:, positives]
        lower = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=lower[:, 1:])
        beaten = (lower[:, below] + lower[:, up_to]) / 2 if ties else lower[:, below]
        pairs = chosen.sum(1) * lower[:, -1]
        return np.divide(
            np.einsum("rn,rn->r", chosen, beaten), pairs, out=np.full(len(weights), np.nan), where=pairs > 0
        )

    return score
