"""What an audit says: findings, ranked, each with the rows or columns it is about and a fix; none is ever applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from earnest.core.registry import Registry
from earnest.data.dataset import Dataset, Split

Severity = Literal["high", "medium", "low", "info"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low", "info")
"""From "the scores cannot be trusted until this is settled" to "good to know"."""
MOST_SHOWN = 50
"""Rows that a finding names, at most; `count` says how many there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the user should know about the data."""

    check: str
    severity: Severity
    title: str
    """One line."""
    detail: str
    fix: str
    count: int
    """How many rows or columns it is about."""
    rows: list[int] = field(default_factory=list)
    """Ids of the first of them, where it is about rows."""
    names: list[str] = field(default_factory=list)
    """What the user knows them by."""

    @classmethod
    def about_rows(cls, dataset: Dataset, positions: NDArray[np.int64], **rest: Any) -> Self:
        """A finding on the rows at `positions`."""
        shown = positions[:MOST_SHOWN].tolist()
        return cls(
            count=len(positions),
            rows=[int(dataset.rows[i]) for i in shown],
            names=[dataset.names[i] for i in shown],
            **rest,
        )

    def as_json(self) -> dict[str, Any]:
        """The finding as audit.json holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


Check = Callable[[Dataset, Split | None], list[Finding]]
"""A look at the data for one kind of defect; without a split where none has been made."""

checks = Registry("earnest.audit", "check")
"""Every check, by name; one is added by a module of this folder that registers it."""


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Most severe first, then those about most rows or columns."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count, finding.title))


def is_classification(dataset: Dataset) -> bool:
    """Whether the target names classes; False without a target."""
    return dataset.target is not None and dataset.column(dataset.target).kind == "category"


def counted(num: int, one: str, many: str | None = None) -> str:
    """`"1 row"`, `"1,204 rows"`."""
    return f"{num:,} {one if num == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """`"12.3%"`, and `"under 0.1%"` instead of nought."""
    return f"{share:.1%}" if share == 0 or share >= 0.001 else "under 0.1%"


def listed(names: Iterable[str], most: int = 5) -> str:
    """`"'a', 'b' and 7 more"`."""
    names = list(names)
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
