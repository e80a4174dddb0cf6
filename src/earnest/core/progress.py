"""What a person sees while they wait: one line a task, with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_SECONDS = 15.0


class Bar(Protocol):
    """One task's line."""

    def __call__(self, done: float, note: str = "") -> None:
        """`done` of the total is done."""


class Screen:
    """Where messages and progress go: standard error, so that standard output is left for results."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def say(self, message: str) -> None:
        """One line for the user."""
        self.console.print(message, markup=False)

    @contextmanager
    def bar(self, title: str, total: float | None, *, resumed: bool = False) -> Iterator[Bar]:
        """A line that shows how far `title` has come and how long it will take.

        Where it is `resumed`, what it is first told to have done was done before.
        """
        if self.quiet:
            yield lambda done, note="": None
        elif self.console.is_terminal:
            with _live(self.console, title, total) as bar:
                yield bar
        else:
            yield _plain(self.say, title, total, resumed)


@contextmanager
def _live(console: Console, title: str, total: float | None) -> Iterator[Bar]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total, note="")

        def show(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield show


def _plain(say: Callable[[str], None], title: str, total: float | None, resumed: bool) -> Bar:
    """A line every 15 seconds, for logs and pipes."""
    started = last = time.monotonic()
    before = None if resumed else 0.0

    def show(done: float, note: str = "") -> None:
        nonlocal last, before
        moment = time.monotonic()
        before = done if before is None else before
        if moment - last < PLAIN_EVERY_SECONDS:
            return
        last = moment
        share = f" {done / total:4.0%}" if total else ""
        if total and done > before:
            share += f", {duration((moment - started) * (total - done) / (done - before))} left"
        say(f"{title}:{share} {note}".rstrip())

    return show


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "45 s", "3 min 20 s", "1 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
