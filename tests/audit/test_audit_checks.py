"""Each check fires on its planted defect, names it, and is silent on clean data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from earnest.audit.findings import Finding, checks, ranked
from earnest.audit.run import audit
from earnest.core.atomic import plain
from earnest.data.columns import assign_roles, infer
from earnest.data.dataset import Dataset, LeftOut


def dataset(frame: pl.DataFrame, target: str, **changes) -> Dataset:
    """A table as the readers give it, target and all."""
    frame, columns = infer(frame.with_columns(pl.col(pl.Float64)), {})
    size = len(frame)
    names = tuple(f"line {i + 2}" for i in range(size))
    bare = Dataset("t.csv", frame, columns, np.arange(size), names, np.arange(size, dtype=np.uint64), "0" * 64)
    return replace(assign_roles(bare, target=target), **changes)


def clean(size: int = 300) -> pl.DataFrame:
    random = np.random.default_rng()
    return pl.DataFrame(
        {
            "x": random.normal(size=size),
            "colour": random.choice(["red", "green", "blue"], size),
            "y": np.concatenate([["yes", "no"], random.choice(["yes", "no"], size - 2)]),
        }
    )


def found(data: Dataset, check: str) -> list[Finding]:
    return checks[check].build(data, None)


def test_clean_data_gives_no_findings():
    assert audit(dataset(clean(), "y"), None)["findings"] == []


def test_repeats_are_counted_and_named():
    frame = clean()
    [finding] = found(dataset(pl.concat([frame, frame[[5, 7]], frame[[5]]]), "y"), "duplicates")
    assert (finding.count, finding.rows, finding.severity) == (3, [300, 301, 302], "low")
    assert finding.names == ["line 302", "line 303", "line 304"]
    assert "line 302 has the inputs of line 7" in finding.detail


def test_many_repeats_weigh_more():
    frame = clean(100)
    [finding] = found(dataset(pl.concat([frame, frame]), "y"), "duplicates")
    assert (finding.count, finding.severity) == (100, "medium")


def test_test_rows_that_are_learnt_from_are_found():
    frame = clean()
    data = dataset(pl.concat([frame, frame[[3, 9]]]), "y", part=np.array(["train"] * 290 + ["test"] * 12))
    [finding] = found(data, "duplicates across the split")
    assert (finding.rows, finding.severity) == ([300, 301], "high")
    assert "line 302 equals line 5" in finding.detail
    assert found(replace(data, part=None), "duplicates across the split") == []
    assert (
        found(dataset(frame, "y", part=np.array(["train"] * 200 + ["test"] * 100)), "duplicates across the split") == []
    )


def test_equal_rows_with_different_labels_are_found_side_by_side():
    frame = clean()
    wrong = frame[[10]].with_columns(y=pl.when(pl.col("y") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")))
    agreeing = frame[[20]]
    [finding] = found(dataset(pl.concat([frame, wrong, agreeing]), "y"), "label conflicts")
    assert (finding.count, finding.rows) == (2, [10, 300])
    assert "'line 12', 'line 302'" in finding.detail
    assert "'no', 'yes'" in finding.detail


def test_equal_rows_with_different_quantities_are_noise():
    frame = pl.DataFrame({"x": [1.5, 2.5] * 30, "y": np.random.default_rng().normal(size=60)})
    assert found(dataset(frame, "y"), "label conflicts") == []


def test_ids_and_constants_are_named():
    frame = clean().with_columns(number=pl.int_range(pl.len()), same=pl.lit("a"))
    by_names = {tuple(finding.names): finding for finding in found(dataset(frame, "y"), "columns set aside")}
    assert set(by_names) == {("number",), ("same",)}
    assert all(finding.severity == "info" for finding in by_names.values())
    assert "--type number=" in by_names["number",].fix


def test_missing_values_weigh_by_their_share():
    frame = clean().with_columns(
        mostly=pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.col("x")),
        partly=pl.when(pl.int_range(pl.len()) % 4 != 0).then(pl.col("x")),
        hardly=pl.when(pl.int_range(pl.len()) % 100 != 0).then(pl.col("x")),
    )
    by_severity = {finding.severity: finding for finding in found(dataset(frame, "y"), "missing values")}
    assert by_severity["medium"].names == ["mostly"]
    assert by_severity["low"].names == ["partly"]
    assert "'partly' 25%" in by_severity["low"].title


def test_a_category_of_mostly_different_values_is_named():
    tickets = [f"T{i}" if i % 4 else "T0" for i in range(300)]
    [finding] = found(dataset(clean().with_columns(ticket=pl.Series(tickets)), "y"), "mostly unique categories")
    assert finding.names == ["ticket"]


def test_left_out_rows_are_counted_with_their_reasons():
    left_out = (*(LeftOut(f"line {i}", "too few cells") for i in range(19)), LeftOut("line 99", "not text"))
    [finding] = found(dataset(clean(), "y", left_out=left_out), "left out")
    assert (finding.count, finding.severity) == (20, "high")
    assert "too few cells (19)" in finding.detail
    assert "6.2%" in finding.title
    assert finding.rows == []


def test_rare_classes_and_imbalance_are_told_apart():
    labels = ["common"] * 480 + ["scarce"] * 15 + ["rare"] * 5
    frame = clean(500).with_columns(y=pl.Series(labels))
    [rare] = found(dataset(frame, "y"), "rare classes")
    assert (rare.count, rare.rows) == (5, [495, 496, 497, 498, 499])
    assert "'rare'" in rare.title
    assert "'scarce'" not in rare.title
    [uneven] = found(dataset(frame, "y"), "imbalance")
    assert (uneven.severity, uneven.names) == ("medium", ["rare", "scarce"])
    assert "96 times" in uneven.title
    assert "balanced_accuracy" in uneven.fix


def test_a_mild_imbalance_is_no_finding():
    frame = clean(400).with_columns(y=pl.Series(["a"] * 300 + ["b"] * 100))
    assert found(dataset(frame, "y"), "imbalance") == []
    assert found(dataset(frame, "y"), "rare classes") == []


def test_a_quantity_has_no_classes():
    frame = clean().with_columns(y=pl.col("x") * 0 + np.random.default_rng().normal(size=300))
    assert found(dataset(frame, "y"), "imbalance") + found(dataset(frame, "y"), "rare classes") == []


def test_the_most_severe_come_first():
    some = [
        Finding("c", severity, title, "", "", count)
        for severity, title, count in [("low", "a", 9), ("info", "b", 99), ("high", "c", 1), ("low", "d", 10)]
    ]
    assert [finding.title for finding in ranked(some)] == ["c", "d", "a", "b"]


@pytest.mark.parametrize("size", [2, 3, 12])
def test_tiny_data_can_be_audited(size):
    frame = pl.DataFrame(
        {"x": np.random.default_rng().normal(size=size), "y": ["a", "b"] * (size // 2) + ["a"] * (size % 2)}
    )
    assert audit(dataset(frame, "y"), None)["rows"] == size


def test_the_audit_is_plain_data_and_tells_how_far_it_is():
    frame = pl.concat([clean(), clean()[[0]]]).with_columns(number=pl.int_range(pl.len()))
    data = dataset(frame, "y", left_out=(LeftOut("line 9", "odd"),), notes=("read as Latin-1",))
    told = []
    result = audit(data, None, progress=lambda done, name: told.append((done, name)))
    assert plain(result) == result
    assert json.loads(json.dumps(result)) == result
    assert (result["rows"], result["left_out_count"], result["notes"]) == (301, 1, ["read as Latin-1"])
    assert [done for done, _ in told] == list(range(len(list(checks))))
    expected = {"check", "severity", "title", "detail", "fix", "count", "rows", "names"}
    assert all(set(finding) == expected for finding in result["findings"])
    assert all(finding["fix"] and finding["detail"] for finding in result["findings"])
