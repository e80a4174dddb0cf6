"""Sentences in words as numbers: which word, which characters, and how it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earnest.data.ragged import Ragged
from earnest.data.tokenizers import Tokenizer

MOST_CHARACTERS = 24
"""Of a word; what comes behind them is not looked at."""
CHARACTER_VOCABULARY = 1000

NUM_SHAPES = 8
"""0 is padding, the others are as `shape` tells them."""


@dataclass(frozen=True, slots=True)
class EncodedWords:
    """Sentences as numbers, a place a word."""

    ids: Ragged
    """Words in lower case; 1 for one that is not known."""
    characters: Ragged
    """(total, W): each word's first characters as they are written, 0 behind them."""
    shapes: Ragged


@dataclass(frozen=True, eq=False)
class WordEncoder:
    """The words and characters that are known."""

    words: Tokenizer
    characters: Tokenizer

    @classmethod
    def fit(cls, sentences: Iterable[Sequence[str]], *, more: Iterable[str] = (), min_count: int = 1) -> WordEncoder:
        """Learn the training sentences' words.

        Args:
            sentences: the training rows only.
            more: further words that are to be known, such as those of word vectors.
            min_count: words seen less often are not known.
        """
        counts = Counter(word for sentence in sentences for word in sentence)
        folded = Counter[str]()
        for word, count in counts.items():
            folded[word.lower()] += count
        common = [word for word, count in folded.most_common() if count >= min_count]
        characters = Tokenizer.train("character", counts.elements(), vocab_size=CHARACTER_VOCABULARY)
        return cls(Tokenizer.of_words(list(dict.fromkeys((*common, *more))), lowercase=True), characters)

    @property
    def cardinalities(self) -> tuple[int, int, int]:
        """Of words, characters and shapes, counting 0, the padding."""
        return self.words.vocab_size, self.characters.vocab_size, NUM_SHAPES

    def encode(self, sentences: Sequence[Sequence[str]]) -> EncodedWords:
        """The sentences, of one word at least each."""
        ids = self.words.encode_words(sentences).ids
        place: dict[str, int] = {}
        of_token = np.array([place.setdefault(word, len(place)) for words in sentences for word in words], np.int64)
        written = self.characters.encode(list(place), max_length=MOST_CHARACTERS).ids
        characters = written.padded(np.arange(len(place)))[0].astype(np.int32)
        shapes = np.array([shape(word) for word in place], np.int32)
        return EncodedWords(ids, Ragged(characters[of_token], ids.offsets), Ragged(shapes[of_token], ids.offsets))

    def to_state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"words": self.words.to_state(), "characters": self.characters.to_state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WordEncoder:
        """What `to_state` gave."""
        return cls(Tokenizer.from_state(state["words"]), Tokenizer.from_state(state["characters"]))


def shape(word: str) -> int:
    """How a word is written: 1 lower case, 2 Capitalised, 3 CAPITALS, 4 mIXed, 5 digits, 6 with digits, 7 other.

    As the capitals of Collobert et al. 2011, "Natural language processing (almost) from scratch", with digits told too.
    """
    if any(character.isdigit() for character in word):
        return 6 if any(character.isalpha() for character in word) else 5
    if not any(character.isalpha() for character in word):
        return 7
    if word == word.lower():
        return 1
    if word[:1].isupper() and word[1:] == word[1:].lower():
        return 2
    return 3 if word == word.upper() else 4
