"""A column that gives the target away: a model of this one column alone, scored on rows that it has not seen.

Each value, or each hundredth of a number's range, answers with its own rows' mean target or commonest class; a missing
value is a value too, so that a column filled in only for one class is found. Test rows are not looked at.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from earnest.audit.findings import Finding, checks, is_classification
from earnest.data.dataset import Column, Dataset, Split

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

GIVEN_AWAY, SUSPICIOUS = 0.995, 0.98
"""Two classes: area under the ROC curve."""
GIVEN_AWAY_R2, SUSPICIOUS_R2 = 0.995, 0.97
"""A quantity: share of the variance explained."""
GIVEN_AWAY_CLASSES, SUSPICIOUS_CLASSES = 0.99, 0.97
"""More classes: share of the errors of always answering the commonest that are avoided."""

MOST_ROWS = 20_000
MOST_CELLS = 4_000_000
FEW_ROWS = 50
FEW_OF_A_CLASS = 8
NUM_FOLDS = 5
MOST_DISTINCT = 256
"""Distinct numbers up to which each is taken by itself."""


@checks.register("target leakage")
def target_leakage(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Input columns from which the target can be read off, or nearly."""
    columns = dataset.inputs("number", "category", "date", "text")
    if dataset.target is None or not columns:
        return []
    rows = rows_to_look_at(dataset, split, len(columns))
    target = dataset.frame[dataset.target][rows]
    if is_classification(dataset):
        classes, codes = np.unique(target.cast(str).to_numpy().astype(str), return_inverse=True)
        enough = np.sort(np.bincount(codes))[-2:].min() >= FEW_OF_A_CLASS if len(classes) > 1 else False
        if len(rows) < FEW_ROWS or not enough:
            return []
        measure, thresholds = _class_measure(len(classes))
        scores = [_score_classes(dataset.frame[c.name][rows], c, codes, len(classes)) for c in columns]
    else:
        values = target.cast(pl.Float64).to_numpy()
        if len(rows) < FEW_ROWS or np.ptp(values) == 0:
            return []
        measure, thresholds = "R²", (GIVEN_AWAY_R2, SUSPICIOUS_R2)
        scores = [_score_quantity(dataset.frame[c.name][rows], c, values) for c in columns]
    strong = sorted(zip(scores, columns, strict=True), key=lambda pair: -pair[0])
    return [
        _finding(dataset, c, score, measure, score >= thresholds[0]) for score, c in strong if score >= thresholds[1]
    ]


def _class_measure(num_classes: int) -> tuple[str, tuple[float, float]]:
    if num_classes == 2:
        return "ROC AUC", (GIVEN_AWAY, SUSPICIOUS)
    return "share of avoidable errors avoided", (GIVEN_AWAY_CLASSES, SUSPICIOUS_CLASSES)


def _finding(dataset: Dataset, column: Column, score: float, measure: str, certain: bool) -> Finding:
    return Finding(
        check="target leakage",
        severity="high" if certain else "medium",
        title=f"{column.name!r} {'gives' if certain else 'nearly gives'} {dataset.target!r} away",
        detail=f"This column alone predicts {dataset.target!r} with {measure} {score:.4f} on rows not learnt from. "
        "Columns as strong as this are often written down after the answer was known, or computed from it.",
        fix=f"If it will not be known when a prediction is needed, set it aside: --type {column.name}=id. "
        "If it will be, all is well.",
        count=1,
        names=[column.name],
    )


def rows_to_look_at(dataset: Dataset, split: Split | None, num_columns: int) -> Codes:
    """Rows to look at: none of the test, and as many as take a second or two."""
    if split is not None:
        rows = np.concatenate([split.train, split.validation])
    elif dataset.part is not None:
        rows = np.flatnonzero(dataset.part != "test")
    else:
        rows = np.arange(len(dataset))
    most = min(MOST_ROWS, max(1000, MOST_CELLS // num_columns))
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


def _bins(values: pl.Series, column: Column) -> Codes:
    """A code from 0 for each value, or for each of 100 equal shares of many numbers; missing is one of its own."""
    missing = values.is_null().to_numpy()
    if column.kind in ("number", "date"):
        numbers = _numbers(values)
        present = numbers[~missing]
        distinct = np.unique(present)
        if len(distinct) > MOST_DISTINCT:
            shares = np.linspace(0, 1, min(100, len(present) // 10))[1:-1]
            distinct = np.unique(np.quantile(present, shares, method="higher"))
        codes = np.searchsorted(distinct, numbers, side="left")
    else:
        codes = values.fill_null("").cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    codes = np.where(missing, codes[~missing].max(initial=-1) + 1, codes)
    return codes.astype(np.int64)


def _numbers(values: pl.Series) -> Floats:
    numbers = values.to_physical().cast(pl.Float64)
    return numbers.fill_null(0.0).to_numpy().astype(np.float64)


def _folds(num_rows: int) -> Codes:
    return np.random.default_rng(1).permutation(np.arange(num_rows) % NUM_FOLDS)


def _score_classes(values: pl.Series, column: Column, classes: Codes, num_classes: int) -> float:
    """How well one column tells the classes.

    For two classes the AUC, of the bins' shares (out of fold) or of the numbers themselves, whichever is better; for
    more the share of errors that the bins' commonest classes avoid.
    """
    bins = _bins(values, column)
    num_bins, fold = int(bins.max()) + 1, _folds(len(bins))
    cells = bins * num_classes + classes
    table = np.bincount(cells, minlength=num_bins * num_classes).reshape(num_bins, num_classes)
    shares = table.sum(0) / table.sum()
    answers = np.empty((len(bins), 2) if num_classes == 2 else (len(bins),))
    for k in range(NUM_FOLDS):
        held_out = fold == k
        held = np.bincount(cells[held_out], minlength=num_bins * num_classes).reshape(num_bins, num_classes)
        rates = table - held + shares
        rates = rates / rates.sum(1, keepdims=True)
        answers[held_out] = rates[bins[held_out]] if num_classes == 2 else rates.argmax(1)[bins[held_out]]
    if num_classes == 2:
        in_order = _auc(classes == 1, _numbers(values)) if _is_ordered(values, column) else 0.5
        return max(_auc(classes == 1, answers[:, 1]), in_order, 1 - in_order)
    errors, blind = np.mean(answers != classes), 1 - shares.max()
    return float(1 - errors / blind)


def _auc(positive: NDArray[np.bool_], scores: Floats) -> float:
    num_positive = int(positive.sum())
    ranks = rankdata(scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(ranks / (num_positive * (len(positive) - num_positive)))


def _score_quantity(values: pl.Series, column: Column, target: Floats) -> float:
    """R² of the best of three: the bins' means (out of fold), a straight line, any monotone curve."""
    bins = _bins(values, column)
    num_bins, fold = int(bins.max()) + 1, _folds(len(bins))
    answers = np.empty(len(bins))
    for k in range(NUM_FOLDS):
        kept = fold != k
        sums = np.bincount(bins[kept], target[kept], num_bins) + target[kept].mean()
        answers[~kept] = (sums / (np.bincount(bins[kept], minlength=num_bins) + 1))[bins[~kept]]
    best = 1 - float(np.mean((answers - target) ** 2) / np.var(target))
    if _is_ordered(values, column):
        numbers = _numbers(values)
        line = np.corrcoef(numbers, target)[0, 1] ** 2
        curve = np.corrcoef(rankdata(numbers), rankdata(target))[0, 1] ** 2
        best = max(best, float(line), float(curve))
    return best


def _is_ordered(values: pl.Series, column: Column) -> bool:
    return column.kind in ("number", "date") and values.null_count() == 0 and values.n_unique() > 1
