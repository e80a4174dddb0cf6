"""Class labels: their order, and whether they can be learned."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from earnest.core.errors import DataError
from earnest.data.dataset import Dataset

_DIGITS = re.compile(r"(\d+)")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def in_order(labels: Iterable[str]) -> list[str]:
    """The distinct labels as people expect them: numbers by value, "class 9" before "class 10"."""
    return sorted(set(labels), key=_key)


def check_classes(dataset: Dataset) -> None:
    """Check that a target of classes can be learned from the rows that there are; any other target passes.

    Raises:
        DataError: fewer than two classes can be learned from, or the user's own validation or test part has one that
            the training part lacks.
    """
    if dataset.target is None or dataset.column(dataset.target).kind != "category":
        return
    values = dataset.frame[dataset.target].to_numpy()
    part = np.full(len(values), "train") if dataset.part is None else dataset.part
    learned = set(values[part == "train"])
    if len(learned) < 2:
        found = f"one class only, {learned.pop()!r}" if learned else "no class"
        raise DataError(
            f"the training data of {dataset.source} holds {found}, after {len(dataset.left_out)} rows or files that "
            "cannot be used; it needs at least two."
        )
    for row in np.flatnonzero(part != "train"):
        if values[row] not in learned:
            raise DataError(
                f"{dataset.names[row]}: the class {values[row]!r} occurs in the {part[row]} part and never in the "
                "training part; correct the label, add training data of that class, or take such rows out."
            )


def _key(label: str) -> tuple[object, ...]:
    if _NUMBER.fullmatch(label):
        return (0, float(label), label)
    pieces = _DIGITS.split(label.casefold())
    return (1, *((int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)), label)
