"""Which columns a table has and what each is for: kinds inferred or stated, roles assigned, the target resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from earnest.core.errors import DataError, OptionError, nearest
from earnest.data.dataset import KINDS, Column, Dataset, Kind, LeftOut, Role
from earnest.data.digests import row_digests
from earnest.data.kinds import Judgement, cast, judge
from earnest.data.values import date_styles, labels, number_style

MAX_CLASSES = 10
"""A whole-number target with at most this many distinct values names classes, unless its name says that it counts."""

_SCALE_NAME = re.compile(
    r"rating|score|stars?$|grade|quality|level|severity|count|number|num_|age$|years", re.IGNORECASE
)
_TARGET_NAME = re.compile(
    r"^(target|label|class|y|outcome|response|income|survived|price|default|churn)$", re.IGNORECASE
)
_CHOICES = ("random", "group", "time")


def infer(
    frame: pl.DataFrame,
    kinds: Mapping[str, Kind] | None = None,
    *,
    names: Sequence[str] | None = None,
    folder: Path | None = None,
) -> tuple[pl.DataFrame, tuple[Column, ...]]:
    """Find each column's kind and cast the columns to their kinds.

    Args:
        frame: columns as read, strings or typed.
        kinds: kinds that the user states, by column; they are taken as they are.
        names: where each row is in its file, for messages.
        folder: where paths to images start.

    Returns:
        The frame (number -> Float64, date -> Datetime, everything else -> String) and a `Column` for each of its
        columns; ids and constants have the role "aside".

    Raises:
        OptionError: a stated kind names no column or no kind, or a value does not fit it.
    """
    kinds = kinds or {}
    for name, kind in kinds.items():
        require_column(name, frame.columns, "--type")
        if kind not in KINDS:
            raise OptionError(
                f"--type {name}={kind}: there is no kind {kind!r}{nearest(kind, KINDS)} Kinds: {_list(KINDS)}."
            )
    judgements = [
        _as_stated(series, kinds[series.name], names) if series.name in kinds else judge(series, folder=folder)
        for series in frame
    ]
    columns = tuple(
        Column(series.name, found.kind, _with_missing(found), _first_role(found.kind), found.written)
        for series, found in zip(frame, judgements, strict=True)
    )
    values = [found.values.alias(series.name) for series, found in zip(frame, judgements, strict=True)]
    return pl.DataFrame(values), columns


def conform(frame: pl.DataFrame, columns: Sequence[Column], *, source: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Cast another file's columns to the kinds of a table that is known, and drop the ones it does not have.

    Cells that do not fit their kind count as missing; a set-aside column may be absent. A file without a header, of as
    many columns, is taken by position.

    Returns:
        The frame, in the order of `columns`, and notes for the user.

    Raises:
        DataError: `source` lacks input columns, which are named.
    """
    notes = []
    if frame.columns == [f"c{i + 1}" for i in range(len(columns))] != [c.name for c in columns]:
        frame = frame.rename({old: c.name for old, c in zip(frame.columns, columns, strict=True)})
        notes.append(f"{source} has no header: its columns are taken in the order of the training table's")
    missing = [c.name for c in columns if c.role in ("input", "target") and c.name not in frame.columns]
    if missing:
        hint = nearest(missing[0], frame.columns)
        raise DataError(f"{source} lacks {_columns(missing)}{hint or '.'} Its columns are: {_list(frame.columns)}.")
    extra = [name for name in frame.columns if name not in {c.name for c in columns}]
    if extra:
        notes.append(f"{source}: {_columns(extra)} ignored: no input of the model")
    values = []
    for column in columns:
        if column.name not in frame.columns:
            values.append(pl.Series(column.name, [None] * len(frame), pl.String))
            continue
        raw = frame[column.name]
        values.append(cast(raw, column.kind, column.written).alias(column.name))
        misfits = values[-1].null_count() - cast(raw, "category").null_count()
        if misfits > 0:
            notes.append(f"{source}: {misfits} cells of {column.name!r} are no {column.kind}s and count as missing")
    return pl.DataFrame(values), tuple(notes)


def assign_roles(
    dataset: Dataset,
    *,
    target: str | None,
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Dataset:
    """Say which column is the target and which ones only steer the split; no model sees these.

    The target's column gets the kind "category" (its frame column holds labels) or "number". Rows without a target
    are left out and listed, and the digests are computed anew, over the inputs alone.

    Args:
        dataset: a table as read.
        target: the column to predict.
        group: rows with the same value stay on one side of a split.
        time: later rows are the test.
        split: a column that names each row's part; "random", "group" and "time" name no column.
        kinds: the kinds that the user stated, which decide between classification and regression.

    Raises:
        OptionError: a column does not exist, or has two roles.
        DataError: the target is not stated, all missing, constant, or nothing that can be predicted; no input is left.
    """
    if target is None:
        raise DataError(_ask_for_target(dataset))
    roles = _roles(dataset, target=target, group=group, time=time, split=None if split in _CHOICES else split)
    dataset = _without_missing_target(dataset, target)
    kind, reason, values = _resolve_target(dataset, target, (kinds or {}).get(target))
    columns = [replace(c, role=roles.get(c.name, c.role)) for c in dataset.columns]
    columns = [replace(c, kind=kind, reason=reason) if c.name == target else c for c in columns]
    frame = dataset.frame.with_columns(values.alias(target))
    if time is not None:
        frame = frame.with_columns(_in_order(frame[time], dataset.column(time)))
    if not any(c.role == "input" for c in columns):
        aside = ", ".join(f"{c.name!r} ({c.reason})" for c in columns if c.role == "aside")
        raise DataError(
            f"{dataset.source} has no column to predict {target!r} from"
            + (f"; set aside: {aside}. If one of them is meant, say so with --type COLUMN=number." if aside else ".")
        )
    dataset = replace(dataset, frame=frame, columns=tuple(columns), target=target)
    return replace(dataset, digests=row_digests(frame, dataset.inputs()))


def target_task(dataset: Dataset) -> tuple[Literal["classification", "regression"], str]:
    """What the resolved target asks for, and why."""
    assert dataset.target is not None, "assign_roles comes first"
    column = dataset.column(dataset.target)
    return "classification" if column.kind == "category" else "regression", column.reason


def require_column(name: str, known: Sequence[str], option: str) -> None:
    """Check that a column which an option names exists.

    Raises:
        OptionError: it does not; the nearest is offered, and all are listed.
    """
    if name not in known:
        raise OptionError(
            f"{option} {name}: there is no column {name!r}{nearest(name, known) or '.'} Columns: {_list(known)}."
        )


def _as_stated(series: pl.Series, kind: Kind, names: Sequence[str] | None) -> Judgement:
    strings = labels(series) if series.dtype == pl.String else series
    present = strings.drop_nulls()
    written = ""
    if series.dtype == pl.String and kind == "number":
        written = number_style(present) or number_style(present, 0.5) or ""
    elif series.dtype == pl.String and kind == "date":
        written = next(iter(date_styles(present) or date_styles(present, 0.5)), "%Y-%m-%d")
    values = cast(series, kind, written)
    misfits = (values.is_null() & strings.is_not_null()).arg_true()
    if len(misfits) and kind in ("number", "date"):
        row = misfits[0]
        where = names[row] if names else f"row {row}"
        raise OptionError(
            f"--type {series.name}={kind}: {where} says {str(strings[row])[:60]!r}, which is no {kind} "
            f"({len(misfits)} such cells). Correct the file, or leave the column's kind to earnest."
        )
    return Judgement(kind, "as you stated", values, written)


def _with_missing(found: Judgement) -> str:
    missing = found.values.null_count()
    return f"{found.reason}; {missing} missing" if 0 < missing < len(found.values) else found.reason


def _first_role(kind: Kind) -> Role:
    return "aside" if kind in ("id", "constant") else "input"


def _roles(dataset: Dataset, **columns: str | None) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    for role, name in columns.items():
        if name is None:
            continue
        require_column(name, dataset.frame.columns, f"--{role}")
        if name in roles:
            raise OptionError(
                f"the column {name!r} is named by both --{roles[name]} and --{role}; a column has one role."
            )
        roles[name] = role  # type: ignore[assignment]
    return roles


def _ask_for_target(dataset: Dataset) -> str:
    names = dataset.frame.columns
    likely = dict.fromkeys([*(name for name in names if _TARGET_NAME.search(name)), names[-1]])
    return (
        f"which column of {dataset.source} should be predicted? Say --target COLUMN. "
        f"Likely: {_list(list(likely))}. Columns: {_list(names)}."
    )


def _without_missing_target(dataset: Dataset, target: str) -> Dataset:
    missing = dataset.frame[target].is_null().to_numpy()
    if missing.all():
        raise DataError(
            f"every value of the target {target!r} in {dataset.source} is missing; choose another --target."
        )
    if not missing.any():
        return dataset
    left_out = tuple(LeftOut(dataset.names[i], f"the target {target!r} is missing") for i in np.flatnonzero(missing))
    return replace(dataset.take(np.flatnonzero(~missing)), left_out=dataset.left_out + left_out)


def _resolve_target(dataset: Dataset, target: str, stated: Kind | None) -> tuple[Kind, str, pl.Series]:
    """The target's kind, the reason, and its values."""
    column, values = dataset.column(target), dataset.frame[target]
    if values.n_unique() == 1:
        raise DataError(
            f"the target {target!r} in {dataset.source} is always {str(values[0])!r}; there is nothing to predict. "
            "Choose another --target."
        )
    kind = column.kind
    if kind == "id" and number_style(values) is not None:
        kind, values = "number", cast(values, "number", number_style(values) or "")
    if kind == "number":
        return _classes_or_quantity(values, target, stated)
    if kind == "category" and 2 * values.n_unique() <= max(len(values), 2 * MAX_CLASSES):
        return "category", f"{values.n_unique()} classes: {column.reason}", values
    raise DataError(
        f"the target {target!r} in {dataset.source} can be predicted neither as a category nor as a number: it is "
        f"taken for {kind} ({column.reason}). Choose another --target, or state its kind with --type {target}=category."
    )


def _classes_or_quantity(values: pl.Series, target: str, stated: Kind | None) -> tuple[Kind, str, pl.Series]:
    if stated == "number":
        return "number", "a quantity, as you stated", values
    distinct = values.n_unique()
    whole = bool((values == values.round()).all())
    otherwise = f"--type {target}={{}} if this is wrong"
    if not whole:
        return "number", "a quantity: not only whole numbers", values
    if distinct == 2:
        return "category", f"2 distinct whole numbers: two classes; {otherwise.format('number')}", labels(values)
    if distinct > MAX_CLASSES or 3 * distinct > len(values):
        return "number", f"a quantity: {distinct} distinct whole numbers", values
    if _SCALE_NAME.search(target):
        reason = f"a quantity: {distinct} distinct whole numbers, which the name says are a scale or a count"
        return "number", f"{reason}; {otherwise.format('category')}", values
    reason = f"{distinct} distinct whole numbers: {distinct} classes"
    return "category", f"{reason}; {otherwise.format('number')}", labels(values)


def _in_order(values: pl.Series, column: Column) -> pl.Series:
    """The column that gives the time, as numbers or dates."""
    if column.kind in ("number", "date"):
        return values
    style = number_style(values.drop_nulls())
    if style is None:
        raise DataError(
            f"--time {column.name}: the column holds neither dates nor numbers but is taken for {column.kind} "
            f"({column.reason}). Dates are best written 2024-01-31."
        )
    return cast(values, "number", style)


def _columns(names: Sequence[str]) -> str:
    return f"the column{'s' * (len(names) != 1)} {_list(names)}"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:40])
    return shown + (f" and {len(names) - 40} more" if len(names) > 40 else "")
