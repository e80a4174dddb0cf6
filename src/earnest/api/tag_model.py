"""What a run on tagged sentences ships, and the answers that come from it.

model/model.json            tags and the tagger's facts
model/model.safetensors     every array, with a checksum
model/tokenizer-0.json      the words that it knows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earnest import __version__
from earnest.api import model_folder
from earnest.api.tag_parts import TAG_PARTS, Answer, TagPart
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.core.progress import Screen
from earnest.data.readers.sentences import read_sentences
from earnest.training.checkpoints import read_tensors, write_tensors

TASK = "tagging"
CHUNK = 1024
"""Sentences that are answered at a time."""


@dataclass(frozen=True)
class TagModel:
    """A shipped tagger with the user's words about it."""

    part: TagPart
    labels: tuple[str, ...]
    """The tags that it gives."""
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        facts, tensors = self.part.pack()
        atomic.write_json(folder / "tokenizer-0.json", facts.pop("vocabulary"))
        write_tensors(folder / "model.safetensors", tensors, {})
        atomic.write_json(
            folder / "model.json",
            {
                "format": model_folder.FORMAT,
                "earnest": __version__,
                "task": TASK,
                "target": "tags",
                "labels": self.labels,
                "parts": [{"kind": self.part.kind, **facts}],
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> TagModel:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, or of another version.
        """
        facts = model_folder.read_facts(folder)
        vocabulary = model_folder.read_json(folder / "tokenizer-0.json")
        tensors, _ = read_tensors(folder / "model.safetensors")
        try:
            its = facts["parts"][0]
            part: TagPart = TAG_PARTS[its["kind"]].unpack({**its, "vocabulary": vocabulary}, tensors)
        except (KeyError, IndexError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: its files do not fit ({error}).") from error
        return cls(part, tuple(facts["labels"]), facts["about"])


class TagPredictor:
    """A shipped tagger, ready to answer."""

    def __init__(self, model: TagModel) -> None:
        self.model = model

    def predict(self, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
        """Tags for a CoNLL file (a token a line, tags or none), a text file of a sentence a line, or a column of texts.

        Returns:
            One row a token: `row` (its sentence's), `token`, `tag`, `confidence`, and `name` (the sentence's line).

        Raises:
            DataError: nothing can be read.
        """
        screen = Screen(quiet=quiet)
        dataset = read_sentences(Path(data))
        for note in dataset.notes:
            screen.say(note)
        sentences = dataset.frame["tokens"].to_list()
        answers: list[Answer] = []
        with screen.bar("predicting", len(sentences)) as bar:
            for start in range(0, len(sentences), CHUNK):
                answers += self.model.part.answer(sentences[start : start + CHUNK])
                bar(len(answers))
        return token_frame(dataset.rows.tolist(), dataset.names, sentences, answers)


def token_frame(
    rows: Sequence[int], names: Sequence[str], sentences: Sequence[Sequence[str]], answers: Sequence[Answer]
) -> pl.DataFrame:
    """Answers in the user's words, one row a token; confidences have six decimals."""
    lengths = [len(words) for words in sentences]
    confidence = np.concatenate([np.zeros(0), *(answer.confidence for answer in answers)])
    return pl.DataFrame(
        {
            "row": pl.Series(np.repeat(np.asarray(rows, np.int64), lengths)),
            "token": pl.Series([word for words in sentences for word in words], dtype=pl.String),
            "tag": pl.Series([tag for answer in answers for tag in answer.tags], dtype=pl.String),
            "confidence": pl.Series(np.round(confidence, 6)),
            "name": pl.Series(names, dtype=pl.String).gather(np.repeat(np.arange(len(names)), lengths)),
        }
    )
