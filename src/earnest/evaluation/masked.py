"""How well missing tokens are told: the share told right, nats and perplexity, with intervals and a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from earnest.evaluation.compare import bootstrapped
from earnest.evaluation.intervals import Floats, Statistic, Weighted, bootstrap

METRIC = "accuracy"
LIMITS = {METRIC: (0.0, 1.0), "nats": (0.0, np.inf), "perplexity": (1.0, np.inf)}


def evaluate_masked(told: Mapping[str, Floats], ours: str, *, seed: int) -> dict[str, Any]:
    """evaluation.json's scores, from (blocks, 3) of each model: nats, tokens told right and tokens asked for.

    Blocks of neighbouring windows are what is resampled.
    """
    return {
        "n": int(told[ours][:, 2].sum()),
        "metrics": _scores(told[ours], seed),
        "baselines": {name: _scores(each, seed) for name, each in told.items() if name != ours},
        "left_out": {},
    }


def compare_masked(told: Mapping[str, Floats], ours: str, other: str, *, seed: int) -> dict[str, Any]:
    """The paired difference of the shares told right."""
    of_ours, of_other = (_metrics(told[name])[METRIC] for name in (ours, other))
    found = bootstrapped(of_ours, of_other, len(told[ours]), seed=seed)
    return {
        "against": other,
        "metric": METRIC,
        "difference": found.difference.as_json(),
        "p_value": found.p_value,
        "n": int(told[ours][:, 2].sum()),
    }


def masked_verdict(scores: dict[str, Any], comparison: dict[str, Any]) -> str:
    """One honest sentence."""
    share, rival = scores["metrics"][METRIC], scores["baselines"][comparison["against"]][METRIC]["value"]
    sentence = (
        f"{share['value']:.1%} of {scores['n']:,} missing tokens of unseen text told right (95% interval "
        f"{100 * share['low']:.1f} to {100 * share['high']:.1f}), where the commonest token is right for {rival:.1%}"
    )
    if comparison["difference"]["low"] > 0:
        return f"{sentence}; how much that helps on a task is to be tried there: --start-from this run."
    return f"{sentence}: it has learned nothing of use yet; give it more time, or more text."


def _metrics(told: Floats) -> dict[str, Weighted]:
    nats, right, asked = told.T

    def mean(weights: Floats) -> Floats:
        return weights @ nats / (weights @ asked)

    return {
        METRIC: lambda weights: weights @ right / (weights @ asked),
        "nats": mean,
        "perplexity": lambda weights: np.exp(mean(weights)),
    }


def _scores(told: Floats, seed: int) -> dict[str, dict[str, float]]:
    statistics = {name: Statistic(of, LIMITS[name]) for name, of in _metrics(told).items()}
    found = bootstrap(list(statistics.values()), len(told), seed=seed)
    return {name: interval.as_json() for name, interval in zip(statistics, found, strict=True)}
