"""What counting alone gives: vectors from how often words stand near each other.

O. Levy, Y. Goldberg & I. Dagan, "Improving distributional similarity with lessons learned from word embeddings", TACL
2015: positive pointwise mutual information, smoothed contexts, truncated SVD with the square root of its spectrum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earnest.data.word_corpus import WordCorpus
from earnest.data.word_vectors import WordVectors

MOST_WORDS = 2_000
"""The commonest, which a matrix of all pairs is made for."""
MOST_COUNTED = 5_000_000
"""Numbers at the beginning of the text."""
SMOOTHING = 0.75
"""Power of the contexts' counts."""
AT_ONCE = 1 << 18
"""Numbers that are counted together."""


def counted_vectors(
    corpus: WordCorpus, words: tuple[str, ...], *, window: int, width: int, seed: int, lowercase: bool
) -> WordVectors:
    """Vectors of the commonest words, of `width` numbers or one less than there are words."""
    from sklearn.utils.extmath import randomized_svd

    size = min(len(words), MOST_WORDS)
    information = positive_information(co_occurrences(corpus, size, window=window))
    left, strength, _ = randomized_svd(information, min(width, size - 1), random_state=seed % 2**32)
    return WordVectors(words[:size], (left * np.sqrt(strength)).astype(np.float32), lowercase=lowercase)


def co_occurrences(corpus: WordCorpus, size: int, *, window: int) -> NDArray[np.float32]:
    """(size, size) how often the commonest words stand in each other's window; near ones count for more, as in
    windows of a random reach: those at distance d by (window + 1 - d) / window."""
    counts = np.zeros((size, size), np.float32)
    flat = counts.reshape(-1)
    for start in range(0, min(corpus.num, MOST_COUNTED), AT_ONCE):
        ids = corpus.read(start, min(start + AT_ONCE + window, MOST_COUNTED)).astype(np.int64)
        line = np.cumsum(ids < 0)
        for distance in range(1, window + 1):
            first, second = ids[:-distance][:AT_ONCE], ids[distance:][:AT_ONCE]
            together = (line[distance:] == line[:-distance])[:AT_ONCE]
            together &= (first >= 0) & (second >= 0) & (first < size) & (second < size)
            cells, num = np.unique(first[together] * size + second[together], return_counts=True)
            flat[cells] += num * ((window + 1 - distance) / window)
    return counts + counts.T


def positive_information(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """max(0, log P(w, c) / (P(w) P(c))), P(c) smoothed; (V, V) like the counts."""
    total = max(float(counts.sum()), 1.0)
    of_word = counts.sum(1, keepdims=True) / total
    smoothed = counts.sum(0) ** SMOOTHING
    of_context = smoothed / max(float(smoothed.sum()), 1e-30)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / total / of_word / of_context)
    return np.where(counts > 0, np.maximum(information, 0), 0).astype(np.float32)
