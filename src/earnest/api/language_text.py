"""A running text as a language model takes it: tokens in three consecutive parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earnest.api.question import Bench
from earnest.audit.corpus import audit_corpus
from earnest.core.errors import DataError
from earnest.core.recipe import Recipe
from earnest.core.run import Run
from earnest.data.readers.corpus import Corpus
from earnest.data.tokenizers import Tokenizer
from earnest.training import processes

SHARES = (0.05, 0.85, 0.1)
"""To choose by, to learn from, to test on, in the order of the text: what stands right before the test part is worth
most for it, so it is learned from."""
LITTLE_TEXT = 5_000_000
"""Bytes below which characters are the tokens."""
MOST_CHARACTERS = 8192
"""Different ones that are known by themselves; rarer ones are all alike."""
MOST_TOLD = 1_000_000
"""Tokens at the beginning of the validation and of the test part that are told in the end, at most."""
TOKENIZER = "checkpoints/tokenizer.json"

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Text:
    """A corpus in tokens."""

    corpus: Corpus
    parts: tuple[Corpus, ...]
    """To choose by, to learn from, to test on."""
    tokenizer: Tokenizer
    ids: NDArray[np.int32]
    """(N,) all tokens."""
    bounds: tuple[int, int]
    """Where the training part begins, and where the test part does."""
    most_told: int = MOST_TOLD
    """Tokens at the beginning of either part that are told in the end."""

    @property
    def unit(self) -> str:
        """What a token is."""
        return "characters" if self.tokenizer.kind == "character" else "tokens"

    @property
    def learned_from(self) -> NDArray[np.int32]:
        """The tokens of the training part."""
        return self.ids[slice(*self.bounds)]

    def span(self, part: Part) -> tuple[int, int]:
        """Where what is told of a part begins and ends; nothing tells a text's first token."""
        start, end = (1, self.bounds[0]) if part == "validation" else (self.bounds[1], len(self.ids))
        return start, min(end, start + self.most_told)

    def keep(self, run: Run) -> None:
        """Write the tokenizer down, so that a resumed run has the same."""
        run.write(TOKENIZER, self.tokenizer.to_state())

    def audit(self) -> dict[str, Any]:
        """The content of audit.json."""
        return audit_corpus(self.corpus, self.parts[1], self.parts[2], rows=len(self.ids))

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        train, test = self.bounds
        parts = {"train": test - train, "validation": train, "test": len(self.ids) - test}
        how = (
            f"in the order of the text: its last tenth is the test, its first twentieth the validation part; "
            f"counted in {self.unit}"
        )
        return {"fingerprint": self.corpus.fingerprint, "rows": len(self.ids), "split": {"how": how, **parts}}


def in_tokens(bench: Bench, corpus: Corpus, recipe: Recipe) -> Text:
    """The corpus cut into parts, and these into tokens; the tokenizer learns from the training part alone.

    Raises:
        DataError: it is too short.
    """
    for note in corpus.notes:
        bench.screen.say(note)
    parts = corpus.split(*SHARES)
    tokenizer = _tokenizer(bench, recipe, parts[1])
    encoded = [_encoded(tokenizer, part) for part in parts]
    first, second, third = map(len, encoded)
    text = Text(corpus, parts, tokenizer, np.concatenate(encoded), (first, first + second))
    if second <= recipe.window or min(first, third) < 2:
        raise DataError(
            f"{bench.request.data} is too short: of its {len(text.ids):,} {text.unit} {second:,} are to learn from, "
            f"and a window has {recipe.window}. Give more text, or shorter windows: --recipe FILE with window = 32."
        )
    return text


def _tokenizer(bench: Bench, recipe: Recipe, part: Corpus) -> Tokenizer:
    """The tokenizer that the run began with, or one that learns from this part."""
    state = processes.of_first(bench.run.read(TOKENIZER))
    if state is not None:
        return Tokenizer.from_state(state)
    kind = recipe.tokens or ("character" if len(part) < LITTLE_TEXT else "bpe")
    assert kind != "words", "the recipe was checked"
    assert kind != "spaces", "the recipe was checked"
    size = MOST_CHARACTERS if kind == "character" else recipe.vocabulary
    learned = Tokenizer.train(kind, part.chunks(), vocab_size=size, lowercase=kind == "wordpiece")
    return Tokenizer.from_state(processes.of_first(learned.to_state()))


def _encoded(tokenizer: Tokenizer, part: Corpus) -> NDArray[np.int32]:
    return np.concatenate([tokenizer.encode([chunk], bare=True).ids.values for chunk in part.chunks()])
