"""Tables: CSV, TSV and text files, JSON lines, gzipped or not, and Parquet."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earnest.core.errors import DataError
from earnest.data.columns import conform, infer
from earnest.data.dataset import Column, Dataset, Kind, LeftOut
from earnest.data.digests import row_digests
from earnest.data.readers.content import check_lines, decode, read_bytes
from earnest.data.readers.delimited import MAX_CELL, RawTable, parse_delimited, unique_names
from earnest.data.values import without_surrogates

DELIMITED = (".csv", ".tsv", ".tab", ".txt", ".data")
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
EXTENSIONS = (*DELIMITED, *JSON_LINES, *PARQUET)
"""What `read_table` reads; all but Parquet also with .gz behind."""

A_LINE = "a row of the table"


def read_table(
    path: Path, *, kinds: Mapping[str, Kind] | None = None, columns: Sequence[Column] | None = None
) -> Dataset:
    """The table in a file, its columns' kinds inferred, no roles assigned.

    Rows that cannot be used (ragged lines, bad JSON, images that are not there) are left out and listed.

    Args:
        path: a file with one of `EXTENSIONS`.
        kinds: kinds that the user states, by column.
        columns: of a table that is known already, whose kinds this file is to follow (a test file, rows to predict),
            instead of inferring them; see `earnest.data.columns.conform`.

    Raises:
        DataError: the file is missing, empty, broken, or no table; the message says what to do.
        OptionError: a stated kind does not fit.
    """
    raw, fingerprint = _read_raw(path)
    if raw.frame.width == 0:
        raise DataError(
            f"{path} holds no row of a table{_first_trouble(raw.left_out)}; is it the right file, and whole?"
        )
    if len(raw.frame) == 0:
        raise DataError(
            f"{path} holds a header and no rows{_first_trouble(raw.left_out)}; is it the right file, and whole?"
        )
    names = [f"{raw.unit} {line}" for line in raw.lines]
    if columns is None:
        frame, columns = infer(raw.frame, kinds, names=names, folder=path.parent)
        notes: tuple[str, ...] = ()
    else:
        frame, notes = conform(raw.frame, columns, source=str(path))
    return Dataset(
        source=str(path),
        frame=frame,
        columns=tuple(columns),
        rows=np.array(raw.rows, np.int64),
        names=tuple(names),
        digests=row_digests(frame, [column for column in columns if column.role == "input"]),
        fingerprint=fingerprint,
        left_out=tuple(raw.left_out),
        notes=(*raw.notes, *notes),
    )


def _read_raw(path: Path) -> tuple[RawTable, str]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if zipped else suffixes)[-1:]
    if not kind or kind[0] not in EXTENSIONS or (zipped and kind[0] in PARQUET):
        raise DataError(
            f"{path} has no extension that says it is a table: earnest reads {', '.join(EXTENSIONS)}, all but Parquet "
            "also with .gz. From a spreadsheet, save the sheet as CSV."
        )
    if kind[0] not in PARQUET and not zipped:
        check_lines(path, A_LINE)
    content = read_bytes(path)
    if zipped:
        check_lines(path, A_LINE, unpacked=content)
    fingerprint = hashlib.sha256(content).hexdigest()
    if not content.strip():
        raise DataError(f"{path} is empty.")
    if kind[0] in PARQUET:
        return _parse_parquet(path), fingerprint
    text, notes = decode(content, path)
    raw = _parse_json_lines(text) if kind[0] in JSON_LINES else _parse_delimited(text)
    raw.notes[:0] = notes
    return raw, fingerprint


def _parse_delimited(text: str) -> RawTable:
    before = csv.field_size_limit(MAX_CELL)
    try:
        return parse_delimited(text)
    finally:
        csv.field_size_limit(before)


def _parse_json_lines(text: str) -> RawTable:
    """One JSON object a line; nested values stay JSON text."""
    table = RawTable(pl.DataFrame(), [], [])
    cells: dict[str, list[Any]] = {}
    number = -1
    for line_number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        number += 1
        record, trouble = _json_object(line)
        if record is None:
            table.left_out.append(LeftOut(f"line {line_number}", trouble))
            continue
        for name, value in record.items():
            column = cells.setdefault(name, [])
            column.extend([None] * (len(table.rows) - len(column)))
            if value is not None and not isinstance(value, str):
                value = json.dumps(value, ensure_ascii=False)
            column.append(None if value is None else without_surrogates(value))
        table.rows.append(number)
        table.lines.append(line_number)
    for column in cells.values():
        column.extend([None] * (len(table.rows) - len(column)))
    names = unique_names([without_surrogates(name.strip()) for name in cells], table.notes)
    series = [pl.Series(name, column, pl.String) for name, column in zip(names, cells.values(), strict=True)]
    table.frame = pl.DataFrame(series)
    return table


def _json_object(line: str) -> tuple[dict[str, Any] | None, str]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return None, f"no JSON ({error})"
    return (value, "") if isinstance(value, dict) else (None, "JSON, but not an object {...}")


def _parse_parquet(path: Path) -> RawTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(
            f"{path} is no Parquet file, or a damaged one ({reason}). Copy or download it again."
        ) from error
    nested = [s.name for s in frame if s.dtype.is_nested() or s.dtype in (pl.Binary, pl.Object)]
    notes = [f"column {name!r} holds nested values ({frame[name].dtype}) and is not used" for name in nested]
    numbers = list(range(len(frame)))
    return RawTable(frame.drop(nested), numbers, numbers, notes=notes, unit="row")


def _first_trouble(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    return f" that can be used ({len(left_out)} left out; the first, {left_out[0].where}: {left_out[0].reason})"
