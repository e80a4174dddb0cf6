"""Is one predictor better than another? Both are judged on the same rows, which settles more than two intervals do."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata

from earnest.evaluation.intervals import Floats, Interval, Statistic, Weighted, bootstrap, draws, rule_of_three
from earnest.evaluation.metrics import Metric

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The score of `a` minus that of `b`, and how easily chance alone gives a difference as large."""

    difference: Interval
    p_value: float
    num_rows: int


def paired(
    metric: Metric,
    truth: NDArray[Any],
    a: Floats,
    b: Floats,
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> Comparison:
    """Compare predictions `a` and `b` of the same rows.

    Accuracies by McNemar's exact test in its mid-p form, two-class AUCs by DeLong's, everything else, and everything
    with `groups`, by a paired bootstrap.
    """
    if groups is None and metric.name == "accuracy":
        return mcnemar(a.argmax(1) == truth, b.argmax(1) == truth)
    is_curve = metric.name == "roc_auc" and a.shape[1] == 2
    if groups is None and is_curve and np.bincount(truth, minlength=2).min() > 1:
        return delong(truth == 1, a[:, 1], b[:, 1])
    return _bootstrapped(metric, truth, a, b, seed, groups)


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Comparison:
    """Compare two predictors by the rows that each gets right, shape (N,).

    The p-value is McNemar's exact one, mid-p (Fagerland et al., 2013); the interval is Bonett and Price's (2012), which
    adds one row to each kind of disagreement and so is never of zero width.
    """
    num = len(a)
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    share_a, share_b = (only_a + 1) / (num + 2), (only_b + 1) / (num + 2)
    half = Z * sqrt((share_a + share_b - (share_a - share_b) ** 2) / (num + 2))
    value, centre = (only_a - only_b) / num, share_a - share_b
    interval = Interval(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)))
    few, disagreements = min(only_a, only_b), only_a + only_b
    if disagreements == 0 or only_a == only_b:
        return Comparison(interval, 1.0, num)
    p_value = 2 * binom.cdf(few, disagreements, 0.5) - binom.pmf(few, disagreements, 0.5)
    return Comparison(interval, float(min(1.0, p_value)), num)


def delong(positive: NDArray[np.bool_], a: Floats, b: Floats) -> Comparison:
    """Compare two AUCs of scores (N,) (DeLong et al., 1988; by mid-ranks, Sun and Xu, 2014)."""
    num = len(positive)
    areas, covariance = delong_covariance(positive, np.stack([a, b]))
    value = float(areas[0] - areas[1])
    error = sqrt(max(0.0, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    if error < 1e-12:
        fewest = int(min(positive.sum(), (~positive).sum()))
        surprise = 1.0 if value == 0 else 0.0
        return Comparison(rule_of_three(value, fewest, Statistic(lambda w: w[:, 0], (-1.0, 1.0))), surprise, num)
    interval = Interval(value, max(-1.0, value - Z * error), min(1.0, value + Z * error))
    return Comparison(interval, erfc(abs(value) / error / sqrt(2)), num)


def delong_covariance(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """The AUCs of several scores, shape (K, N) -> (K,), and the covariance of these estimates (K, K).

    Raises:
        AssertionError: fewer than two rows of a class.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    assert num_positive > 1
    assert num_negative > 1
    overall = rankdata(scores, axis=1)
    within_positive = rankdata(scores[:, positive], axis=1)
    within_negative = rankdata(scores[:, ~positive], axis=1)
    above = (overall[:, positive] - within_positive) / num_negative
    below = 1 - (overall[:, ~positive] - within_negative) / num_positive
    covariance = np.atleast_2d(np.cov(above)) / num_positive + np.atleast_2d(np.cov(below)) / num_negative
    return above.mean(1), covariance


def _bootstrapped(
    metric: Metric, truth: NDArray[Any], a: Floats, b: Floats, seed: int, groups: NDArray[np.generic] | None
) -> Comparison:
    of_a, of_b = metric.prepare(truth, a), metric.prepare(truth, b)
    return bootstrapped(of_a, of_b, len(truth), scale=metric.statistic(truth, a).scale, seed=seed, groups=groups)


def bootstrapped(
    of_a: Weighted,
    of_b: Weighted,
    num_rows: int,
    *,
    scale: float = 1.0,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> Comparison:
    """Compare two scores, each a function of the rows' weights, on the same resamples of rows, or of whole groups."""

    def difference(weights: Floats) -> Floats:
        return of_a(weights) - of_b(weights)

    interval = bootstrap([Statistic(difference, scale=scale)], num_rows, seed=seed, groups=groups)[0]
    sample = draws([difference], num_rows, seed=seed, groups=groups)[0]
    sample = sample[np.isfinite(sample)]
    tail = min(int(np.sum(sample <= 0)), int(np.sum(sample >= 0)))
    return Comparison(interval, min(1.0, 2 * (tail + 1) / (len(sample) + 1)), num_rows)
