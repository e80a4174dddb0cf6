"""Scores of tags against definitions of their own, and their intervals against resampled sentences."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from earnest.evaluation.entities import evaluate_tags, per_type

TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")


def some(number: int = 60) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences, and predictions that are mostly right."""
    random = np.random.default_rng()
    truth = [list(random.choice(TAGS, random.integers(1, 12))) for _ in range(number)]
    predicted = [[tag if random.random() < 0.8 else str(random.choice(TAGS)) for tag in its] for its in truth]
    return truth, predicted


def entities(sentences: list[list[str]]) -> set[tuple[int, str, int, int]]:
    """(sentence, type, first, last): a tagged token begins an entity unless it is an I- of its neighbour's type."""
    found = set()
    for row, tags in enumerate(sentences):
        first = 0
        for i, tag in enumerate(tags):
            if not (i and tag[0] == "I" and tags[i - 1][2:] == tag[2:]):
                first = i
            ends = i + 1 == len(tags) or not (tags[i + 1][0] == "I" and tags[i + 1][2:] == tag[2:])
            if tag != "O" and ends:
                found.add((row, tag[2:], first, i))
    return found


def test_scores_are_those_of_sets_of_entities() -> None:
    truth, predicted = some()
    found = evaluate_tags(
        truth, predicted, baselines={"silence": [["O"] * len(t) for t in truth]}, of_spans=True, seed=0
    )
    its, theirs = entities(predicted), entities(truth)
    metrics = found["metrics"]
    assert list(metrics) == ["f1", "precision", "recall", "accuracy"]
    assert metrics["precision"]["value"] == pytest.approx(len(its & theirs) / len(its))
    assert metrics["recall"]["value"] == pytest.approx(len(its & theirs) / len(theirs))
    assert metrics["f1"]["value"] == pytest.approx(2 * len(its & theirs) / (len(its) + len(theirs)))
    flat = [(a, b) for ours, those in zip(predicted, truth, strict=True) for a, b in zip(ours, those, strict=True)]
    assert metrics["accuracy"]["value"] == pytest.approx(np.mean([a == b for a, b in flat]))
    assert found["baselines"]["silence"]["f1"]["value"] == 0.0
    assert found["n"] == len(truth)
    for score in metrics.values():
        assert 0 <= score["low"] < score["value"] < score["high"] <= 1


def test_the_interval_is_as_wide_as_resampled_sentences_say() -> None:
    truth, predicted = some(200)
    interval = evaluate_tags(truth, predicted, baselines={}, of_spans=True, seed=0)["metrics"]["f1"]
    random, sample = np.random.default_rng(), []
    for _ in range(400):
        rows = random.integers(0, len(truth), len(truth))
        its, theirs = entities([predicted[r] for r in rows]), entities([truth[r] for r in rows])
        sample.append(2 * len(its & theirs) / (len(its) + len(theirs)))
    low, high = np.quantile(sample, [0.025, 0.975])
    assert interval["low"] == pytest.approx(low, abs=0.7 * np.std(sample))
    assert interval["high"] == pytest.approx(high, abs=0.7 * np.std(sample))


def test_sentences_of_one_document_count_as_one() -> None:
    truth, predicted = some(30)
    groups = np.repeat(np.arange(30), 8)
    many = [its for its in truth for _ in range(8)], [its for its in predicted for _ in range(8)]
    alone = evaluate_tags(*many, baselines={}, of_spans=True, seed=0)["metrics"]["f1"]
    grouped = evaluate_tags(*many, baselines={}, of_spans=True, seed=0, groups=groups)["metrics"]["f1"]
    assert grouped["high"] - grouped["low"] > 1.8 * (alone["high"] - alone["low"])


def test_types_are_scored_apart() -> None:
    truth, predicted = some()
    its, theirs = entities(predicted), entities(truth)
    for line in per_type(truth, predicted):
        of_type = [{entity for entity in all_of if entity[1] == line["label"]} for all_of in (its, theirs)]
        every = sorted(of_type[0] | of_type[1])
        precision, recall, f1, _ = precision_recall_fscore_support(
            [entity in of_type[1] for entity in every], [entity in of_type[0] for entity in every], average="binary"
        )
        assert (line["precision"], line["recall"], line["f1"]) == pytest.approx((precision, recall, f1))
        assert line["n"] == len(of_type[1])
    assert per_type([["B-X"]], [["B-Y"]]) == [
        {"label": "X", "n": 1, "precision": None, "recall": 0.0, "f1": 0.0},
        {"label": "Y", "n": 0, "precision": 0.0, "recall": None, "f1": 0.0},
    ]


def test_tags_without_spans_have_their_accuracy() -> None:
    truth = [["NN", "VB"], ["DT", "NN", "NN"]]
    found = evaluate_tags(truth, [["NN", "NN"], ["DT", "NN", "NN"]], baselines={}, of_spans=False, seed=0)
    assert list(found["metrics"]) == ["accuracy"]
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(0.8)
    assert "f1" in found["left_out"]
