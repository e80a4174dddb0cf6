"""Scores of a running text: their units, their intervals, and who tells better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.evaluation.language import METRIC, Told, verdict


def told(num: int = 20_000, better: float = 0.3) -> tuple[Told, np.ndarray, np.ndarray]:
    """A good model and a worse one, on tokens of some characters each."""
    rng = default_rng()
    characters = rng.integers(1, 6, num)
    nats = rng.gamma(2.0, 1.0, num)
    return Told.of(characters, {"ours": nats, "counting": nats + better * rng.random(num)}), characters, nats


def test_scores_are_those_of_all_tokens() -> None:
    stretch, characters, nats = told()
    scores = stretch.scores("ours", seed=1)
    assert scores[METRIC]["value"] == pytest.approx(nats.sum() / math.log(2) / characters.sum())
    assert scores["nats"]["value"] == pytest.approx(nats.mean())
    assert scores["perplexity"]["value"] == pytest.approx(math.exp(nats.mean()))
    assert stretch.num_tokens == len(nats)
    for score in scores.values():
        assert score["low"] < score["value"] < score["high"]


def test_intervals_know_that_neighbours_are_alike() -> None:
    """Tokens in stretches of one difficulty each: independent tokens would give far too narrow an interval."""
    rng = default_rng()
    nats = np.repeat(rng.gamma(2.0, 1.0, 100), 500) * rng.random(50_000)
    score = Told.of(np.ones(50_000), {"ours": nats}).scores("ours", seed=1)["nats"]
    naive = 2 * 1.96 * nats.std() / math.sqrt(len(nats))
    assert score["high"] - score["low"] > 3 * naive


def test_a_real_difference_is_told_from_chance() -> None:
    stretch = told()[0]
    comparison = stretch.comparison("ours", seed=1)
    assert comparison["difference"]["high"] < 0
    assert comparison["p_value"] < 0.01
    assert "earns its keep" in verdict(stretch.evaluation("ours", seed=1), comparison, unit="characters")
    other_way = stretch.comparison("counting", seed=1)
    assert "does better" in verdict(stretch.evaluation("counting", seed=1), other_way, unit="characters")
    noise = 0.3 * default_rng().normal(size=1000)
    same = Told.of(np.ones(1000), {"ours": np.ones(1000), "counting": 1 + noise - noise.mean()})
    chance = same.comparison("ours", seed=1)
    assert "may do as well" in verdict(same.evaluation("ours", seed=1), chance, unit="characters")


@pytest.mark.parametrize("num", [1, 2, 60])
def test_a_few_tokens_have_scores_too(num: int) -> None:
    score = Told.of(np.ones(num), {"ours": np.full(num, 2.0)}).scores("ours", seed=1)["nats"]
    assert score["low"] < score["value"] == 2.0 < score["high"]
