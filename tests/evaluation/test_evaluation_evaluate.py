from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics as theirs
from scipy.special import softmax

from earnest.core.atomic import plain
from earnest.evaluation.evaluate import comparison, confusion, evaluate, per_class, residuals, score
from earnest.evaluation.intervals import wilson
from earnest.evaluation.metrics import METRICS
from earnest.evaluation.verdict import verdict

LABELS = ["ant", "bee", "wasp"]


def classes(num=200, strength=2.0):
    random = np.random.default_rng()
    truth = np.concatenate([np.arange(3), random.integers(0, 3, num - 3)])
    return truth, softmax(random.normal(size=(num, 3)) + strength * np.eye(3)[truth], axis=1)


def always(num, answer=0):
    return np.tile(np.eye(3)[answer] * 0.4 + 0.2, (num, 1))


def judge(truth, own, others, metric="accuracy", test=True):
    found = evaluate(truth, own, task="classification", labels=LABELS, baselines=others, metric=metric, seed=0)
    versus = comparison(truth, own, others, metric=METRICS[metric], seed=0)
    return {"validation": found, "test": found if test else None, "metric": metric, "comparison": versus}


def test_every_score_has_an_interval_and_baselines_beside_it():
    truth, probabilities = classes()
    found = evaluate(
        truth,
        probabilities,
        task="classification",
        labels=LABELS,
        baselines={"majority class": always(200)},
        metric="log_loss",
        seed=0,
    )
    assert json.loads(json.dumps(found)) == found
    assert next(iter(found["metrics"])) == "log_loss"
    assert set(found["metrics"]) == {"accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"}
    for scores in (found["metrics"], found["baselines"]["majority class"]):
        for interval in scores.values():
            assert interval["low"] <= interval["value"] <= interval["high"]
            assert interval["low"] < interval["high"]
    num_right = int((probabilities.argmax(1) == truth).sum())
    assert found["metrics"]["accuracy"] == wilson(num_right, 200).as_json()


def test_a_perfect_answer_on_few_rows_still_has_intervals():
    truth = np.array([0, 1, 2, 1])
    found = evaluate(
        truth, np.eye(3)[truth], task="classification", labels=LABELS, baselines={}, metric="accuracy", seed=0
    )
    assert all(interval["low"] < interval["high"] for interval in found["metrics"].values())
    values = np.array([1.0, 2.0, 4.0])
    found = evaluate(values, values, task="regression", labels=[], baselines={}, metric="rmse", seed=0)
    assert all(interval["low"] < interval["high"] for interval in found["metrics"].values())


def test_one_row_can_be_judged():
    found = evaluate(
        np.array([1]), always(1), task="classification", labels=LABELS, baselines={}, metric="accuracy", seed=0
    )
    assert found["metrics"]["accuracy"]["value"] == 0
    assert "roc_auc" in found["left_out"]
    assert json.dumps(found, allow_nan=False)


def test_score_is_what_evaluate_says():
    truth, probabilities = classes()
    found = judge(truth, probabilities, {})["test"]["metrics"]
    assert score(METRICS["accuracy"], truth, probabilities, seed=0).as_json() == found["accuracy"]
    assert score(METRICS["log_loss"], truth, probabilities, seed=0).as_json() == found["log_loss"]


def test_the_strongest_baseline_is_compared_with():
    truth, probabilities = classes()
    others = {"majority class": always(200), "linear": classes(200, 0)[1] * 0.1 + probabilities * 0.9}
    found = comparison(truth, probabilities, others, metric=METRICS["log_loss"], seed=0)
    assert found["against"] == "linear"
    assert found["n"] == 200
    assert comparison(truth, probabilities, {}, metric=METRICS["log_loss"], seed=0) is None


def test_confusion_and_per_class_equal_scikit_learns():
    truth, probabilities = classes(strength=1.0)
    answer = probabilities.argmax(1)
    assert confusion(truth, probabilities, LABELS)["counts"] == theirs.confusion_matrix(truth, answer).tolist()
    precision, recall, f1, support = theirs.precision_recall_fscore_support(truth, answer, labels=[0, 1, 2])
    for k, line in enumerate(per_class(truth, probabilities, LABELS)):
        assert (line["label"], line["n"]) == (LABELS[k], support[k])
        assert (line["precision"], line["recall"], line["f1"]) == pytest.approx((precision[k], recall[k], f1[k]))


def test_a_class_never_predicted_has_no_precision():
    line = per_class(np.array([0, 2]), always(2), LABELS)
    assert (line[1]["precision"], line[1]["recall"], line[1]["f1"]) == (None, None, None)
    assert line[2]["recall"] == 0


def test_residuals_are_pairs_and_few():
    truth = np.arange(5000.0)
    found = residuals(truth, truth + 1, seed=0)
    assert len(found["actual"]) == 2000
    assert (np.array(found["predicted"]) - np.array(found["actual"]) == 1).all()


def test_verdict_of_a_network_that_pays():
    truth, probabilities = classes(600, 3.0)
    weak = classes(600)[1] * 0
    weak[np.arange(600), np.where(np.random.default_rng().random(600) < 0.6, truth, (truth + 1) % 3)] = 1
    sentence = verdict(judge(truth, probabilities, {"majority class": always(600), "linear": weak}), noun="photos")
    assert sentence.startswith("Right on ")
    assert "600 unseen photos (95% interval" in sentence
    assert "a linear model gets" in sentence
    assert "earns its keep (p < 0.001)" in sentence


def test_verdict_where_the_linear_model_does_as_well_or_better():
    truth, probabilities = classes(300)
    others = {"majority class": always(300), "linear": probabilities}
    assert "a linear model may do as well" in verdict(judge(truth, probabilities, others))
    better = {"majority class": always(300), "linear": np.eye(3)[truth]}
    assert "a linear model does better" in verdict(judge(truth, probabilities, better))
    assert "a linear model does better" in verdict(judge(truth, probabilities, better, metric="log_loss"))


def test_verdict_where_nothing_was_learnt():
    truth = np.repeat([0, 1, 2], 50)
    noise = softmax(np.random.default_rng().normal(size=(150, 3)), axis=1) * 0.01 + always(150) * 0.99
    assert "no better than always giving the commonest class" in verdict(
        judge(truth, noise, {"majority class": always(150), "linear": noise})
    )


def test_verdict_without_a_test_set_says_so():
    truth, probabilities = classes()
    sentence = verdict(judge(truth, probabilities, {"majority class": always(200)}, test=False))
    assert "200 validation rows" in sentence
    assert "no test set" in sentence


def test_verdict_of_a_regression():
    random = np.random.default_rng()
    truth = random.normal(size=300)
    others = {"mean": np.zeros(300), "linear": truth + 0.5 * random.normal(size=300)}
    found = evaluate(
        truth,
        truth + 0.1 * random.normal(size=300),
        task="regression",
        labels=[],
        baselines=others,
        metric="rmse",
        seed=0,
    )
    versus = comparison(truth, truth + 0.1 * random.normal(size=300), others, metric=METRICS["rmse"], seed=0)
    sentence = verdict({"validation": found, "test": found, "metric": "rmse", "comparison": versus})
    assert sentence.startswith("RMSE 0.")
    assert "earns its keep" in sentence
    assert plain(found) == found
