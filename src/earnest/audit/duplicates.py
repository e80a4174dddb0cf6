"""Rows whose inputs are equal to the last bit: counted twice, or met in the test after having been learnt."""

from __future__ import annotations

import numpy as np

from earnest.audit.findings import Finding, checks, counted, percent
from earnest.data.dataset import Dataset, Split

MANY = 0.05
"""Share of rows above which repeats are more than a curiosity."""


@checks.register("duplicates")
def duplicates(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Rows that repeat an earlier row."""
    _, first = np.unique(dataset.digests, return_index=True)
    repeats = np.setdiff1d(np.arange(len(dataset)), first)
    if not len(repeats):
        return []
    share = len(repeats) / len(dataset)
    original = np.flatnonzero(dataset.digests == dataset.digests[repeats[0]])[0]
    what = counted(len(repeats), "image" if dataset.images else "row")
    verb = "repeats" if len(repeats) == 1 else "repeat"
    return [
        Finding.about_rows(
            dataset,
            repeats,
            check="duplicates",
            severity="medium" if share > MANY else "low",
            title=f"{what} {verb} another one exactly ({percent(share)})",
            detail=f"{dataset.names[repeats[0]]} has the inputs of {dataset.names[original]}, for example. "
            "Repeats are kept on one side of every split that earnest makes, so they help no score.",
            fix="Nothing has to be done; remove the repeats if they come from a mistake in collecting the data.",
        )
    ]


@checks.register("duplicates across the split")
def duplicates_across(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Rows of the user's own test part that are also among the rows to learn from."""
    if dataset.part is None:
        return []
    in_test = dataset.part == "test"
    seen = np.isin(dataset.digests, dataset.digests[~in_test])
    shared = np.flatnonzero(in_test & seen)
    if not len(shared):
        return []
    share = len(shared) / int(in_test.sum())
    what = "image" if dataset.images else "row"
    twin = np.flatnonzero(~in_test & (dataset.digests == dataset.digests[shared[0]]))[0]
    return [
        Finding.about_rows(
            dataset,
            shared,
            check="duplicates across the split",
            severity="high" if share > MANY else "medium",
            title=f"{counted(len(shared), f'test {what}')} ({percent(share)}) also among those to learn from",
            detail=f"{dataset.names[shared[0]]} equals {dataset.names[twin]}, for example. "
            "A model that remembers them looks better than it is.",
            fix=f"The training copies are left out of training and the test stays as it is; "
            f"published scores on this split may have been helped by these {what}s.",
        )
    ]
