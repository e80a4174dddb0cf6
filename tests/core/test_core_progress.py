"""What is said of how far something has come, where there is no terminal."""

from __future__ import annotations

import pytest

from earnest.core import progress
from earnest.core.progress import Screen


class Told(Screen):
    """Keeps its lines, and has a clock that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.moment = 0.0

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Told:
    screen = Told()
    monkeypatch.setattr(progress.time, "monotonic", lambda: screen.moment)
    return screen


def test_a_line_comes_every_fifteen_seconds_and_tells_what_is_left(screen: Told) -> None:
    with screen.bar("net", 10) as bar:
        for second in range(1, 46):
            screen.moment = float(second)
            bar(second / 10, f"loss {second}")
    assert screen.lines == [
        "net:  15%, 1 min 25 s left loss 15",
        "net:  30%, 1 min 10 s left loss 30",
        "net:  45%, 55 s left loss 45",
    ]


def test_what_was_done_before_took_none_of_this_time(screen: Told) -> None:
    with screen.bar("net", 1.0, resumed=True) as bar:
        bar(0.5)
        screen.moment = 20.0
        bar(0.6)
    assert screen.lines == ["net:  60%, 1 min 20 s left"]


def test_nothing_is_promised_before_anything_is_done_or_of_no_total(screen: Told) -> None:
    with screen.bar("net", 1.0) as bar, screen.bar("text", None) as other:
        screen.moment = 20.0
        bar(0.0)
        other(12, "12 MB")
    assert screen.lines == ["net:   0%", "text: 12 MB"]
