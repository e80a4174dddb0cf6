"""The audit of a text that word vectors are learned from: whether there is enough of it, and how much stays unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earnest.audit.findings import Finding, percent

LITTLE, FEW = 1_000_000, 10_000_000
"""Words of a text: with fewer than these, vectors say little, or less than they could."""
MUCH_UNKNOWN, NOTEWORTHY = 0.2, 0.05
"""Shares of a text's words that are too rare to be learned."""


def audit_words(num_words: int, num_known: int, *, min_count: int, notes: Sequence[str]) -> dict[str, Any]:
    """The content of audit.json, of a text of `num_words` words, of which `num_known` are in the vocabulary."""
    findings = [*_few_words(num_words), *_unknown_words(num_words, num_known, min_count)]
    return {
        "rows": num_words,
        "columns": [],
        "left_out": [],
        "left_out_count": 0,
        "notes": list(notes),
        "findings": [finding.as_json() for finding in findings],
    }


def _few_words(num_words: int) -> list[Finding]:
    if num_words >= FEW:
        return []
    return [
        Finding(
            check="few words",
            severity="medium" if num_words < LITTLE else "info",
            title=f"The text has {num_words:,} words, which is little to learn word vectors from",
            detail="A word's vector rests on the words around each of its occurrences. Published vectors come from a "
            "hundred million words and more; rare words suffer first from less.",
            fix="Give more text of the kind that you care about, or more epochs: --epochs 20.",
            count=num_words,
        )
    ]


def _unknown_words(num_words: int, num_known: int, min_count: int) -> list[Finding]:
    share = 1 - num_known / num_words
    if share < NOTEWORTHY:
        return []
    return [
        Finding(
            check="unknown words",
            severity="medium" if share >= MUCH_UNKNOWN else "low",
            title=f"{percent(share)} of the text's words are too rare to get a vector",
            detail=f"They occur fewer than {min_count} times, and are passed over as if they were not there.",
            fix="Lower min_count in a recipe, or look whether the text is cut into words rightly.",
            count=num_words - num_known,
        )
    ]
