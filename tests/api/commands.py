"""The command line in this process, and small data to try it on."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from earnest import cli

SIDE = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Earnest = Callable[..., Ended]


def invoke(*arguments: Any) -> int:
    """The exit code of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["earnest", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def picture(rng: np.random.Generator, bright: bool) -> np.ndarray:
    """(SIDE, SIDE, 3) noise, dark or bright."""
    return (rng.integers(0, 100, (SIDE, SIDE, 3)) + 120 * bright).astype(np.uint8)


def write_photos(folder: Path, *, num: int = 8, parts: Sequence[str] = ("train", "val", "test"), seed: int = 0) -> Path:
    """A folder of class folders "dark" and "light", `num` images each; in parts, so that one network is trained."""
    rng = default_rng(seed)
    for part in parts or ("",):
        for label in ("dark", "light"):
            place = folder / part / label
            place.mkdir(parents=True)
            for i in range(num):
                Image.fromarray(picture(rng, label == "light")).save(place / f"{i:02}.png")
    return folder


def table_rows(num: int = 80, seed: int = 0) -> list[list[str]]:
    """Header and rows: a number and a category that say much about the label "income", and the row's part."""
    rng = default_rng(seed)
    rows = [["size", "colour", "income", "part"]]
    for i in range(num):
        size, red = rng.normal(), rng.random() < 0.5
        label = "high" if size + red + 0.2 * rng.normal() > 0.5 else "low"
        rows.append([f"{size:.4f}", "red" if red else "blue", label, ("train", "train", "val", "test")[i % 4]])
    return rows


def write_table(path: Path, rows: Sequence[Sequence[str]] | None = None, **options: Any) -> Path:
    """A CSV file; the rows of `table_rows` unless others are given."""
    with path.open("w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows(table_rows() if rows is None else rows)
    return path


def write_listings(
    folder: Path, *, num: int = 48, pictures: Sequence[str] = ("photo",), seed: int = 0, name: str = "listings.csv"
) -> Path:
    """A table of pictures, a number and a category.

    The label "deal" is yes where just one of two holds: the (first) picture is bright, the colour is red. With a second
    picture, that one's brightness takes the colour's part. The target "price" is a sum of size, brightness and colour.
    """
    rng = default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[*pictures, "size", "colour", "part", "deal", "price"]]
    for i in range(num):
        bright, red, size = rng.random(len(pictures)) < 0.5, rng.random() < 0.5, rng.normal()
        files = [f"{Path(name).stem}-{column}-{i:03}.png" for column in pictures]
        for file, its in zip(files, bright, strict=True):
            Image.fromarray(picture(rng, its)).save(folder / file)
        deal = bright[0] != (bright[1] if len(pictures) > 1 else red)
        price = size + 2 * bright[0] + 3 * red + 0.05 * rng.normal()
        part = ("train", "train", "val", "test")[i % 4]
        rows.append([*files, f"{size:.3f}", "red" if red else "blue", part, "yes" if deal else "no", f"{price:.3f}"])
    return write_table(folder / name, rows)


QUICK = ("--epochs", "1", "--quiet")
QUICK_PHOTOS = (*QUICK, "--model", "mlp-tiny")
QUICK_TABLE = (*QUICK, "--model", "tabm-tiny", "--target", "income", "--split", "part")
