"""Classes that are rare, and what that does to a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earnest.audit.findings import Finding, checks, counted, is_classification, listed
from earnest.data.dataset import Dataset, Split

LOPSIDED = 20.0
"""Largest class to smallest, above which accuracy says little about the smallest."""
SMALL_SHARE = 0.01
FEW = 10
"""Rows below which a class can hardly be learnt, and not be judged at all."""


@checks.register("rare classes")
def rare_classes(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Classes of fewer than 10 rows."""
    counts = _class_sizes(dataset)
    rare = [label for label, count in counts.items() if count < FEW]
    if not rare:
        return []
    positions = np.flatnonzero(np.isin(_classes(dataset), rare))
    sizes = ", ".join(f"{label!r} ({counts[label]})" for label in rare[:5])
    return [
        Finding.about_rows(
            dataset,
            positions,
            check="rare classes",
            severity="medium",
            title=f"{counted(len(rare), 'class', 'classes')} with fewer than {FEW} rows: {listed(rare)}",
            detail=f"{sizes}{', ...' if len(rare) > 5 else ''}. A fifth of them is the test: too few to judge by.",
            fix="Collect more of them, or join them with a class that is close.",
        )
    ]


@checks.register("imbalance")
def imbalance(dataset: Dataset, split: Split | None) -> list[Finding]:
    """A class of under 1% of the rows, or one more than 20 times as large as another."""
    counts = _class_sizes(dataset)
    if not counts:
        return []
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[largest] / counts[smallest]
    uneven = ratio > LOPSIDED or (len(counts) < 1 / SMALL_SHARE and counts[smallest] < SMALL_SHARE * len(dataset))
    if not uneven:
        return []
    share = counts[largest] / len(dataset)
    return [
        Finding(
            check="imbalance",
            severity="medium" if share > 0.9 else "low",
            title=f"{largest!r} has {ratio:,.0f} times as many rows as {smallest!r}",
            detail=f"{counts[largest]:,} rows ({share:.1%}) against {counts[smallest]:,} "
            f"({counts[smallest] / len(dataset):.2%}): always answering {largest!r} is right {share:.1%} of the time.",
            fix="Judge by --metric balanced_accuracy (or roc_auc, f1_macro), and look at each class's own scores.",
            count=sum(
                count < SMALL_SHARE * len(dataset) or LOPSIDED * count < counts[largest] for count in counts.values()
            ),
            names=[
                label for label in sorted(counts, key=counts.__getitem__) if LOPSIDED * counts[label] < counts[largest]
            ],
        )
    ]


def _class_sizes(dataset: Dataset) -> dict[str, int]:
    """Rows of each class; empty where the target names no classes."""
    if not is_classification(dataset):
        return {}
    labels, counts = np.unique(_classes(dataset), return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def _classes(dataset: Dataset) -> NDArray[np.str_]:
    assert dataset.target is not None
    return dataset.frame[dataset.target].cast(str).to_numpy().astype(str)
