"""Two processes train as one would, decide alike, and leave one run folder.

This file is also the script that torchrun starts: `python -m torch.distributed.run ... test_training_processes.py OUT`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.errors import Interrupted
from earnest.core.progress import Screen
from earnest.core.recipe import Recipe
from earnest.core.run import Run, WallClock
from earnest.core.words import Batch, Source, Step
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training import plan, processes
from earnest.training.checkpoints import Checkpoints, read_tensors, write_tensors
from earnest.training.loop import Event, train
from earnest.training.session import train_in_run
from earnest.training.state import Plan, TrainState

ROWS, BATCH = 200, 33
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def blobs() -> ArrayBatches:
    """Three overlapping clouds, in batches of an odd number, so that the processes get unequal shares."""
    generator = np.random.default_rng(5)
    label = generator.integers(0, 3, ROWS)
    x = generator.normal(size=(ROWS, 4)) + np.eye(3, 4)[label] * 1.5
    return ArrayBatches((x.astype(np.float32),), label, np.arange(ROWS), batch_size=BATCH, shuffle=True)


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def with_own_statistics() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def fresh(build: Any = plain, task: Classification | None = None, **fields: Any) -> TrainState:
    """A state whose weights differ from process to process, until training makes them those of the first."""
    torch.manual_seed(processes.rank())
    return TrainState(build(), task or Classification(3), seed=11, **fields)


RECIPE = Recipe(epochs=3, batch_size=BATCH, lr=0.02, ema=0.9, clip=1.0, weight_decay=0.01)


def trained(optimiser: str, build: Any = plain) -> dict[str, Tensor]:
    state = fresh(build)
    for _ in train(state, blobs(), None, RECIPE.but(optimiser=optimiser), clock=WallClock()):
        pass
    return {name: tensor.clone() for name, tensor in state.pack()[0].items()}


class Opinion(Classification):
    """Scores that get worse at once in process 0, and ever better in the others."""

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        return {"accuracy": float(step.epoch if processes.rank() else -step.epoch)}


class Sundial:
    """A clock that runs out after `asked` questions, and is twice as fast in every process but the first."""

    def __init__(self, asked: int) -> None:
        self.asked = float(asked)

    def spent(self) -> float:
        return 0.0

    def left(self) -> float:
        self.asked -= 1 + (processes.rank() > 0)
        return 0.01 * self.asked


class Calling(ArrayBatches):
    """Sends SIGTERM to its own process, where that is the second, before the batch `at`."""

    at = -1

    def batch(self, rows: np.ndarray, step: Step) -> Batch:
        if self.at == 0 and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        self.at -= 1
        return super().batch(rows, step)


def told(events: Iterator[Event]) -> list[Any]:
    return [[event.kind, event.number, event.step.epoch, event.step.progress] for event in events]


def decide() -> dict[str, list[Any]]:
    """What happened in trainings whose processes see different scores, clocks and rows."""
    answers = {}
    recipe = RECIPE.but(epochs=9, patience=2)
    source = blobs()
    answers["patience"] = told(train(fresh(task=Opinion(3)), source, source, recipe, clock=WallClock()))
    for asked in (20, 60):
        answers[f"clock {asked}"] = told(train(fresh(), source, None, recipe, clock=Sundial(asked)))
    source.inputs[0][source.order(Step(seed=11))[BATCH : BATCH + 1]] = np.nan  # of process 0's share
    answers["skipped"] = told(train(fresh(), source, None, RECIPE, clock=WallClock()))
    return answers


def in_a_run(out: Path, source: ArrayBatches) -> str:
    """Train in the run folder, resumed where it was broken off; how it ended, and where."""
    state = fresh(plan=Plan(checkpoint_every_steps=5))
    try:
        train_in_run(Run(out), state, source, blobs(), RECIPE, name="net", clock=WallClock(), screen=Screen(quiet=True))
    except Interrupted as error:
        return str(error)
    write_tensors(out.parent / f"shipped-{out.name}-{processes.rank()}.safetensors", state.model.state_dict(), {})
    return "finished"


def work(out: Path) -> None:
    """Everything that two processes are asked to do; what each saw goes to files of its own."""
    with processes.joined():
        rank = processes.rank()
        for optimiser in ("adamw", "sgd", "muon"):
            write_tensors(out / f"{optimiser}-{rank}.safetensors", trained(optimiser), {})
        write_tensors(out / f"statistics-{rank}.safetensors", trained("adamw", with_own_statistics), {})
        answers: dict[str, Any] = decide()
        calling = Calling(blobs().inputs, blobs().targets, np.arange(ROWS), batch_size=BATCH, shuffle=True)
        calling.at = 8
        answers["endings"] = [in_a_run(out / "cut", calling) for _ in range(2)] + [in_a_run(out / "uncut", blobs())]
        pace = plan.probe(plain(), Classification(3), blobs(), RECIPE, device="cpu", seed=0)
        answers["of first"] = processes.of_first({"rank": rank, "words": "ö" * (rank + 1), "pace": None})
        answers["anywhere"] = [processes.anywhere(rank == 1), processes.anywhere(False), pace.seconds_per_step > 0]
    answers["threads left"] = threads_of_gloo()
    (out / f"answers-{rank}.json").write_text(json.dumps(answers))


def threads_of_gloo() -> list[str]:
    """The names of this process's threads that carry sums to other processes; none where the system does not tell."""
    names = [thread.read_text().strip() for thread in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left what they saw."""
    out = tmp_path_factory.mktemp("two")
    for name in ("cut", "uncut"):
        Run.create(out / name, {})
    done = subprocess.run([*LAUNCH, __file__, str(out)], env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


def environment() -> dict[str, str]:
    source = str(Path(__file__).parents[2] / "src")
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}


def both(folder: Path, name: str) -> list[dict[str, Tensor]]:
    return [read_tensors(folder / f"{name}-{rank}.safetensors")[0] for rank in (0, 1)]


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"answers-{rank}.json").read_text()) for rank in (0, 1)]


def test_no_thread_outlives_the_group(two: Path) -> None:
    """One that does may abort its process as Python ends."""
    assert [each["threads left"] for each in answers(two)] == [[], []]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "muon"])
def test_two_processes_end_where_one_does(two: Path, optimiser: str) -> None:
    first, second = both(two, optimiser)
    alone = trained(optimiser)
    assert first.keys() == second.keys() == alone.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in alone:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-5)


def test_batch_statistics_and_dropout_leave_both_processes_with_the_same_weights(two: Path) -> None:
    first, second = both(two, "statistics")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_patience_clock_and_bad_steps_stop_both_alike(two: Path) -> None:
    first, second = answers(two)
    assert first["patience"] == second["patience"]
    assert [kind for kind, *_ in first["patience"]].count("epoch") == 3  # process 0's first score stays its best
    for asked in (20, 60):
        events = first[f"clock {asked}"]
        assert events == second[f"clock {asked}"]
        steps = [number for kind, number, *_ in events if kind == "step"]
        assert steps[-1] <= asked / 2 < 9 * (ROWS // BATCH)
    assert first["skipped"] == second["skipped"]
    assert next(number for kind, number, *_ in first["skipped"] if kind == "skipped") == 1


def test_only_the_first_process_writes_and_a_signal_to_any_stops_all(two: Path) -> None:
    first, second = answers(two)
    assert first["endings"] == second["endings"]
    assert "stopped at step 9" in first["endings"][0]
    assert first["endings"][1:] == ["finished", "finished"]
    kinds = [event["event"] for event in Run(two / "uncut").events()]
    assert kinds.count("epoch") == RECIPE.epochs
    assert kinds.count("checkpoint") == 2 + 3 * 7 // 5
    states = [Checkpoints(two / name / "checkpoints" / "net").last() for name in ("cut", "uncut")]
    assert states[0] is not None
    assert states[1] is not None
    assert all(torch.equal(states[0][0][name], tensor) for name, tensor in states[1][0].items())
    shipped = both(two, "shipped-uncut") + both(two, "shipped-cut")
    assert all(torch.equal(one[name], shipped[0][name]) for one in shipped for name in one)


def test_what_the_first_says_and_what_any_says(two: Path) -> None:
    for heard in answers(two):
        assert heard["of first"] == {"rank": 0, "words": "ö", "pace": None}
        assert heard["anywhere"] == [True, False, True]


def earnest(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [*LAUNCH, "-m", "earnest.cli", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_torchrun_leaves_one_whole_run_folder(tmp_path: Path) -> None:
    fit = earnest("fit", "digits", "--epochs", "2", cwd=tmp_path)
    out, error = fit.communicate(timeout=400)
    assert fit.returncode == 0, error
    assert out.count("Report:") == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits"]
    run = Run.open(tmp_path / "runs" / "digits")
    assert run.finished()
    assert len(run.facts()["test_looks"]) == 1
    kinds = [event["event"] for event in run.events()]
    assert [kinds.count(kind) for kind in ("started", "audit", "plan", "trained", "finished")] == [1] * 5
    assert kinds.count("epoch") == 2
    assert run.read("evaluation.json")["test"]["metrics"]["accuracy"]["value"] > 0.9
    assert (run.path / "report.html").is_file()
    again = earnest("fit", "digits", "--out", str(run.path), cwd=tmp_path)
    _, error = again.communicate(timeout=200)
    assert again.returncode != 0
    assert "exists already" in error


@pytest.mark.slow
def test_a_stopped_torchrun_is_resumed(tmp_path: Path) -> None:
    fit = earnest("fit", "digits", "--epochs", "12", "--out", "run", cwd=tmp_path)
    while fit.poll() is None and not list(tmp_path.glob("run/checkpoints/airnet/best.safetensors")):
        time.sleep(0.2)
    fit.send_signal(signal.SIGTERM)
    fit.communicate(timeout=200)
    run = Run.open(tmp_path / "run")
    assert run.facts()["status"] == "stopped"
    stopped = [event for event in run.events("stopped") if event["why"] == "interrupted"]
    assert stopped[0]["step"] > 0
    resume = earnest("resume", "run", cwd=tmp_path)
    _, error = resume.communicate(timeout=400)
    assert resume.returncode == 0, error
    assert run.finished()
    epochs = [event["epoch"] for event in run.events("epoch")]
    assert epochs == list(range(12))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
