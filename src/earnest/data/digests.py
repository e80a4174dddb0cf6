"""One number for what a row holds, so that exact duplicates are found without comparing rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.data.dataset import Column

_BLOCK = 1 << 16
"""Rows rendered at a time."""


def row_digests(frame: pl.DataFrame, columns: Iterable[Column]) -> NDArray[np.uint64]:
    """BLAKE2b, 8 bytes, of each row's cells in those columns; stable across versions and machines.

    Numbers enter by their bits (-0 as 0), strings with their length, so that no two rows render alike. Rows of a table
    without any columns are all different, as nothing says that they are equal.
    """
    names = [column.name for column in columns]
    if not names:
        return np.arange(len(frame), dtype=np.uint64)
    digests = np.empty(len(frame), np.uint64)
    for start in range(0, len(frame), _BLOCK):
        block = frame.slice(start, _BLOCK).select(names)
        digests[start : start + _BLOCK] = _block_digests(block)
    return digests


def _block_digests(block: pl.DataFrame) -> NDArray[np.uint64]:
    floats = block.select(pl.col(pl.Float64)).to_numpy().reshape(len(block), block.dtypes.count(pl.Float64()))
    numbers = np.ascontiguousarray(np.where(np.isnan(floats), np.nan, floats + 0.0), dtype="<f8")
    rendered = [_rendered(series) for series in block if series.dtype != pl.Float64]
    if rendered:
        texts = pl.select(pl.concat_str(rendered, separator="")).to_series().to_list()
    else:
        texts = [""] * len(block)
    digests = b"".join(
        hashlib.blake2b(row.tobytes() + text.encode(), digest_size=8).digest()
        for row, text in zip(numbers, texts, strict=True)
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _rendered(series: pl.Series) -> pl.Series:
    """Each cell as its length and itself; a missing one as nothing but a mark."""
    if series.dtype == pl.List(pl.String):
        element = pl.element()
        series = series.list.eval(element.str.len_bytes().cast(pl.String) + ":" + element).list.join("")
    strings = series.dt.epoch("us").cast(pl.String) if series.dtype == pl.Datetime else series.cast(pl.String)
    return (strings.str.len_bytes().cast(pl.String) + ":" + strings).fill_null("~")
