"""Words and how often they occur, counted in bounded memory, and the words that a model knows."""

from __future__ import annotations

import heapq
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from earnest.core import atomic
from earnest.core.errors import DataError, RunError
from earnest.data.running_text import LINE_END, RunningText

MOST_IN_MEMORY = 300_000
"""Different words that are counted in memory; what is more goes to the disk, sorted, and is added up in the end."""


@dataclass(frozen=True)
class Vocabulary:
    """Words by number, the most frequent first."""

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    """(V,)"""

    def __len__(self) -> int:
        return len(self.words)

    def write(self, path: Path) -> None:
        """As text, a word and its count a line, atomically."""

        def lines(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{word}\t{count}\n" for word, count in zip(self.words, self.counts, strict=True))

        atomic.write_with(path, lines)

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """What `write` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            with path.open(encoding="utf-8", newline="\n") as file:
                pairs = [line.rstrip("\n").split("\t") for line in file]
            return cls(tuple(word for word, _ in pairs), np.array([int(count) for _, count in pairs], np.int64))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is missing or damaged ({error}).") from error


def kept_shares(counts: NDArray[np.int64], sample: float) -> NDArray[np.float64]:
    """(V,) how likely each occurrence of a word stays where common words are thinned out (Mikolov et al. 2013).

    As the original code has it, and not the paper: with the share f of the text it is min(1, sqrt(sample / f) +
    sample / f); with a `sample` of 0 everything stays.
    """
    if sample == 0:
        return np.ones(len(counts))
    rarity = sample * counts.sum() / counts
    shares: NDArray[np.float64] = np.minimum(1.0, np.sqrt(rarity) + rarity)
    return shares


@dataclass(frozen=True)
class Counted:
    """What counting a text has found."""

    vocabulary: Vocabulary
    num_words: int
    """In all, with those that are not in the vocabulary."""
    num_different: int


def count_words(text: RunningText, *, min_count: int, most: int) -> Counted:
    """The words that occur `min_count` times and more, `most` of them at most; a tie goes by the alphabet.

    Raises:
        DataError: the text has no words, one word only, or fewer than two often enough; or it cannot be read.
    """
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        runs: list[Path] = []
        for words in text.words():
            counts.update(words)
            if len(counts) > MOST_IN_MEMORY:
                runs.append(_spilled(counts, Path(folder) / f"{len(runs)}.txt"))
        counts.pop(LINE_END, None)
        num_words = num_different = 0
        known: list[tuple[int, str]] = []
        for word, count in _merged(runs, counts):
            num_words += count
            num_different += 1
            if count >= min_count:
                known.append((-count, word))
    _check(text, num_words, num_different, len(known), min_count)
    known.sort()
    del known[most:]
    counted = np.array([-count for count, _ in known], np.int64)
    return Counted(Vocabulary(tuple(word for _, word in known), counted), num_words, num_different)


def _spilled(counts: Counter[str], path: Path) -> Path:
    """Write the counts in the order of the words, and forget them."""
    counts.pop(LINE_END, None)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{word}\t{count}\n" for word, count in sorted(counts.items()))
    counts.clear()
    return path


def _merged(runs: list[Path], counts: Counter[str]) -> Iterator[tuple[str, int]]:
    """Each word once, with its counts from the disk and from memory."""
    if not runs:
        yield from counts.items()
        return
    files = [run.open(encoding="utf-8", newline="\n") for run in runs]
    try:
        sources: list[Iterable[tuple[str, int]]] = [*map(_read, files), sorted(counts.items())]
        for word, group in groupby(heapq.merge(*sources), key=itemgetter(0)):
            yield word, sum(count for _, count in group)
    finally:
        for file in files:
            file.close()


def _read(file: IO[str]) -> Iterator[tuple[str, int]]:
    for line in file:
        word, count = line.rstrip("\n").split("\t")
        yield word, int(count)


def _check(text: RunningText, num_words: int, num_different: int, num_known: int, min_count: int) -> None:
    if num_words == 0:
        raise DataError(f"{text.path} holds no words; word vectors need running text to learn from.")
    if num_different == 1:
        often = "once" if num_words == 1 else f"{num_words:,} times"
        raise DataError(f"{text.path} holds one word only, {often}; there is nothing to tell apart.")
    if num_known < 2:
        raise DataError(
            f"{text.path} holds {num_words:,} words, {num_different:,} different ones, and "
            f"{'one occurs' if num_known else 'none occurs'} {min_count} times or more, where two are needed. Give "
            "more text, or a recipe in which rare words count: --recipe FILE with min_count = 1 under [model_options]."
        )
