"""What every split guarantees, on data sets made up at random."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.core.errors import DataError, OptionError
from earnest.data.dataset import Column, Dataset, Split
from earnest.data.splits import folds, make_split


def dataset(
    contents: list[int],
    labels: list[str],
    *,
    groups: list[str | None] | None = None,
    times: list[float | None] | None = None,
) -> Dataset:
    size = len(contents)
    frame = pl.DataFrame(
        {
            "y": pl.Series(labels, dtype=pl.String),
            "group": pl.Series(groups or ["g"] * size, dtype=pl.String),
            "time": pl.Series(times or [0.0] * size, dtype=pl.Float64),
        }
    )
    return Dataset(
        source="table.csv",
        frame=frame,
        columns=(Column("y", "category", "", role="target"), Column("group", "category", "", role="group")),
        rows=np.arange(size),
        names=tuple(f"line {i + 2}" for i in range(size)),
        digests=np.array(contents, np.uint64),
        fingerprint="0",
        target="y",
    )


def check(split: Split, data: Dataset) -> None:
    """The parts are disjoint, whole, sorted, none empty, and share no content."""
    parts = [split.train, split.validation, split.test, split.left_out]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
    for part in parts:
        assert (np.diff(part) > 0).all()
    assert all(len(part) for part in parts[:3])
    contents = [set(data.digests[part].tolist()) for part in parts[:3]]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]


rows = st.integers(8, 120)
seeds = st.integers(0, 10_000)


@settings(max_examples=120, deadline=None)
@given(size=rows, seed=seeds, repeats=st.integers(1, 4), num_classes=st.integers(2, 5))
def test_random_splits(size: int, seed: int, repeats: int, num_classes: int) -> None:
    generator = np.random.default_rng(seed)
    contents = generator.integers(0, max(4, size // repeats), size)
    labels = [f"class {i}" for i in generator.integers(0, num_classes, size)]
    data = dataset(contents.tolist(), labels)
    if len(set(contents.tolist())) < 6:
        return
    split = make_split(data, seed=seed, classification=True)
    check(split, data)
    assert len(split.left_out) == 0
    again = make_split(data, seed=seed, classification=True)
    assert split.how == again.how
    assert split.train.tolist() == again.train.tolist()
    assert split.test.tolist() == again.test.tolist()


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=12), seed=seeds)
def test_every_class_trains_and_shares_are_kept(counts: list[int], seed: int) -> None:
    labels = [f"class {c}" for c, count in enumerate(counts) for _ in range(count)]
    data = dataset(list(range(len(labels))), labels)
    if len(labels) < 8:
        return
    split = make_split(data, seed=seed, classification=True)
    check(split, data)
    assert set(np.array(labels)[split.train]) == set(labels)
    assert abs(len(split.test) - 0.2 * len(labels)) <= 1
    in_test = Counter(np.array(labels)[split.test].tolist())
    assert all(abs(in_test[f"class {c}"] - 0.2 * count) <= 1.5 for c, count in enumerate(counts))


def test_shares_of_a_large_table_and_another_seed() -> None:
    data = dataset(list(range(5000)), ["a", "b"] * 2500)
    split = make_split(data, seed=1, classification=True)
    assert (len(split.train), len(split.validation), len(split.test)) == (3400, 600, 1000)
    assert Counter(data.frame["y"][split.test].to_list()) == {"a": 500, "b": 500}
    other = make_split(data, seed=2, classification=True)
    assert 100 < len(set(split.test) & set(other.test)) < 300


@settings(max_examples=100, deadline=None)
@given(size=st.integers(20, 120), seed=seeds, num_groups=st.integers(5, 30), num_contents=st.integers(30, 400))
def test_no_group_crosses_a_split_and_no_duplicate_either(
    size: int, seed: int, num_groups: int, num_contents: int
) -> None:
    generator = np.random.default_rng(seed)
    groups = [None if g == 0 else f"g{g}" for g in generator.integers(0, num_groups, size)]
    contents = generator.integers(0, num_contents, size)
    data = dataset(contents.tolist(), [f"c{i}" for i in generator.integers(0, 3, size)], groups=groups)
    try:
        split = make_split(data, seed=seed, group="group", classification=True)
    except DataError as error:
        assert "groups of 'group'" in str(error)  # noqa: PT017
        return
    check(split, data)
    sides = [{groups[i] for i in part if groups[i]} for part in (split.train, split.validation, split.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@settings(max_examples=100, deadline=None)
@given(size=st.integers(10, 120), seed=seeds, num_times=st.integers(4, 60))
def test_time_goes_forward_and_ties_stay_together(size: int, seed: int, num_times: int) -> None:
    generator = np.random.default_rng(seed)
    times = generator.integers(0, num_times, size).astype(float)
    times[:4] = [0, 1, 2, 3]
    data = dataset(generator.integers(0, 3 * size, size).tolist(), ["a"] * size, times=times.tolist())
    try:
        split = make_split(data, seed=seed, time="time", classification=False)
    except DataError as error:
        assert "no training rows left" in str(error) or "validation part holds no row" in str(error)  # noqa: PT017
        return
    train, validation, test = (times[part] for part in (split.train, split.validation, split.test))
    assert train.max() < test.min()
    assert train.max() < validation.min() <= validation.max() < test.min()
    for row in split.left_out:
        later = np.concatenate([split.validation, split.test])
        assert data.digests[row] in data.digests[later]


def test_rows_without_a_time_train() -> None:
    data = dataset(list(range(50)), ["a"] * 50, times=[None] * 5 + [float(i) for i in range(45)])
    split = make_split(data, seed=0, time="time", classification=False)
    check(split, data)
    assert set(range(5)) <= set(split.train)
    assert "5 rows without a time" in split.how


@settings(max_examples=100, deadline=None)
@given(size=st.integers(30, 100), seed=seeds, given_parts=st.sampled_from(["test", "validation", "both"]))
def test_the_users_own_parts_stand(size: int, seed: int, given_parts: str) -> None:
    generator = np.random.default_rng(seed)
    names = ["train", "train", "train", *({"both": ["test", "validation"]}.get(given_parts, [given_parts]))]
    part = np.array(names)[generator.integers(0, len(names), size)]
    part[: len(names)] = names
    part[-10:] = "train"
    contents = generator.integers(0, 2 * size, size)
    contents[-10:] = np.arange(10) + 10 * size
    data = replace(dataset(contents.tolist(), ["a", "b"] * (size // 2) + ["a"] * (size % 2)), part=part)
    split = make_split(data, seed=seed, classification=True)
    if given_parts != "validation":
        assert split.test.tolist() == np.flatnonzero(part == "test").tolist()
    if given_parts == "validation":
        leaving = (part == "train") & np.isin(contents, contents[part == "validation"])
        assert split.validation.tolist() == np.flatnonzero(part == "validation").tolist()
    else:
        later = np.isin(contents, contents[part == "test"])
        leaving = (part == "validation") & later
        leaving |= (part == "train") & np.isin(contents, contents[part != "train"])
    assert split.left_out.tolist() == np.flatnonzero(leaving).tolist()
    check(split, data)


def test_a_column_may_name_the_parts() -> None:
    data = dataset(list(range(60)), ["a", "b"] * 30)
    words = ["Train", " VAL ", "test", "training", "valid", "train"] * 10
    named = replace(data, frame=data.frame.with_columns(part=pl.Series(words)))
    split = make_split(named, seed=0, how="part", classification=True)
    assert split.validation.tolist() == [i for i, word in enumerate(words) if word in (" VAL ", "valid")]
    assert split.test.tolist() == [i for i, word in enumerate(words) if word == "test"]
    assert "your own split by the column 'part'" in split.how
    wrong = replace(data, frame=data.frame.with_columns(part=pl.Series([*words[:-1], "holdout"])))
    with pytest.raises(DataError, match="line 61 says 'holdout'"):
        make_split(wrong, seed=0, how="part", classification=True)
    with pytest.raises(OptionError, match="there is no column 'prat'; did you mean 'part'"):
        make_split(named, seed=0, how="prat", classification=True)


def test_what_cannot_be_split_says_so() -> None:
    with pytest.raises(DataError, match="too few rows that differ"):
        make_split(dataset([5] * 40, ["a", "b"] * 20), seed=0, classification=True)
    two = dataset(list(range(40)), ["a", "b"] * 20, groups=["g", "h"] * 20)
    with pytest.raises(DataError, match="too few groups of 'group'"):
        make_split(two, seed=0, group="group", classification=True)
    with pytest.raises(DataError, match="'time' has too few distinct values"):
        make_split(two, seed=0, time="time", classification=True)
    with pytest.raises(OptionError, match="two different splits"):
        make_split(two, seed=0, group="group", time="time", classification=True)
    with pytest.raises(OptionError, match="add --group COLUMN"):
        make_split(two, seed=0, how="group", classification=True)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(12, 100), seed=seeds, num_folds=st.integers(2, 6), grouped=st.booleans())
def test_folds_hold_every_row_out_once(size: int, seed: int, num_folds: int, grouped: bool) -> None:
    generator = np.random.default_rng(seed)
    contents = generator.integers(0, size, size)
    contents[:2] = [size, size + 1]
    groups: list[str | None] = [f"g{g}" for g in generator.integers(0, size, size)]
    groups[:2] = ["first", "second"]
    data = dataset(contents.tolist(), [f"c{i}" for i in generator.integers(0, 3, size)], groups=groups)
    positions = np.sort(generator.permutation(np.arange(2, size))[: size - 4])
    positions = np.concatenate([[0, 1], positions])
    group = "group" if grouped else None
    found = folds(data, positions, num_folds=num_folds, seed=seed, group=group, classification=True)
    assert 2 <= len(found) <= num_folds
    assert sorted(np.concatenate([held for _, held in found]).tolist()) == positions.tolist()
    for train, held in found:
        assert sorted(np.concatenate([train, held]).tolist()) == positions.tolist()
        assert not np.isin(data.digests[train], data.digests[held]).any()
        if grouped:
            assert not {groups[i] for i in train} & {groups[i] for i in held}


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(2, 30), min_size=2, max_size=6), seed=seeds, num_folds=st.integers(2, 5))
def test_folds_are_even_and_every_class_trains(counts: list[int], seed: int, num_folds: int) -> None:
    labels = np.array([f"class {c}" for c, count in enumerate(counts) for _ in range(count)])
    data = dataset(list(range(len(labels))), labels.tolist())
    num_folds = min(num_folds, len(labels))
    found = folds(data, np.arange(len(labels)), num_folds=num_folds, seed=seed, classification=True)
    sizes = [len(held) for _, held in found]
    assert max(sizes) - min(sizes) <= len(counts)
    for train, held in found:
        assert set(labels[train]) == set(labels)
        in_fold = Counter(labels[held].tolist())
        assert all(abs(in_fold[f"class {c}"] - count / num_folds) < 1 for c, count in enumerate(counts))
