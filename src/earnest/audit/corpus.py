"""The audit of a running text: whether its test part says again what its training part said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from earnest.audit.findings import MOST_SHOWN, Finding, Severity, counted, percent
from earnest.data.readers.corpus import Corpus

SHORTEST = 40
"""Characters of a line that is no coincidence."""
NOTEWORTHY, WORRYING, RUINOUS = 0.001, 0.05, 0.5
"""Shares of the test part's characters in lines that were seen before."""


def audit_corpus(corpus: Corpus, training: Corpus, test: Corpus, *, rows: int) -> dict[str, Any]:
    """The content of audit.json; `rows` is the number of tokens."""
    return {
        "rows": rows,
        "columns": [],
        "left_out": [],
        "left_out_count": 0,
        "notes": list(corpus.notes),
        "findings": [finding.as_json() for finding in _repeated(training, test)],
    }


def _repeated(training: Corpus, test: Corpus) -> list[Finding]:
    """The finding on lines of the test part that are in the training part word for word, where there are some."""
    in_test = {line for line in _lines(test) if len(line) >= SHORTEST}
    again = {line for line in _lines(training) if line in in_test}
    repeats = [line for line in _lines(test) if line in again]
    share = sum(map(len, repeats)) / max(1, sum(len(chunk) for chunk in test.chunks()))
    if share < NOTEWORTHY:
        return []
    severity: Severity = "high" if share >= RUINOUS else "medium" if share >= WORRYING else "low"
    return [
        Finding(
            check="repeated lines",
            severity=severity,
            title=f"{percent(share)} of the test part's text is lines that the training part has too",
            detail=f"{counted(len(repeats), 'line')} of {SHORTEST} characters and more are there word for word. To "
            "tell them is to remember, and makes the score look better than it is on other text.",
            fix="Take copies out of the text, such as headers, licences and documents that it holds twice.",
            count=len(repeats),
            names=sorted(again)[:MOST_SHOWN],
        )
    ]


def _lines(corpus: Corpus) -> Iterator[str]:
    """Without the spaces around them; chunks end where lines do, unless a line is larger than a chunk."""
    for chunk in corpus.chunks():
        yield from map(str.strip, chunk.splitlines())
