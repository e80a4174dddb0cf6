"""The same label written in two ways: Adult's test file says "<=50K." where its training file says "<=50K"."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from earnest.data.dataset import Dataset


def match_labels(test: Dataset, train: Dataset) -> Dataset:
    """The test table with the training table's labels, where they differ by case, space or a final full stop only.

    A column is changed only when every one of its labels turns out to be a label of the training table.
    """
    notes = []
    frame = test.frame
    for column in train.columns:
        if column.kind != "category" or column.name not in frame.columns:
            continue
        same = _same_labels(train.frame[column.name], frame[column.name])
        if same:
            frame = frame.with_columns(pl.col(column.name).replace(same))
            shown = ", ".join(f"{old!r} as {new!r}" for old, new in list(same.items())[:3])
            notes.append(f"{test.source}: {column.name!r} is written another way; read {shown}")
    return replace(test, frame=frame, notes=(*test.notes, *notes))


def _same_labels(train: pl.Series, test: pl.Series) -> dict[str, str]:
    """Test label -> training label, for those that differ; empty when one has no counterpart or two."""
    known, found = train.drop_nulls().unique().to_list(), test.drop_nulls().unique().to_list()
    by_form = {_form(label): label for label in known}
    if len(by_form) < len(known) or not all(_form(label) in by_form for label in found):
        return {}
    return {label: by_form[_form(label)] for label in sorted(found) if label != by_form[_form(label)]}


def _form(label: str) -> str:
    return " ".join(label.casefold().rstrip(".").split())
