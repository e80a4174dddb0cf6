"""What any network has to beat: always the same answer, and a linear model.

The linear model is fitted on training rows, its penalty chosen on validation rows. On TF-IDF it is the first honest
rung for texts (Wang and Manning 2012, "Baselines and bigrams").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from earnest.evaluation.design import Design, stacked
from earnest.evaluation.intervals import Floats

Features = NDArray[np.generic] | Design
"""(N, F), or with texts (N, F + V)."""
Rows = tuple[Design, NDArray[Any]]
"""Standardised features and truth (N,)."""
Loss = Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]
"""From outputs (N, C) and truth (N,) to the mean loss, and N times its gradient (N, C)."""

MOST_PIXELS = 1024
"""Values an image is pooled down to, at most."""
MOST_WORK = 2e9
"""rows x features x (outputs + 20) that a linear model is given, at most, sparse entries counted `SPARSE_COST` times:
about 10 seconds on two cores, 30 with texts."""
PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Strengths of the squared penalty, per row, from strong to weak."""
PENALTIES_WITH_TEXTS = tuple(10 ** (-step / 2) for step in range(4, 14))
"""Likewise, where there are texts."""
NUM_STEPS = 40
"""L-BFGS steps for each penalty; each starts where the one before ended."""
TUNING_WORK = 5e8
"""What the penalty of a softmax regression is chosen with, at most, unless these are fewer than `TUNING_ROWS`."""
TUNING_ROWS = 10_000


class Baseline(Protocol):
    """A fitted predictor."""

    name: str
    seconds: float

    def predict(self, features: Features) -> Floats:
        """Probabilities (N, classes) or values (N,) for features (N, ...)."""


@dataclass(frozen=True, slots=True)
class Constant:
    """The same answer for every row: the classes' shares (C,), or one value (1,)."""

    name: str
    answer: Floats
    seconds: float = 0.0

    def predict(self, features: Features) -> Floats:
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
    """(outputs, F + V), on standardised features, then on texts."""
    intercept: Floats
    """(outputs,)"""
    penalty: float = 0.0
    seconds: float = 0.0

    def predict(self, features: Features) -> Floats:
        """Probabilities (N, classes), or values (N,) of a regression, for features (N, F) or (N, F + V)."""
        design = Design.of(features)
        outputs = np.empty((len(design), len(self.intercept)))
        for start in range(0, len(design), 8192):
            part = design[start : start + 8192].standardised(self.mean, self.scale)
            outputs[start : start + 8192] = part.outputs(self.coef, self.intercept)
        return softmax(outputs, axis=1) if len(self.intercept) > 1 else outputs[:, 0]

    def arrays(self) -> dict[str, Floats]:
        """What there is to save."""
        return {"mean": self.mean, "scale": self.scale, "coef": self.coef, "intercept": self.intercept}


def linear(
    train: tuple[Features, NDArray[np.generic]],
    validation: tuple[Features, NDArray[np.generic]],
    *,
    num_classes: int | None,
    seed: int,
    refit: bool = False,
    max_rows: int | None = None,
    name: str = "linear",
) -> Linear:
    """Fit a linear model on `train`, (features, truth (N,)); `validation`, likewise, chooses the penalty.

    `num_classes` None asks for a regression. `refit` fits again on both, once the penalty is chosen. More than
    `max_rows` rows (by default what takes seconds) are sampled, and the name then says so: "linear (10,000 of 60,000
    rows)". Features are finite.
    """
    started = time.monotonic()
    random = np.random.default_rng(seed)
    design, truth = Design.of(train[0]), train[1]
    num_rows, num_outputs = len(design), num_classes or 1
    if max_rows is None:
        max_rows = max(1000, int(MOST_WORK / (design.cost_of_row * (num_outputs + 20))))
    if num_rows > max_rows:
        chosen = np.sort(random.choice(num_rows, max_rows, replace=False))
        design, truth = design[chosen], truth[chosen]
        name = f"{name} ({max_rows:,} of {num_rows:,} rows)"
    centre = design.dense.mean(0, dtype=np.float64)
    spread = design.dense.std(0, dtype=np.float64)
    scale = np.where(spread > 1e-8 * (1 + np.abs(centre)), spread, 1.0)
    seen = (Design.of(validation[0]).standardised(centre, scale), validation[1])
    fit = _by_descent if num_classes is not None or design.texts.shape[1] else _ridge
    coef, intercept, penalty = fit((design.standardised(centre, scale), truth), seen, num_classes, random, refit)
    return Linear(name, centre, scale, coef, intercept, penalty, time.monotonic() - started)


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
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


def _by_descent(
    train: Rows, seen: Rows, num_classes: int | None, random: np.random.Generator, refit: bool
) -> tuple[Floats, Floats, float]:
    """Weights (C, F + V), intercepts (C,) and penalty, of a softmax regression or of least squares.

    The penalty with the least validation loss is found on a sample of the rows; the fit to all starts there.
    """
    (x, truth), (seen_x, seen_truth) = train, seen
    centre, scale, loss = 0.0, 1.0, _log_loss
    if num_classes is None:
        centre, scale, loss = float(truth.mean()), float(truth.std()) or 1.0, _squared_error
        truth, seen_truth = ((values - centre) / scale for values in (truth, seen_truth))
    num_outputs = num_classes or 1
    num_tuning = max(TUNING_ROWS, int(TUNING_WORK / (x.cost_of_row * (num_outputs + 20))))
    sample = random.permutation(len(x))[:num_tuning]
    few, few_truth = (x, truth) if len(sample) == len(x) else (x[sample], truth[sample])
    parameters = np.zeros(num_outputs * (x.num_features + 1))
    best = (np.inf, parameters, 0.0)
    for penalty in PENALTIES_WITH_TEXTS if x.texts.shape[1] else PENALTIES:
        parameters = _descend(few, few_truth, parameters, penalty, num_outputs, loss)
        weights, bias = _unpack(parameters, num_outputs)
        found, _ = loss(seen_x.outputs(weights, bias), seen_truth)
        if found >= best[0]:
            break
        best = (found, parameters, penalty)
    _, parameters, penalty = best
    if refit:
        x, truth = stacked([x, seen_x]), np.concatenate([truth, seen_truth])
    if len(x) > len(few):
        parameters = _descend(x, truth, parameters, penalty, num_outputs, loss)
    weights, bias = _unpack(parameters, num_outputs)
    return weights * scale, bias * scale + centre, penalty


def _descend(
    x: Design, truth: NDArray[np.generic], start: Floats, penalty: float, num_outputs: int, loss: Loss
) -> Floats:
    """`start` after `NUM_STEPS` of L-BFGS on the mean loss plus penalty/2 of the squared weights."""

    def cost(flat: Floats) -> tuple[float, Floats]:
        weights, bias = _unpack(flat, num_outputs)
        value, errors = loss(x.outputs(weights.astype(np.float32), bias.astype(np.float32)), truth)
        gradient = x.gradient(errors) / len(x) + penalty * weights
        value += penalty / 2 * float((weights**2).sum())
        return value, np.concatenate([gradient.ravel(), errors.mean(0, dtype=np.float64)])

    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": NUM_STEPS}).x
    return np.asarray(found)


def _log_loss(outputs: NDArray[Any], truth: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    rows = np.arange(len(truth))
    log_probabilities = log_softmax(outputs, axis=1)
    errors = np.exp(log_probabilities)
    errors[rows, truth] -= 1
    return -float(log_probabilities[rows, truth].mean(dtype=np.float64)), errors


def _squared_error(outputs: NDArray[Any], truth: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    errors = outputs - truth[:, None].astype(outputs.dtype)
    return float((errors**2).mean(dtype=np.float64)) / 2, errors


def _unpack(flat: Floats, num_outputs: int) -> tuple[Floats, Floats]:
    return flat[:-num_outputs].reshape(num_outputs, -1), flat[-num_outputs:]


def _ridge(
    train: Rows, seen: Rows, num_classes: int | None, random: np.random.Generator, refit: bool
) -> tuple[Floats, Floats, float]:
    """Weights (1, F), intercept (1,) and penalty with the least squared validation error, in closed form."""
    (x, truth), (seen_x, seen_truth) = train, seen
    solve = _ridge_solver(x.dense, truth)
    errors = []
    for penalty in PENALTIES:
        weights, intercept = solve(penalty)
        errors.append(float(np.mean((seen_x.dense @ weights + intercept - seen_truth) ** 2)))
    penalty = PENALTIES[int(np.argmin(errors))]
    if refit:
        solve = _ridge_solver(np.concatenate([x.dense, seen_x.dense]), np.concatenate([truth, seen_truth]))
    weights, intercept = solve(penalty)
    return weights[None], np.array([intercept]), penalty


def _ridge_solver(x: NDArray[Any], truth: NDArray[Any]) -> Callable[[float], tuple[Floats, float]]:
    """From a penalty to the weights (F,) and intercept that make the penalised squared error least."""
    centre, middle = x.mean(0, dtype=np.float64), float(truth.mean())
    gram = (x.T @ x).astype(np.float64) / len(x) - np.outer(centre, centre)
    moment = (x.T @ (truth - middle).astype(np.float32)).astype(np.float64) / len(x)
    values, vectors = np.linalg.eigh(gram)

    def solve(penalty: float) -> tuple[Floats, float]:
        weights = vectors @ ((vectors.T @ moment) / (np.maximum(values, 0.0) + penalty))
        return weights, middle - float(centre @ weights)

    return solve
