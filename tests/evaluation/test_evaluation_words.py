"""Scores of word vectors against SciPy, enumeration, and texts whose answer is known."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import spearmanr

from earnest.data.readers.word_pairs import Analogies, WordPairs
from earnest.data.word_corpus import DTYPE, WordCorpus
from earnest.data.word_vectors import WordVectors
from earnest.evaluation.co_occurrence import co_occurrences, counted_vectors, positive_information
from earnest.evaluation.nearness import METRIC, Judged, triples, verdict
from earnest.evaluation.word_similarity import known, score_analogies, score_pairs, spearman


def corpus_of(path: Path, ids: np.ndarray) -> WordCorpus:
    ids.astype(DTYPE).tofile(path)
    return WordCorpus.open(path)


def topics(num_lines: int, seed: int) -> np.ndarray:
    """Ten words of one topic or of the other in a line."""
    rng = default_rng(seed)
    lines = rng.integers(0, 10, (num_lines, 10)) + 10 * rng.integers(0, 2, (num_lines, 1))
    return np.concatenate([lines, np.full((num_lines, 1), -1)], axis=1).ravel()


def test_the_rank_correlation_is_scipy_s() -> None:
    rng = default_rng(0)
    a = rng.integers(0, 30, 80).astype(float)
    b = a + rng.normal(0, 10, 80)
    found = spearman(a, b, seed=0)
    assert found.value == pytest.approx(spearmanr(a, b).statistic)
    assert found.low < found.value < found.high
    inside = [spearman(x, x + rng.normal(0, 1, 100), seed=1) for x in (rng.normal(size=100) for _ in range(40))]
    truth = 6 / np.pi * np.arcsin(1 / np.sqrt(2) / 2)  # of two normals with correlation 1 / sqrt(2)
    assert sum(one.low <= truth <= one.high for one in inside) >= 34


def test_unknown_pairs_are_left_out_and_counted() -> None:
    rng = default_rng(2)
    vectors = WordVectors(tuple("abcdefgh"), rng.normal(size=(8, 5)).astype(np.float32))
    pairs = [("a", "b"), ("c", "zz"), ("d", "e"), ("f", "g"), ("b", "h")]
    judged = np.array([vectors.similarity(*pair) if "zz" not in pair else 9 for pair in pairs])
    test = WordPairs("test", tuple(pairs), judged)
    assert known(vectors, test).tolist() == [True, False, True, True, True]
    found = score_pairs(vectors, test, seed=0)
    assert (found["n"], found["known"]) == (5, 4)
    assert found["score"]["value"] == pytest.approx(1)
    nothing = WordPairs("none", (("x", "y"),), np.ones(1))
    assert score_pairs(vectors, nothing, seed=0)["score"] is None


def test_analogies_on_a_grid_are_all_right_and_by_chance_few() -> None:
    words = tuple(f"{row}{column}" for row in "abcd" for column in "wxyz")
    rng = default_rng(3)
    rows, columns = rng.normal(size=(4, 50)), rng.normal(size=(4, 50))
    grid = np.array([rows[i] + columns[j] for i in range(4) for j in range(4)], np.float32)
    questions = tuple(
        (f"{a}{c}", f"{b}{c}", f"{a}{d}", f"{b}{d}") for a, b in ("ab", "cd") for c, d in ("wx", "yz", "xz")
    )
    test = Analogies("grid", (*questions, ("aw", "bw", "cc", "dd")), ("one",) * 3 + ("two",) * 4)
    found = score_analogies(WordVectors(words, grid), test)
    assert (found["n"], found["known"]) == (7, 6)
    assert found["score"]["value"] == 1.0
    assert found["sections"] == [{"name": "one", "n": 3, "share": 1.0}, {"name": "two", "n": 3, "share": 1.0}]
    noise = WordVectors(words, rng.normal(size=(16, 50)).astype(np.float32))
    assert score_analogies(noise, test)["score"]["value"] < 0.7


def test_co_occurrences_are_counted_as_a_plain_loop_does(tmp_path: Path) -> None:
    ids = default_rng(4).integers(-1, 8, 500)
    counts = co_occurrences(corpus_of(tmp_path / "ids", ids), 6, window=3)
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for i, word in enumerate(ids):
        for distance in range(1, 4):
            if i + distance >= len(ids) or -1 in ids[i : i + distance + 1]:
                break
            other = ids[i + distance]
            expected[word, other] += (4 - distance) / 3
            expected[other, word] += (4 - distance) / 3
    for a in range(6):
        for b in range(6):
            assert counts[a, b] == pytest.approx(expected[a, b], rel=1e-5)
    information = positive_information(counts)
    total, smooth = counts.sum(), counts.sum(0) ** 0.75
    a, b = np.unravel_index(counts.argmax(), counts.shape)
    plain = np.log(counts[a, b] / total / (counts[a].sum() / total) / (smooth[b] / smooth.sum()))
    assert information[a, b] == pytest.approx(max(0, plain), rel=1e-4, abs=1e-5)
    assert information.min() == 0


def test_vectors_that_know_the_topics_are_near_the_truth_and_noise_is_chance(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "ids", topics(1200, 5))
    asked = triples(corpus, 6000, kept=np.ones(20), size=20, window=3, seed=0)
    assert len(asked) > 2000
    assert ((asked.words // 10) == (asked.near // 10)).all(), "near words are of the same line"
    words = tuple(f"w{i}" for i in range(20))
    counting = counted_vectors(corpus, words, window=3, width=4, seed=0, lowercase=True)
    noise = WordVectors(words, default_rng(6).normal(size=(20, 30)).astype(np.float32))
    judged = Judged.of(asked, {"counting": counting, "noise": noise}, np.full(20, 5))
    found = judged.evaluation("counting", seed=0)
    ours = found["metrics"][METRIC]
    assert 0.7 < ours["value"] < 0.8, "half of the drawn words are of the same topic, and these are a toss-up"
    assert found["baselines"]["noise"][METRIC]["value"] == pytest.approx(0.5, abs=0.05)
    assert found["baselines"]["the commoner word"][METRIC]["value"] == 0.5
    comparison = judged.comparison("counting", seed=0)
    assert comparison["p_value"] < 0.01
    assert "earns its keep" in verdict(found, comparison, num_words=20)
    other = judged.evaluation("noise", seed=0)
    assert "does better" in verdict(other, judged.comparison("noise", seed=0), num_words=20)


def test_common_words_are_thinned_out(tmp_path: Path) -> None:
    ids = default_rng(7).integers(0, 4, 20_000)
    kept = np.array([0.1, 1.0, 1.0, 1.0])
    asked = triples(corpus_of(tmp_path / "ids", ids), 0, kept=kept, size=4, window=2, seed=0)
    everything = triples(corpus_of(tmp_path / "all", ids), 0, kept=np.ones(4), size=4, window=2, seed=0)
    assert (asked.near == 0).mean() < 0.1
    assert (everything.near == 0).mean() == pytest.approx(0.25, abs=0.02)
