"""Training inside a run folder: consumes the loop's events, and logs, shows, checkpoints and stops."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from earnest.core import interrupts
from earnest.core.errors import Interrupted, RunError
from earnest.core.progress import Screen
from earnest.core.recipe import Recipe
from earnest.core.run import Run
from earnest.core.words import Clock, Source, Stage
from earnest.training import processes
from earnest.training.checkpoints import Checkpoints
from earnest.training.loop import Event, train
from earnest.training.state import TrainState

LOG_EVERY_SECONDS = 1.0
DISK_RETRY_SECONDS = 10.0
DISK_RETRIES = 6


def train_in_run(
    run: Run,
    state: TrainState,
    source: Source,
    validation: Source | None,
    recipe: Recipe,
    *,
    name: str,
    clock: Clock,
    screen: Screen,
    give_up: Callable[[], str | None] | None = None,
) -> None:
    """Train to the end from the last checkpoint of `name`, if there is one; `state` then has the shipped weights.

    Those are the best by validation, or the last where nothing was validated or the best are damaged. What is kept
    lies in `checkpoints/<name>/`. After every epoch `give_up` is asked why training should end there; None goes on.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        OSError: the disk stayed full; the last good checkpoint is intact.
    """
    checkpoints = Checkpoints(run.path / "checkpoints" / name)
    saved = checkpoints.last()
    if saved is not None:
        state.unpack(*saved)
        if saved[1]["finished"]:
            _take_best(state, checkpoints, screen)
            return
    keeper = _Keeper(run, state, checkpoints, name, screen)
    stages = state.task.stages(state.model, recipe)
    with interrupts.waiting() as interrupted, screen.bar(name, 1.0, resumed=saved is not None) as bar:
        if saved is None:
            keeper.save()
        for event in train(state, source, validation, recipe, clock=clock):
            keeper.log(event)
            bar(_done(event, state, stages), _note(event, state, stages))
            if event.improved:
                keeper.save_best()
            if event.kind == "step" and event.number % state.plan.checkpoint_every_steps == 0:
                keeper.save()
            why = processes.of_first(give_up()) if give_up is not None and event.kind == "epoch" else None
            if why is not None:
                keeper.write("stopped", event, why=why)
                break
            if processes.anywhere(interrupted()):
                keeper.save()
                keeper.write("stopped", event, why="interrupted")
                processes.wait()
                raise Interrupted(f"stopped at step {event.number}; everything is saved.")
        keeper.save(finished=True)
    processes.wait()
    _take_best(state, checkpoints, screen)


class _Keeper:
    """Writes what should outlive the process; only process 0 does."""

    def __init__(self, run: Run, state: TrainState, checkpoints: Checkpoints, name: str, screen: Screen) -> None:
        self.run = run
        self.state = state
        self.checkpoints = checkpoints
        self.name = name
        self.screen = screen
        self.logged = 0.0
        self.writes = processes.rank() == 0

    def save(self, *, finished: bool = False) -> None:
        if not self.writes:
            return
        tensors, facts = self.state.pack()
        step = self.state.position.step
        self._patiently(lambda: self.checkpoints.save(step, tensors, {**facts, "finished": finished}))
        self._patiently(lambda: self.run.log("checkpoint", step=step, training=self.name))

    def save_best(self) -> None:
        if self.writes:
            facts = {"step": self.state.position.step, "score": self.state.best}
            self._patiently(lambda: self.checkpoints.save_best(self.state.weights(), facts))

    def log(self, event: Event) -> None:
        """Every event goes to the log but most steps, of which one a second is enough."""
        if event.kind == "finished" or (event.kind == "step" and time.monotonic() - self.logged < LOG_EVERY_SECONDS):
            return
        self.logged = time.monotonic()
        self.write(event.kind, event, progress=event.step.progress, **event.values)
        if event.kind == "skipped":
            self.screen.say(f"skipped step {event.number}: {event.values['why']}")

    def write(self, kind: str, event: Event, **values: object) -> None:
        """One line in the log, with where it happened."""
        if self.writes:
            where = {"step": event.number, "epoch": event.step.epoch, "stage": event.step.stage, "training": self.name}
            self._patiently(lambda: self.run.log(kind, **where, **values))

    def _patiently(self, write: Callable[[], object]) -> None:
        """Write; on a full disk, say so and try again for a minute before giving up."""
        for attempt in range(DISK_RETRIES + 1):
            try:
                write()
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or attempt == DISK_RETRIES:
                    raise
                self.screen.say(
                    f"the disk of {self.run.path} is full: training waits {DISK_RETRY_SECONDS:.0f} s for room "
                    f"({DISK_RETRIES - attempt} more tries); the last checkpoint is safe."
                )
                time.sleep(DISK_RETRY_SECONDS)


def _take_best(state: TrainState, checkpoints: Checkpoints, screen: Screen) -> None:
    try:
        best = checkpoints.best()
    except RunError as error:
        screen.say(f"{error} The last weights are used in place of the best.")
        best = None
    state.model.load_state_dict(state.weights() if best is None else best[0])
    state.average = {}


def _done(event: Event, state: TrainState, stages: list[Stage]) -> float:
    """The share of all stages that is behind, by their epochs."""
    at, lengths = state.position.stage, [stage.epochs for stage in stages]
    return (sum(lengths[:at]) + event.step.progress * sum(lengths[at : at + 1])) / sum(lengths)


def _note(event: Event, state: TrainState, stages: list[Stage]) -> str:
    parts = [event.step.stage] if len(stages) > 1 else []
    parts.append(f"epoch {event.step.epoch + 1}")
    if "loss" in state.latest:
        parts.append(f"loss {state.means().get('loss', state.latest['loss']):.3f}")
    if state.best is not None:
        parts.append(f"{state.task.metric} {state.best:.4g}")
    return ", ".join(parts)
