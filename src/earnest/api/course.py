"""The course of a run, from data to report, and what becomes of it however it ends."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from earnest.api import picture_making, rows, running_text, words
from earnest.api.checks import check_names
from earnest.api.encoder_folder import TASK as MASKED
from earnest.api.language_model import TASK as LANGUAGE
from earnest.api.picture_generator import TASK as GENERATE
from earnest.api.question import Bench
from earnest.api.report import report
from earnest.api.request import Request
from earnest.api.word_recipes import TASK as WORDS
from earnest.core import interrupts
from earnest.core.errors import Interrupted, RunError, UsageError
from earnest.core.progress import Screen, duration
from earnest.core.run import Run, WallClock
from earnest.training import processes
from earnest.training.plan import choose_device

LEARN: dict[str | None, Callable[[Bench], None]] = {
    None: rows.learn,
    LANGUAGE: running_text.learn,
    MASKED: running_text.learn,
    WORDS: words.learn,
    GENERATE: picture_making.learn,
}
"""By the task that was asked for; where none was, the data says what there is to learn."""


def carry_out(run: Run, *, spent: float = 0.0, quiet: bool = False) -> Run:
    """Do everything that `run` asks for and has not been done yet.

    Raises:
        UsageError: the data or the question cannot be used, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
    """
    Run.current = run
    with run.alone(), _ending(run), interrupts.raising(), processes.joined():
        run.path = Path(processes.of_first(str(run.path)))
        request = Request.of(run.facts()["request"])
        clock = WallClock(60 * request.minutes if request.minutes else None, spent=spent, started=run.opened)
        run.update(status="running")
        check_names(request)
        screen = Screen(quiet=quiet or not run.writes)
        bench = Bench(run, request, clock, screen, choose_device(request.device))
        screen.say(f"reading {request.data}")
        LEARN[request.task](bench)
        if run.writes:
            report(run.path)
            screen.say(f"done in {duration(clock.spent())}: {run.path / 'report.html'}")
        run.update(status="finished", seconds=clock.spent())
        run.log("finished", seconds=clock.spent())
    return run


@contextlib.contextmanager
def _ending(run: Run) -> Iterator[None]:
    """Whatever ends the run is put on record, as far as the disk lets it."""
    try:
        yield
    except KeyboardInterrupt as error:
        _record(run, "stopped", "interrupted")
        raise Interrupted("stopped; what was done is saved.") from error
    except Interrupted:
        run.update(status="stopped")
        raise
    except OSError as error:
        _record(run, "failed", str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"the disk is full ({error}); what was saved last is whole. Make room, then go on with: "
                f"earnest resume {run.path}"
            ) from error
        raise
    except BaseException as error:
        _record(run, "failed", str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}")
        raise


def _record(run: Run, status: Literal["stopped", "failed"], why: str) -> None:
    with contextlib.suppress(OSError):
        run.update(status=status, error=None if status == "stopped" else why)
        run.log(status, why=why)
