"""Training inside a run folder: what is logged and kept, and what signals and disks do to it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.errors import Interrupted
from earnest.core.progress import Bar, Screen
from earnest.core.recipe import Recipe
from earnest.core.run import Run, WallClock
from earnest.core.words import Batch, Source, Stage, Step
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training import checkpoints as storing
from earnest.training import session
from earnest.training.checkpoints import Checkpoints, read_tensors
from earnest.training.state import Plan, TrainState

ROWS, BATCH, EVERY = 90, 10, 4
RECIPE = Recipe(epochs=3, batch_size=BATCH, lr=0.01, ema=0.9)


class Listening(Screen):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        self.heard.append(message)


class Rows(ArrayBatches):
    """Random rows; `before` is called with the number of each batch before it is made."""

    before: Callable[[int], object] = staticmethod(lambda number: None)
    made = 0

    def batch(self, rows: np.ndarray, step: Step) -> Batch:
        self.before(self.made)
        self.made += 1
        return super().batch(rows, step)


class Scored(Classification):
    """Scores that are given rather than measured, one an epoch."""

    scores = (0.5, 0.9, 0.7)

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        return {"accuracy": self.scores[step.epoch]}


def rows() -> Rows:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(ROWS, 5)).astype(np.float32)
    return Rows((x,), generator.integers(0, 2, ROWS), np.arange(ROWS), batch_size=BATCH, shuffle=True)


def fresh() -> TrainState:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
    return TrainState(model, Scored(2), seed=4, plan=Plan(checkpoint_every_steps=EVERY))


def fit(
    run: Run, source: Rows | None = None, *, screen: Screen | None = None, validation: Source | None = None
) -> TrainState:
    state = fresh()
    session.train_in_run(
        run,
        state,
        source or rows(),
        validation or rows(),
        RECIPE,
        name="net",
        clock=WallClock(),
        screen=screen or Listening(),
    )
    return state


def weights(state: TrainState) -> dict[str, Tensor]:
    return state.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def last(run: Run) -> dict[str, Tensor]:
    """Everything that the last checkpoint keeps."""
    saved = Checkpoints(run.path / "checkpoints" / "net").last()
    assert saved is not None
    return saved[0]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", {})


@pytest.fixture
def uncut(tmp_path: Path) -> Run:
    """A run that nothing stopped."""
    run = Run.create(tmp_path / "uncut", {})
    fit(run)
    return run


def test_the_log_tells_the_epochs_and_the_checkpoints(run: Run) -> None:
    fit(run)
    epochs = list(run.events("epoch"))
    assert [event["epoch"] for event in epochs] == [0, 1, 2]
    assert [event["accuracy"] for event in epochs] == list(Scored.scores)
    assert all(np.isfinite(event["train_loss"]) and event["training"] == "net" for event in epochs)
    steps = RECIPE.epochs * ROWS // BATCH
    assert [event["step"] for event in run.events("checkpoint")] == [0, *range(EVERY, steps + 1, EVERY), steps]
    assert next(run.events("step"))["loss"] > 0
    files = sorted(path.name for path in (run.path / "checkpoints" / "net").iterdir())
    assert files == ["best.safetensors", "step-000000024.safetensors", "step-000000027.safetensors"]


def test_progress_is_of_all_stages(run: Run) -> None:
    """The bar neither starts again with a stage nor ends before the last, and says which one it is at."""
    shares: list[float] = []
    notes: list[str] = []

    class Three(Classification):
        def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
            return [Stage("first", 1), Stage("second", 1), Stage("last", 2)]

    class Seen(Listening):
        @contextmanager
        def bar(self, title: str, total: float | None, *, resumed: bool = False) -> Iterator[Bar]:
            yield lambda done, note="": (shares.append(done), notes.append(note))[0]

    state = fresh()
    state.task = Three(2)
    session.train_in_run(run, state, rows(), None, RECIPE, name="net", clock=WallClock(), screen=Seen())
    assert shares == sorted(shares)
    assert [sum(note.startswith(f"{name}, epoch") for note in notes) for name in ("first", "second", "last")] == [
        ROWS // BATCH + 1,
        ROWS // BATCH + 1,
        2 * (ROWS // BATCH + 1),
    ]
    assert shares[ROWS // BATCH] == 0.25
    assert shares[-1] == 1.0


def test_the_best_epochs_averaged_weights_are_shipped(run: Run) -> None:
    seen: list[dict[str, Tensor]] = []

    class Watching(Scored):
        def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
            seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            return super().validate(model, source, step)

    state = fresh()
    state.task = Watching(2)
    session.train_in_run(run, state, rows(), rows(), RECIPE, name="net", clock=WallClock(), screen=Screen(quiet=True))
    assert state.best == 0.9
    assert same(weights(state), seen[1])
    assert not same(weights(state), seen[2])


def test_without_validation_the_last_averaged_weights_are_shipped(run: Run) -> None:
    state = fresh()
    session.train_in_run(run, state, rows(), None, RECIPE, name="net", clock=WallClock(), screen=Screen(quiet=True))
    shipped = {name: tensor.clone() for name, tensor in weights(state).items()}
    other, average = fresh(), {}
    for event in session.train(other, rows(), None, RECIPE, clock=WallClock()):
        if event.kind == "epoch":
            average = {name: tensor.clone() for name, tensor in other.average.items()}
    assert all(torch.equal(shipped[name], average[name]) for name in average)
    resumed = fresh()
    session.train_in_run(run, resumed, rows(), None, RECIPE, name="net", clock=WallClock(), screen=Screen(quiet=True))
    assert same(weights(resumed), shipped)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_resumed_run_ends_bit_equal(run: Run, uncut: Run, number: int) -> None:
    before = signal.getsignal(number)
    source = rows()
    at = int(np.random.default_rng().integers(1, 26))
    source.before = lambda made: os.kill(os.getpid(), number) if made == at else None
    with pytest.raises(Interrupted, match=f"step {at + 1}"):
        fit(run, source)
    assert list(run.events("stopped"))[-1]["step"] == at + 1
    assert signal.getsignal(number) is before
    state = fit(run)
    assert state.position.step == RECIPE.epochs * ROWS // BATCH
    assert same(last(run), last(uncut))
    assert same(weights(state), read_tensors(uncut.path / "checkpoints" / "net" / "best.safetensors")[0])


def test_the_same_signal_twice_stops_at_once_and_loses_little(run: Run, uncut: Run) -> None:
    source = rows()

    def twice(made: int) -> None:
        if made == 11:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    source.before = twice
    with pytest.raises(KeyboardInterrupt):
        fit(run, source)
    assert [event["step"] for event in run.events("checkpoint")][-1] == 8
    fit(run)
    assert same(last(run), last(uncut))


def full(times: int, write: Callable[..., Any]) -> Callable[..., Any]:
    """`write` on a disk that has no room for the first `times` writes after the third."""
    done = 0

    def attempt(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if 3 < done <= 3 + times:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    return attempt


def test_a_full_disk_pauses_with_a_message_and_goes_on(run: Run, uncut: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "DISK_RETRY_SECONDS", 0)
    monkeypatch.setattr(storing, "write_tensors", full(3, storing.write_tensors))
    screen = Listening()
    fit(run, screen=screen)
    assert len(screen.heard) == 3
    assert all("is full" in message and str(run.path) in message for message in screen.heard)
    assert same(last(run), last(uncut))


def test_a_disk_that_stays_full_ends_with_the_last_checkpoint_intact(
    run: Run, uncut: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "DISK_RETRY_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "write_tensors", full(1000, storing.write_tensors))
        with pytest.raises(OSError, match="No space left"):
            fit(run)
    saved = Checkpoints(run.path / "checkpoints" / "net").last()
    assert saved is not None
    assert saved[1]["position"]["step"] == 8
    fit(run)
    assert same(last(run), last(uncut))


def test_other_trouble_with_the_disk_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(storing, "write_tensors", broken)
    screen = Listening()
    with pytest.raises(OSError, match="Input/output"):
        fit(run, screen=screen)
    assert not screen.heard


def test_damaged_best_weights_fall_back_to_the_last_and_say_so(run: Run) -> None:
    fit(run)
    path = run.path / "checkpoints" / "net" / "best.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    screen = Listening()
    state = fit(run, screen=screen)
    (message,) = screen.heard
    assert "best.safetensors is damaged" in message
    assert "last weights" in message
    kept = {name.removeprefix("model/"): t for name, t in last(run).items() if name.startswith("model/")}
    assert same(weights(state), kept)


def test_a_finished_training_is_not_trained_again(run: Run) -> None:
    first = fit(run)
    lines = (run.path / "log.jsonl").read_text()
    source = rows()
    again = fit(run, source)
    assert source.made == 0
    assert (run.path / "log.jsonl").read_text() == lines
    assert same(weights(again), weights(first))


def test_what_a_broken_write_left_behind_goes(run: Run) -> None:
    folder = run.path / "checkpoints" / "net"
    folder.mkdir(parents=True)
    (folder / ".step-000000004.safetensors.123.tmp").write_bytes(b"half")
    fit(run)
    assert not list(folder.glob(".*.tmp"))


def test_resumed_at_an_epochs_end_with_time_enough_nothing_is_cut_short(run: Run) -> None:
    """What is left of such an epoch says nothing of how long one takes."""
    steps = ROWS // BATCH

    def train_on(*, stop_at: int | None) -> None:
        source = rows()
        source.before = lambda made: os.kill(os.getpid(), signal.SIGTERM) if made == stop_at else None
        clock = WallClock(1000.0)
        session.train_in_run(run, fresh(), source, rows(), RECIPE, name="net", clock=clock, screen=Listening())

    with pytest.raises(Interrupted, match=f"step {steps};"):
        train_on(stop_at=steps - 1)
    train_on(stop_at=None)
    assert [event["epoch"] for event in run.events("epoch")] == [0, 1, 2]
    assert not list(run.events("replanned"))


def test_a_skipped_step_is_shown_and_logged(run: Run) -> None:
    source = rows()
    source.inputs[0][source.order(Step(seed=4))[25]] = np.inf
    screen = Listening()
    fit(run, source, screen=screen)
    events = list(run.events("skipped"))
    assert [event["epoch"] for event in events] == [0, 1, 2]
    assert events[0]["step"] == 2
    assert screen.heard[0].startswith("skipped step 2: a loss of nan")
