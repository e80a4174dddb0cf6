from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import ks_1samp

from earnest.evaluation.compare import delong, delong_covariance, mcnemar, paired
from earnest.evaluation.metrics import METRICS


def two_columns(scores):
    chance = 1 / (1 + np.exp(-scores))
    return np.stack([1 - chance, chance], 1)


def rival_scores(num, gap=0.0):
    random = np.random.default_rng()
    truth = np.concatenate([[0, 0, 1, 1], random.integers(0, 2, num - 4)])
    shared = random.normal(size=num) + truth
    return truth, shared + 0.5 * random.normal(size=num) + gap * truth, shared + 0.5 * random.normal(size=num)


def test_mcnemars_p_value_by_enumeration():
    """The mid-p counts every way that the disagreements could have fallen, the likeliness of the seen one halved."""
    only_a, only_b = 7, 2
    a = np.array([True] * only_a + [False] * only_b + [True] * 11)
    b = np.array([False] * only_a + [True] * only_b + [True] * 11)
    falls = [sum(fall) for fall in product([0, 1], repeat=only_a + only_b)]
    fewer, equal = sum(f < only_b for f in falls), sum(f == only_b for f in falls)
    found = mcnemar(a, b)
    assert found.p_value == pytest.approx(2 * (fewer + equal / 2) / len(falls))
    assert found.difference.value == pytest.approx(5 / 20)
    assert found.difference.low < 5 / 20 < found.difference.high


def test_predictors_that_agree_do_not_differ():
    right = np.random.default_rng().random(50) < 0.7
    found = mcnemar(right, right)
    assert found.p_value == 1
    assert found.difference.low < 0 == found.difference.value < found.difference.high
    truth, scores, _ = rival_scores(60)
    same = delong(truth == 1, scores, scores)
    assert (same.p_value, same.difference.value) == (1, 0)
    assert same.difference.low < 0 < same.difference.high


def slow_delong(positive, scores):
    """The definition, pair by pair."""
    kernel = (scores[:, positive][:, :, None] > scores[:, ~positive][:, None]) + 0.5 * (
        scores[:, positive][:, :, None] == scores[:, ~positive][:, None]
    )
    above, below = kernel.mean(2), kernel.mean(1)
    return kernel.mean((1, 2)), np.cov(above) / positive.sum() + np.cov(below) / (~positive).sum()


@pytest.mark.parametrize("ties", [False, True])
def test_delong_equals_its_definition(ties):
    truth, a, b = rival_scores(90)
    scores = np.stack([a, b])
    scores = np.round(scores) if ties else scores
    areas, covariance = delong_covariance(truth == 1, scores)
    slow_areas, slow_covariance = slow_delong(truth == 1, scores)
    assert areas == pytest.approx(slow_areas)
    assert covariance == pytest.approx(slow_covariance)


def test_delong_agrees_with_the_bootstrap():
    truth, a, b = rival_scores(1500, gap=0.15)
    by_delong = paired(METRICS["roc_auc"], truth, two_columns(a), two_columns(b), seed=0)
    by_bootstrap = paired(METRICS["roc_auc"], truth, two_columns(a), two_columns(b), seed=0, groups=np.arange(1500))
    assert by_delong.difference.value == pytest.approx(by_bootstrap.difference.value)
    width = by_delong.difference.high - by_delong.difference.low
    assert by_bootstrap.difference.low == pytest.approx(by_delong.difference.low, abs=0.15 * width)
    assert by_bootstrap.difference.high == pytest.approx(by_delong.difference.high, abs=0.15 * width)


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", pytest.param("log_loss", marks=pytest.mark.slow)])
def test_equal_predictors_give_p_values_that_are_uniform_enough(name):
    p_values = []
    for _ in range(150):
        truth, a, b = rival_scores(150)
        p_values.append(paired(METRICS[name], truth, two_columns(a), two_columns(b), seed=0).p_value)
    assert ks_1samp(p_values, lambda p: np.clip(p, 0, 1), alternative="greater").pvalue > 1e-4
    assert np.mean(np.array(p_values) < 0.5) > 0.25


def test_a_clear_difference_is_found_in_the_metrics_own_direction():
    truth, a, b = rival_scores(800, gap=1.5)
    for name, sign in [("accuracy", 1), ("roc_auc", 1), ("log_loss", -1), ("f1_macro", 1)]:
        found = paired(METRICS[name], truth, two_columns(a - 1), two_columns(b - 0.5), seed=0)
        assert found.p_value < 0.01, name
        assert min(sign * found.difference.low, sign * found.difference.high) > 0, name
        assert found.num_rows == 800


def test_a_class_with_a_single_row_is_compared_without_delong():
    random = np.random.default_rng()
    truth = np.array([1] + [0] * 40)
    found = paired(
        METRICS["roc_auc"], truth, two_columns(random.normal(size=41)), two_columns(random.normal(size=41)), seed=0
    )
    assert 0 < found.p_value <= 1
