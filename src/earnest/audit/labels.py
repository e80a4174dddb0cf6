"""Rows that are equal and yet have different answers: at most one of them can be right."""

from __future__ import annotations

import numpy as np

from earnest.audit.findings import Finding, checks, counted, is_classification, listed, percent
from earnest.data.dataset import Dataset, Split

MANY = 0.01


@checks.register("label conflicts")
def label_conflicts(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Equal inputs with different classes; equal inputs with different quantities are ordinary noise."""
    if not is_classification(dataset):
        return []
    assert dataset.target is not None
    targets = dataset.frame[dataset.target].to_numpy()
    labels, codes = np.unique(targets.astype(str), return_inverse=True)
    _, group = np.unique(dataset.digests, return_inverse=True)
    lowest = np.full(group.max() + 1, len(labels))
    highest = np.full(group.max() + 1, -1)
    np.minimum.at(lowest, group, codes)
    np.maximum.at(highest, group, codes)
    conflicting = np.flatnonzero((lowest < highest)[group])
    if not len(conflicting):
        return []
    in_order = conflicting[np.argsort(group[conflicting], kind="stable")]
    share = len(conflicting) / len(dataset)
    example = in_order[group[in_order] == group[in_order[0]]]
    pictures = bool(dataset.images)
    return [
        Finding.about_rows(
            dataset,
            in_order,
            check="label conflicts",
            severity="high" if pictures and share > MANY else "medium" if pictures or share > MANY else "low",
            title=f"{counted(len(in_order), 'image' if pictures else 'row')} equal another one but not its "
            f"{dataset.target!r} ({percent(share)})",
            detail=f"{listed((dataset.names[i] for i in example), 3)} have equal inputs, and are called "
            f"{listed(labels[np.unique(codes[example])], 3)}. No model can be right about all of them.",
            fix="Look at them and correct the wrong labels."
            + (
                ""
                if pictures
                else " If both answers are right, the columns do not tell the cases apart: add one that does."
            ),
        )
    ]
