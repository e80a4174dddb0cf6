"""Planted leaks are found; strong but honest columns, made up or real, are not."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from earnest.audit.findings import checks
from earnest.data.columns import assign_roles, infer
from earnest.data.dataset import Dataset, Split
from earnest.data.read import read

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
REAL = [
    ("bank", "deposit"),
    ("bike", "cnt"),
    ("boston", "medv"),
    ("california_housing", "median_house_value"),
    ("credit", "default"),
    ("diabetes", "Class variable"),
    ("diamond", "Price"),
    ("insurance", "charges"),
    ("telescope", "Class"),
    ("titanic_train", "Survived"),
]


def dataset(frame: pl.DataFrame, target: str, **kinds) -> Dataset:
    frame, columns = infer(frame, kinds)
    size = len(frame)
    names = tuple(f"line {i + 2}" for i in range(size))
    bare = Dataset("t.csv", frame, columns, np.arange(size), names, np.arange(size, dtype=np.uint64), "0" * 64)
    return assign_roles(bare, target=target, kinds=kinds)


def leaks(data: Dataset, split: Split | None = None, check: str = "target leakage") -> dict[str, str]:
    return {name: finding.severity for finding in checks[check].build(data, split) for name in finding.names}


def two_classes(size: int = 3000, share: float = 0.3) -> tuple[np.ndarray, pl.DataFrame]:
    random = np.random.default_rng()
    truth = random.random(size) < share
    frame = pl.DataFrame(
        {
            "honest": random.normal(size=size) + 2 * truth,
            "noise": random.normal(size=size),
            "colour": random.choice(["red", "green"], size),
            "y": np.where(truth, "ill", "well"),
        }
    )
    return truth, frame


def test_one_cell_of_megabytes_does_not_take_as_much_for_every_row() -> None:
    _, frame = two_classes(size=300, share=0.5)
    notes = [f"note {i} on this" for i in range(299)] + ["long " * 200_000]
    data = dataset(frame.with_columns(pl.Series("note", notes)), "y")
    tracemalloc.start()
    found = leaks(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "note" not in found
    assert peak < 50_000_000


def planted_among_classes(truth: np.ndarray) -> dict[str, pl.Series]:
    random = np.random.default_rng()
    size = len(truth)
    values = [x if t else None for x, t in zip(random.normal(size=size), truth, strict=True)]
    outside = random.choice([-1, 1], size) * random.uniform(2, 4, size)
    return {
        "coded": pl.Series(np.where(truth, "A7", "B2")),
        "finely coded": pl.Series(["DEFABC"[3 * t + i % 3] for i, t in enumerate(truth)]),
        "shifted": pl.Series(truth * 1.0 + 5.5),
        "noisy": pl.Series(truth + random.normal(scale=0.05, size=size)),
        "filled for one class": pl.Series(values),
        "text for one class": pl.Series([x and f"seen by doctor {x:.6f} today" for x in values]),
        "middle": pl.Series(np.where(truth, random.uniform(-1, 1, size), outside)),
    }


@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("name", list(planted_among_classes(np.array([True, False]))))
def test_planted_leaks_of_a_class_are_found(name, share):
    truth, frame = two_classes(share=share)
    frame = frame.with_columns(planted_among_classes(truth)[name].alias(name))
    found = leaks(dataset(frame, "y"))
    assert found.keys() == {name}
    assert found[name] == "high" or name == "middle"


def test_honest_columns_are_silent():
    for share in (0.5, 0.05):
        assert leaks(dataset(two_classes(share=share)[1], "y")) == {}


def test_a_leak_with_some_noise_is_suspicious():
    random = np.random.default_rng()
    truth, frame = two_classes(4000, 0.5)
    flipped = truth ^ (random.random(4000) < 0.012)
    frame = frame.with_columns(nearly=pl.Series(np.where(flipped, "p", "q")))
    assert leaks(dataset(frame, "y")) == {"nearly": "medium"}


def test_many_classes():
    random = np.random.default_rng()
    truth = random.integers(0, 12, 2000)
    frame = pl.DataFrame(
        {
            "code": truth * 3.5 + 1,
            "strong": truth + random.normal(scale=0.6, size=2000),
            "one class only": np.where(truth == 0, "x", "z"),
            "y": [f"kind {k}" for k in truth],
        }
    )
    assert leaks(dataset(frame, "y")) == {"code": "high"}


def quantity(size: int = 1000) -> tuple[np.ndarray, pl.DataFrame]:
    random = np.random.default_rng()
    target = random.gamma(2.0, 10.0, size)
    spread = np.std(target) * np.sqrt(1 / 0.9**2 - 1)
    return target, pl.DataFrame(
        {
            "correlated .9": target + random.normal(scale=spread, size=size),
            "noise": random.normal(size=size),
            "y": target,
        }
    )


@pytest.mark.parametrize(
    "leak",
    [
        lambda y: y + 17.25,
        lambda y: -2.54 * y,
        lambda y: np.log(y),
        lambda y: y + np.random.default_rng().normal(scale=0.03 * np.std(y), size=len(y)),
        lambda y: np.round(y, 1),
    ],
    ids=["shifted", "other unit", "logarithm", "noisy", "rounded"],
)
def test_planted_leaks_of_a_quantity_are_found(leak):
    target, frame = quantity()
    assert leaks(dataset(frame.with_columns(leak=pl.Series(leak(target))), "y")) == {"leak": "high"}


def test_a_column_correlated_by_nine_tenths_is_silent():
    assert leaks(dataset(quantity()[1], "y")) == {}


def test_a_sum_of_parts_is_found_and_the_parts_are_named():
    random = np.random.default_rng()
    casual, registered, weather = random.gamma(2.0, 50.0, (3, 500))
    frame = pl.DataFrame({"casual": casual, "registered": registered, "weather": weather, "y": casual + registered})
    assert leaks(dataset(frame, "y"), check="computed target") == {"casual": "high", "registered": "high"}
    noisy = frame.with_columns(y=pl.col("y") + random.normal(scale=5, size=500))
    assert leaks(dataset(noisy, "y"), check="computed target") == {}


def test_the_test_part_is_not_looked_at():
    """A column that is the target in test rows alone says nothing about the rows to learn from."""
    truth, frame = two_classes(800)
    in_test = np.arange(800) >= 700
    random = np.random.default_rng()
    column = np.where(in_test, truth, random.random(800) < 0.5).astype(str)
    data = dataset(frame.with_columns(leak=pl.Series(column)), "y")
    rows = np.arange(700)
    split = Split(rows[:600], rows[600:], np.arange(700, 800), "", np.empty(0, np.int64))
    assert leaks(data, split) == {}
    only_test = Split(np.arange(700, 750), np.arange(750, 800), rows, "", np.empty(0, np.int64))
    assert leaks(data, only_test) == {"leak": "high"}


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_wine])
def test_well_known_tables_of_strong_columns_are_silent(load):
    bunch = load()
    frame = pl.DataFrame(bunch.data, schema=[str(name) for name in bunch.feature_names])
    frame = frame.with_columns(y=pl.Series([f"class {k}" for k in bunch.target]))
    assert leaks(dataset(frame, "y")) == {}


@pytest.mark.parametrize(("name", "target"), REAL)
def test_real_tables_are_silent(name, target):
    path = DATA / "tabular-misc" / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path}")
    columns = pl.read_csv(path, n_rows=1, infer_schema=False).columns
    data = read(path, target=target if target in columns else columns[-1])
    assert leaks(data) == {}
    assert leaks(data, check="computed target") == {}


def test_adult_is_silent_until_a_leak_is_planted(tmp_path):
    path = DATA / "adult" / "adult-train.csv.gz"
    if not path.exists():
        pytest.skip(f"no {path}")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    names = [f"c{i}" for i in range(14)] + ["income"]
    (tmp_path / "adult.csv").write_text("\n".join([",".join(names), *lines]))
    assert leaks(read(tmp_path / "adult.csv", target="income")) == {}
    planted = [f"{line},{'B' if '>50K' in line else 'A'}" for line in lines if line]
    (tmp_path / "leak.csv").write_text("\n".join([",".join([*names, "tax class"]), *planted]))
    assert leaks(read(tmp_path / "leak.csv", target="income")) == {"tax class": "high"}
