"""Class labels as strings, in the order that people expect: "2" before "10", "class 9" before "class 10"."""

from __future__ import annotations

import re
from collections.abc import Iterable

_DIGITS = re.compile(r"(\d+)")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def in_order(labels: Iterable[str]) -> list[str]:
    """The distinct labels: numbers by value, the digits within a name by value, the rest by character."""
    return sorted(set(labels), key=_key)


def _key(label: str) -> tuple[object, ...]:
    if _NUMBER.fullmatch(label):
        return (0, float(label), label)
    pieces = _DIGITS.split(label.casefold())
    return (1, *((int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)), label)
