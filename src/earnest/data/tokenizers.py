"""Texts to token ids and back, whatever is in the texts; what is cut off is counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from earnest.core.errors import DataError, OptionError
from earnest.data import vocabularies
from earnest.data.ragged import Ragged
from earnest.data.values import without_surrogates
from earnest.data.vocabularies import Kind

PIECE = 1 << 16
"""Characters of a text that are encoded at a time; a longer one is cut between words, or in one that is as long."""
CHUNK = 1 << 18
"""Characters of several texts that are encoded together, on all cores: what bounds the memory."""

BEGINNING = 0.25
"""Of what is read of a text that is too long; the rest is its end, which often says what it comes to (C. Sun, X. Qiu,
Y. Xu & X. Huang, "How to fine-tune BERT for text classification?", arXiv:1905.05583, section 5.3.1)."""

_MOST_SPARE_ROWS = 128
"""Rows that embeddings may have beyond the vocabulary, as some are padded to a round number."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as ids, and what did not fit."""

    ids: Ragged
    """int32, no sequence empty."""
    truncated: int
    """Texts that were cut."""
    lost: int
    """Tokens that were cut off them."""
    starts: Ragged | None = None
    """Of sentences in words: where in its ids each word begins, without the words that were cut off."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Cuts texts into tokens; id 0 is padding in those that are trained here.

    What looks like a special token in a text is text: nobody can write "[SEP]" into a review and end it. NUL bytes,
    lone surrogates (which become U+FFFD), any script and any length are taken.
    """

    kind: Kind
    library: tokenizers.Tokenizer = field(repr=False)
    """What does the work; it is not to be changed."""

    def __post_init__(self) -> None:
        self.library.encode_special_tokens = True

    @classmethod
    def train(cls, kind: Kind, texts: Iterable[str | None], *, vocab_size: int, lowercase: bool = False) -> Tokenizer:
        """Learn a vocabulary.

        Args:
            kind: "wordpiece" (surrounded by [CLS] and [SEP]), "bpe" (of bytes: gives back every text exactly),
                "character", or "word".
            texts: to learn from; read once.
            vocab_size: tokens at most, the special ones included.
            lowercase: texts are read in lower case (and by WordPiece without accents).

        Raises:
            OptionError: `vocab_size` is too small.
            DataError: there is no text.
        """
        pieces = (piece for _, piece in _pieces(texts))
        return cls(kind, vocabularies.learned(kind, pieces, vocab_size=vocab_size, lowercase=lowercase))

    @classmethod
    def of_words(cls, words: Sequence[str], *, lowercase: bool = False) -> Tokenizer:
        """A "word" tokenizer that knows these words, as word vectors come with: ids 2, 3, ... in their order."""
        return cls("word", vocabularies.of_words(words, lowercase=lowercase))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """The tokenizer that came with weights: a tokenizer.json, or BERT's vocab.txt.

        Raises:
            DataError: the file is missing, or no vocabulary.
        """
        return cls(*vocabularies.read(Path(path)))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tokenizer:
        """What `to_state` gave, through JSON too."""
        return cls(state["kind"], tokenizers.Tokenizer.from_str(json.dumps(state["definition"])))

    def to_state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "definition": json.loads(self.library.to_str())}

    @cached_property
    def vocab_size(self) -> int:
        """Rows that embeddings need: the largest id, and one."""
        return max(self.library.get_vocab().values()) + 1

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that stand for no text."""
        return tuple(i for i, token in sorted(self.library.get_added_tokens_decoder().items()) if token.special)

    @cached_property
    def mask_id(self) -> int | None:
        """What stands for a hidden token, where there is one."""
        return self._first_of(vocabularies.MASK, "<mask>")

    @cached_property
    def end_id(self) -> int | None:
        """What ends a text, where there is one."""
        return self._first_of(vocabularies.END, vocabularies.SEPARATOR, "</s>", "<|endoftext|>")

    @cached_property
    def unknown_id(self) -> int:
        """What stands for a text or a word without a token."""
        found = self._first_of(vocabularies.UNKNOWN, "<unk>", vocabularies.END, "</s>", "<|endoftext|>")
        return 0 if found is None else found

    @cached_property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids before and behind each text."""
        bare = self.library.encode("a", add_special_tokens=False).ids
        whole = self.library.encode("a").ids
        start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return tuple(whole[:start]), tuple(whole[start + len(bare) :])

    @cached_property
    def characters(self) -> NDArray[np.int64]:
        """(vocab_size,) Characters that each token of "bpe" or "character" stands for: those that begin in it."""
        assert self.kind in ("bpe", "character"), "the tokens of others do not give back the text"
        counts = np.zeros(self.vocab_size, np.int64)
        inside = vocabularies.bytes_inside_characters() if self.kind == "bpe" else frozenset()
        for token, number in self.library.get_vocab().items():
            counts[number] = 1 if self.kind == "character" else sum(letter not in inside for letter in token)
        counts[list(self.special_ids)] = 0
        if self.kind == "character":
            counts[self.unknown_id] = 1
        return counts

    def knows(self, text: str) -> bool:
        """Whether every part of a text has a token of its own."""
        ids = self.encode([text], bare=True).ids[0]
        return self.kind == "bpe" or self.unknown_id not in ids

    def encode(self, texts: Sequence[str | None], *, max_length: int | None = None, bare: bool = False) -> Encoded:
        """Texts as ids.

        Args:
            texts: None is an empty text.
            max_length: ids of a text at most, those around it included; of a longer one the middle is left out.
            bare: without the ids around each text, so that pieces of a corpus join; empty ones stay empty.

        Raises:
            OptionError: `max_length` leaves no room for a token.
        """
        room = self._room(max_length, bare)
        before, behind = (np.array(() if bare else ids, np.int32) for ids in self.around)
        empty = np.array([] if bare or any(self.around) else [self.unknown_id], np.int32)
        sequences = [np.concatenate([before, empty, behind])] * len(texts)
        lost = truncated = 0
        for row, ids in self._of_each(texts):
            lost += max(0, len(ids) - room)
            truncated += len(ids) > room
            sequences[row] = np.concatenate([before, without_middle(ids, room), behind])
        return Encoded(Ragged.of(sequences), truncated, lost)

    def _of_each(self, texts: Sequence[str | None]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """(number of the text, its ids), of those that have any."""
        current, pieces = -1, list[NDArray[np.int32]]()
        for chunk in _chunks(_pieces(texts)):
            encodings = self.library.encode_batch_fast([piece for _, piece in chunk], add_special_tokens=False)
            for (row, _), encoding in zip(chunk, encodings, strict=True):
                if row != current and pieces:
                    yield current, np.concatenate(pieces)
                    pieces = []
                current = row
                if len(encoding):
                    pieces.append(np.array(encoding.ids, np.int32))
        if pieces:
            yield current, np.concatenate(pieces)

    def encode_words(self, sentences: Sequence[Sequence[str]], *, max_length: int | None = None) -> Encoded:
        """Sentences that are cut into words already, as ids; `starts` says where in them each word begins.

        Every word has a token: the unknown one, where the tokenizer would drop it. To a "word" tokenizer each word is
        one token as it stands.

        Raises:
            OptionError: `max_length` leaves no room for a token.
        """
        room = self._room(max_length, False)
        library = self._of_whole_words if self.kind == "word" else self.library
        before, behind = self.around
        sequences, starts = [], []
        lost = truncated = 0
        for start in range(0, len(sentences), 256):
            words = [[without_surrogates(word) for word in sentence] for sentence in sentences[start : start + 256]]
            encodings = library.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
            for encoding, sentence in zip(encodings, words, strict=True):
                ids, places = self._with_every_word(encoding, len(sentence))
                lost += max(0, len(ids) - room)
                truncated += len(ids) > room
                ids = ids[:room] if len(ids) or before or behind else np.array([self.unknown_id])
                sequences.append(np.concatenate([before, ids, behind]).astype(np.int32))
                starts.append(places[places < room] + len(before))
        return Encoded(Ragged.of(sequences), truncated, lost, Ragged.of(starts))

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """The text of some ids, special ones left out."""
        return self.library.decode([int(i) for i in ids], skip_special_tokens=True)

    def check_fits(self, num_rows: int, *, vocabulary: str | Path, weights: str | Path) -> None:
        """Check that embeddings of so many rows belong to this vocabulary.

        Raises:
            DataError: they do not; both are named.
        """
        if not self.vocab_size <= num_rows < self.vocab_size + _MOST_SPARE_ROWS:
            raise DataError(
                f"the vocabulary {vocabulary} holds {self.vocab_size:,} tokens and the weights {weights} know "
                f"{num_rows:,}: they do not belong together. Give the vocabulary that came with the weights."
            )

    @cached_property
    def _of_whole_words(self) -> tokenizers.Tokenizer:
        library = tokenizers.Tokenizer.from_str(self.library.to_str())
        library.pre_tokenizer = None
        library.encode_special_tokens = True
        return library

    def _with_every_word(
        self, encoding: tokenizers.Encoding, num_words: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ids, with the unknown one for words that have none, and where each word begins."""
        ids, word_of = np.array(encoding.ids, np.int64), np.array(encoding.word_ids, np.int64)
        places = np.searchsorted(word_of, np.arange(num_words))
        dropped = np.setdiff1d(np.arange(num_words), word_of)
        if len(dropped):
            ids = np.insert(ids, places[dropped], self.unknown_id)
            places += np.searchsorted(dropped, np.arange(num_words))
        return ids, places

    def _room(self, max_length: int | None, bare: bool) -> int:
        """Tokens that a text may have."""
        around = 0 if bare else sum(map(len, self.around))
        if max_length is not None and max_length <= around:
            raise OptionError(f"at most {max_length} tokens leave no room for text; give {around + 1} at least.")
        return np.iinfo(np.int64).max if max_length is None else max_length - around

    def _first_of(self, *names: str) -> int | None:
        return next((i for name in names if (i := self.library.token_to_id(name)) is not None), None)


def without_middle(ids: NDArray[np.int32], room: int) -> NDArray[np.int32]:
    """At most `room` of them: the first quarter of that, and the last three."""
    if len(ids) <= room:
        return ids
    first = int(BEGINNING * room)
    return np.concatenate([ids[:first], ids[len(ids) - room + first :]])


def _pieces(texts: Iterable[str | None]) -> Iterator[tuple[int, str]]:
    """(number of the text, piece): texts without lone surrogates, cut where that changes no token."""
    for row, text in enumerate(texts):
        rest = without_surrogates(text or "")
        start = 0
        while len(rest) - start > PIECE:
            end = max(rest.rfind(" ", start + 1, start + PIECE), rest.rfind("\n", start + 1, start + PIECE))
            end = end if end > start else start + PIECE
            yield row, rest[start:end]
            start = end
        if start < len(rest):
            yield row, rest[start:]


def _chunks(pieces: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    chunk: list[tuple[int, str]] = []
    size = 0
    for row, piece in pieces:
        chunk.append((row, piece))
        size += len(piece)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
