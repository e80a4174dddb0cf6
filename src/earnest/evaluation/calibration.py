"""Does 90% sure mean right nine times in ten? Temperature scaling, and how to see what is left."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from earnest.evaluation.intervals import Floats

COLDEST, HOTTEST = 0.05, 20.0
PRIOR_SPREAD = 0.5
"""Standard deviation of log T before any row is seen: with few rows, all of them right, the likelihood alone would make
every answer certain."""


def logits_of(probabilities: Floats) -> Floats:
    """Logits (N, C) whose softmax is `probabilities`; zeros are kept off minus infinity."""
    return np.log(np.clip(probabilities, 1e-15, 1.0))


def apply_temperature(logits: Floats, temperature: float) -> Floats:
    """Probabilities softmax(logits / T), shape (N, C), in float64."""
    return softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)


def fit_temperature(logits: Floats, truth: NDArray[np.int64]) -> float:
    """The temperature that makes the validation rows' classes most likely (Guo et al., 2017).

    `logits` (N, C), `truth` (N,) class numbers. A weak normal prior on log T around 0 keeps it sane on few rows; the
    negative log-likelihood is never larger than at T = 1.
    """
    logits = np.asarray(logits, dtype=np.float64)
    rows = np.arange(len(truth))

    def cost(log_temperature: float) -> float:
        likelihood = log_softmax(logits / exp(log_temperature), axis=1)[rows, truth].sum()
        return float(-likelihood + (log_temperature / PRIOR_SPREAD) ** 2 / 2)

    found = minimize_scalar(cost, bounds=(log(COLDEST), log(HOTTEST)), method="bounded", options={"xatol": 1e-6})
    return exp(found.x) if found.fun < cost(0.0) else 1.0


def ece(probabilities: Floats, truth: NDArray[np.int64], bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of equal width."""
    return sum(
        part["n"] / len(truth) * abs(part["confidence"] - part["accuracy"])
        for part in reliability(probabilities, truth, bins)
    )


def reliability(probabilities: Floats, truth: NDArray[np.int64], bins: int = 15) -> list[dict[str, Any]]:
    """The bins of confidence that hold rows: bounds (low, high], mean confidence, accuracy, and number of rows."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "low": k / bins,
            "high": (k + 1) / bins,
            "confidence": float(confidence[bin_of == k].mean()),
            "accuracy": float(right[bin_of == k].mean()),
            "n": int(np.sum(bin_of == k)),
        }
        for k in np.unique(bin_of).tolist()
    ]


def calibration(before: Floats, after: Floats, truth: NDArray[np.int64], temperature: float) -> dict[str, Any]:
    """evaluation.json's `calibration`: rows that did not fit the temperature, judged without and with it."""
    return {
        "temperature": temperature,
        "ece_before": ece(before, truth),
        "ece_after": ece(after, truth),
        "bins": reliability(after, truth),
        "bins_before": reliability(before, truth),
    }
