"""Runs of characters of a word, by which words that were never seen have a vector too (Bojanowski et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHORTEST, LONGEST = 3, 6
"""Characters, the marks < and > around the word among them."""
OFFSET, PRIME, MASK = 2166136261, 16777619, 0xFFFFFFFF
"""Of the hash FNV-1a, 32 bits."""


def subwords(word: str) -> list[str]:
    """All runs of `SHORTEST` to `LONGEST` characters of <word>, without the whole of it."""
    marked = f"<{word}>"
    runs = [marked[i : i + n] for n in range(SHORTEST, LONGEST + 1) for i in range(len(marked) - n + 1)]
    return [run for run in runs if run != marked]


def bucket(subword: str, num_buckets: int) -> int:
    """The bucket of a subword, by FNV-1a over its UTF-8."""
    value = OFFSET
    for byte in subword.encode("utf-8", "replace"):
        value = (value ^ byte) * PRIME & MASK
    return value % num_buckets


def rows_of(word: str, vocabulary: int, num_buckets: int) -> list[int]:
    """The input rows of a word's subwords, which come after those of the words."""
    return [vocabulary + bucket(subword, num_buckets) for subword in subwords(word)]


def rows_of_all(words: Sequence[str], num_buckets: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(V + 1,) where each word's input rows begin, and these: its own first, then those of its subwords."""
    starts = np.zeros(len(words) + 1, np.int64)
    rows: list[int] = []
    for index, word in enumerate(words):
        rows.append(index)
        rows += rows_of(word, len(words), num_buckets)
        starts[index + 1] = len(rows)
    return starts, np.array(rows, np.int32)
