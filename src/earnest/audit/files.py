"""Rows and files that could not be used."""

from __future__ import annotations

from collections import Counter

from earnest.audit.findings import MOST_SHOWN, Finding, Severity, checks, counted, percent
from earnest.data.dataset import Dataset, Split

MANY, SOME = 0.05, 0.01


@checks.register("left out")
def left_out(dataset: Dataset, split: Split | None) -> list[Finding]:
    """What was left out, and the commonest reasons."""
    num = len(dataset.left_out)
    if not num:
        return []
    share = num / (num + len(dataset))
    severity: Severity = "high" if share > MANY else "medium" if share > SOME else "low"
    reasons = Counter(item.reason for item in dataset.left_out).most_common(3)
    first = dataset.left_out[0]
    return [
        Finding(
            check="left out",
            severity=severity,
            title=f"{counted(num, 'image' if dataset.images else 'row')} left out as unusable ({percent(share)})",
            detail="; ".join(f"{reason} ({count:,})" for reason, count in reasons) + f". The first: {first.where}.",
            fix="Mend or remove them. If they have something in common, the scores hold only for data without it.",
            count=num,
            names=[item.where for item in dataset.left_out[:MOST_SHOWN]],
        )
    ]
