"""`earnest fit PICTURES --model rbm` and `--model dbn`: run folders, what they record, and how they go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Earnest, invoke
from sklearn.datasets import load_digits

import earnest as package

DIGITS = load_digits()
PIXELS = DIGITS.images / 16


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small machine, with sixteen hidden units, that chose by a validation part."""
    folder = tmp_path_factory.mktemp("rbm")
    images = (255 * PIXELS).astype(np.uint8)
    ends = {"train": slice(0, 900), "val": slice(900, 1300), "test": slice(1300, None)}
    np.savez(
        folder / "digits.npz",
        **{f"x_{part}": images[rows] for part, rows in ends.items()},
        **{f"y_{part}": DIGITS.target[rows] for part, rows in ends.items()},
    )
    (folder / "recipe.toml").write_text(
        'model = "rbm-tiny"\nepochs = 40\nbatch_size = 10\npretraining = 0.75\ndropout = 0.0\n'
    )
    arguments = ("fit", folder / "digits.npz", "--recipe", folder / "recipe.toml", "--epochs", "40", "--quiet")
    assert invoke(*arguments, "--out", folder / "run") == 0
    return folder / "run"


def test_the_machine_knows_more_of_digits_than_each_pixel_by_itself(run: Path) -> None:
    record = json.loads((run / "boltzmann.json").read_text())
    rates = PIXELS[:900].reshape(900, -1).mean(0).clip(1e-3, 1 - 1e-3)
    held = PIXELS[900:1300].reshape(400, -1)
    alone = (held * np.log(rates) + (1 - held) * np.log(1 - rates)).sum(1).mean()
    its = record["log_likelihood"]
    assert its["exact"]
    assert its["n"] == 400
    assert its["value"] > alone + 1.5
    assert record["filters"].startswith("data:image/png;base64,")
    assert record["samples"].startswith("data:image/png;base64,")


def test_the_report_shows_it(run: Path) -> None:
    page = (run / "report.html").read_text()
    for words in ("What it learned without labels", "Free-energy gap", "Filters", "Samples", "The sum over all states"):
        assert words in page


def test_the_run_has_a_rung_and_predicts(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    scores = {candidate["name"]: candidate["score"]["value"] for candidate in evaluation["candidates"]}
    assert list(scores) == ["linear on pixels", "rbm-tiny"]
    assert scores["rbm-tiny"] > 0.6
    model = package.load(run)
    assert len(model.predict(run.parent / "digits.npz")) > 0


@pytest.mark.slow
def test_a_deep_belief_net_is_fitted_and_told_of(earnest: Earnest, tmp_path: Path) -> None:
    ended = earnest("fit", "digits", "--model", "dbn-tiny", "--epochs", "3", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    stages = list(dict.fromkeys(event["stage"] for event in log if event["event"] == "epoch"))
    assert stages == ["layer 1", "layer 2", "fine-tuning"]
    assert "samples" not in json.loads((tmp_path / "run" / "boltzmann.json").read_text())


def test_a_table_is_refused(earnest: Earnest, people: Path) -> None:
    ended = earnest("fit", people, "--target", "income", "--model", "dbn")
    assert ended.code == 2
    assert "the model dbn cannot learn from" in ended.err
