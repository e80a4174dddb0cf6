"""From written values to numbers, dates and labels, and back to how they were written.

How a column writes its values is found once, on the training data, and kept (`Column.written`), so that "1/2/2011" and
"1.234" mean the same in every later file.
"""

from __future__ import annotations

import re

import polars as pl

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "?", "-")
"""What files write where a value is missing."""

NUMBER_STYLES = ("", "1,234.5", "1.234,5")
"""The ways to write a number: plain, with thousands separators, and the European way; the last two may carry % or $."""

_NUMBER_PATTERNS = {
    "1,234.5": r"^[+-]?(\d+|[1-9]\d{0,2}(,\d{3})+)(\.\d*)?$",
    "1.234,5": r"^[+-]?(\d+|[1-9]\d{0,2}([. \u00a0\u202f]\d{3})+)(,\d*)?$",
}
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d-%b-%Y")
_WORDY_DAYS = ("%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_TIMES = ("", " %H:%M:%S%.f", " %H:%M", "T%H:%M:%S%.f", "T%H:%M", "T%H:%M:%S%.f%#z", " %H:%M:%S%.f%#z")
DATE_STYLES = ("%Y-%m", *(day + time for day in (*_DAYS, *_WORDY_DAYS) for time in _TIMES))
"""The ways to write a date, as chrono's format strings; of two that fit, the earlier is meant."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_YEARS = (1500, 2300)
"""Dates outside of these years are taken for something else."""
_DATE_LIKE = r"^\d{1,4}[-/. ]([A-Za-z]{3,9}|\d{1,2})\b|^[A-Z][a-z]{2,8} \d{1,2}, \d{4}"


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for halves of characters, which JSON's escapes can say and no encoding can write."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def without_marks(strings: pl.Series) -> pl.Series:
    """The strings without space around them, and null where they say that a value is missing."""
    stripped = strings.str.strip_chars()
    return stripped.set(stripped.is_in(MISSING), None)


def parse_numbers(strings: pl.Series, style: str = "") -> pl.Series:
    """Float64, null where a string is no number in that style (one of `NUMBER_STYLES`); 12% is 12."""
    if style:
        bare = strings.str.replace(r"^([-+]?)[$€£¥]\s*", "${1}").str.replace(r"\s*[%$€£¥]$", "")
        bare = bare.set(~bare.str.contains(_NUMBER_PATTERNS[style]), None)
        if style == "1,234.5":
            strings = bare.str.replace_all(",", "", literal=True)
        else:
            strings = bare.str.replace_all(r"[. \u00a0\u202f]", "").str.replace(",", ".", literal=True)
    return strings.cast(pl.Float64, strict=False).fill_nan(None)


def parse_dates(strings: pl.Series, style: str) -> pl.Series:
    """Datetime in microseconds, UTC where the strings name an offset, null where one is no date in that style."""
    if style == "%Y-%m":
        strings, style = strings + "-01", "%Y-%m-%d"
    dates = strings.str.strptime(pl.Datetime("us"), style, strict=False)
    dates = dates.dt.replace_time_zone(None)
    return dates.set(~dates.dt.year().is_between(*_YEARS), None)


def number_style(strings: pl.Series, share: float = 1.0) -> str | None:
    """The first style in which at least that share of the strings, none null, are numbers; None when none is.

    Codes with leading zeros, such as postcodes, are no numbers.
    """
    if strings.str.contains(r"^[+-]?0\d{2,}$").any():
        return None
    sample = strings.head(200)
    for style in NUMBER_STYLES:
        if 2 * parse_numbers(sample, style).null_count() > len(sample):
            continue
        if len(strings) - parse_numbers(strings, style).null_count() >= share * len(strings):
            return style
    return None


def date_styles(strings: pl.Series, share: float = 1.0) -> list[str]:
    """Every style in which at least that share of the strings, none null, are dates."""
    sample = strings.head(200)
    if sample.str.contains(_DATE_LIKE).mean() < share:  # type: ignore[operator]
        return []
    likely = [style for style in DATE_STYLES if _fits(sample, style, share)]
    return [style for style in likely if _fits(strings, style, share)]


def labels(series: pl.Series) -> pl.Series:
    """Any column as labels: strings without space around them, whole numbers without ".0", null where missing."""
    if series.dtype == pl.Boolean or series.dtype.is_integer():
        return series.cast(pl.String)
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_nan(None).cast(pl.String).str.replace(r"\.0$", "")
    return without_marks(series.cast(pl.String))


def _fits(strings: pl.Series, style: str, share: float) -> bool:
    return len(strings) - parse_dates(strings, style).null_count() >= share * len(strings)
