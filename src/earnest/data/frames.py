"""Tables in memory as data sets: arrays, pandas and polars frames, with their columns typed as a file's are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.columns import infer
from earnest.data.dataset import Column, Dataset, Kind
from earnest.data.digests import row_digests
from earnest.data.image_arrays import fingerprint


def is_frame(inputs: object) -> bool:
    """Whether `inputs` is a frame of pandas or polars."""
    return isinstance(inputs, pl.DataFrame) or hasattr(inputs, "iloc")


def as_frame(inputs: Any, names: Sequence[str]) -> pl.DataFrame:
    """A frame of pandas or polars, or an array (N, F), as a polars frame whose columns are called `names`.

    pandas need not be installed: its frames are asked for what they hold. Python objects become strings.

    Raises:
        DataError: a column holds infinite values, or two have the same name.
        TypeError: an array holds objects that are neither numbers nor strings.
    """
    if isinstance(inputs, pl.DataFrame):
        columns = [series.alias(name) for series, name in zip(inputs, names, strict=True)]
    elif is_frame(inputs):
        columns = [_of_pandas(inputs.iloc[:, i]).alias(name) for i, name in enumerate(names)]
    else:
        columns = [_of_array(column).alias(name) for column, name in zip(inputs.T, names, strict=True)]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"X has two columns called {twice!r}; rename one of them.")
    frame = pl.DataFrame(columns).fill_nan(None)
    for series in frame.select(pl.col(pl.Float32, pl.Float64)):
        if series.is_infinite().any():
            raise DataError(f"X holds infinity in the column {series.name!r}; missing values may be NaN or None.")
    return frame


def frame_dataset(frame: pl.DataFrame, target: pl.Series) -> Dataset:
    """A `Dataset` of a frame and the target of its rows: labels (strings), or Float64 for a quantity.

    Whoever hands over columns of numbers means them to be learned from: none is taken for an id, or left out for
    being constant. Columns of strings are judged as a file's are.

    Raises:
        DataError: no column is left to learn from; each is named with what it is taken for.
    """
    numeric: dict[str, Kind] = {series.name: "number" for series in frame if series.dtype.is_numeric()}
    frame, columns = infer(frame, numeric)
    if not any(column.role == "input" for column in columns):
        aside = ", ".join(f"{column.name!r} ({column.reason})" for column in columns)
        raise DataError(f"X has no column to learn from; set aside: {aside}.")
    digests = row_digests(frame, [column for column in columns if column.role == "input"])
    if (digests == digests[0]).all():
        digests = np.arange(len(frame), dtype=np.uint64)  # Rows that are all equal could not be split otherwise.
    name = _free_name("y", frame.columns)
    kind: Kind = "category" if target.dtype == pl.String else "number"
    return Dataset(
        source="X",
        frame=frame.with_columns(target.alias(name)),
        columns=(*columns, Column(name, kind, "the target", role="target")),
        rows=np.arange(len(frame)),
        names=tuple(f"row {row}" for row in range(len(frame))),
        digests=digests,
        fingerprint=fingerprint((len(columns),), digests, target, None),
        target=name,
    )


def _of_pandas(series: Any) -> pl.Series:
    """A pandas column: numbers, truth values, dates, or anything else as strings."""
    kind = getattr(series.dtype, "kind", "O")
    missing = series.isna().to_numpy()
    if kind in "iuf":
        return pl.Series(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "M":
        return pl.Series(series.to_numpy(dtype="datetime64[us]"))
    values = [None if absent else value for value, absent in zip(series.tolist(), missing, strict=True)]
    if kind == "b":
        return pl.Series(values, dtype=pl.Boolean)
    return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def _of_array(column: NDArray[Any]) -> pl.Series:
    """An array's column: numbers, or strings where any of its values is one."""
    if column.dtype.kind == "U" or (column.dtype.kind == "O" and any(isinstance(value, str) for value in column)):
        missing = [value is None or value != value for value in column]
        return pl.Series([None if m else str(v) for v, m in zip(column, missing, strict=True)], dtype=pl.String)
    return pl.Series(column.astype(np.float64))


def _free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, with as many underscores as it takes to be none of `taken`."""
    while name in taken:
        name += "_"
    return name
