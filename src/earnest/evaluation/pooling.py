"""Several models' probabilities as one: a logarithmic pool, weighed by what rows say that none of them learned from.

p(c) is proportional to the product of p_k(c) ** w_k, w_k >= 0 (C. Genest & J. Zidek, "Combining probability
distributions", Statistical Science 1986, section 3). Other than an average it also mends a model that is always too
sure, or too unsure: its weight is its inverse temperature.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from earnest.evaluation.calibration import logits_of

Floats = NDArray[np.float64]


def pooled(answers: Sequence[Floats], weights: Floats) -> Floats:
    """The pool (N, C) of probabilities (N, C) of each of K models; weights (K,)."""
    logits = np.tensordot(weights, [logits_of(its) for its in answers], axes=1)
    return np.asarray(softmax(logits, axis=1))


def fit_pool(answers: Sequence[Floats], truth: NDArray[np.int64]) -> Floats:
    """The weights (K,) under which the true classes (N,) are likeliest.

    They are drawn to 1 / K, as by the word of one more row, so that few rows do not say too much.
    """
    logits = np.stack([logits_of(its) for its in answers])
    of_truth = logits[:, np.arange(len(truth)), truth]
    equal = np.full(len(answers), 1 / len(answers))

    def loss(weights: Floats) -> tuple[float, Floats]:
        mixed = np.tensordot(weights, logits, axes=1)
        nats = -log_softmax(mixed, axis=1)[np.arange(len(truth)), truth].sum()
        expected = (softmax(mixed, axis=1) * logits).sum((1, 2))
        away = weights - equal
        return (nats + away @ away) / len(truth), (expected - of_truth.sum(1) + 2 * away) / len(truth)

    found = minimize(loss, equal, jac=True, bounds=[(0, None)] * len(answers), method="L-BFGS-B")
    return np.asarray(found.x)
