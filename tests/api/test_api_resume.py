"""Runs that are stopped, killed or damaged, and go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import QUICK_TABLE, Earnest, invoke, write_photos, write_table
from safetensors.torch import load_file

from earnest.core.run import Run
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

LONG = ("--epochs", "4", "--model", "mlp-tiny", "--quiet")
SAME_PLAN = {"PAYS": 0.0, "CHECKPOINT_SECONDS": 0.0}
"""No choice that depends on the machine's mood, and a checkpoint every step."""


@pytest.fixture(scope="module", autouse=True)
def same_plan() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SAME_PLAN.items():
            patch.setattr(plans, name, value)
        yield


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for several steps an epoch."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos", num=80)


@pytest.fixture(scope="module")
def uncut(many_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The last checkpoint of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("runs") / "uncut"
    assert invoke("fit", many_photos, "--out", out, *LONG) == 0
    return last_checkpoint(out)


def checkpoints_of(run: Path) -> list[Path]:
    return sorted((run / "checkpoints" / "mlp-tiny").glob("step-*.safetensors"))


def last_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(checkpoints_of(run)[-1])
    return tensors


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def events_of(run: Path) -> list[str]:
    return [event["event"] for event in Run.open(run).events()]


def signal_at(patch: pytest.MonkeyPatch, number: signal.Signals, event: str, nth: int) -> None:
    """Send this process a signal when the event is logged for the nth time."""
    log, seen = Run.log, []

    def watched(run: Run, kind: str, **values: Any) -> None:
        log(run, kind, **values)
        seen.append(kind)
        if kind == event and seen.count(event) == nth:
            os.kill(os.getpid(), number)

    patch.setattr(Run, "log", watched)


def stop(earnest: Earnest, data: Path, run: Path, number: signal.Signals = signal.SIGTERM, nth: int = 5) -> None:
    """Fit until the nth checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, number, "checkpoint", nth)
        ended = earnest("fit", data, "--out", run, *LONG)
    assert (ended.code, ended.out) == (130, "")
    assert f"earnest resume {run}" in ended.err
    assert ended.err.count("\n") == 1
    assert Run.open(run).facts()["status"] == "stopped"
    assert events_of(run)[-1] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_as_if_it_never_was(
    number: signal.Signals, earnest: Earnest, many_photos: Path, uncut: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    stop(earnest, many_photos, run, number)
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, number, "checkpoint", 3)
        assert earnest("resume", run, "--quiet").code == 130
    ended = earnest("resume", run, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert_same(last_checkpoint(run), uncut)
    assert events_of(run).count("resumed") == 2
    assert events_of(run)[-1] == "finished"
    again = earnest("resume", run)
    assert again.code == 0
    assert "is finished" in again.out
    assert events_of(run)[-1] == "finished"


@pytest.mark.parametrize(
    "place", ["earnest.api.pictures.decode", "earnest.api.images.linear_on_pixels", "earnest.api.outcome.settle"]
)
def test_ctrl_c_outside_of_training(
    place: str, earnest: Earnest, many_photos: Path, uncut: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):  # no signal.pause(): where another thread took the signal, it would wait for a second one
            time.sleep(0.1)

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, interrupted)
        ended = earnest("fit", many_photos, "--out", run, *LONG)
    assert ended.code == 130
    assert f"earnest resume {run}" in ended.err
    assert earnest("resume", run, "--quiet").code == 0
    assert_same(last_checkpoint(run), uncut)


def test_a_killed_run_goes_on(
    earnest: Earnest, many_photos: Path, uncut: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code = f"""
import os, signal, sys
from earnest import cli
from earnest.core.run import Run
from earnest.training import checkpoints, plan
for name, value in {SAME_PLAN!r}.items():
    setattr(plan, name, value)
write = checkpoints.atomic.write_with
def killed(path, content):
    if "step-000000006" in path.name:
        write(path, lambda temporary: (content(temporary), os.kill(os.getpid(), signal.SIGKILL)))
    write(path, content)
checkpoints.atomic.write_with = killed
sys.argv = ["earnest", "fit", {str(many_photos)!r}, "--out", {str(run)!r}, *{LONG!r}]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in checkpoints_of(run)][-1] == "step-000000005.safetensors"
    assert Run.open(run).facts()["status"] == "running"
    assert earnest("resume", run, "--quiet").code == 0
    assert_same(last_checkpoint(run), uncut)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    earnest: Earnest, many_photos: Path, uncut: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    stop(earnest, many_photos, run)
    newest = checkpoints_of(run)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert earnest("resume", run, "--quiet").code == 0
    assert_same(last_checkpoint(run), uncut)


def test_when_every_checkpoint_is_damaged_it_says_so(earnest: Earnest, many_photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(earnest, many_photos, run)
    for path in checkpoints_of(run):
        content = bytearray(path.read_bytes())
        content[-10] ^= 0xFF
        path.write_bytes(content)
    ended = earnest("resume", run, "--quiet")
    assert ended.code == 2
    assert str(run / "checkpoints" / "mlp-tiny") in ended.err
    assert "--overwrite" in ended.err
    assert checkpoints_of(run)
    assert not (run / "error.log").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": 1}', '{"format": 1, "request": {"verb": "fit"}}'])
def test_a_damaged_run_json_is_named(content: str, earnest: Earnest, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(content)
    for verb in ("resume", "report"):
        ended = earnest(verb, run)
        if verb == "resume" or "request" not in content:
            assert ended.code == 2, verb
            assert "run.json" in ended.err
    assert earnest("resume", tmp_path / "nowhere").code == 2


def test_a_run_of_a_newer_version_is_refused(earnest: Earnest, people_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(people_run, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "format": 99, "status": "stopped"}))
    for verb in ("resume", "report"):
        ended = earnest(verb, run)
        assert ended.code == 2
        assert "newer version" in ended.err
        assert "pip install" in ended.err


def test_data_that_changed_stop_a_resume_and_nothing_is_lost(earnest: Earnest, tmp_path: Path) -> None:
    data, run = write_photos(tmp_path / "photos", num=80), tmp_path / "run"
    stop(earnest, data, run)
    moved = data.rename(tmp_path / "elsewhere")
    ended = earnest("resume", run, "--quiet")
    assert ended.code == 2
    assert str(data) in ended.err
    assert run.exists()
    moved.rename(data)
    whole = (data / "train" / "dark" / "00.png").read_bytes()
    (data / "train" / "dark" / "00.png").write_bytes((data / "train" / "dark" / "01.png").read_bytes())
    changed = earnest("resume", run, "--quiet")
    assert changed.code == 2
    assert "changed" in changed.err
    (data / "train" / "dark" / "00.png").write_bytes(whole)
    assert earnest("resume", run, "--quiet").code == 0


def test_two_processes_do_not_share_a_run(earnest: Earnest, many_photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(earnest, many_photos, run)
    with Run(run).alone():
        for arguments in (("resume", run), ("fit", many_photos, "--out", run, "--overwrite")):
            ended = earnest(*arguments, "--quiet")
            assert ended.code == 2
            assert "another process" in ended.err
    assert checkpoints_of(run)


def test_a_run_cut_by_its_budget_is_finished(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    flags = [flag for flag in QUICK_TABLE if flag not in ("--epochs", "1")]
    run = tmp_path / "run"
    assert earnest("fit", people, "--out", run, "--minutes", "0.02", *flags).code == 0
    assert json.loads((run / "evaluation.json").read_text())["test"]["n"] == 20
    assert Run.open(run).finished()


def test_a_table_is_resumed_too(earnest: Earnest, tmp_path: Path) -> None:
    data, run = write_table(tmp_path / "t.csv"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, signal.SIGINT, "checkpoint", 2)
        assert earnest("fit", data, "--out", run, *QUICK_TABLE).code == 130
    assert earnest("resume", run, "--quiet").code == 0
    assert earnest("predict", run, data, "--quiet").code == 0
