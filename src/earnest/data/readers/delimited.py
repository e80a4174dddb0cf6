"""CSV, TSV and their kin: from text to a frame of strings, with every unusable line accounted for."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import polars as pl

from earnest.data.dataset import LeftOut
from earnest.data.readers.content import MAX_LINE
from earnest.data.values import number_style, without_marks

DELIMITERS = ("\t", ";", "|", ",")
"""In order of preference: the rarer a character is in prose, the more it says when every line has as many of it."""

MAX_CELL = MAX_LINE
"""Characters in a cell; a longer one is a quote that was never closed."""

_SAMPLE = 100
"""Records on which the delimiter and the width are judged."""
_BLOCK = 1 << 15
"""Records turned into columns at a time."""


@dataclass
class RawTable:
    """A table as strings, or as the types of a typed file."""

    frame: pl.DataFrame
    lines: list[int]
    """Each row's number in the file, as `unit` counts."""
    rows: list[int]
    """Each row's number among the records, 0 the first after the header."""
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unit: str = "line"


@dataclass(frozen=True, slots=True)
class _Record:
    line: int
    cells: list[str]
    trouble: str = ""


def parse_delimited(text: str) -> RawTable:
    """The table in a text of delimited lines; the delimiter, the width and the header are found.

    Quotes, doubled quotes and line breaks inside quotes are as in RFC 4180. Lines with another number of fields, or a
    quote that is never closed, are left out. `frame` has no columns when the text holds no record.
    """
    lines = io.StringIO(text, newline="").readlines()
    delimiter, width = _shape(lines)
    table = _parse_plain(lines, delimiter, width) or _parse_quoted(lines, delimiter, width)
    if delimiter != ",":
        table.notes.append(f"delimiter {delimiter!r}")
    if len(table.frame):
        _take_header(table)
    return table


def _parse_plain(lines: Sequence[str], delimiter: str, width: int) -> RawTable | None:
    """The table where no line needs a second look: all of the same width, no quotes; many times faster."""
    if width == 1 or any(
        line.count(delimiter) != width - 1 or '"' in line or "\r" in line.removesuffix("\r\n") for line in lines
    ):
        return None
    frame = pl.read_csv(
        io.BytesIO("".join(lines).replace("\r\n", "\n").encode()),
        separator=delimiter,
        has_header=False,
        infer_schema=False,
        quote_char=None,
    )
    frame.columns = [f"c{i + 1}" for i in range(width)]
    return RawTable(frame, list(range(1, len(lines) + 1)), list(range(len(lines))))


def _parse_quoted(lines: Sequence[str], delimiter: str, width: int) -> RawTable:
    table = RawTable(pl.DataFrame(), [], [])
    blocks: list[pl.DataFrame] = []
    block: list[list[str]] = []
    for number, record in enumerate(_read(lines, delimiter, width)):
        if record.trouble:
            table.left_out.append(LeftOut(f"line {record.line}", record.trouble))
            continue
        block.append(record.cells)
        table.lines.append(record.line)
        table.rows.append(number)
        if len(block) == _BLOCK:
            blocks.append(_frame(block))
            block = []
    if block:
        blocks.append(_frame(block))
    if blocks:
        table.frame = pl.concat(blocks)
    return table


def unique_names(names: Sequence[str], notes: list[str]) -> list[str]:
    """The names, numbered where they repeat or are empty; what was done is added to `notes`."""
    unique: list[str] = []
    for position, name in enumerate(names):
        new = stem = name or "unnamed"
        count = 1
        while new in unique or (new != name and new in names):
            count += 1
            new = f"{stem} ({count})"
        if new != name:
            notes.append(f"column {position + 1} is called {new!r}, as its name is " + ("taken" if name else "empty"))
        unique.append(new)
    return unique


def _shape(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter, and how many fields a record has."""
    best, best_share, width = ",", 0.0, 1
    for delimiter in DELIMITERS:
        records = islice(_read(lines, delimiter), _SAMPLE)
        counts = [len(record.cells) for record in records if not record.trouble]
        if not counts:
            continue
        common, times = Counter(counts).most_common(1)[0]
        fields = common if times >= 0.9 * len(counts) else counts[0]
        share = counts.count(fields) / len(counts)
        if fields > 1 and share > best_share + 0.05:
            best, best_share, width = delimiter, share, fields
    return best, width


def _read(lines: Sequence[str], delimiter: str, width: int | None = None) -> Iterator[_Record]:
    """The records, those of another width with what is wrong; blank lines are passed over.

    Where a quote is never closed, or closed so late that the width is wrong, reading goes on at the next line.
    """
    start = 0
    while start < len(lines):
        start = yield from _read_from(start, lines, delimiter, width)


def _read_from(start: int, lines: Sequence[str], delimiter: str, width: int | None) -> Generator[_Record, None, int]:
    """Records from line index `start` on; returns the line index at which to start anew."""
    rest = map(lines.__getitem__, range(start, len(lines)))
    reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True)
    done = 0
    try:
        for cells in reader:
            first, last = start + done, start + reader.line_num
            done = reader.line_num
            if last - first > 1 and _is_broken(lines, first, last, cells, width):
                yield _Record(first + 1, [], f"a quote opens here and is not closed before line {last}")
                return first + 1
            if width is not None and cells and len(cells) != width and not _is_blank(cells):
                fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
                yield _Record(first + 1, [], f"{fields} where the table has {width}")
            elif not _is_blank(cells):
                yield _Record(first + 1, cells)
    except csv.Error:
        yield _Record(
            start + done + 1, [], f"a cell longer than {MAX_CELL:,} characters, or a quote that is never closed"
        )
        return start + done + 1
    return len(lines)


def _is_broken(lines: Sequence[str], first: int, last: int, cells: list[str], width: int | None) -> bool:
    """Whether a record over several lines owes its length to a quote that should not be there."""
    if width is not None and len(cells) != width:
        return True
    return last == len(lines) and "".join(lines[first:last]).count('"') % 2 == 1


def _is_blank(cells: list[str]) -> bool:
    return len(cells) <= 1 and not any(cell.strip() for cell in cells)


def _frame(block: list[list[str]]) -> pl.DataFrame:
    columns = zip(*block, strict=True)
    return pl.DataFrame([pl.Series(f"c{i + 1}", column, pl.String) for i, column in enumerate(columns)])


def _take_header(table: RawTable) -> None:
    """Make the first row the columns' names, unless it looks like data."""
    first, body = table.frame.row(0), table.frame[1:]
    before = table.rows[0]
    if _looks_like_data(first, body):
        table.notes.append(f"line {table.lines[0]} looks like data, not like a header: columns are called c1, c2, ...")
        table.rows = [row - before for row in table.rows]
        return
    names = unique_names([cell.strip() for cell in first], table.notes)
    table.frame = body.rename(dict(zip(body.columns, names, strict=True)))
    table.rows = [row - before - 1 for row in table.rows[1:]]
    table.lines = table.lines[1:]


def _looks_like_data(first: Sequence[str], body: pl.DataFrame) -> bool:
    """Whether more columns say that the first row is one like the others than say that it is a header.

    A column of numbers says so by whether the cell above it is one too; a column of few labels, by whether the cell
    above is among them.
    """
    data = header = 0
    numbers_above = []
    for cell, column in zip(first, body.head(1000), strict=True):
        present = without_marks(column).drop_nulls()
        if len(present) == 0:
            continue
        if number_style(present, 0.9) is not None:
            above = number_style(pl.Series([cell.strip()])) is not None
            numbers_above += [float(cell)] if above and cell.strip().isdigit() else []
            data, header = data + above, header + (not above)
        elif 5 * present.n_unique() <= len(present):
            among = (present == cell.strip()).any()
            data, header = data + among, header + (not among)
    counts_up = len(numbers_above) >= 3 and numbers_above == [numbers_above[0] + i for i in range(len(numbers_above))]
    return data > header and not counts_up
