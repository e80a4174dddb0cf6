"""A table as candidates are given it: encoded by what the training rows showed, with what is seen in its pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from earnest.api.model_folder import PictureColumn, Shipped
from earnest.api.parts import Inputs, Part
from earnest.api.pictures import Pictures
from earnest.api.question import Candidate, Question, Rows
from earnest.api.sight import Sight
from earnest.api.transfer import FrozenPictures
from earnest.data.encode import EncodedTable, TableEncoder
from earnest.data.text import MAX_TERMS

MOST_WEIGHTS = 2_000_000
"""Weights of texts' terms that a linear model has, at most; with many classes, there are fewer terms."""


@dataclass(frozen=True)
class Seen:
    """A column of pictures, and what a pretrained network sees in them."""

    pictures: Pictures
    frozen: FrozenPictures

    def sight(self, train: Rows) -> Sight:
        """Its features as a few numbers, by what the training rows showed."""
        frozen = self.frozen
        return Sight.fit(
            frozen.features[train], frozen.architecture, frozen.pretrained.model, frozen.normalise, flips=frozen.flips
        )


@dataclass(frozen=True)
class Scope:
    """What of a row candidates for tables are given, and how they are then called."""

    seen: tuple[Seen, ...] = ()
    """Columns of pictures, beside all columns that are none."""
    suffix: str = ""
    """Of a candidate's name, such as " (all columns)"."""
    prefix: str = ""
    """Of a training's name, which tells its checkpoints from those of the same network in another scope."""

    def named(self, candidate: Candidate) -> Candidate:
        """The candidate under its full name."""
        return replace(candidate, name=candidate.name + self.suffix)


class Encoded:
    """The whole table, encoded by what the training rows showed."""

    all: EncodedTable

    def __init__(self, question: Question, train: Rows, seen: tuple[Seen, ...] = ()) -> None:
        dataset = question.dataset
        num_texts = max(1, len(dataset.inputs("text")))
        max_terms = min(MAX_TERMS, MOST_WEIGHTS // (num_texts * (question.num_classes or 1)))
        self.encoder = TableEncoder.fit(dataset.frame[train], dataset.inputs(), max_terms=max_terms)
        self.all = self.encoder.transform(dataset.frame)
        self.pictures: tuple[PictureColumn, ...] = ()
        if seen:
            sights = [one.sight(train) for one in seen]
            self.pictures = tuple(one.pictures.described(sight) for one, sight in zip(seen, sights, strict=True))
            numbers = [sight.of_features(one.frozen.features) for one, sight in zip(seen, sights, strict=True)]
            self.all = replace(self.all, pictures=np.concatenate(numbers, axis=1))

    def inputs(self, rows: Rows) -> Inputs:
        """Some of the rows, as parts take them."""
        return Inputs(table=self.all.take(rows))

    def shipped(self, part: Part) -> Shipped:
        """The part as something to ship."""
        return Shipped((part,), self.pictures, self.encoder)


class Encodings:
    """A question's table as encoded for each choice of training rows: once, whatever the number of candidates."""

    def __init__(self, question: Question, scope: Scope | None = None) -> None:
        self.question = question
        self.scope = scope or Scope()
        self._made: dict[bytes, Encoded] = {}

    def by(self, train: Rows) -> Encoded:
        """The table, encoded by what these rows show."""
        key = train.tobytes()
        if key not in self._made:
            self._made[key] = Encoded(self.question, train, self.scope.seen)
        return self._made[key]
