"""What any network has to beat: always the same answer, and a linear model.

Each is fitted on training rows, its penalty chosen on validation rows, and predicts with NumPy alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from earnest.evaluation.intervals import Floats

Features = NDArray[np.float32]

MOST_PIXELS = 1024
"""Values an image is pooled down to, at most."""
MOST_WORK = 2e9
"""Rows x features x (outputs + 20) that a linear model is given, at most: about 10 seconds on two cores."""
FARTHEST = 10.0
"""Standardised features are cut off here, so that one absurd value cannot decide an answer."""
PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Strengths of the squared penalty, per row, from strong to weak."""
NUM_STEPS = 40
"""L-BFGS steps for each penalty; each starts where the one before ended."""
NUM_TUNING_ROWS = 10_000
"""Rows on which the penalty of a softmax regression is chosen, at most."""


class Baseline(Protocol):
    """A fitted predictor."""

    name: str
    seconds: float

    def predict(self, features: NDArray[np.generic]) -> Floats:
        """Probabilities (N, classes) or values (N,) for features (N, ...)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same answer for every row: the classes' shares (C,), or one value (1,)."""

    name: str
    answer: Floats
    seconds: float = 0.0

    def predict(self, features: NDArray[np.generic]) -> Floats:
        """`answer` for each of the N rows."""
        answers = np.tile(self.answer, (len(features), 1))
        return answers if len(self.answer) > 1 else answers[:, 0]


def majority_class(truth: NDArray[np.int64], num_classes: int) -> Constant:
    """The training rows' class shares, one pseudo-row added to each class so that none is impossible."""
    counts = np.bincount(truth, minlength=num_classes) + 1.0
    return Constant("majority class", counts / counts.sum())


def mean(truth: Floats) -> Constant:
    """The training rows' mean, which squared errors are smallest about."""
    return Constant("mean", np.array([np.mean(truth)]))


def median(truth: Floats) -> Constant:
    """The training rows' median, which absolute errors are smallest about."""
    return Constant("median", np.array([np.median(truth)]))


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear model on standardised features: softmax regression, or ridge regression when there is one output."""

    name: str
    mean: Floats
    """(F,)"""
    scale: Floats
    """(F,)"""
    coef: Floats
    """(outputs, F), on standardised features."""
    intercept: Floats
    """(outputs,)"""
    penalty: float = 0.0
    seconds: float = 0.0

    def predict(self, features: NDArray[np.generic]) -> Floats:
        """Probabilities (N, classes), or values (N,) of a regression, for features (N, F)."""
        outputs = np.empty((len(features), len(self.intercept)))
        for start in range(0, len(features), 8192):
            part = slice(start, start + 8192)
            outputs[part] = _standardise(features[part], self.mean, self.scale) @ self.coef.T + self.intercept
        return softmax(outputs, axis=1) if len(self.intercept) > 1 else outputs[:, 0]

    def arrays(self) -> dict[str, Floats]:
        """What there is to save."""
        return {"mean": self.mean, "scale": self.scale, "coef": self.coef, "intercept": self.intercept}


def linear(
    train: tuple[NDArray[np.generic], NDArray[np.generic]],
    validation: tuple[NDArray[np.generic], NDArray[np.generic]],
    *,
    num_classes: int | None,
    seed: int,
    max_rows: int | None = None,
    name: str = "linear",
) -> Linear:
    """Fit a linear model on `train`, (features (N, F), truth (N,)); `validation`, likewise, chooses the penalty.

    `num_classes` None asks for a regression. More than `max_rows` rows (by default what takes seconds) are sampled, and
    the name then says so: "linear (10,000 of 60,000 rows)". Features are finite.
    """
    started = time.monotonic()
    random = np.random.default_rng(seed)
    features, truth = train
    num_rows, num_features = features.shape
    if max_rows is None:
        max_rows = max(1000, int(MOST_WORK / (max(1, num_features) * ((num_classes or 1) + 20))))
    if num_rows > max_rows:
        chosen = np.sort(random.choice(num_rows, max_rows, replace=False))
        features, truth = features[chosen], truth[chosen]
        name = f"{name} ({max_rows:,} of {num_rows:,} rows)"
    centre = features.mean(0, dtype=np.float64)
    spread = features.std(0, dtype=np.float64)
    scale = np.where(spread > 1e-8 * (1 + np.abs(centre)), spread, 1.0)
    x = _standardise(features, centre, scale)
    seen = _standardise(validation[0], centre, scale)
    if num_classes is None:
        coef, intercept, penalty = _ridge(x, truth.astype(np.float64), seen, validation[1].astype(np.float64))
    else:
        coef, intercept, penalty = _softmax_regression(x, truth, seen, validation[1], num_classes, random)
    return Linear(name, centre, scale, coef, intercept, penalty, time.monotonic() - started)


def pixels(images: NDArray[np.uint8]) -> Features:
    """Pixels (N, H, W, C) as features (N, F), averaged over squares as small as `MOST_PIXELS` allows."""
    num, height, width, channels = images.shape
    side = 1
    while max(1, height // side) * max(1, width // side) * channels > MOST_PIXELS:
        side += 1
    down, across = max(1, height // side), max(1, width // side)
    tall, wide = min(side, height), min(side, width)
    features = np.empty((num, down * across * channels), dtype=np.float32)
    for start in range(0, num, 2048):
        part = images[start : start + 2048]
        total = np.zeros((len(part), down, across, channels), dtype=np.float32)
        for y, x in product(range(tall), range(wide)):
            total += part[:, y : down * tall : tall, x : across * wide : wide]
        features[start : start + 2048] = total.reshape(len(part), -1) / (tall * wide)
    return features


def _standardise(features: NDArray[np.generic], centre: Floats, scale: Floats) -> Features:
    x = np.asarray(features).astype(np.float32)
    x -= centre.astype(np.float32)
    x /= scale.astype(np.float32)
    return np.clip(x, -FARTHEST, FARTHEST, out=x)


def _softmax_regression(
    x: Features,
    truth: NDArray[np.generic],
    seen: Features,
    seen_truth: NDArray[np.generic],
    num_classes: int,
    random: np.random.Generator,
) -> tuple[Floats, Floats, float]:
    """Weights (C, F), intercepts (C,) and penalty.

    The penalty with the least validation log-loss is found on a sample of the rows; the fit to all starts there.
    """
    sample = random.permutation(len(x))[:NUM_TUNING_ROWS]
    few, few_truth = x[sample], truth[sample]
    parameters = np.zeros(num_classes * (x.shape[1] + 1))
    best = (np.inf, parameters, PENALTIES[0])
    for penalty in PENALTIES:
        parameters = _descend(few, few_truth, parameters, penalty, num_classes)
        weights, bias = _unpack(parameters, num_classes)
        loss = -log_softmax(seen @ weights.T + bias, axis=1)[np.arange(len(seen)), seen_truth].mean()
        if loss >= best[0]:
            break
        best = (float(loss), parameters, penalty)
    _, parameters, penalty = best
    if len(x) > len(few):
        parameters = _descend(x, truth, parameters, penalty, num_classes)
    weights, bias = _unpack(parameters, num_classes)
    return weights, bias, penalty


def _descend(x: Features, truth: NDArray[np.generic], start: Floats, penalty: float, num_classes: int) -> Floats:
    """`start` after `NUM_STEPS` of L-BFGS on the mean log-loss plus penalty/2 of the squared weights."""
    rows = np.arange(len(x))

    def cost(flat: Floats) -> tuple[float, Floats]:
        weights, bias = _unpack(flat, num_classes)
        log_probabilities = log_softmax(x @ weights.T.astype(np.float32) + bias.astype(np.float32), axis=1)
        value = -float(log_probabilities[rows, truth].mean(dtype=np.float64)) + penalty / 2 * float((weights**2).sum())
        errors = np.exp(log_probabilities)
        errors[rows, truth] -= 1
        gradient = (errors.T @ x).astype(np.float64) / len(x) + penalty * weights
        return value, np.concatenate([gradient.ravel(), errors.mean(0, dtype=np.float64)])

    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": NUM_STEPS}).x
    return np.asarray(found)


def _unpack(flat: Floats, num_classes: int) -> tuple[Floats, Floats]:
    return flat[:-num_classes].reshape(num_classes, -1), flat[-num_classes:]


def _ridge(x: Features, truth: Floats, seen: Features, seen_truth: Floats) -> tuple[Floats, Floats, float]:
    """Weights (1, F), intercept (1,) and penalty with the least squared validation error, in closed form."""
    centre = x.mean(0, dtype=np.float64)
    middle = truth.mean()
    gram = (x.T @ x).astype(np.float64) / len(x) - np.outer(centre, centre)
    moment = (x.T @ (truth - middle).astype(np.float32)).astype(np.float64) / len(x)
    values, vectors = np.linalg.eigh(gram)
    best: tuple[float, Floats, float] | None = None
    for penalty in PENALTIES:
        weights = vectors @ ((vectors.T @ moment) / (np.maximum(values, 0.0) + penalty))
        error = float(np.mean(((seen - centre) @ weights + middle - seen_truth) ** 2))
        if best is None or error < best[0]:
            best = (error, weights, penalty)
    assert best is not None
    return best[1][None], np.array([middle - centre @ best[1]]), best[2]
