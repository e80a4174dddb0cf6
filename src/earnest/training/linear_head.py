"""A linear model on a network's features, which is a good answer by itself and where fine-tuning starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from torch import nn

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse penalties C tried, from the strongest penalty on, for features whose mean square is 1."""
USUAL_STRENGTH = 0.1
"""Taken where a class has too few examples to choose."""
UNSEEN = -20.0
"""The logit of a class without examples."""
PASSES = 300
MOST_TO_CHOOSE_ON = 2000
"""Rows on which the penalty is chosen, at most."""


@dataclass(frozen=True)
class LinearHead:
    """`features @ weight.T + bias` are logits, or values."""

    weight: NDArray[np.float64]
    """(K, F)"""
    bias: NDArray[np.float64]
    """(K,)"""
    strength: float
    """The inverse penalty chosen."""

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, K) for features (N, F)."""
        return features.astype(np.float64) @ self.weight.T + self.bias

    def install(self, layer: nn.Linear) -> None:
        """Give the weights to a layer of that shape."""
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight))
            layer.bias.copy_(torch.from_numpy(self.bias))


def fit_linear_head(
    features: NDArray[np.float32], truth: NDArray[np.generic], *, num_classes: int | None, seed: int
) -> LinearHead:
    """Softmax regression, or ridge regression where `num_classes` is None, its L2 penalty chosen by cross-validation.

    Features (N, F) are centred and divided by one number: a network's features share a unit, and the small ones are
    small because they matter little. The division is folded into the weights.

    Args:
        features: of the training rows only.
        truth: (N,) class numbers, or values.
        num_classes: of the question; a class without examples gets a low logit.
        seed: of the folds.
    """
    centre = features.mean(0, dtype=np.float64)
    scale = max(float(np.sqrt(np.square(features - centre).mean())), 1e-12)
    x = ((features - centre) / scale).astype(np.float32)
    if num_classes is None:
        ridge = RidgeCV([1 / strength for strength in STRENGTHS]).fit(x, truth)
        weight, bias, strength = np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), 1 / float(ridge.alpha_)
    else:
        some = np.random.default_rng(seed).permutation(len(x))[:MOST_TO_CHOOSE_ON]
        strength = _choose_strength(x[some], truth[some], seed)
        weight, bias = _softmax_rows(_logistic(x, truth, strength), num_classes)
    weight = weight.astype(np.float64) / scale
    return LinearHead(weight, bias - weight @ centre, strength)


def _choose_strength(x: NDArray[np.float32], truth: NDArray[np.generic], seed: int) -> float:
    """The inverse penalty of the lowest cross-validated log loss."""
    _, counts = np.unique(truth, return_counts=True)
    if counts.min() < 2 or len(counts) < 2:
        return USUAL_STRENGTH
    folds = list(StratifiedKFold(min(5, counts.min()), shuffle=True, random_state=seed).split(x, truth))
    losses = []
    for strength in STRENGTHS:
        parts = [(_logistic(x[learned], truth[learned], strength), held) for learned, held in folds]
        losses.append(
            np.mean(
                [log_loss(truth[held], model.predict_proba(x[held]), labels=model.classes_) for model, held in parts]
            )
        )
    return STRENGTHS[int(np.argmin(losses))]


def _logistic(x: NDArray[np.float32], truth: NDArray[np.generic], strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=PASSES, tol=1e-3).fit(x, truth)


def _softmax_rows(model: LogisticRegression, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A row of weights a class of the question; two classes' single row is shared out."""
    rows, biases = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    weight = np.zeros((num_classes, rows.shape[1]))
    bias = np.full(num_classes, UNSEEN)
    weight[model.classes_] = rows
    bias[model.classes_] = biases
    return weight, bias
