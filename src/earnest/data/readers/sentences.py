"""Sentences to be tagged: CoNLL columns with tags or without, a text of a sentence a line, or a table's texts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from earnest.core.errors import DataError
from earnest.data.dataset import Column, Dataset
from earnest.data.digests import row_digests
from earnest.data.layout import suffix
from earnest.data.readers import table
from earnest.data.readers.conll import is_conll, read_tokens
from earnest.data.readers.content import check_lines, decode, read_bytes
from earnest.data.values import without_surrogates

_TABLES = tuple(ending for ending in table.EXTENSIONS if ending != ".txt")
_WORD = re.compile(r"\w+(?:[.,:'’\-]\w+)*|[^\w\s]")
"""Letters and digits, with what joins them within a word; anything else is a word of one character."""
_MOST_COLUMNS = 6


def read_sentences(path: Path) -> Dataset:
    """One row a sentence, with the column "tokens" (lists of strings); rows of no word stay, with none.

    A table's first column of texts is read, or the column "text"; texts are cut into words at spaces and before and
    behind punctuation, which is a word of its own.

    Raises:
        DataError: nothing can be read.
    """
    if path.is_file() and suffix(path.name) in _TABLES:
        return _of_table(path)
    if not path.is_file() or is_conll(path):
        return read_tokens(path)
    check_lines(path, "a sentence")
    content = read_bytes(path)
    text, notes = decode(content, path)
    lines = text.split("\n")
    if not text.strip():
        raise DataError(f"{path} is empty.")
    if _in_columns(lines):
        dataset = read_tokens(path)
        return replace(dataset, notes=(*dataset.notes, "read as a token a line, the first of its columns"))
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    names = tuple(f"line {number}" for number, _ in filled)
    fingerprint = hashlib.sha256(content).hexdigest()
    return _dataset(path, [line for _, line in filled], names, np.arange(len(filled)), fingerprint, tuple(notes))


def cut(text: str) -> list[str]:
    """A text's words."""
    return _WORD.findall(without_surrogates(text))


def _of_table(path: Path) -> Dataset:
    found = table.read_table(path)
    names = [column.name for column in found.columns if found.frame[column.name].dtype == pl.String]
    if not names:
        raise DataError(f"{path} has no column of texts to tag; its columns: {', '.join(found.frame.columns)}.")
    free = [column.name for column in found.columns if column.kind == "text"]
    chosen = "text" if "text" in names else (*free, *names)[0]
    texts = found.frame[chosen].fill_null("").to_list()
    dataset = _dataset(path, texts, found.names, found.rows, found.fingerprint, ())
    note = f"the texts are those of the column {chosen!r}"
    return replace(dataset, left_out=found.left_out, notes=(*found.notes, note, *dataset.notes))


def _in_columns(lines: list[str]) -> bool:
    """Whether a file without tags is a token a line: one column, or several alike with blank lines between."""
    filled = [line.split() for line in lines if line.strip()]
    widths = {len(fields) for fields in filled}
    if widths == {1}:
        return True
    return len(widths) == 1 and max(widths) <= _MOST_COLUMNS and len(filled) < len(lines) - 1 and len(filled) > 1


def _dataset(
    path: Path, texts: list[str], names: tuple[str, ...], rows: np.ndarray, fingerprint: str, notes: tuple[str, ...]
) -> Dataset:
    frame = pl.DataFrame({"tokens": [cut(text) for text in texts]}, schema={"tokens": pl.List(pl.String)})
    tokens = Column("tokens", "tokens", f"{len(texts):,} texts")
    return Dataset(
        source=str(path),
        frame=frame,
        columns=(tokens,),
        rows=rows,
        names=names,
        digests=row_digests(frame, [tokens]),
        fingerprint=fingerprint,
        notes=(*notes, "texts were cut into words at spaces and punctuation"),
    )
