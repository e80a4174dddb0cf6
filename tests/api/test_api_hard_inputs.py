"""The issue's lists, each through the command line: odd input is read, bad parts are left out, the rest is refused."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from commands import QUICK, QUICK_PHOTOS, QUICK_TABLE, Earnest, picture, table_rows, write_photos, write_table
from numpy.random import default_rng
from PIL import Image

FIT_TABLE = ("--target", "income", *QUICK, "--model", "tabm-tiny")


def audit_of(run: Path) -> dict[str, Any]:
    audit: dict[str, Any] = json.loads((run / "audit.json").read_text(encoding="utf-8"))
    return audit


# Odd, and read.


def test_odd_images_are_read(earnest: Earnest, tmp_path: Path) -> None:
    data, rng = write_photos(tmp_path / "Bilder ä日本 $x", parts=()), default_rng(3)
    for label in ("dark", "light"):
        pixels = picture(rng, label == "light")
        image, folder = Image.fromarray(pixels), data / label
        image.convert("CMYK").save(folder / "cmyk.jpg")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
        image.quantize(16).save(folder / "palette.gif")
        image.save(folder / "moving.gif", save_all=True, append_images=[Image.fromarray(255 - pixels)])
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / "turned ü.jpg", exif=exif)
        image.resize((23, 11)).save(folder / "wide.bmp")
        image.convert("RGBA").save(folder / "clear.webp")
    run = tmp_path / "rün"
    ended = earnest("fit", data, "--out", run, *QUICK_PHOTOS)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert audit_of(run)["rows"] == 30
    assert audit_of(run)["left_out_count"] == 0
    predicted = earnest("predict", run, data / "dark" / "turned ü.jpg", "--quiet")
    assert predicted.code == 0
    assert "turned ü.jpg" in predicted.out


ODD_TABLES: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "Latin-1": lambda text: text.replace("red", "rosé").encode("latin-1"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "quoted newlines": lambda text: text.replace("red", '"dark\nred"').encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables_are_read(name: str, earnest: Earnest, tmp_path: Path) -> None:
    text = "\n".join(",".join(row) for row in table_rows()) + "\n"
    path, run = tmp_path / "été.csv", tmp_path / "run"
    path.write_bytes(ODD_TABLES[name](text))
    ended = earnest("fit", path, "--out", run, *QUICK_TABLE)
    assert (ended.code, ended.err) == (0, "")
    audit = audit_of(run)
    assert (audit["rows"], audit["left_out_count"]) == (80, 0)
    assert [(column["name"], column["kind"], column["role"]) for column in audit["columns"]] == [
        ("size", "number", "input"),
        ("colour", "category", "input"),
        ("income", "category", "target"),
        ("part", "category", "split"),
    ]


def test_other_formats_and_thousands_separators_are_read(earnest: Earnest, tmp_path: Path) -> None:
    rows = [[*row[:2], f"{10 * i + 1000:,}", *row[2:]] for i, row in enumerate(table_rows()[1:])]
    frame = pl.DataFrame(rows, ["size", "colour", "cost", "income", "part"], orient="row")
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_ndjson(tmp_path / "t.jsonl")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    for path in (tmp_path / "t.parquet", tmp_path / "t.jsonl", tmp_path / "t.csv.gz"):
        run = tmp_path / f"run {path.name}"
        ended = earnest("fit", path, "--out", run, *QUICK_TABLE)
        assert (ended.code, ended.err) == (0, "")
        kinds = {column["name"]: column["kind"] for column in audit_of(run)["columns"]}
        assert (kinds["size"], kinds["cost"], kinds["colour"]) == ("number", "number", "category")


# Bad parts among good data.


def bomb() -> bytes:
    """A PNG that states 60,000 x 60,000 pixels in a few hundred bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_bad_images_are_left_out_and_listed(earnest: Earnest, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", parts=(), num=45)
    whole = (data / "dark" / "00.png").read_bytes()
    bad = {"cut.png": whole[: len(whole) // 2], "empty.jpg": b"", "text.png": b"no picture\n", "bomb.png": bomb()}
    for name, content in bad.items():
        (data / "dark" / name).write_bytes(content)
    run = tmp_path / "run"
    ended = earnest("fit", data, "--out", run, "--epochs", 1, "--model", "mlp-tiny")
    assert ended.code == 0
    assert "left out: 4 of 94" in ended.err
    assert {item["where"] for item in audit_of(run)["left_out"]} == {f"dark/{name}" for name in bad}
    assert json.loads((run / "evaluation.json").read_text())["left_out_count"] == 4
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in bad)


def test_bad_rows_are_left_out_and_listed(earnest: Earnest, tmp_path: Path) -> None:
    rows = table_rows()
    rows[10][2] = ""
    rows[20].append("more")
    path, run = write_table(tmp_path / "t.csv", rows), tmp_path / "run"
    ended = earnest("fit", path, "--out", run, "--epochs", 1, "--model", "tabm-tiny", "--target", "income")
    assert ended.code == 0
    assert "left out: 2 of 80" in ended.err
    assert {item["where"] for item in audit_of(run)["left_out"]} == {"line 11", "line 21"}


def test_many_bad_rows_stop_it_and_yes_goes_on(earnest: Earnest, tmp_path: Path) -> None:
    rows = table_rows()
    for row in rows[1:9]:
        row[2] = ""
    path, run = write_table(tmp_path / "t.csv", rows), tmp_path / "run"
    asked = earnest("fit", path, "--out", run, *FIT_TABLE)
    assert asked.code == 2
    assert "8 of 80" in asked.err
    assert "--yes" in asked.err
    assert not run.exists()
    assert earnest("fit", path, "--out", run, "--yes", *FIT_TABLE).code == 0
    assert audit_of(run)["left_out_count"] == 8


# What cannot be used.


def tables(folder: Path) -> dict[str, Path]:
    """Tables that cannot be used, by what is wrong with them."""
    rows = table_rows()
    text = "\n".join(",".join(row) for row in rows).encode()
    parquet = io.BytesIO()
    pl.DataFrame(rows[1:], rows[0], orient="row").write_parquet(parquet)
    contents = {
        "empty.csv": b"",
        "header only.csv": b"size,colour,income,part\n",
        "binary.csv": bytes(default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
        "truncated.csv.gz": gzip.compress(text)[:200],
        "broken.parquet": parquet.getvalue()[:-30],
        "target missing.csv": b"size,income\n" + b"1,\n2,\n3,\n" * 20,
        "target constant.csv": b"size,income\n" + b"1,low\n2,low\n3,low\n" * 20,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in [*contents, "not there.csv"]}


def test_useless_tables_are_refused(earnest: Earnest, tmp_path: Path) -> None:
    for name, path in tables(tmp_path).items():
        ended = earnest("fit", path, "--out", tmp_path / "run", *FIT_TABLE)
        assert ended.code == 2, name
        assert str(path) in ended.err, name
        assert ended.err.startswith("earnest: "), name
        assert ended.err.count("\n") == 1, name
        assert not (tmp_path / "run").exists(), name


def test_useless_folders_are_refused(earnest: Earnest, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_photos(tmp_path / "one", parts=())
    for file in (tmp_path / "one" / "light").iterdir():
        file.unlink()
    write_photos(tmp_path / "broken", parts=(), num=2)
    for file in (tmp_path / "broken").rglob("*.png"):
        file.write_bytes(file.read_bytes()[:50])
    write_photos(tmp_path / "hollow", parts=(), num=2)
    for file in (tmp_path / "hollow").rglob("*.png"):
        file.write_bytes(b"")
    for name in ("empty", "one", "broken", "hollow", "missing"):
        ended = earnest("fit", tmp_path / name, "--out", tmp_path / "run", *QUICK_PHOTOS)
        assert ended.code == 2, name
        assert name in ended.err or ".png" in ended.err, name
        assert ended.err.count("\n") == 1, name
        assert not (tmp_path / "run").exists(), name


def test_a_column_that_does_not_exist_has_its_nearest_offered(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", *QUICK)
    for flags in (
        ("--target", "incme"),
        ("--target", "income", "--group", "colur"),
        ("--target", "size", "--type", "incom=text"),
    ):
        ended = earnest("fit", people, *flags, *out)
        assert ended.code == 2, flags
        assert "did you mean" in ended.err, flags


def test_a_table_without_a_target_lists_its_columns(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    ended = earnest("fit", people, "--out", tmp_path / "run")
    assert ended.code == 2
    assert "--target" in ended.err
    assert "Likely: 'income'" in ended.err
    assert all(repr(name) in ended.err for name in table_rows()[0])
    assert not (tmp_path / "run").exists()


def test_a_split_that_leaves_one_class_to_learn_from_is_refused(earnest: Earnest, tmp_path: Path) -> None:
    rows = [["size", "income", "part"]]
    rows += [[f"{i}.5", "high" if i < 20 else ("high", "low")[i % 2], "train" if i < 20 else "test"] for i in range(40)]
    path = write_table(tmp_path / "t.csv", rows)
    ended = earnest("fit", path, "--target", "income", "--split", "part", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "all rows to learn from have 'income' 'high'" in ended.err
