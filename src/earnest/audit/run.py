"""The whole audit: every check, in one ranked list, with what was read and what was left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from earnest.audit.findings import checks, ranked
from earnest.data.dataset import Dataset, Split

MOST_LEFT_OUT = 1000
"""Rows and files left out that are listed one by one, at most."""


def audit(
    dataset: Dataset, split: Split | None, *, progress: Callable[[int, str], object] | None = None
) -> dict[str, Any]:
    """Look at the data and the question: the content of audit.json.

    `progress` is told how many checks are done, and the next one's name.
    """
    findings = []
    for done, check in enumerate(checks):
        if progress is not None:
            progress(done, check.name)
        findings += check.build(dataset, split)
    return {
        "rows": len(dataset),
        "columns": [
            {"name": column.name, "kind": column.kind, "role": column.role, "reason": column.reason}
            for column in dataset.columns
        ],
        "left_out": [{"where": item.where, "reason": item.reason} for item in dataset.left_out[:MOST_LEFT_OUT]],
        "left_out_count": len(dataset.left_out),
        "notes": list(dataset.notes),
        "findings": [finding.as_json() for finding in ranked(findings)],
    }
