"""Taggers beside each other on the same sentences, and the sentences that they get wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.data.tag_schemes import spans, write
from earnest.evaluation.entities import MOST_SHOWN, compare_tags, evaluate_tags, pick_mistakes

TAGS = ("O", "B-A", "I-A", "B-B", "I-B")


def truth_and(share_wrong: float, num: int = 200) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences' tags, and the same with that share of the sentences all O."""
    rng = default_rng()
    truth = []
    for _ in range(num):
        drawn = [str(tag) for tag in rng.choice(TAGS, rng.integers(1, 9))]
        truth.append(write(spans(drawn), len(drawn)))
    return truth, [["O"] * len(its) if rng.random() < share_wrong else its for its in truth]


def test_the_difference_is_that_of_the_scores_and_the_strongest_is_compared_with() -> None:
    truth, good = truth_and(0.1)
    blank = [["O"] * len(its) for its in truth]
    rng = default_rng()
    worse = [["O"] * len(its) if rng.random() < 0.5 else its for its in truth]
    found = compare_tags(truth, good, {"blank": blank, "worse": worse}, seed=1)
    assert found is not None
    assert found["against"] == "worse"
    scores = evaluate_tags(truth, good, baselines={"worse": worse}, of_spans=True, seed=1)
    expected = scores["metrics"]["f1"]["value"] - scores["baselines"]["worse"]["f1"]["value"]
    assert found["difference"]["value"] == pytest.approx(expected)
    assert 0 < found["difference"]["low"] < found["difference"]["value"] < found["difference"]["high"]
    assert found["p_value"] < 0.01
    assert found["n"] == len(truth)
    assert compare_tags(truth, good, {}, seed=1) is None
    same = compare_tags(truth, good, {"same": good}, seed=1)
    assert same is not None
    assert same["p_value"] == 1.0


def test_mistakes_are_the_sentences_with_most_amiss_and_the_surest_of_equals() -> None:
    truth, found = truth_and(0.3)
    rng = default_rng()
    confidence = [rng.random(len(its)) for its in truth]
    tokens = [[f"w{i}.{j}" for j in range(len(its))] for i, its in enumerate(truth)]
    rows, names = np.arange(len(truth)) + 7, [f"line {i}" for i in range(len(truth))]
    picked = pick_mistakes(tokens, truth, found, confidence, rows=rows, names=names, num=len(truth))
    assert {mistake["row"] - 7 for mistake in picked} == {i for i, its in enumerate(truth) if its != found[i]}
    keys = []
    for mistake in picked:
        i = mistake["row"] - 7
        assert (mistake["name"], mistake["tokens"]) == (names[i], tokens[i])
        assert (mistake["true_spans"], mistake["predicted_spans"]) == (spans(truth[i]), spans(found[i]))
        wrong = [place for place, (a, b) in enumerate(zip(truth[i], found[i], strict=True)) if a != b]
        assert mistake["confidence"] == pytest.approx(confidence[i][wrong].mean())
        keys.append((-len(set(spans(truth[i])) ^ set(spans(found[i]))), -mistake["confidence"]))
    assert keys == sorted(keys)
    assert len(pick_mistakes(tokens, truth, found, confidence, rows=rows, names=names, num=5)) == 5


def test_a_long_sentence_is_shown_around_its_first_wrong_word() -> None:
    length, place = 5 * MOST_SHOWN, int(default_rng().integers(5 * MOST_SHOWN))
    truth = ["O"] * length
    truth[place] = "B-A"
    tokens = [f"w{i}" for i in range(length)]
    (mistake,) = pick_mistakes(
        [tokens], [truth], [["O"] * length], [np.full(length, 0.5)], rows=np.array([0]), names=["line 1"]
    )
    assert len(mistake["tokens"]) == MOST_SHOWN
    ((kind, start, end),) = mistake["true_spans"]
    assert (kind, mistake["tokens"][start:end]) == ("A", [f"w{place}"])
    assert mistake["truth"] == f"A w{place}"
    assert mistake["prediction"] == "nothing"
