"""Columns that the target was computed from: a sum of parts, a difference, a change of unit."""

from __future__ import annotations

import numpy as np
import polars as pl

from earnest.audit.findings import Finding, checks, listed
from earnest.audit.leakage import rows_to_look_at
from earnest.data.dataset import Dataset, Split

EXACT = 1e-6
"""Share of the target's variance that may be left, for rounding."""
MOST_COLUMNS = 200
NOTABLE = 1e-3
"""Standard deviations of the target that a column must contribute to be named."""


@checks.register("computed target")
def computed_target(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Number columns whose weighted sum is the target, on rows that the weights were not found on."""
    if dataset.target is None or dataset.column(dataset.target).kind != "number":
        return []
    names = [column.name for column in dataset.inputs("number")]
    frame = dataset.frame[rows_to_look_at(dataset, split, max(1, len(names)))]
    names = [name for name in names if frame[name].null_count() == 0]
    if not 2 <= len(names) <= MOST_COLUMNS or len(frame) < 4 * len(names) + 20:
        return []
    x = frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
    x = np.column_stack([(x - x.mean(0)) / np.maximum(x.std(0), 1e-300), np.ones(len(x))])
    target = frame[dataset.target].cast(pl.Float64).to_numpy()
    half = np.random.default_rng(0).permutation(len(x)) % 2 == 0
    weights = np.linalg.lstsq(x[half], target[half], rcond=1e-9)[0]
    left = np.mean((x[~half] @ weights - target[~half]) ** 2)
    if not left <= EXACT * np.var(target) or np.var(target) == 0:
        return []
    parts = [name for name, weight in zip(names, weights, strict=False) if abs(weight) > NOTABLE * np.std(target)]
    if len(parts) < 2:
        return []
    return [
        Finding(
            check="computed target",
            severity="high",
            title=f"{dataset.target!r} can be computed exactly from {listed(parts)}",
            detail=f"A weighted sum of these columns gives {dataset.target!r}, to within rounding, on rows that the "
            "weights were not found on: it was probably computed from them.",
            fix="If they will not be known when a prediction is needed, set them aside: "
            + " ".join(f"--type {name}=id" for name in parts[:3])
            + ". If they will be, no model is needed.",
            count=len(parts),
            names=parts,
        )
    ]
