"""The run folder: everything about one run, on disk, as data.

    run.json          what was asked, data fingerprint, plan, versions, status, looks at the test set
    recipe.toml       every hyperparameter
    log.jsonl         one line a step, epoch or event; append only
    checkpoints/      last and best
    model/            what is shipped
    audit.json  evaluation.json  predictions.parquet  report.html  card.md

Needs nothing but the standard library, so that the folder stands, whole and resumable, before anything slow is
imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar

from earnest.core import atomic
from earnest.core.errors import OptionError, RunError

FORMAT = 1
"""Version of the run folder's layout; a folder of a newer one is refused."""


def follows() -> bool:
    """Whether torchrun started this process beside a first one, which is then the one that writes."""
    return "WORLD_SIZE" in os.environ and os.environ.get("RANK", "0") != "0"


class Run:
    """One run folder; a process that follows another reads it and writes nothing."""

    current: ClassVar[Run | None] = None
    """The run that this process is at work on, for whoever has to say where things are when it breaks off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writes = not follows()
        self.opened = time.monotonic()

    @classmethod
    def create(cls, path: Path, request: dict[str, Any], *, overwrite: bool = False) -> Run:
        """Make the folder with `request` in it, or fail with nothing made.

        A run that it replaces is put aside until `accept` or `withdraw` says what becomes of it.

        Raises:
            OptionError: something is there already and `overwrite` is off, or the folder cannot be written.
            RunError: another process is at work on the run that would be replaced.
        """
        path = path.absolute()
        if follows():
            return cls(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
        facts = {"format": FORMAT, "status": "running", "created": now(), "request": request, "test_looks": []}
        try:
            if path.exists():
                _clear_the_way(path, overwrite=overwrite)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            atomic.write_json(temporary / "run.json", facts)
            os.replace(temporary, path)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if _aside(path).exists() and not path.exists():
                os.replace(_aside(path), path)
            raise OptionError(
                f"the run folder {path} cannot be written ({error.strerror or error}); choose another place with --out."
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in `path`.

        Raises:
            RunError: it is no run folder, its run.json is damaged, or a newer version of earnest wrote it.
        """
        path = path.absolute()
        run = cls(path)
        if not path.exists():
            raise RunError(f"there is no run folder {path}; `earnest fit DATA` makes one.")
        facts = run.facts()
        if not isinstance(facts.get("format"), int) or not isinstance(facts.get("request"), dict):
            raise RunError(f"{path / 'run.json'} was not written by earnest: it states no format and no request.")
        if facts["format"] > FORMAT:
            raise RunError(
                f"{path} was written by a newer version of earnest (run format {facts['format']}, this one reads up to "
                f"{FORMAT}); update with `pip install -U earnest`."
            )
        return run

    def accept(self) -> None:
        """The data can be read and the question makes sense: the run that this one replaces goes."""
        if self.writes:
            shutil.rmtree(_aside(self.path), ignore_errors=True)

    def withdraw(self) -> None:
        """Nothing will come of it: the folder goes, and the run that it replaced comes back."""
        if not self.writes:
            return
        shutil.rmtree(self.path)
        if _aside(self.path).exists():
            os.replace(_aside(self.path), self.path)

    def began(self) -> bool:
        """Whether there is work in the folder that would be lost with it."""
        return (self.path / "checkpoints").exists()

    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.facts().get("status") == "finished"

    def facts(self) -> dict[str, Any]:
        """What run.json says.

        Raises:
            RunError: it is missing or damaged.
        """
        facts = read_json(self.path / "run.json")
        if not isinstance(facts, dict):
            raise RunError(f"{self.path / 'run.json'} was not written by earnest: it holds no JSON object.")
        return facts

    def update(self, **facts: Any) -> None:
        """Set fields of run.json, atomically."""
        if self.writes:
            atomic.write_json(self.path / "run.json", {**self.facts(), **facts})

    def read(self, name: str) -> Any:
        """A JSON file of the run, or None where it does not exist yet."""
        path = self.path / name
        return read_json(path) if path.exists() else None

    def write(self, name: str, value: Any) -> None:
        """A JSON file of the run, atomically."""
        if not self.writes:
            return
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, value)

    def look_at_test(self, why: str) -> None:
        """Count one look at the sealed test set, before it happens."""
        self.update(test_looks=[*self.facts().get("test_looks", []), {"time": now(), "why": why}])

    @property
    def evaluation(self) -> Any:
        """What evaluation.json says; None until the run has got that far."""
        return self.read("evaluation.json")

    def __repr__(self) -> str:
        evaluation = self.evaluation
        return f"Run({str(self.path)!r}): {evaluation['verdict'] if evaluation else self.facts()['status']}"

    def log(self, event: str, **values: Any) -> None:
        """Append one event to log.jsonl; a line that a crash cut short is ended first.

        Every line has the fields time, event, step and epoch; the last two are null outside of training.
        """
        if not self.writes:
            return
        path = self.path / "log.jsonl"
        facts = {"time": now(), "event": event, "step": None, "epoch": None, **values}
        line = json.dumps(atomic.plain(facts), ensure_ascii=False)
        with path.open("ab+") as file:
            if file.tell() and not _ends_with_newline(path):
                file.write(b"\n")
            file.write(line.encode() + b"\n")

    def events(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """The log's events in order, all or only those of some kinds; a line cut short is passed over."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(json.JSONDecodeError):
                    event = json.loads(line)
                    if not kinds or event["event"] in kinds:
                        yield event

    def spent(self) -> float:
        """Seconds that earlier sessions of this run took, as far as the log saw them."""
        total, start, last = 0.0, None, None
        for event in self.events():
            moment = datetime.fromisoformat(event["time"]).timestamp()
            if event["event"] in ("started", "resumed"):
                total += (last - start) if start is not None and last is not None else 0.0
                start = moment
            last = moment
        return total + ((last - start) if start is not None and last is not None else 0.0)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run for this process and those that follow it.

        Raises:
            RunError: another process is at work on it, or it cannot be written.
        """
        if os.name == "nt" or not self.writes:
            yield
            return
        import fcntl

        with self._lock_file() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(f"another process is at work on {self.path}; wait for it, or stop it first.") from error
            yield

    def _lock_file(self) -> IO[str]:
        try:
            return (self.path / ".lock").open("w")
        except OSError as error:
            raise RunError(
                f"the run folder {self.path} cannot be written ({error.strerror or error}); mend its permissions, or "
                "make room on its disk."
            ) from error


class WallClock:
    """Time spent and left, summed over every session of a run; see `earnest.core.words.Clock`."""

    def __init__(self, budget: float | None = None, *, spent: float = 0.0, started: float | None = None) -> None:
        """`budget` and `spent` in seconds; `started` is a `time.monotonic()` at which this session began."""
        self.budget = budget
        self._before = spent
        self._started = time.monotonic() if started is None else started

    def spent(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._started

    def left(self) -> float:
        """Seconds until the deadline; infinity when there is none."""
        return float("inf") if self.budget is None else self.budget - self.spent()


def read_json(path: Path) -> Any:
    """The JSON in `path`.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing, so {path.parent} is not a whole run folder.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged: it is not JSON ({error}).") from error


def now() -> str:
    """This moment, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _aside(path: Path) -> Path:
    """Where the run that `path` replaces waits."""
    return path.with_name(f".{path.name}.replaced")


def _clear_the_way(path: Path, *, overwrite: bool) -> None:
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
        return
    if not overwrite:
        raise OptionError(
            f"{path} exists already; choose another folder with --out, replace it with --overwrite, "
            f"or go on with it: earnest resume {path}"
        )
    if not (path / "run.json").is_file():
        raise OptionError(
            f"{path} exists and is not a run folder, so --overwrite leaves it alone; choose another --out."
        )
    with Run(path).alone():
        pass
    if _aside(path).exists():  # what stands in `path` was broken off before it was accepted
        shutil.rmtree(path)
    else:
        os.replace(path, _aside(path))


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
