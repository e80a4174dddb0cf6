"""The upper rungs of transfer, on a tiny network that stands for the pretrained one."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from commands import Earnest, invoke, write_photos
from PIL import Image
from safetensors.torch import load_file

from earnest.api import transfer
from earnest.api.fine_tuning import Rung
from earnest.core import weights
from earnest.core.run import Run
from earnest.data.preparation import Normalise
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

TINY = replace(weights.KNOWN[0], name="tiny.test", architecture="efficientnet-lite-tiny")
RUNGS = [
    "linear on pixels",
    "frozen efficientnet-lite-tiny + linear",
    "fine-tuned efficientnet-lite-tiny, top 30%",
    "fine-tuned efficientnet-lite-tiny",
]
PAYS = "lr = 0.001\nepochs = 2\n"
RUINS = "lr = 30.0\nepochs = 2\nspike = 1e30\n"


@pytest.fixture(scope="module", autouse=True)
def tiny_weights() -> Iterator[None]:
    """The tiny network's random weights are the pretrained ones, and a checkpoint is written every step."""

    def fetch(*arguments: Any) -> transfer.Pretrained:
        torch.manual_seed(1)
        normalise = Normalise((127.0,) * 3, (128.0,) * 3, 32)
        return transfer.Pretrained(TINY, transfer.build(TINY.architecture, 10), normalise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earnest.api.rows.suited", lambda *arguments: TINY)
        patch.setattr(transfer, "fetch", fetch)
        patch.setattr(plans, "PAYS", 0.0)
        patch.setattr(plans, "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def photos_in_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos", num=24)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of which nothing can be said: whoever is sure is wrong half of the time."""
    generator, folder = np.random.default_rng(), tmp_path_factory.mktemp("data") / "noise"
    for label in ("one", "other"):
        (folder / label).mkdir(parents=True)
        for number in range(24):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:02}.png")
    return folder


def asked(data: Path, out: Path, recipe: str, *flags: str) -> tuple[Any, ...]:
    """A fit whose scores no picture answers perfectly, so that there is always something to gain."""
    path = out.parent / f"{out.name}.toml"
    path.write_text(recipe)
    return ("fit", data, "--out", out, "--recipe", path, "--metric", "log_loss", "--quiet", *flags)


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in Run.open(run).events() if event["event"] == kind]


def shipped(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(run / "model" / "model.safetensors")
    return tensors


@pytest.fixture(scope="module")
def uncut(photos_in_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that climbed to the top and was never stopped."""
    out = tmp_path_factory.mktemp("runs") / "uncut"
    assert invoke(*asked(photos_in_parts, out, PAYS)) == 0
    return out


def test_each_rung_is_told_and_the_next_begins_where_it_ended(uncut: Path) -> None:
    told = events(uncut, "rung")
    assert [rung["name"] for rung in told] == RUNGS
    assert all(rung["seconds"] > 0 for rung in told)
    scores = [rung["score"] for rung in told]
    assert scores[1] > scores[2]
    assert Run.open(uncut).facts()["fine_tune"] == {"fine-tuned-top": True, "fine-tuned": True}
    top, whole = [
        load_file(sorted((uncut / "checkpoints" / name).glob("step-*"))[-1])
        for name in ("fine-tuned-top", "fine-tuned")
    ]
    moved = {name for name in top if name.startswith("model/") and not torch.equal(top[name], whole[name])}
    assert any(name.startswith("model/stem") for name in moved)
    assert not any("running" in name for name in moved)


def test_a_rung_that_does_not_pay_is_the_last(
    earnest: Earnest, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(Rung, "pays_on_a_fold", lambda self, below: True)
    assert earnest(*asked(noise, run, RUINS)).code == 0
    told = events(run, "rung")
    assert [rung["name"] for rung in told] == RUNGS[:3]
    assert told[2]["score"] > told[1]["score"]
    assert not (run / "checkpoints" / "fine-tuned").exists()
    assert not (run / "recipe.toml").exists()


def test_few_rows_are_tried_on_one_fold_first(earnest: Earnest, noise: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert earnest(*asked(noise, run, RUINS)).code == 0
    assert [rung["name"] for rung in events(run, "rung")] == RUNGS[:2]
    (tried,) = events(run, "tried")
    assert (tried["name"], tried["pays"]) == (RUNGS[2], False)
    assert tried["score"] > tried["before"]
    assert [event["training"] for event in events(run, "trained")] == ["fine-tuned-top-fold-1"]


def test_where_the_fold_pays_all_are_fitted_by_one_plan(earnest: Earnest, tmp_path: Path) -> None:
    data, run = write_photos(tmp_path / "photos", num=20, parts=()), tmp_path / "run"
    assert earnest(*asked(data, run, PAYS + "unfreeze = 0.5\n")).code == 0
    names = [f"fine-tuned-top-fold-{number}" for number in range(1, 6)]
    assert [event["training"] for event in events(run, "trained")] == [*names, "fine-tuned-top"]
    assert [rung["name"] for rung in events(run, "rung")][2:] == ["fine-tuned efficientnet-lite-tiny, top 50%"]
    trainings = Run.open(run).facts()["plan"]["trainings"]
    assert len({plan["seconds_per_step"] for plan in trainings.values()}) == 1


def test_what_takes_too_long_is_left_out(
    earnest: Earnest, photos_in_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(Rung, "needs", lambda self: 3600.0)
    said = earnest(*(flag for flag in asked(photos_in_parts, run, PAYS) if flag != "--quiet"))
    assert said.code == 0
    assert "about 1 h 00 min, which is more than there is" in said.out + said.err
    assert [rung["name"] for rung in events(run, "rung")] == RUNGS[:2]
    assert Run.open(run).facts()["fine_tune"] == {"fine-tuned-top": False}


@pytest.mark.parametrize(("needed", "epochs", "rows"), [(900.0, 2, 1.0), (1500.0, 1, 0.72)])
def test_where_time_is_short_fewer_rows_are_learned_from(
    needed: float,
    epochs: int,
    rows: float,
    earnest: Earnest,
    photos_in_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of ten minutes nine are planned with: 0.6 of two epochs, or 0.36 of them, which is less than one."""
    run, whole = tmp_path / "run", Rung._fit
    learned: list[int] = []

    def fit(self: Rung, *arguments: Any) -> Any:
        monkeypatch.setattr(type(self.frozen), "batches", counted(self.frozen.batches))
        return whole(self, *arguments)

    def counted(batches: Any) -> Any:
        def batches_of(self: Any, question: Any, rows: Any, recipe: Any, *, learning: bool = False) -> Any:
            learned.extend([len(rows)] * learning)
            return batches(question, rows, recipe, learning=learning)

        return batches_of

    monkeypatch.setattr(Rung, "needs", lambda self: needed)
    monkeypatch.setattr(Rung, "_fit", fit)
    assert earnest(*asked(photos_in_parts, run, PAYS + "unfreeze = 0.5\n")).code == 0
    facts = Run.open(run).facts()
    assert facts["plan"]["trainings"]["fine-tuned-top"]["epochs"] == epochs
    assert learned[0] == int(rows * facts["data"]["split"]["train"])


@pytest.mark.parametrize("nth", [5, 7])
def test_stopped_anywhere_on_any_rung_it_ends_bit_equal(
    nth: int, earnest: Earnest, photos_in_parts: Path, uncut: Path, tmp_path: Path
) -> None:
    """Stopped again and again, `nth` checkpoints after it began or went on: inside either rung and between."""
    run, stops = tmp_path / "run", 0
    ended = stopped_at(earnest, nth, *asked(photos_in_parts, run, PAYS))
    while ended == 130:
        stops += 1
        ended = stopped_at(earnest, nth, "resume", run, "--quiet")
    assert ended == 0
    assert stops
    ours, theirs = shipped(run), shipped(uncut)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert scored(run) == scored(uncut)


def scored(run: Path) -> list[tuple[str, float]]:
    candidates = json.loads((run / "evaluation.json").read_text())["candidates"]
    return [(candidate["name"], candidate["score"]["value"]) for candidate in candidates]


def stopped_at(earnest: Earnest, nth: int, *arguments: Any) -> int:
    """The exit code of a command to which Ctrl-C comes at the nth checkpoint that it writes."""
    log, seen = Run.log, []

    def watched(run: Run, kind: str, **values: Any) -> None:
        log(run, kind, **values)
        seen.append(kind)
        if kind == "checkpoint" and seen.count(kind) == nth:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "log", watched)
        return earnest(*arguments).code


def test_numbers_are_learned_from_pictures_too(earnest: Earnest, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(60):
        level = generator.uniform(20, 200)
        pixels = np.clip(generator.normal(level, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append([f"{number}.png", f"{level:.3f}", ("train", "train", "val", "test")[number % 4]])
    data, run = tmp_path / "levels.csv", tmp_path / "run"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([["picture", "level", "part"], *rows])
    (tmp_path / "r.toml").write_text("lr = 0.01\nepochs = 4\n")
    flags = ("--target", "level", "--split", "part", "--recipe", tmp_path / "r.toml", "--quiet")
    assert earnest("fit", data, "--out", run, *flags).code == 0
    told = events(run, "rung")
    assert [rung["name"] for rung in told][:3] == RUNGS[:3]
    kept = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    assert earnest("predict", run, data, "--out", tmp_path / "p.csv", "--quiet").code == 0
    again = pl.read_csv(tmp_path / "p.csv")["prediction"].to_numpy()[3::4]
    np.testing.assert_allclose(kept["prediction"].to_numpy(), again, rtol=1e-4)
