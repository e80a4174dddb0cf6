"""The numbers of evaluation.json: every score with its interval, and the baselines' beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from earnest.evaluation.compare import paired
from earnest.evaluation.intervals import Floats, Interval, bootstrap, wilson
from earnest.evaluation.metrics import Metric, TaskName, find_metric, metrics_of

NUM_POINTS = 2000
"""Residuals kept for drawing, at most."""


def evaluate(
    truth: NDArray[Any],
    predictions: Floats,
    *,
    task: TaskName,
    labels: Sequence[str],
    baselines: Mapping[str, Floats],
    metric: str,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> dict[str, Any]:
    """Every score of the predictions and of the baselines' on the same rows: evaluation.json's `E`.

    `truth` (N,) class numbers or values; predictions (N, classes) or (N,). `metric` comes first; a score that is not
    defined on these rows is missing, and "left_out" says why.
    """
    chosen = find_metric(metric, task)
    metrics, left_out = metrics_of(task, truth, len(labels))
    metrics.sort(key=lambda each: each is not chosen)
    everyone = [predictions, *baselines.values()]
    own, *others = _scores(metrics, truth, everyone, seed, groups)
    return {
        "n": len(truth),
        "metrics": own,
        "baselines": dict(zip(baselines, others, strict=True)),
        "left_out": left_out,
    }


def score(
    metric: Metric, truth: NDArray[Any], predictions: Floats, *, seed: int, groups: NDArray[np.generic] | None = None
) -> Interval:
    """One score with its interval, as a candidate's line shows it."""
    scores = _scores([metric], truth, [predictions], seed, groups)[0][metric.name]
    return Interval(**scores)


def comparison(
    truth: NDArray[Any],
    predictions: Floats,
    baselines: Mapping[str, Floats],
    *,
    metric: Metric,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> dict[str, Any] | None:
    """The paired comparison with the strongest baseline; None when there is none."""
    strongest: tuple[str, float] | None = None
    for name, values in baselines.items():
        value = metric(truth, values)
        if strongest is None or metric.better(value, strongest[1]):
            strongest = (name, value)
    if strongest is None:
        return None
    found = paired(metric, truth, predictions, baselines[strongest[0]], seed=seed, groups=groups)
    return {
        "against": strongest[0],
        "metric": metric.name,
        "difference": found.difference.as_json(),
        "p_value": found.p_value,
        "n": found.num_rows,
    }


def confusion(truth: NDArray[np.int64], probabilities: Floats, labels: Sequence[str]) -> dict[str, Any]:
    """How often each class (a row) was taken for each (a column)."""
    return {"labels": list(labels), "counts": _counts(truth, probabilities).tolist()}


def per_class(truth: NDArray[np.int64], probabilities: Floats, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Rows, precision, recall and F1 of each class; None where a class gives nothing to divide by."""
    counts = _counts(truth, probabilities)
    lines = []
    for k, label in enumerate(labels):
        right, true, predicted = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        lines.append(
            {
                "label": label,
                "n": true,
                "precision": right / predicted if predicted else None,
                "recall": right / true if true else None,
                "f1": 2 * right / (true + predicted) if true + predicted else None,
            }
        )
    return lines


def residuals(truth: Floats, values: Floats, *, seed: int) -> dict[str, list[float]]:
    """Actual and predicted values, a sample of at most `NUM_POINTS` rows."""
    chosen = np.arange(len(truth))
    if len(chosen) > NUM_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(truth), NUM_POINTS, replace=False))
    return {"actual": truth[chosen].tolist(), "predicted": values[chosen].tolist()}


def _scores(
    metrics: Sequence[Metric],
    truth: NDArray[Any],
    predictors: Sequence[Floats],
    seed: int,
    groups: NDArray[np.generic] | None,
) -> list[dict[str, dict[str, float]]]:
    """For each predictor the intervals by metric: Wilson's for shares of independent rows, else the bootstrap's."""
    bootstrapped = [metric for metric in metrics if groups is not None or not metric.is_proportion]
    statistics = [metric.statistic(truth, values) for values in predictors for metric in bootstrapped]
    num = _affordable_resamples(len(truth), predictors[0])
    found = iter(bootstrap(statistics, len(truth), seed=seed, num=num, groups=groups) if statistics else [])
    results = []
    for values in predictors:
        by_name = {metric.name: next(found) for metric in bootstrapped}
        for metric in metrics:
            if metric.name not in by_name:
                by_name[metric.name] = wilson(round(metric(truth, values) * len(truth)), len(truth))
        results.append({metric.name: by_name[metric.name].as_json() for metric in metrics})
    return results


def _affordable_resamples(num_rows: int, predictions: Floats) -> int:
    """1,000 where they take a second or so, never under 400: the tails of an interval need some."""
    columns = predictions.shape[1] if predictions.ndim == 2 and predictions.shape[1] > 2 else 1
    return max(400, min(1000, 50_000_000 // (num_rows * columns)))


def _counts(truth: NDArray[np.int64], probabilities: Floats) -> NDArray[np.int64]:
    num_classes = probabilities.shape[1]
    ones = np.ones(len(truth), dtype=np.int64)
    return np.asarray(coo_matrix((ones, (truth, probabilities.argmax(1))), (num_classes, num_classes)).toarray())
