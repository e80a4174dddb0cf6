"""Columns that carry little: set aside, mostly missing, or nearly a different value in every row."""

from __future__ import annotations

from typing import Any

from earnest.audit.findings import Finding, Severity, checks, counted, listed
from earnest.data.dataset import Column, Dataset, Split

MOSTLY_MISSING = 0.5
NOTABLY_MISSING = 0.05
MOSTLY_UNIQUE = 0.5
FEW_ROWS = 40


@checks.register("columns set aside")
def set_aside(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Ids and constants, which no model gets to see."""
    findings = []
    for kind, title, why in (
        ("constant", "the same everywhere", "They cannot tell rows apart."),
        ("id", "a name for the row", "A model could only learn them by heart."),
    ):
        columns = [c for c in dataset.columns if c.role == "aside" and c.kind == kind]
        if columns:
            findings.append(
                _about_columns(
                    columns,
                    check="columns set aside",
                    severity="info",
                    title=f"{counted(len(columns), 'column')} set aside as {title}: {_names(columns)}",
                    detail=f"{_reasons(columns)}. {why}",
                    fix=f"If one is meant to be used, say what it is: --type {columns[0].name}=number (or category).",
                )
            )
    return findings


@checks.register("missing values")
def missing_values(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Input columns in which many values are missing."""
    shares = {c.name: dataset.frame[c.name].null_count() / max(1, len(dataset)) for c in dataset.inputs()}
    findings = []
    levels: tuple[tuple[Severity, float, float], ...] = (
        ("medium", MOSTLY_MISSING, 1.01),
        ("low", NOTABLY_MISSING, MOSTLY_MISSING),
    )
    for severity, low, high in levels:
        columns = [c for c in dataset.inputs() if low <= shares[c.name] < high]
        if not columns:
            continue
        how_far = "mostly" if severity == "medium" else "partly"
        columns.sort(key=lambda column: -shares[column.name])
        each = ", ".join(f"{column.name!r} {shares[column.name]:.0%}" for column in columns[:8])
        findings.append(
            _about_columns(
                columns,
                check="missing values",
                severity=severity,
                title=f"{counted(len(columns), 'column')} {how_far} missing: {each}",
                detail="A missing value is kept as a value of its own, so that no row is lost; it tells the model "
                "something only if it will be missing for the same reasons later.",
                fix="If it is missing for a technical reason, fill it in at the source. To set a column aside: "
                f"--type {columns[0].name}=id.",
            )
        )
    return findings


@checks.register("mostly unique categories")
def mostly_unique(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Categories with a different value in most rows, from which nothing general can be learnt."""
    if len(dataset) < FEW_ROWS:
        return []
    columns = [
        c
        for c in dataset.inputs("category")
        if dataset.frame[c.name].drop_nulls().n_unique() > MOSTLY_UNIQUE * len(dataset)
    ]
    if not columns:
        return []
    return [
        _about_columns(
            columns,
            check="mostly unique categories",
            severity="low",
            title=f"{counted(len(columns), 'column')} with a different value in most rows: {_names(columns)}",
            detail=f"{_reasons(columns)}. New rows will bring values that were never seen, which count as missing.",
            fix=f"Set it aside with --type {columns[0].name}=id, or split off the part that repeats into a column.",
        )
    ]


def _about_columns(columns: list[Column], **rest: Any) -> Finding:
    return Finding(count=len(columns), names=[column.name for column in columns], **rest)


def _names(columns: list[Column]) -> str:
    return listed(column.name for column in columns)


def _reasons(columns: list[Column]) -> str:
    return "; ".join(f"{column.name!r}: {column.reason}" for column in columns[:5])
