"""What kind of column is this? One judgement a column, each with the reason that the user is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earnest.data.dataset import Kind
from earnest.data.values import date_styles, labels, number_style, parse_dates, parse_numbers

_ID_NAME = re.compile(r"(?i:(^|[\s_.\-])(id|uuid|guid)$)|[a-z](ID|Id)$")
_TIME_NAME = re.compile(r"year|month|week|day|date|hour|time|^yr$", re.IGNORECASE)
_IMAGE_NAME = r"(?i)\.(jpe?g|png|gif|bmp|webp|tiff?|pgm|ppm)$"
_WORD = r"[\u3040-\u30ff\u4e00-\u9fff]|[^\s\u3040-\u30ff\u4e00-\u9fff]+"
"""A run without space, or a single character of a script that writes none."""

NEARLY_ALL = 0.95
"""Share of values that decides, where a few odd ones are to be expected."""
FEW_ROWS = 20
"""Below this many rows, distinct values say little."""


@dataclass(frozen=True)
class Judgement:
    """A column's kind, why, its values cast to that kind, and how they were written."""

    kind: Kind
    reason: str
    values: pl.Series
    written: str = ""


def judge(series: pl.Series, *, folder: Path | None = None) -> Judgement:
    """The kind of a column as it was read: strings, or the types of a typed file.

    Args:
        series: the column.
        folder: where paths to images start; without it no column is one of images.
    """
    if series.dtype in (pl.Date, pl.Datetime):
        dates = series.cast(pl.Datetime("us")) if series.dtype == pl.Date else to_utc(series)
        return _constant(series) or Judgement("date", f"dates {_span(dates)}", dates)
    if series.dtype.is_numeric():
        return _constant(labels(series)) or _judge_numbers(series, series.cast(pl.Float64).fill_nan(None), "", "")
    strings = labels(series)
    present = strings.drop_nulls()
    return (
        _constant(strings)
        or _as_images(strings, present, folder)
        or _as_dates(strings, present)
        or _as_numbers(strings, present)
        or _as_words(series, strings, present)
    )


def cast(series: pl.Series, kind: Kind, written: str = "") -> pl.Series:
    """A column cast to a kind, null where a value does not fit; a category's labels always fit.

    Args:
        series: the column as read, or cast to any kind before.
        kind: the kind.
        written: how numbers or dates are written.
    """
    if kind == "number":
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            return series.cast(pl.Float64).fill_nan(None)
        return parse_numbers(labels(series), written)
    if kind == "date":
        if series.dtype == pl.Date:
            return series.cast(pl.Datetime("us"))
        if series.dtype == pl.Datetime:
            return to_utc(series)
        return parse_dates(labels(series), written)
    if kind == "text":
        strings = series.cast(pl.String).str.strip_chars()
        return strings.set(strings == "", None)
    return labels(series)


def to_utc(dates: pl.Series) -> pl.Series:
    """Dates without a time zone, in microseconds; those with one, as UTC."""
    if dates.dtype.time_zone is not None:  # type: ignore[attr-defined]
        dates = dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return dates.cast(pl.Datetime("us"))


def _constant(series: pl.Series) -> Judgement | None:
    present = series.drop_nulls()
    if len(present) == 0:
        return Judgement("constant", "every value is missing", labels(series))
    if len(present) == len(series) and (present == present[0]).all():
        return Judgement("constant", f"always {str(present[0])[:40]!r}", labels(series))
    return None


def _as_images(strings: pl.Series, present: pl.Series, folder: Path | None) -> Judgement | None:
    if folder is None or not present.head(50).str.contains(_IMAGE_NAME).all():
        return None
    there = sum((folder / path).is_file() for path in present.head(50))
    if 2 * there < len(present.head(50)):
        return None
    return Judgement("image", "paths to image files", strings)


def _as_dates(strings: pl.Series, present: pl.Series) -> Judgement | None:
    styles = date_styles(present) or date_styles(present, NEARLY_ALL)
    if not styles:
        return None
    style, unsure = styles[0], ""
    swapped = _swap_day_and_month(style)
    if swapped in styles:
        style, swapped = _better_sorted(present, style, swapped)
        unsure = f"; {_in_words(swapped)} would fit as well: write the year first, 2024-01-31, if this is wrong"
    dates = parse_dates(strings, style)
    if misfits := dates.null_count() - strings.null_count():
        unsure += f"; {misfits} cells are no such dates and count as missing"
    return Judgement("date", f"dates written {_in_words(style)}, {_span(dates)}{unsure}", dates, style)


def _swap_day_and_month(style: str) -> str:
    return style.translate(str.maketrans("dm", "md")) if style[:2] in ("%d", "%m") else ""


def _better_sorted(strings: pl.Series, first: str, second: str) -> tuple[str, str]:
    """The two styles, the one first under which the file is in order of time, if only one is."""
    in_order = [parse_dates(strings, style).is_sorted() for style in (first, second)]
    return (second, first) if in_order == [False, True] else (first, second)


def _as_numbers(strings: pl.Series, present: pl.Series) -> Judgement | None:
    style, odd = number_style(present), ""
    if style is None:
        style = number_style(present, NEARLY_ALL)
        if style is None:
            return None
        misfits = present.filter(parse_numbers(present, style).is_null())
        if misfits.n_unique() > 3:
            return None
        odd = f"; {len(misfits)} cells such as {misfits[0]!r} are no numbers and count as missing"
    if style:
        odd = f"; written like {style}{odd}"
    return _judge_numbers(strings, parse_numbers(strings, style), style, odd)


def _judge_numbers(raw: pl.Series, numbers: pl.Series, style: str, remark: str) -> Judgement:
    present = numbers.drop_nulls()
    distinct = present.n_unique()
    low, high = present.min(), present.max()
    assert isinstance(low, float)
    assert isinstance(high, float)
    if not bool((present == present.round()).all()):
        return Judgement("number", f"numbers from {low:g} to {high:g}{remark}", numbers, style)
    span = f"from {_whole(low)} to {_whole(high)}"
    each_once = distinct == len(raw) >= FEW_ROWS
    if each_once and high - low + 1 == distinct and not _TIME_NAME.search(raw.name):
        return Judgement("id", f"counts the rows: whole numbers {span}, each once", labels(raw))
    if each_once and _ID_NAME.search(raw.name):
        return Judgement("id", "named as an id, and every value occurs once", labels(raw))
    if _ID_NAME.search(raw.name) and distinct > 0.5 * len(raw) >= FEW_ROWS / 2:
        return Judgement("id", f"named as an id, {distinct} distinct values in {len(raw)} rows", labels(raw))
    if distinct == 2:
        return Judgement("number", f"two whole numbers, {_whole(low)} and {_whole(high)}{remark}", numbers, style)
    if distinct <= 10:
        reason = f"{distinct} distinct whole numbers {span}: an ordered scale{remark}"
        return Judgement("number", reason, numbers, style)
    return Judgement("number", f"whole numbers {span}{remark}", numbers, style)


def _as_words(series: pl.Series, strings: pl.Series, present: pl.Series) -> Judgement:
    distinct = present.n_unique()
    many = distinct >= 0.3 * len(present) and distinct >= FEW_ROWS / 2
    nearly_all = distinct >= NEARLY_ALL * len(present) and distinct >= FEW_ROWS
    words = present.str.count_matches(_WORD).mean()
    assert isinstance(words, float)
    if (many and words >= 3) or (nearly_all and words >= 1.5):
        reason = f"{distinct} distinct texts of {words:.0f} words on average"
        return Judgement("text", reason, cast(series, "text"))
    if nearly_all:
        return Judgement("id", f"{distinct} distinct values in {len(present)} rows: a label for each row", strings)
    if many and distinct > 0.5 * len(present) and _ID_NAME.search(strings.name):
        return Judgement("id", f"named as an id, {distinct} distinct values in {len(present)} rows", strings)
    common = present.value_counts(sort=True)[present.name].head(3).to_list()
    examples = ", ".join(repr(label[:30]) for label in common)
    reason = f"{distinct} distinct label{'s' * (distinct != 1)}: {examples}" + (", ..." if distinct > 3 else "")
    return Judgement("category", reason, strings)


def _span(dates: pl.Series) -> str:
    first, last = dates.dt.date().min(), dates.dt.date().max()
    return f"from {first!s} to {last!s}"


def _in_words(style: str) -> str:
    names = {"%Y": "year", "%m": "month", "%d": "day", "%b": "month", "%B": "month", "%H": "hour", "%M": "minute"}
    names |= {"%S": "second", "%.f": "", "%#z": "+offset"}
    for code, word in names.items():
        style = style.replace(code, word)
    return style


def _whole(number: float) -> str:
    return f"{number:.0f}" if abs(number) < 1e15 else f"{number:g}"
