"""A text as the numbers of its words, in a file that is read a stretch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.data.running_text import LINE_END, RunningText
from earnest.data.word_counts import Vocabulary

END, UNKNOWN = -1, -2
"""In place of a word's number: a line ends; a word that is not in the vocabulary (which training never sees)."""
DTYPE = np.dtype("<i4")


@dataclass(frozen=True)
class WordCorpus:
    """Numbers of words, END after each line."""

    path: Path
    num: int
    """Of numbers in the file, line ends among them."""

    @classmethod
    def open(cls, path: Path) -> WordCorpus:
        """The file that `write_corpus` wrote.

        Raises:
            RunError: it is missing, or is no whole one.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RunError(
                f"{path} is missing ({error.strerror}); start again with `earnest fit --overwrite`."
            ) from error
        if size % DTYPE.itemsize:
            raise RunError(f"{path} is damaged; start again with `earnest fit --overwrite`.")
        return cls(path, size // DTYPE.itemsize)

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """The numbers from `start` to `stop`, as far as there are any."""
        start, stop = max(start, 0), min(stop, self.num)
        with self.path.open("rb") as file:
            return np.fromfile(file, DTYPE, stop - start, offset=start * DTYPE.itemsize)


def write_corpus(path: Path, text: RunningText, vocabulary: Vocabulary, *, keep_unknown: bool = False) -> WordCorpus:
    """Write the text's numbers to `path`, atomically; words that are not in the vocabulary leave no gap.

    Raises:
        DataError: the text cannot be read.
        OSError: the disk is full.
    """
    number = {word: index for index, word in enumerate(vocabulary.words)}
    number[LINE_END] = END

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            before = END
            for words in text.words():
                ids = np.array(list(map(number.get, words, repeat(UNKNOWN))), DTYPE)
                if not keep_unknown:
                    ids = ids[ids != UNKNOWN]
                ids = without_empty_lines(ids, before)
                if len(ids):
                    before = int(ids[-1])
                    ids.tofile(file)

    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_with(path, write)
    return WordCorpus.open(path)


def without_empty_lines(ids: NDArray[np.int32], before: int) -> NDArray[np.int32]:
    """Numbers without ends that follow an end; `before` is the number in front of the first."""
    ends = ids == END
    follows = np.concatenate([[before == END], ends[:-1]]) if len(ids) else ends
    return ids[~(ends & follows)]
