"""A budget too small for a network ends with the simple models, told honestly, and never with a fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Earnest
from numpy.random import default_rng

import earnest as package

TINY = ("--minutes", "0.001")


@pytest.mark.parametrize(
    ("data", "flags", "fitted"),
    [
        ("people", ("--target", "income", "--split", "part"), ["linear", "LightGBM"]),
        ("people", ("--target", "income"), ["linear", "LightGBM"]),
        ("people", ("--target", "size"), ["linear", "LightGBM"]),
        ("photos", (), ["linear on pixels"]),
        ("photos", ("--model", "mlp-tiny"), ["linear on pixels"]),
    ],
)
def test_no_time_for_a_network(
    data: str, flags: tuple[str, ...], fitted: list[str], earnest: Earnest, tmp_path: Path, request: Any
) -> None:
    run = tmp_path / "run"
    ended = earnest("fit", request.getfixturevalue(data), "--out", run, *flags, *TINY)
    assert ended.code == 0, ended.err
    assert "no time is left for a network" in ended.err
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert [candidate["name"] for candidate in evaluation["candidates"]] == fitted
    assert evaluation["test"]["n"] > 0
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [event["why"] for event in events if event["event"] == "left_out"] == ["out of time"]
    assert (run / "report.html").is_file()
    assert earnest("predict", run, request.getfixturevalue(data), "--quiet").code == 0


def test_what_was_decided_before_a_crash_stands_after_it(earnest: Earnest, photos: Path, tmp_path: Path) -> None:
    """A network that had time before the crash is trained after it, though the time is up by then."""
    run = tmp_path / "run"
    assert earnest("fit", photos, "--out", run, *TINY, "--quiet").code == 0
    facts = json.loads((run / "run.json").read_text())
    (what,) = facts["has_time"]
    assert facts["has_time"] == {what: False}
    facts |= {"status": "stopped", "has_time": {what: True}}
    (run / "run.json").write_text(json.dumps(facts))
    assert earnest("resume", run, "--quiet").code == 0
    names = [candidate["name"] for candidate in json.loads((run / "evaluation.json").read_text())["candidates"]]
    assert names == ["linear on pixels", "airnet"]


def test_an_estimator_without_time_says_what_it_took_instead() -> None:
    y = np.arange(40) % 2
    pictures = (default_rng().integers(0, 100, (40, 8, 8)) + 150 * y[:, None, None]).astype(np.uint8)
    classifier = package.Classifier(model="resnet-tiny", minutes=1e-7, random_state=0).fit(pictures, y)
    assert classifier.model_name_ == "linear on pixels"
    assert classifier.score(pictures, y) > 0.9
