from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from earnest.evaluation.calibration import (
    PRIOR_SPREAD,
    apply_temperature,
    calibration,
    ece,
    fit_temperature,
    logits_of,
    reliability,
)


def confident(num, num_classes, temperature):
    """Logits whose classes are drawn at `temperature`: dividing by it is exactly right."""
    random = np.random.default_rng()
    logits = 3 * random.normal(size=(num, num_classes))
    chances = softmax(logits / temperature, axis=1)
    return logits, (chances.cumsum(1) > random.random((num, 1))).argmax(1)


def log_loss(logits, truth, temperature=1.0):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(truth)), truth].mean()


@pytest.mark.parametrize("num_classes", [2, 7])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_behind_the_data_is_found(num_classes, temperature):
    logits, truth = confident(20_000, num_classes, temperature)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.06)


def test_the_fit_is_where_the_derivative_vanishes():
    logits, truth = confident(300, 4, 1.8)
    mean_logit = logits[np.arange(300), truth]

    def slope(log_temperature):
        scale = np.exp(-log_temperature)
        expected = (softmax(logits * scale, axis=1) * logits).sum(1)
        return scale * (mean_logit - expected).sum() + log_temperature / PRIOR_SPREAD**2

    assert np.log(fit_temperature(logits, truth)) == pytest.approx(brentq(slope, -3, 3), abs=1e-4)


@pytest.mark.parametrize("num", [1, 3, 30])
def test_scaling_never_hurts_on_the_rows_it_was_fitted_to(num):
    for _ in range(20):
        random = np.random.default_rng()
        logits, truth = 5 * random.normal(size=(num, 3)), random.integers(0, 3, num)
        temperature = fit_temperature(logits, truth)
        assert log_loss(logits, truth, temperature) <= log_loss(logits, truth) + 1e-12


def test_few_rows_that_are_all_right_do_not_make_every_answer_certain():
    logits = 2 * np.eye(3)
    temperature = fit_temperature(logits, np.arange(3))
    assert 0.3 < temperature < 1


def test_probabilities_survive_the_way_through_logits():
    probabilities = softmax(np.random.default_rng().normal(size=(20, 4)), axis=1)
    assert apply_temperature(logits_of(probabilities), 1.0) == pytest.approx(probabilities)
    certain = apply_temperature(logits_of(np.eye(3)), 2.0)
    assert np.isfinite(certain).all()
    assert certain.sum(1) == pytest.approx(np.ones(3))


def test_ece_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [1.0, 0.0]])
    truth = np.array([0, 1, 1, 0])
    assert ece(probabilities, truth, bins=10) == pytest.approx((2 * abs(0.9 - 0.5) + abs(0.65 - 1) + 0) / 4)
    bins = reliability(probabilities, truth, bins=10)
    assert [(part["low"], part["high"], part["n"]) for part in bins] == [(0.6, 0.7, 1), (0.8, 0.9, 2), (0.9, 1.0, 1)]


def test_ece_falls_once_scaled():
    logits, truth = confident(8000, 5, 3.0)
    before = apply_temperature(logits, 1.0)
    found = calibration(before, apply_temperature(logits, 3.0), truth, 3.0)
    assert found["ece_before"] > 0.1
    assert found["ece_after"] < 0.03
    assert sum(part["n"] for part in found["bins"]) == 8000
