"""The run folder: made whole or not at all, refused when it cannot be read, and true about time spent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from earnest.core import atomic
from earnest.core.errors import OptionError, RunError
from earnest.core.run import FORMAT, Run, WallClock, read_json


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_run_is_whole_at_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs" / "ä 1", {"data": "digits", "seed": 3})
    assert listing(tmp_path / "runs") == ["ä 1"]
    opened = Run.open(run.path)
    assert opened.facts()["request"] == {"data": "digits", "seed": 3}
    assert opened.facts()["test_looks"] == []
    assert not opened.finished()
    assert not opened.began()


def test_what_is_there_already_is_refused(tmp_path: Path) -> None:
    Run.create(tmp_path / "a", {"n": 1})
    with pytest.raises(OptionError, match=r"--overwrite.*earnest resume"):
        Run.create(tmp_path / "a", {"n": 2})
    assert Run.open(tmp_path / "a").facts()["request"] == {"n": 1}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OptionError, match="exists already"):
        Run.create(tmp_path / "file", {})


@pytest.mark.parametrize("content", ["file", "folder"])
def test_overwriting_leaves_alone_what_is_no_run(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine"
    if content == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    with pytest.raises(OptionError, match="not a run folder"):
        Run.create(path, {}, overwrite=True)
    assert (path if content == "file" else path / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", {}).facts()["status"] == "running"


def test_overwriting_puts_the_old_run_aside_until_it_is_settled(tmp_path: Path) -> None:
    path = tmp_path / "a"
    Run.create(path, {"n": 1}).write("evaluation.json", {"old": True})
    Run.create(path, {"n": 2}, overwrite=True).withdraw()
    assert Run.open(path).facts()["request"] == {"n": 1}
    assert Run.open(path).read("evaluation.json") == {"old": True}
    Run.create(path, {"n": 3}, overwrite=True)  # broken off before it was settled
    Run.create(path, {"n": 4}, overwrite=True).withdraw()
    assert Run.open(path).facts()["request"] == {"n": 1}
    Run.create(path, {"n": 5}, overwrite=True).accept()
    assert Run.open(path).facts()["request"] == {"n": 5}
    assert listing(tmp_path) == ["a"]


def test_a_run_withdrawn_leaves_nothing(tmp_path: Path) -> None:
    Run.create(tmp_path / "a", {}).withdraw()
    assert listing(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot be written.*--out"):
        Run.create(tmp_path / "file" / "run", {})
    Run.create(tmp_path / "a", {"n": 1})

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_json", full)
    with pytest.raises(OptionError, match="No space left on device"):
        Run.create(tmp_path / "a", {"n": 2}, overwrite=True)
    assert listing(tmp_path) == ["a", "file"]
    assert Run.open(tmp_path / "a").facts()["request"] == {"n": 1}


def test_what_is_no_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run folder"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"run\.json is missing"):
        Run.open(tmp_path)
    for content, complaint in [
        ('{"format": 1, "req', "not JSON"),
        ("[]", "not written by earnest"),
        ('{"format": "1", "request": {}}', "not written by earnest"),
        ('{"format": 1}', "not written by earnest"),
    ]:
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(RunError, match=complaint):
            Run.open(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="not JSON"):
        Run.open(tmp_path)


def test_a_newer_format_is_refused_and_the_fix_is_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    run.update(format=FORMAT + 1)
    with pytest.raises(RunError, match=f"newer version.*{FORMAT + 1}.*pip install -U earnest"):
        Run.open(run.path)


def test_facts_are_set_one_by_one(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {"n": 1})
    run.update(status="stopped", plan={"steps": np.int64(3), "loss": float("nan")})
    run.look_at_test("once")
    run.look_at_test("twice")
    facts = run.facts()
    assert facts["plan"] == {"steps": 3, "loss": None}
    assert [look["why"] for look in facts["test_looks"]] == ["once", "twice"]
    assert facts["request"] == {"n": 1}
    run.update(status="finished")
    assert run.finished()


def test_files_of_the_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    assert run.read("audit.json") is None
    assert not run.began()
    run.write("checkpoints/data.json", {"x": (1, 2)})
    assert run.read("checkpoints/data.json") == {"x": [1, 2]}
    assert run.began()
    (run.path / "audit.json").write_text("{")
    with pytest.raises(RunError, match=r"audit\.json is damaged"):
        run.read("audit.json")
    with pytest.raises(RunError, match="missing"):
        read_json(run.path / "none.json")


def test_a_log_line_has_its_fields_and_a_cut_one_is_passed_over(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    assert list(run.events()) == []
    run.log("started")
    run.log("step", step=3, epoch=0, loss=float("inf"), name="naïve\nline")
    path = run.path / "log.jsonl"
    whole = path.read_bytes()
    cut = int(np.random.default_rng().integers(whole.index(b"\n") + 2, len(whole) - 1))
    path.write_bytes(whole[:cut])
    run.log("resumed", spent=1.5)
    assert [event["event"] for event in run.events()] == ["started", "resumed"]
    assert path.read_bytes().startswith(whole[:cut] + b"\n{")
    path.write_bytes(whole)
    run.log("epoch", epoch=0)
    (step,) = run.events("step")
    assert (step["step"], step["loss"], step["name"]) == (3, None, "naïve\nline")
    assert [event["event"] for event in run.events("started", "epoch")] == ["started", "epoch"]
    assert list(next(run.events())) == ["time", "event", "step", "epoch"]
    assert datetime.fromisoformat(step["time"]).tzinfo is not None


def test_time_is_summed_over_sessions_and_not_between_them(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    assert run.spent() == 0
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [
        ("started", 0),
        ("step", 10),
        ("epoch", 25.5),
        ("resumed", 5000),
        ("step", 5007),
        ("resumed", 90_000),
        ("resumed", 90_100),
        ("stopped", 90_101.25),
    ]
    with (run.path / "log.jsonl").open("w") as file:
        for event, seconds in lines:
            moment = (start + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
            file.write(json.dumps({"time": moment, "event": event}) + "\n")
    assert run.spent() == pytest.approx(25.5 + 7 + 0 + 1.25)


def test_a_clock_counts_what_was_spent_before() -> None:
    clock = WallClock(100.0, spent=40.0, started=time.monotonic() - 10)
    assert 50 <= clock.spent() < 60
    assert 40 < clock.left() <= 50
    assert clock.left() + clock.spent() == pytest.approx(100, abs=1e-3)
    assert WallClock().left() == float("inf")


HOLD = """
import sys, time
from pathlib import Path
from earnest.core.run import Run
with Run.open(Path(sys.argv[1])).alone():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no flock")
def test_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process is at work"), run.alone():
            pass
        with pytest.raises(RunError, match="another process is at work"):
            Run.create(run.path, {}, overwrite=True)
        other.kill()
    with run.alone():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no flock")
def test_a_run_that_cannot_be_locked_says_why(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    (run.path / ".lock").mkdir()
    with pytest.raises(RunError, match="cannot be written"), run.alone():
        pass


def test_a_process_that_follows_reads_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Run.create(tmp_path / "a", {"n": 1})
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not Run.create(tmp_path / "b", {}).path.exists()
    follower = Run.open(first.path)
    with first.alone(), follower.alone():
        follower.update(status="finished")
        follower.log("started")
        follower.write("audit.json", {})
        follower.accept()
        follower.withdraw()
    assert follower.facts()["status"] == "running"
    assert listing(first.path) == [".lock", "run.json"]
    monkeypatch.setenv("RANK", "0")
    Run.open(first.path).update(status="stopped")
    assert follower.facts()["status"] == "stopped"
