"""Few rows with an answer and many without: read, kept apart from the test, compared honestly, shipped where better."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from commands import Earnest, table_rows, write_photos, write_table
from safetensors.torch import load_file
from sklearn.datasets import load_digits

import earnest as package
from earnest.api import few_labels
from earnest.core import vectors, weights
from earnest.core.run import Run
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

QUICK = ("--epochs", "1", "--quiet")
GOOD, BAD = ("lovely", "splendid", "warm", "clever"), ("dull", "noisy", "broken", "late")
PLAIN = tuple(f"word{i}" for i in range(40))


@pytest.fixture(autouse=True)
def quick_and_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """No choice that depends on the machine's mood."""
    monkeypatch.setattr(plans, "PAYS", 0.0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """40 digits with labels, 200 without of which three are test digits and two labelled ones, and 100 to test on."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng()
    pixels, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    x, y = (16 * pixels.reshape(-1, 8, 8)).clip(0, 255).astype(np.uint8)[order], labels[order]
    few = np.concatenate([np.flatnonzero(y[:400] == digit)[:4] for digit in range(10)])
    more = np.concatenate([np.arange(400, 595), [1000, 1001, 1002], few[:2]])
    np.savez(folder / "few.npz", x=x[few], y=y[few])
    np.savez(folder / "more.npz", x=x[more])
    np.savez(folder / "test.npz", x=x[1000:1100], y=y[1000:1100])
    return {name: folder / f"{name}.npz" for name in ("few", "more", "test")}


def asked(data: dict[str, Path], out: Path, *flags: Any) -> tuple[Any, ...]:
    return ("fit", data["few"], "--unlabeled", data["more"], "--test", data["test"], "--out", out, *flags)


def evaluation_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return found


def names_of(run: Path) -> list[str]:
    return [line["name"] for line in evaluation_of(run)["candidates"]]


def ship_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earnest.api.outcome.best", lambda question, candidates: candidates[-1])


def test_pictures_without_labels_are_learned_from_beside_twins(
    earnest: Earnest, digits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_the_last(monkeypatch)
    run = tmp_path / "run"
    ended = earnest(*asked(digits, run, "--model", "mlp-tiny", *QUICK))
    assert (ended.code, ended.err) == (0, "")
    assert names_of(run) == ["linear on pixels", "mlp-tiny", *(f"mlp-tiny ({way})" for way in few_labels.WAYS)]
    found = evaluation_of(run)
    assert found["cross_fitted"]
    assert (found["unlabelled"]["rows"], found["unlabelled"]["taken_out"]) == (195, 5)
    assert found["unlabelled"]["shipped"]
    assert found["unlabelled"]["with"]["name"] == "mlp-tiny (SoftMatch)"
    assert "195 rows without an answer" in found["verdict"]
    note = next(note for note in json.loads((run / "audit.json").read_text())["notes"] if "without an answer" in note)
    assert "5 were taken out" in note
    assert "3 in the test" in note
    written = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    again = package.load(run / "model").predict(digits["test"])
    assert again["confidence"].to_numpy() == pytest.approx(written["confidence"].to_numpy(), abs=2e-6)


def test_all_ways_take_as_many_steps(earnest: Earnest, digits: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert earnest(*asked(digits, run, "--model", "mlp-tiny", *QUICK)).code == 0
    steps = {event["training"]: event["step"] for event in Run.open(run).events() if event["event"] == "trained"}
    longer, stronger, method = (steps[f"mlp-tiny-{way}-fold-1"] for way in ("more-steps", "strong-views", "softmatch"))
    assert longer == stronger == method > 1


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    earnest: Earnest, digits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_the_last(monkeypatch)
    monkeypatch.setattr(plans, "CHECKPOINT_SECONDS", 0.0)
    flags = ("--model", "mlp-tiny", *QUICK)
    assert earnest(*asked(digits, tmp_path / "uncut", *flags)).code == 0
    taught, calls = few_labels.taught, 0

    def stopped(*arguments: Any, **options: Any) -> torch.nn.Module:
        nonlocal calls
        calls += 1
        if calls == 15:  # the third fit of the last way
            raise KeyboardInterrupt
        return taught(*arguments, **options)

    monkeypatch.setattr(few_labels, "taught", stopped)
    assert earnest(*asked(digits, tmp_path / "cut", *flags)).code == 130
    monkeypatch.setattr(few_labels, "taught", taught)
    assert earnest("resume", tmp_path / "cut", "--quiet").code == 0
    ours, theirs = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("cut", "uncut"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_resume_does_not_go_on_with_other_rows(
    earnest: Earnest, digits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> torch.nn.Module:
        raise KeyboardInterrupt

    own = {**digits, "more": tmp_path / "more.npz"}
    own["more"].write_bytes(digits["more"].read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(few_labels, "taught", stopped)
        assert earnest(*asked(own, tmp_path / "run", "--model", "mlp-tiny", *QUICK)).code == 130
    np.savez(own["more"], x=np.random.default_rng().integers(0, 256, (100, 8, 8), np.uint8))
    ended = earnest("resume", tmp_path / "run", "--quiet")
    assert ended.code == 2
    assert "has changed since this run began" in ended.err


def sentence(good: bool) -> str:
    words = random.choices(PLAIN, k=6) + random.choices(GOOD if good else BAD, k=2)
    random.shuffle(words)
    return " ".join(words)


def write_texts(folder: Path) -> dict[str, Path]:
    """24 texts with labels, 80 without of which one is a test text, and 40 to test on."""
    rows = [[sentence(i % 2 == 0), ("good", "bad")[i % 2]] for i in range(64)]
    paths = {name: folder / f"{name}.csv" for name in ("few", "more", "test")}
    write_table(paths["few"], [["text", "label"], *rows[:24]])
    write_table(paths["test"], [["text", "label"], *rows[24:]])
    others = [[sentence(random.random() < 0.5), "never seen"] for _ in range(79)]
    write_table(paths["more"], [["text", "source"], *others, [rows[24][0], "x"]])
    return paths


@pytest.fixture
def tiny_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Word vectors of which one number says whether a word is good; no encoder is on this machine."""
    words = (*GOOD, *BAD, *PLAIN)
    array = np.random.default_rng().normal(0, 0.3, (len(words), 6)).astype(np.float32)
    array[: len(GOOD), 0] += 3
    array[len(GOOD) : len(GOOD) + len(BAD), 0] -= 3
    monkeypatch.setattr(vectors, "available", lambda: [vectors.KNOWN[0]])
    monkeypatch.setattr(vectors, "load", lambda *names, **options: vectors.Vectors(words, array))
    monkeypatch.setattr(weights, "available", lambda kind="image": [])


@pytest.mark.usefixtures("tiny_vectors")
def test_texts_are_learned_from_by_their_frozen_features(
    earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_texts(tmp_path)
    monkeypatch.setattr(
        "earnest.api.outcome.best",
        lambda question, candidates: max(candidates, key=lambda one: one.name.endswith("(SoftMatch)")),
    )
    run = tmp_path / "run"
    ended = earnest(*asked(data, run, "--target", "label", "--model", "word-average", *QUICK))
    assert (ended.code, ended.err) == (0, "")
    ways = [f"frozen word-average + linear{way}" for way in ("", *(f" ({way})" for way in few_labels.WAYS))]
    assert [name for name in names_of(run) if name in ways] == ways
    found = evaluation_of(run)
    assert (found["unlabelled"]["rows"], found["unlabelled"]["taken_out"]) == (79, 1)
    assert found["test"]["metrics"]["accuracy"]["value"] > 0.9
    written = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    again = package.load(run / "model").predict(data["test"])
    assert again["confidence"].to_numpy() == pytest.approx(written["confidence"].to_numpy(), abs=1e-5)


def test_tables_are_learned_from_with_values_of_other_rows(
    earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_the_last(monkeypatch)
    rows = table_rows(num=160)
    data = {name: tmp_path / f"{name}.csv" for name in ("few", "more", "test")}
    write_table(data["few"], [row[:3] for row in rows[:41]])
    write_table(data["more"], [row[:2] for row in [rows[0], *rows[41:120]]])
    write_table(data["test"], [row[:3] for row in [rows[0], *rows[120:]]])
    run = package.fit(
        data["few"], target="income", unlabeled=data["more"], test=data["test"], out=tmp_path / "run", quiet=True,
        epochs=1, model="tabm-tiny",
    )  # fmt: skip
    assert names_of(run.path)[-2:] == ["tabm-tiny (strong views)", "tabm-tiny (SoftMatch)"]
    assert evaluation_of(run.path)["unlabelled"]["rows"] == 79
    written = pl.read_parquet(run.path / "predictions.parquet").filter(pl.col("part") == "test")
    again = package.load(run.path).predict(data["test"])
    assert again["confidence"].to_numpy() == pytest.approx(written["confidence"].to_numpy(), abs=2e-6)


def test_what_is_no_better_is_not_shipped(earnest: Earnest, tmp_path: Path) -> None:
    rows = [["size", "kind"], *([f"{value:.3f}", "high" if value > 0 else "low"] for value in np.linspace(-2, 2, 60))]
    few, more = write_table(tmp_path / "few.csv", rows), tmp_path / "more.csv"
    write_table(more, [["size"], *([f"{value:.3f}"] for value in np.random.default_rng().normal(0, 1, 50))])
    run = tmp_path / "run"
    ended = earnest("fit", few, "--target", "kind", "--unlabeled", more, "--model", "tabm-tiny", "--out", run, *QUICK)
    assert ended.code == 0
    found = evaluation_of(run)["unlabelled"]
    assert found["without"]["score"] >= found["with"]["score"]
    assert not found["shipped"]
    assert "did not help" in evaluation_of(run)["verdict"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("nowhere.csv", "there is no file or folder"),
        ("empty.csv", "is empty"),
        ("header.csv", "a header and no rows"),
        ("other.csv", "lacks the column 'size'"),
        ("few.csv", "that are not in"),
        ("short.csv", "holds 1 rows, too few"),
        ("photos", "is of another kind"),
    ],
)
def test_rows_that_cannot_be_used_are_named_and_nothing_is_left(
    earnest: Earnest, tmp_path: Path, more: str, complaint: str
) -> None:
    few = write_table(tmp_path / "few.csv", [row[:3] for row in table_rows()])
    (tmp_path / "empty.csv").touch()
    write_table(tmp_path / "header.csv", [["size", "colour"]])
    write_table(tmp_path / "other.csv", [["weight", "colour"], *([["1.5", "red"]] * 50)])
    write_table(tmp_path / "short.csv", [["size", "colour"], ["9.5", "red"]])
    write_photos(tmp_path / "photos", parts=(), num=2)
    run = tmp_path / "run"
    ended = earnest("fit", few, "--target", "income", "--unlabeled", tmp_path / more, "--out", run, *QUICK)
    assert ended.code == 2
    assert complaint in ended.err
    assert "Traceback" not in ended.err
    assert not run.exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--target", "price"), "only classes are learned"),
        (("--target", "review", "--from-scratch"), "cannot read"),
    ],
)
def test_questions_that_it_cannot_help_with(
    earnest: Earnest, tmp_path: Path, flags: tuple[str, ...], complaint: str
) -> None:
    rows = [[sentence(i % 2 == 0), f"{i + random.random():.4f}", ("good", "bad")[i % 2]] for i in range(60)]
    named = {"price": [["review", "price"], *(row[:2] for row in rows)], "review": [["text", "review"]]}
    named["review"] += [[row[0], row[2]] for row in rows]
    few = write_table(tmp_path / "few.csv", named[flags[1]])
    ended = earnest("fit", few, "--unlabeled", few, "--out", tmp_path / "run", *flags, *QUICK)
    assert ended.code == 2
    assert complaint in ended.err
    assert not (tmp_path / "run").exists()


def write_digits(folder: Path) -> dict[str, Path]:
    """40 digits with labels to learn from, 157 to choose by and 400 to test on, and 1,200 without."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = (16 * pixels.reshape(-1, 8, 8)).clip(0, 255).astype(np.uint8)[order], labels[order]
    few = np.concatenate([np.flatnonzero(y[:1240] == digit)[:4] for digit in range(10)])
    parts = {"train": few, "val": np.arange(1240, 1397), "test": np.arange(1397, 1797)}
    arrays = {f"{name}_{part}": array[rows] for part, rows in parts.items() for name, array in (("x", x), ("y", y))}
    np.savez(folder / "few.npz", **arrays)
    np.savez(folder / "more.npz", x=np.delete(x[:1240], few, axis=0))
    return {name: folder / f"{name}.npz" for name in ("few", "more")}


@pytest.mark.slow
def test_with_forty_labels_digits_without_help(earnest: Earnest, tmp_path: Path) -> None:
    data, run = write_digits(tmp_path), tmp_path / "run"
    ended = earnest("fit", data["few"], "--unlabeled", data["more"], "--epochs", 25, "--out", run, "--quiet")
    assert ended.code == 0
    found = evaluation_of(run)
    tested = {name: values["accuracy"]["value"] for name, values in found["test"]["baselines"].items()}
    assert found["unlabelled"]["shipped"]
    assert found["unlabelled"]["with"]["name"] == "airnet (SoftMatch)"
    assert found["test"]["metrics"]["accuracy"]["value"] > max(tested.values())
    assert "helped" in found["verdict"]
