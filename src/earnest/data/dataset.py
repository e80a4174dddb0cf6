"""A data set as everyone in the house sees it: a table of typed columns, one row an example.

Images are a column too: the frame holds each one's name, and `Dataset.images` holds where their pixels are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

Kind = Literal["number", "category", "date", "text", "image", "id", "constant", "tokens", "tags"]
"""Of tokens and tags, a cell is a list of strings: a sentence's words, and a tag for each."""
Role = Literal["input", "target", "group", "time", "split", "beside", "aside"]
"""What stands "beside" a training row says more of it, and is not there when it comes to predicting."""
Part = Literal["train", "validation", "test"]

KINDS: tuple[Kind, ...] = ("number", "category", "date", "text", "image", "id", "constant")
"""Those that a table's column can be."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what kind it is, why we think so, and what it is used for."""

    name: str
    kind: Kind
    reason: str
    """Shown to the user, such as "5 distinct whole numbers from 1 to 5: an ordered scale"."""
    role: Role = "input"
    written: str = ""
    """How its numbers or dates are written in the file, see `earnest.data.values`; "" is the plain way."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row or file that could not be used."""

    where: str
    """A file's name, or "line 17"."""
    reason: str
    row: int | None = None
    """The id that it would have as a row, where that is known."""


class Images(Protocol):
    """Where the pixels of an image column are: files, members of an archive, or an array."""

    def __len__(self) -> int: ...

    @property
    def digests(self) -> NDArray[np.uint64]:
        """Of each image's content: a file's bytes, or pixels."""

    def name(self, index: int) -> str:
        """How the user knows this image: its path below the data's root, or its number."""

    def load(self, index: int, *, at_least: int | None = None) -> NDArray[np.uint8]:
        """The image as (H, W, C) uint8, C 1 or 3, upright.

        Args:
            index: which one.
            at_least: a shorter side that is enough, so that a larger image may come scaled down to no less than this.

        Raises:
            DataError: it cannot be read; the message says why, in a few words.
        """

    def take(self, indices: NDArray[np.int64]) -> Images:
        """Some of the images, in that order."""

    def key(self) -> str:
        """A digest of the content (or of path, size and modification time), under which decoded pixels are cached."""


@dataclass(frozen=True)
class Dataset:
    """Typed columns over rows that keep their ids for life.

    `frame`, `rows`, `names`, `digests` and `part` run in parallel, one entry a row.
    """

    source: str
    """The path as the user gave it."""
    frame: pl.DataFrame
    columns: tuple[Column, ...]
    rows: NDArray[np.int64]
    """Ids: the row's number in its file (0 is the first after the header), or the file's number in sorted order."""
    names: tuple[str, ...]
    """How the user finds the row again: a relative path, or "line 17"."""
    digests: NDArray[np.uint64]
    """Content of the inputs only; equal for exact duplicates."""
    fingerprint: str
    """SHA-256 over content, in hex: the same data gives the same fingerprint anywhere."""
    target: str | None = None
    part: NDArray[np.str_] | None = None
    """The user's own split: "train", "validation", "test" a row; None when there is none."""
    left_out: tuple[LeftOut, ...] = ()
    images: dict[str, Images] = field(default_factory=dict)
    """Pixels by the name of their column, row for row."""
    notes: tuple[str, ...] = ()
    """What the reader did that the user should know: "read as Latin-1", "delimiter ';'"."""

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Column:
        """The column called `name`; it exists."""
        return next(column for column in self.columns if column.name == name)

    def inputs(self, *kinds: Kind) -> tuple[Column, ...]:
        """The columns a model may see, of all kinds or some."""
        return tuple(c for c in self.columns if c.role == "input" and (not kinds or c.kind in kinds))

    def with_columns(self, columns: Iterable[Column]) -> Self:
        """The same rows with other column descriptions."""
        return replace(self, columns=tuple(columns))

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Some of the rows, in that order, with everything that belongs to them."""
        return replace(
            self,
            frame=self.frame[indices],
            rows=self.rows[indices],
            names=tuple(self.names[i] for i in indices),
            digests=self.digests[indices],
            part=None if self.part is None else self.part[indices],
            images={name: images.take(indices) for name, images in self.images.items()},
        )


@dataclass(frozen=True, slots=True)
class Split:
    """Positions (not row ids) of a data set's rows in each part, disjoint, sorted."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    how: str
    """One sentence for the user: "80/20 at random, stratified by label; 14 duplicates kept on one side"."""
    left_out: NDArray[np.int64]
    """Training rows that are exact duplicates of rows of the user's own test or validation part."""
