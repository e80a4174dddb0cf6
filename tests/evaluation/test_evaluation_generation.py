"""Distances between made and real pictures: against other libraries, closed forms and sets whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from earnest.evaluation.collapse import why_collapsed
from earnest.evaluation.generation import (
    compare,
    distinct,
    diversity,
    frechet_distance,
    frechet_interval,
    judge,
    kernel_distance,
    nearest,
    precision_recall,
    unbiased_mmd,
)


@pytest.mark.parametrize(("num", "width"), [(200, 7), (20, 30)])
def test_the_frechet_distance_is_that_by_a_matrix_root(num: int, width: int) -> None:
    rng = default_rng()
    real = rng.normal(size=(300, width)) @ rng.normal(size=(width, width))
    made = rng.normal(size=(num, width)) @ rng.normal(size=(width, width)) + 1
    first, second = np.cov(real.T), np.cov(made.T)
    root = np.real(sqrtm(first @ second))
    expected = ((real.mean(0) - made.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(real, made) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-8)


def test_the_frechet_distance_of_two_gaussians_is_their_closed_form() -> None:
    rng = default_rng()
    real = rng.normal(size=(200_000, 2)) * [1, 3] + [0, 1]
    made = rng.normal(size=(200_000, 2)) * [2, 1] + [2, 1]
    expected = 2**2 + (1 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(real, made) == pytest.approx(expected, rel=0.02)
    found = frechet_interval(real[:2000], made[:2000], seed=1)
    assert found.low < expected < found.high


def test_the_kernel_distance_is_its_definition() -> None:
    rng = default_rng()
    a, b = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) + 0.5
    kernels = [polynomial_kernel(x, y, degree=3, coef0=1, gamma=1 / 5) for x, y in ((a, a), (b, b), (a, b))]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    assert unbiased_mmd(a, b) == pytest.approx(sum(within) - 2 * kernels[2].mean())


def test_the_kernel_distance_is_unbiased() -> None:
    rng = default_rng()
    estimates = np.array([unbiased_mmd(*rng.normal(size=(2, 20, 3))) for _ in range(2000)])
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean()) < 4 * error
    assert (estimates < 0).mean() > 0.3


def test_intervals_of_the_kernel_distance_cover() -> None:
    rng = default_rng()
    found = [kernel_distance(*rng.normal(size=(2, 200, 3)), seed=seed) for seed in range(1000)]
    assert 0.91 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.97  # .937 on 3,000: the estimates are skewed
    apart = kernel_distance(rng.normal(size=(500, 3)), rng.normal(size=(500, 3)) + 1, seed=0)
    assert apart.low > 0


def test_a_nearer_set_is_found_to_be_nearer() -> None:
    rng = default_rng()
    real, near, far = rng.normal(size=(1000, 4)), rng.normal(size=(1000, 4)) + 0.1, rng.normal(size=(1000, 4)) + 1
    told = compare(real, near, far, against="far", seed=0)
    assert told["difference"]["high"] < 0
    assert told["p_value"] < 0.05
    same = compare(real, near, near, against="itself", seed=0)
    assert same["difference"]["value"] == 0
    assert same["p_value"] is None


def test_precision_and_recall_of_sets_that_are_known() -> None:
    rng = default_rng()
    real = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 50])
    half = rng.normal(size=(200, 2)) * 0.5
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, rng.normal(size=(200, 2)) - 500) == (0.0, 0.0)
    precision, recall = precision_recall(real, half)  # one of two modes
    assert precision > 0.9
    assert recall < 0.5
    spread = np.concatenate([real, rng.uniform(100, 9000, size=(200, 2)) * [[1, -1]]])
    precision, recall = precision_recall(real, spread)
    assert precision == pytest.approx(0.5, abs=0.05)
    assert recall == 1.0


def test_the_nearest_is_the_nearest() -> None:
    rng = default_rng()
    queries, among = rng.normal(size=(30, 3)), rng.normal(size=(50, 3))
    rows, distances = nearest(queries, among)
    brute = np.linalg.norm(queries[:, None] - among, axis=2)
    assert (rows == brute.argmin(1)).all()
    np.testing.assert_allclose(distances, brute.min(1), rtol=1e-6)


def test_diversity_tells_one_picture_from_many() -> None:
    rng = default_rng()
    real = rng.normal(size=(400, 4))
    assert diversity(real, rng.normal(size=(400, 4))) == pytest.approx(1, abs=0.1)
    assert distinct(real, rng.normal(size=(400, 4))) == pytest.approx(1, abs=0.2)
    one = np.repeat(rng.normal(size=(1, 4)), 400, 0)
    assert diversity(real, one) < 0.01
    assert distinct(real, one) < 0.05
    everything = judge(real, one, seed=0).metrics()
    assert everything["precision"]["low"] is None


def epoch(diverse: float, progress: float, **values: float) -> dict[str, Any]:
    return {"diversity": diverse, "distinct": diverse, "progress": progress, **values}


def test_a_collapsed_generator_is_found() -> None:
    fell = [epoch(0.9, 0.05), epoch(0.05, 0.1), epoch(0.05, 0.12), epoch(0.04, 0.14, train_critic_lead=9.0)]
    why = why_collapsed(fell)
    assert why is not None
    assert "4%" in why
    assert "9 logits" in why
    never_rose = [epoch(0.1, progress) for progress in (0.2, 0.25, 0.3)]
    assert why_collapsed(never_rose) is not None
    few_modes = [{**epoch(0.8, p), "distinct": 0.02} for p in (0.4, 0.5, 0.6)]
    assert why_collapsed(few_modes) is not None


def test_a_healthy_or_a_young_generator_is_left_alone() -> None:
    assert why_collapsed([]) is None
    assert why_collapsed([epoch(0.9, p) for p in (0.1, 0.5, 0.9)]) is None
    assert why_collapsed([epoch(0.05, p) for p in (0.01, 0.02, 0.03)]) is None
    assert why_collapsed([epoch(0.9, 0.1), epoch(0.1, 0.4), epoch(0.1, 0.5), epoch(0.7, 0.6)]) is None
    assert why_collapsed([{"elbo": -90.0}] * 5) is None
