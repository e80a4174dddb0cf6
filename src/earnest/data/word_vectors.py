"""Vectors of words and what can be asked of them: how alike two words are, a word's neighbours, analogies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earnest.core.errors import OptionError, nearest
from earnest.data.subwords import rows_of

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A word and how near it is: a cosine, or for 3CosMul a ratio."""

    word: str
    score: float


@dataclass(frozen=True)
class WordVectors:
    """Words, the most frequent first, and a vector for each."""

    words: tuple[str, ...]
    array: Floats
    """(V, width)"""
    counts: NDArray[np.int64] | None = None
    """(V,) how often each occurred in the text that was learned from, where that is known."""
    subwords: Floats | None = None
    """(buckets, width) vectors of runs of characters, by which words that are not among `words` have a vector too."""
    lowercase: bool = False
    """Whether all words are in lower case, so that a question should be too."""

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def directions(self) -> Floats:
        """(V, width) the vectors at length 1; a vector of zeros stays as it is."""
        lengths = np.linalg.norm(self.array, axis=1, keepdims=True)
        return (self.array / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return self._number(word) is not None or self.subwords is not None

    def vector(self, word: str) -> Floats:
        """(width,) the vector of a word.

        Raises:
            OptionError: it has none; the nearest known word is offered.
        """
        number = self._number(word)
        if number is not None:
            return self.array[number]
        if self.subwords is None:
            hint = nearest(word, self.words[:50_000]) or "."
            raise OptionError(f"there is no word {word!r} among the {len(self):,} that have a vector{hint}")
        rows = rows_of(self._written(word), 0, len(self.subwords))
        if not rows:
            raise OptionError(f"the word {word!r} is too short to be told from its parts.")
        mean: Floats = self.subwords[rows].mean(0)
        return mean

    def similarity(self, first: str, second: str) -> float:
        """The cosine between two words.

        Raises:
            OptionError: one of them has no vector.
        """
        return float(_direction(self.vector(first)) @ _direction(self.vector(second)))

    def similar(
        self,
        plus: str | Sequence[str],
        *,
        minus: str | Sequence[str] = (),
        num: int = 10,
        multiply: bool = False,
    ) -> list[Neighbour]:
        """The nearest words to all of `plus` and far from all of `minus`; none of these is among the answers.

        `similar(["king", "woman"], minus="man")` asks what is to king as woman is to man: by the sum of cosines,
        Mikolov et al.'s 3CosAdd (2013), or with `multiply` by the product, Levy and Goldberg's 3CosMul (2014).

        Raises:
            OptionError: a word has no vector, there is none, or `num` is below 1.
        """
        near, far = _several(plus), _several(minus)
        if not near:
            raise OptionError("name at least one word to be near to.")
        if num < 1:
            raise OptionError(f"--num is {num}; give a whole number from 1 up.")
        positive = np.stack([_direction(self.vector(word)) for word in near])
        negative = np.stack([_direction(self.vector(word)) for word in far]) if far else positive[:0]
        if multiply:
            ahead, behind = (np.prod((1 + self.directions @ some.T) / 2, axis=1) for some in (positive, negative))
            scores = ahead / (behind + 1e-3)
        else:
            scores = self.directions @ _direction(positive.sum(0) - negative.sum(0))
        asked = [number for word in (*near, *far) if (number := self._number(word)) is not None]
        scores[asked] = -np.inf
        best = np.argsort(-scores, kind="stable")[: min(num, len(self) - len(set(asked)))]
        return [Neighbour(self.words[number], float(scores[number])) for number in best]

    def numbers(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Their numbers, -1 for those that are not among `words`."""
        found = (self._number(word) for word in words)
        return np.array([-1 if number is None else number for number in found], np.int64)

    def _number(self, word: str) -> int | None:
        number = self.index.get(word)
        return self.index.get(self._written(word)) if number is None else number

    def _written(self, word: str) -> str:
        return word.lower() if self.lowercase else word


def _several(words: str | Sequence[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _direction(vector: Floats) -> Floats:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
