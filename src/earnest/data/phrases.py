"""Pairs of words that belong together, such as new_york, joined to one word.

T. Mikolov, I. Sutskever, K. Chen, G. Corrado & J. Dean, "Distributed representations of words and phrases and their
compositionality", NeurIPS 2013, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earnest.core import atomic
from earnest.data.word_corpus import DTYPE, END, UNKNOWN, WordCorpus
from earnest.data.word_counts import Vocabulary

JOINT = "_"
THRESHOLD = 10.0
"""How many times as often as chance a pair must occur, its rarest occurrences discounted."""
CELLS = 1 << 22
"""Pairs are first counted in so many cells, which several pairs may share; those that may be phrases, then exactly."""
AT_ONCE = 1 << 22
"""Numbers that are read together."""


def join_phrases(
    corpus: WordCorpus, vocabulary: Vocabulary, path: Path, *, min_count: int
) -> tuple[WordCorpus, Vocabulary]:
    """The text with phrases as words, written to `path`, and its vocabulary.

    A pair ab is a phrase when (count(ab) - min_count) * N / (count(a) * count(b)) is above `THRESHOLD`, with N words in
    all. Pairs are joined from left to right. Words that are left with fewer than `min_count` occurrences are forgotten.
    """
    found, _ = _phrases(corpus, vocabulary, min_count)
    size = len(vocabulary)
    words = [*vocabulary.words, *(JOINT.join(vocabulary.words[i] for i in divmod(int(key), size)) for key in found)]
    counts = np.zeros(len(words) + 1, np.int64)
    for ids in _stretches(corpus):
        joined = _joined(ids, found, size)
        counts += np.bincount(np.where(joined < 0, len(words), joined), minlength=len(words) + 1)
    kept = np.flatnonzero(counts[:-1] >= min_count)
    kept = kept[np.lexsort((kept, -counts[kept]))]
    number = np.full(len(words) + 2, UNKNOWN, np.int32)
    number[kept] = np.arange(len(kept))
    number[END] = END

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for ids in _stretches(corpus):
                number[_joined(ids, found, size)].astype(DTYPE).tofile(file)

    atomic.write_with(path, write)
    return WordCorpus.open(path), Vocabulary(tuple(words[i] for i in kept), counts[kept])


def forget_unknown(corpus: WordCorpus, path: Path) -> WordCorpus:
    """The text without gaps where a word is not in the vocabulary, written to `path`."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for ids in _stretches(corpus):
                ids[ids != UNKNOWN].tofile(file)

    atomic.write_with(path, write)
    return WordCorpus.open(path)


def _phrases(corpus: WordCorpus, vocabulary: Vocabulary, min_count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys a * V + b of the phrases, sorted, and how often each occurs."""
    size, total = len(vocabulary), vocabulary.counts.sum()
    cells = np.zeros(CELLS, np.int64)
    for ids in _stretches(corpus):
        cells += np.bincount(_cell(_keys(ids, size)), minlength=CELLS)

    def score(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = np.divmod(keys, size)
        return (counts - min_count) * (total / vocabulary.counts[first]) / vocabulary.counts[second]

    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for ids in _stretches(corpus):
        here = _keys(ids, size)
        here = here[score(here, cells[_cell(here)]) > THRESHOLD]
        keys, place = np.unique(np.concatenate([keys, here]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, np.ones(len(here), np.int64)]), len(keys)).astype(np.int64)
    are = score(keys, counts) > THRESHOLD
    return keys[are], counts[are]


def _stretches(corpus: WordCorpus) -> Iterator[NDArray[np.int32]]:
    for start in range(0, corpus.num, AT_ONCE):
        yield corpus.read(start, start + AT_ONCE)


def _keys(ids: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Of neighbouring words."""
    both = (ids[:-1] >= 0) & (ids[1:] >= 0)
    return (ids[:-1].astype(np.int64) * size + ids[1:])[both]


def _cell(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    return ((keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)).astype(np.int64)


def _joined(ids: NDArray[np.int32], phrases: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Numbers with those of phrases, from `size` on, in place of their words'; from left to right."""
    joined = ids.astype(np.int64)
    keys = joined[:-1] * size + joined[1:]
    keys[(ids[:-1] < 0) | (ids[1:] < 0)] = -1
    place = np.searchsorted(phrases, keys)
    hits = np.zeros(len(ids), bool)
    hits[:-1] = (
        (place < len(phrases)) & (phrases[np.minimum(place, len(phrases) - 1)] == keys) if len(phrases) else False
    )
    begins = hits & ~np.concatenate([[False], hits[:-1]])
    place_in_row = np.arange(len(ids)) - np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
    starts = np.flatnonzero(hits & (place_in_row % 2 == 0))
    joined[starts] = size + place[starts]
    return np.delete(joined, starts + 1)
