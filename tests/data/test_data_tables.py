"""Every table that is merely odd is read, every row that cannot be used is listed, and every broken file is named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.core.errors import DataError
from earnest.data.dataset import LeftOut
from earnest.data.readers import content as content_module
from earnest.data.readers.delimited import parse_delimited, unique_names
from earnest.data.readers.table import read_table

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))

PLAIN = "age,town,note\n31,Bonn,a\n32,Ulm,b\n33,Bonn,a\n34,Ulm,b\n35,Bonn,c\n"


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_quotes_and_line_breaks_in_cells(tmp_path: Path, delimiter: str) -> None:
    generator = random.Random(7)
    header = ["id no", "words", "value"]
    rows = []
    for i in range(300):
        words = "".join(generator.choices(["a", " b", '"', delimiter, ",", "\n", "ü", "\r\n"], k=8)).strip()
        rows.append([f"r{generator.random()}", f"w{words}w", str(i % 7)])
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    read = read_table(write(tmp_path, text.getvalue(), "t.txt"))
    assert read.frame.columns == header
    assert read.frame["words"].to_list() == [row[1] for row in rows]
    assert read.frame["value"].to_list() == [float(row[2]) for row in rows]
    assert read.left_out == ()


def test_rows_are_named_by_the_line_they_begin_on(tmp_path: Path) -> None:
    read = read_table(write(tmp_path, 'a,b\n1,"x\ny"\n\n2,z\n3,"q\r\n\n"\n4,w\n'))
    assert read.names == ("line 2", "line 5", "line 6", "line 9")
    assert read.rows.tolist() == [0, 1, 2, 3]


def test_ragged_rows_are_left_out_with_their_line_and_the_others_keep_their_ids(tmp_path: Path) -> None:
    body = [f"{i},x,{i % 3}" for i in range(30)]
    body[4] = '4,"a\nb",1'
    body[9] = "9,x,1,extra"
    body[20] = "20,x"
    read = read_table(write(tmp_path, "\n".join(["a,b,c", *body])))
    assert read.left_out == (
        LeftOut("line 12", "4 fields where the table has 3"),
        LeftOut("line 23", "2 fields where the table has 3"),
    )
    assert read.rows.tolist() == [i for i in range(30) if i not in (9, 20)]
    assert read.frame["a"].to_list() == [float(i) for i in range(30) if i not in (9, 20)]


def test_a_quote_that_never_closes_costs_its_own_line_only(tmp_path: Path) -> None:
    body = [f"{i},{'xyz'[i % 3]},{i % 5}" for i in range(50)]
    body[10] = '10,"x,1'
    read = read_table(write(tmp_path, "\n".join(["a,b,c", *body])))
    assert [out.where for out in read.left_out] == ["line 12"]
    assert "quote" in read.left_out[0].reason
    assert len(read) == 49


def test_a_quote_that_swallows_the_rest_is_found_in_the_last_column_too(tmp_path: Path) -> None:
    body = [f"{i},{'xyz'[i % 3]}" for i in range(50)]
    body[30] = '30,"x'
    read = read_table(write(tmp_path, "\n".join(["a,b", *body])))
    assert [out.where for out in read.left_out] == ["line 32"]
    assert len(read) == 49


def test_lines_before_the_table_are_left_out(tmp_path: Path) -> None:
    text = "Report of 2024\n" + "a,b,c\n" + "".join(f"{i},{i % 2},x{i % 4}\n" for i in range(40))
    read = read_table(write(tmp_path, text))
    assert read.frame.columns == ["a", "b", "c"]
    assert read.left_out == (LeftOut("line 1", "1 field where the table has 3"),)
    assert read.rows[0] == 0
    assert read.names[0] == "line 3"


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", ""), ("utf-8-sig", ""), ("utf-16", "UTF-16"), ("cp1252", "Latin-1")],
)
def test_encodings(tmp_path: Path, encoding: str, note: str) -> None:
    text = "straße;größe\n" + "Köln – Süd;1,5\nÜber €;2,25\n" * 3
    read = read_table(write(tmp_path, text.encode(encoding)))
    assert read.frame.columns == ["straße", "größe"]
    assert read.frame["straße"].to_list() == ["Köln – Süd", "Über €"] * 3
    assert read.frame["größe"].to_list() == [1.5, 2.25] * 3
    assert note in " ".join(read.notes)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1,234", "12", "1,234,567.5"], [1234.0, 12.0, 1234567.5]),
        (["1.234,5", "12", "1.234.567"], [1234.5, 12.0, 1234567.0]),
        (["$1,200.50", "-$3", "$7"], [1200.5, -3.0, 7.0]),
        (["12%", "3.5 %", "100%"], [12.0, 3.5, 100.0]),
        (["1e3", "-.5", "+2."], [1000.0, -0.5, 2.0]),
        (["0,5", "12,75", "3"], [0.5, 12.75, 3.0]),
    ],
)
def test_ways_to_write_numbers(tmp_path: Path, cells: list[str], numbers: list[float]) -> None:
    text = "x;y\n" + "".join(f"{cell};a\n" for cell in cells)
    read = read_table(write(tmp_path, text))
    assert read.column("x").kind == "number"
    assert read.frame["x"].to_list() == numbers


def test_missing_marks_are_missing_and_space_around_values_is_not_theirs(tmp_path: Path) -> None:
    marks = ["", "NA", "N/A", "NaN", "null", "None", "?", " ?", "-"]
    text = (
        "n, c\n" + "".join(f"{mark}, {mark}\n" for mark in marks) + "".join(f"{i}, {'ab'[i % 2]} \n" for i in range(9))
    )
    read = read_table(write(tmp_path, text))
    assert read.frame["n"].null_count() == read.frame["c"].null_count() == len(marks)
    assert set(read.frame["c"].drop_nulls()) == {"a", "b"}
    assert read.column("n").kind == "number"


def test_a_first_row_of_data_is_no_header(tmp_path: Path) -> None:
    rows = "".join(f"{'ab'[i % 2]},{i * 7 % 13},{i / 3:.3f}\n" for i in range(60))
    read = read_table(write(tmp_path, rows))
    assert read.frame.columns == ["c1", "c2", "c3"]
    assert len(read) == 60
    assert read.names[0] == "line 1"
    assert "header" in read.notes[0]


@pytest.mark.parametrize("header", ["country,2001,2002,2003", "0,1,2,3", "name,x,y,z"])
def test_a_header_of_numbers_that_count_up_is_a_header(tmp_path: Path, header: str) -> None:
    rows = "".join(f"k{i},{i * 7 % 13},{i / 3:.3f},{i * i}\n" for i in range(60))
    assert read_table(write(tmp_path, f"{header}\n{rows}")).frame.columns == header.split(",")


def test_repeated_and_empty_names_are_made_unique() -> None:
    notes: list[str] = []
    assert unique_names(["a", "", "a", "a (2)", "", "b"], notes) == [
        "a",
        "unnamed",
        "a (3)",
        "a (2)",
        "unnamed (2)",
        "b",
    ]
    assert len(notes) == 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "a (2)", "unnamed"]), min_size=1, max_size=8))
def test_unique_names_are_unique_and_keep_the_first_of_each(names: list[str]) -> None:
    unique = unique_names(names, [])
    assert len(set(unique)) == len(names)
    for name in set(names) - {""}:
        assert name in unique


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.text(alphabet='ab"\n\r,;', max_size=6), min_size=3, max_size=3), min_size=3, max_size=20))
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["name", "kind", "words"], *rows])
    previous = csv.field_size_limit(1 << 20)
    raw = parse_delimited(text.getvalue())
    csv.field_size_limit(previous)
    assert [list(row) for row in raw.frame.rows()][-len(rows) :] == rows
    assert raw.left_out == []


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(alphabet="ab 1ü#'\\", max_size=4), min_size=3, max_size=3), min_size=1, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_fast_way_reads_what_the_thorough_one_does(rows: list[list[str]], end: str) -> None:
    """A quoted header sends the same rows down the other way."""
    body = "".join(",".join(row) + end for row in rows)
    fast, thorough = parse_delimited(f"name,kind,words{end}{body}"), parse_delimited(f'"name",kind,words{end}{body}')
    assert fast.left_out == thorough.left_out == []
    assert (fast.lines, fast.rows, fast.notes) == (thorough.lines, thorough.rows, thorough.notes)
    for first, second in zip(fast.frame, thorough.frame, strict=True):
        assert [(cell or "").strip() for cell in first] == [cell.strip() for cell in second]


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"a": i, "b": "xy"[i % 2], "c": None if i == 3 else i / 2, "d": i > 2, "e": [i % 2]} for i in range(12)]
    lines = [json.dumps(row) for row in rows]
    lines[5] = '{"a": 5, "b": '
    lines[7] = "[1, 2]"
    lines.insert(2, "")
    lines.append(json.dumps({"a": 99, "late": "z"}))
    read = read_table(write(tmp_path, "\n".join(lines), "t.jsonl"))
    assert [out.where for out in read.left_out] == ["line 7", "line 9"]
    assert read.rows.tolist() == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12]
    assert read.names[2] == "line 4"
    assert read.frame["c"].to_list()[:4] == [0.0, 0.5, 1.0, None]
    assert read.frame["d"].to_list()[:4] == ["false", "false", "false", "true"]
    assert read.frame["late"].to_list()[-2:] == [None, "z"]


def test_parquet_keeps_its_types_and_names_nested_columns(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "n": generator.normal(size=30),
            "i": generator.integers(0, 2**62, 30),
            "c": generator.choice(["a", "b"], 30),
            "b": generator.random(30) < 0.5,
            "when": pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 30), "1d", eager=True),
            "list": [[1, 2]] * 30,
        }
    )
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    read = read_table(path)
    assert [column.kind for column in read.columns] == ["number", "number", "category", "category", "date"]
    assert read.frame["n"].to_list() == frame["n"].to_list()
    assert read.frame["when"].to_list() == frame["when"].to_list()
    assert "'list'" in read.notes[0]


def test_gzip_is_read_in_several_members_and_gives_the_fingerprint_of_its_content(tmp_path: Path) -> None:
    half = len(PLAIN) // 2
    members = gzip.compress(PLAIN[:half].encode()) + gzip.compress(PLAIN[half:].encode())
    zipped = read_table(write(tmp_path, members, "a.csv.gz"))
    plain = read_table(write(tmp_path, PLAIN, "b.csv"))
    assert zipped.frame.equals(plain.frame)
    assert zipped.fingerprint == plain.fingerprint
    assert read_table(write(tmp_path, PLAIN.replace("31", "30"), "c.csv")).fingerprint != plain.fingerprint


def test_unicode_paths(tmp_path: Path) -> None:
    folder = tmp_path / "Дані 数据"
    folder.mkdir()
    assert len(read_table(write(folder, PLAIN, "größe.csv"))) == 5


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "empty"),
        ("blank.csv", b" \n\n", "empty"),
        ("header.csv", b"a,b,c\n", "no rows"),
        ("header.csv", b"a,b,c\n1,2\n", "no rows"),
        ("image.csv", PNG, "PNG"),
        ("nul.csv", b"a,b\n1,2\n3,\x00\n", "line 3"),
        ("binary.csv", bytes([200, 1, 2, 3, 4, 5, 6, 255]) * 50, "binary"),
        ("cut.csv.gz", gzip.compress(PLAIN.encode() * 500)[:-30], "cut off"),
        ("damaged.csv.gz", b"no gzip at all", "gzip"),
        ("broken.parquet", b"PAR1" + bytes(100), "Parquet"),
        ("empty.parquet", b"", "empty"),
        ("bad.jsonl", b"{1}\n{2}\n", "line 1: no JSON"),
        ("sheet.xlsx", b"PK\x03\x04", "save the sheet as CSV"),
        ("nothing", b"a,b\n1,2\n", "extension"),
        ("utf16.csv", b"\xff\xfea", "UTF-16"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(DataError, match=says) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_a_character_in_json_is_replaced(tmp_path: Path) -> None:
    lines = [json.dumps({"te\ud800xt": text, "nested": [text]}) for text in ("a \udc00 b", "\ud83d\ude42", "c")]
    frame = read_table(write(tmp_path, "\n".join(lines), "a.jsonl"), kinds={"te\ufffdxt": "text"}).frame
    assert frame["te\ufffdxt"].to_list() == ["a \ufffd b", "🙂", "c"]
    assert frame["nested"].to_list() == ['["a \ufffd b"]', '["🙂"]', '["c"]']


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*none\.csv"):
        read_table(tmp_path / "none.csv")


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "SUSPICIOUS_BYTES", 1 << 22)
    bomb = zlib.compressobj(9, wbits=31)
    content = b"".join(bomb.compress(b"0," * (1 << 20)) for _ in range(40)) + bomb.flush()
    with pytest.raises(DataError, match="unpacks to more than"):
        read_table(write(tmp_path, content, "bomb.csv.gz"))


@pytest.mark.parametrize("name", ["long.csv", "long.csv.gz", "long.jsonl"])
def test_an_endless_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(content_module, "MAX_LINE", 1000)
    text = b"note,kind\nshort,a\n" + b"x" * 1001 + b",b\n"
    with pytest.raises(DataError, match="line 3 is longer than"):
        read_table(write(tmp_path, gzip.compress(text) if name.endswith(".gz") else text, name))


def test_a_cell_of_ten_megabytes_is_a_cell(tmp_path: Path) -> None:
    long = "word, " * (10_000_000 // 6)
    read = read_table(write(tmp_path, f'note,kind\n"{long}",a\n' + "short,b\n" * 9))
    assert read.frame["note"][0].strip() == long.strip()
    assert read.left_out == ()


def test_a_fresh_copy_of_the_same_rows_has_the_same_digests(tmp_path: Path) -> None:
    first = read_table(write(tmp_path, PLAIN, "a.csv"))
    second = read_table(write(tmp_path, PLAIN.replace(",", ";"), "b.csv"))
    assert first.digests.tolist() == second.digests.tolist()
    assert len(set(first.digests.tolist())) == len(first.frame.unique())


@pytest.mark.skipif(not (DATA / "adult").exists(), reason="needs the real data sets")
@pytest.mark.parametrize(
    ("file", "rows", "kinds"),
    [
        ("adult/adult-train.csv.gz", 32561, {"number": 6, "category": 9}),
        ("tabular-misc/german_credit.csv.gz", 1000, {"number": 8, "category": 13}),
        ("tabular-misc/bike.csv.gz", 17379, {"number": 13, "date": 1, "id": 1}),
        ("tabular-misc/california_housing.csv.gz", 20640, {"number": 9, "category": 1}),
        ("tabular-misc/titanic_train.csv.gz", 891, {"number": 6, "category": 4, "text": 1, "id": 1}),
    ],
)
def test_real_tables(file: str, rows: int, kinds: dict[str, int]) -> None:
    read = read_table(DATA / file)
    assert len(read) == rows
    assert read.left_out == ()
    found = [column.kind for column in read.columns]
    assert {kind: found.count(kind) for kind in set(found)} == kinds
