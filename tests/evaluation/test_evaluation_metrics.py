from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as theirs

from earnest.core.errors import OptionError
from earnest.evaluation.metrics import METRICS, find_metric, metrics_of


def some_classes(num, num_classes, *, ties=False):
    random = np.random.default_rng()
    truth = np.concatenate([np.arange(num_classes), random.integers(0, num_classes, num - num_classes)])
    logits = random.normal(size=(num, num_classes)) + 1.2 * np.eye(num_classes)[truth]
    if ties:
        logits = np.round(logits)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, np.round(probabilities, 3) if ties and num_classes == 2 else probabilities


def reference(name, truth, predictions, weights=None):
    if name == "rmse":
        return theirs.mean_squared_error(truth, predictions, sample_weight=weights) ** 0.5
    if name == "mae":
        return theirs.mean_absolute_error(truth, predictions, sample_weight=weights)
    if name == "r2":
        return theirs.r2_score(truth, predictions, sample_weight=weights)
    answer = predictions.argmax(1)
    if name == "accuracy":
        return theirs.accuracy_score(truth, answer, sample_weight=weights)
    if name == "balanced_accuracy":
        return theirs.balanced_accuracy_score(truth, answer, sample_weight=weights)
    if name == "f1_macro":
        return theirs.f1_score(truth, answer, average="macro", sample_weight=weights)
    if name == "log_loss":
        labels = np.arange(predictions.shape[1])
        return theirs.log_loss(truth, predictions, labels=labels, sample_weight=weights)
    if predictions.shape[1] == 2:
        return theirs.roc_auc_score(truth, predictions[:, 1], sample_weight=weights)
    curves = [
        theirs.roc_auc_score(truth == k, predictions[:, k], sample_weight=weights) for k in range(predictions.shape[1])
    ]
    return np.mean(curves)


CLASSIFICATION = [name for name, metric in METRICS.items() if metric.task == "classification"]
REGRESSION = [name for name, metric in METRICS.items() if metric.task == "regression"]


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize(("num_classes", "ties"), [(2, False), (2, True), (5, False), (5, True)])
def test_classification_equals_scikit_learn_weighted_or_not(name, num_classes, ties):
    truth, probabilities = some_classes(300, num_classes, ties=ties)
    weights = np.random.default_rng().integers(0, 4, (3, 300)).astype(float)
    weights[:, :num_classes] += 1
    metric = METRICS[name]
    assert metric(truth, probabilities) == pytest.approx(reference(name, truth, probabilities))
    expected = [reference(name, truth, probabilities, each) for each in weights]
    assert metric.prepare(truth, probabilities)(weights) == pytest.approx(expected)


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_equals_scikit_learn_weighted_or_not(name):
    random = np.random.default_rng()
    truth = 1e4 + random.normal(size=100)
    values = truth + random.normal(size=100)
    weights = random.integers(0, 4, (3, 100)).astype(float)
    metric = METRICS[name]
    assert metric(truth, values) == pytest.approx(reference(name, truth, values))
    expected = [reference(name, truth, values, each) for each in weights]
    assert metric.prepare(truth, values)(weights) == pytest.approx(expected)


def test_a_weight_of_two_is_a_row_twice():
    truth, probabilities = some_classes(40, 3)
    weights = np.random.default_rng().integers(0, 3, 40)
    weights[:3] += 1
    chosen = np.repeat(np.arange(40), weights)
    for name in CLASSIFICATION:
        weighted = METRICS[name].prepare(truth, probabilities)(weights[None].astype(float))[0]
        assert weighted == pytest.approx(METRICS[name](truth[chosen], probabilities[chosen])), name


def test_classes_that_do_not_occur_leave_the_auc_out_with_a_reason():
    metrics, left_out = metrics_of("classification", np.array([0, 1, 1]), 3)
    assert "roc_auc" not in [metric.name for metric in metrics]
    assert "1 of 3 classes" in left_out["roc_auc"]
    assert np.isnan(METRICS["roc_auc"](np.array([1, 1]), np.full((2, 2), 0.5)))


def test_a_constant_target_leaves_r2_out():
    metrics, left_out = metrics_of("regression", np.ones(5))
    assert [metric.name for metric in metrics] == ["rmse", "mae"]
    assert "r2" in left_out


def test_an_unknown_metric_offers_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'accuracy'"):
        find_metric("acuracy", "classification")
    with pytest.raises(OptionError, match="rmse, mae, r2"):
        find_metric("accuracy", "regression")
    assert find_metric("mae", "regression").better(1.0, 2.0)
