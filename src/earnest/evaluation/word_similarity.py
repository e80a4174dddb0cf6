"""Do word vectors see likeness as people do? Rank correlation on pairs, and analogies, with 95% intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from earnest.data.readers.word_pairs import Analogies, WordPairs
from earnest.data.word_vectors import WordVectors
from earnest.evaluation.intervals import Floats, Interval, Statistic, bootstrap, wilson

MOST_WORDS = 30_000
"""An analogy is answered among the commonest words, as is usual."""
AT_ONCE = 512
"""Analogies."""


def spearman(a: Floats, b: Floats, *, seed: int) -> Interval:
    """Spearman's rank correlation (N,), ties at their mean rank, with a bootstrap interval over pairs.

    Resamples weigh the ranks of the whole set, so that ties among copies of a pair play no part.
    """
    ranks_a, ranks_b = rankdata(a), rankdata(b)

    def correlation(weights: Floats) -> Floats:
        total = weights.sum(1)
        mean_a, mean_b = weights @ ranks_a / total, weights @ ranks_b / total
        covariance = weights @ (ranks_a * ranks_b) / total - mean_a * mean_b
        spread_a = weights @ ranks_a**2 / total - mean_a**2
        spread_b = weights @ ranks_b**2 / total - mean_b**2
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = covariance / np.sqrt(spread_a * spread_b)
        return found

    return bootstrap([Statistic(correlation, (-1.0, 1.0))], len(a), seed=seed)[0]


def known(vectors: WordVectors, pairs: WordPairs) -> NDArray[np.bool_]:
    """(N,) whether both words of a pair have a vector."""
    return np.array([first in vectors and second in vectors for first, second in pairs.pairs], bool)


def score_pairs(
    vectors: WordVectors, pairs: WordPairs, *, seed: int, among: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """The rank correlation of cosines with people's judgement, over the known pairs (or those `among` them)."""
    usable = known(vectors, pairs) if among is None else among
    chosen = np.flatnonzero(usable)
    facts = {"name": pairs.name, "kind": "pairs", "n": len(pairs.pairs), "known": len(chosen)}
    if len(chosen) < 3:
        return {**facts, "score": None}
    cosines = np.array([vectors.similarity(*pairs.pairs[i]) for i in chosen])
    return {**facts, "score": spearman(cosines, pairs.judged[chosen], seed=seed).as_json()}


def score_analogies(vectors: WordVectors, analogies: Analogies) -> dict[str, Any]:
    """The share of analogies that 3CosAdd answers right among the commonest words; others do not count."""
    few = WordVectors(vectors.words[:MOST_WORDS], vectors.array[:MOST_WORDS], lowercase=vectors.lowercase)
    numbers = np.array([few.numbers(question) for question in analogies.questions])
    usable: NDArray[np.bool_] = np.all(numbers >= 0, axis=1)
    asked = numbers[usable]
    right = np.concatenate([_right(few, asked[i : i + AT_ONCE]) for i in range(0, len(asked), AT_ONCE)] or [usable[:0]])
    sections = np.array(analogies.sections)[usable]
    facts = {"name": analogies.name, "kind": "analogies", "n": len(usable), "known": len(asked)}
    if not len(asked):
        return {**facts, "score": None, "sections": []}
    by_section = [
        {"name": name, "n": int((sections == name).sum()), "share": float(right[sections == name].mean())}
        for name in dict.fromkeys(sections.tolist())
    ]
    return {**facts, "score": wilson(int(right.sum()), len(right)).as_json(), "sections": by_section}


def _right(vectors: WordVectors, asked: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether b - a + c is nearest to d, the three that were given left out."""
    directions = vectors.directions
    a, b, c, d = asked.T
    scores = (directions[b] - directions[a] + directions[c]) @ directions.T
    for given in (a, b, c):
        scores[np.arange(len(asked)), given] = -np.inf
    found: NDArray[np.bool_] = scores.argmax(1) == d
    return found
