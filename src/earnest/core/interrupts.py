"""Ctrl-C and SIGTERM: where work can be saved they wait for the next safe point, elsewhere they act at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raising() -> Iterator[None]:
    """Inside, SIGTERM acts as Ctrl-C does: it raises KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, (signal.SIGTERM,)):
        yield


@contextmanager
def waiting() -> Iterator[Callable[[], bool]]:
    """Inside, both only leave word; the function given tells whether one came. The same one again raises at once.

    One of each does not: launchers such as torchrun answer Ctrl-C, which reaches every process, with a SIGTERM.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number in came:
            raise KeyboardInterrupt
        came.append(number)

    with _handled(note, SIGNALS):
        yield lambda: bool(came)


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
