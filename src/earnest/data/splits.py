"""Who trains, who selects, who judges: splits in which exact duplicates and groups never sit on two sides.

Rows that belong together (equal digests, or the same group) form a *unit*; a split deals out units, never rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from earnest.core.errors import DataError, OptionError
from earnest.core.seeds import derive
from earnest.data.columns import require_column
from earnest.data.dataset import Dataset, Part, Split

Positions = NDArray[np.int64]

PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What a column that names the parts may say, in any case."""


def make_split(
    dataset: Dataset,
    *,
    seed: int,
    how: str | None = None,
    group: str | None = None,
    time: str | None = None,
    classification: bool,
    test_share: float = 0.2,
    validation_share: float = 0.15,
) -> Split:
    """Training, validation and test part of a data set.

    The user's own parts (`dataset.part`, or the column that `how` names) stand as they are; a part that is missing is
    cut from the training rows. With these, and with a split by time, training rows that equal a later part's rows are
    taken out; otherwise duplicates stay together.

    Args:
        dataset: the rows, with their target.
        seed: the same seed gives the same split.
        how: "random" (stratified by class), "group", "time", or a column that names each row's part; None takes what
            the other arguments suggest.
        group: the column whose values never cross a split, unless that is by time or the user's own.
        time: the column after which rows are ordered; the last are the test. Equal times stay together.
        classification: the target names classes; each has training rows, where that can be.
        test_share: of all rows.
        validation_share: of the rows that are not test.

    Raises:
        OptionError: the arguments contradict each other or name no column.
        DataError: there are too few rows, groups or times for three parts; a part's name is unknown.
    """
    how = _how(dataset, how, group, time)
    if how not in ("random", "group", "time"):
        dataset = replace(dataset, part=_named_parts(dataset, how))
    if how == "time":
        assert time is not None
        return _by_time(dataset, time, test_share, validation_share)
    units = _units(dataset, group)
    classes = _classes(dataset) if classification else np.zeros(len(dataset), np.int64)
    part, left_out = _given_parts(dataset)
    what = f"groups of {group!r}" if group else "rows that differ"
    for name, share in (("test", test_share), ("validation", validation_share)):
        if name not in part:
            rest = np.flatnonzero(part == "train")
            cut = _cut(units[rest], classes[rest], share, np.random.default_rng(derive(seed, "split", name)))
            if not cut.any() or cut.all():
                raise DataError(
                    f"{dataset.source} has too few {what} to cut a {name} part from its {len(rest)} training rows; "
                    "it needs more data" + (", or none named by --group." if group else ".")
                )
            part[rest[cut]] = name
    sentence = _describe(dataset, how, group, classification, part, left_out)
    return _split(dataset, part, left_out, sentence)


def folds(
    dataset: Dataset,
    positions: Positions,
    *,
    num_folds: int,
    seed: int,
    group: str | None = None,
    classification: bool,
) -> list[tuple[Positions, Positions]]:
    """(train, held out) positions for cross-fitting: each of `positions` is held out once.

    Duplicates and groups stay together; the classes are spread evenly, so that one with two units or more is in every
    training part. There are fewer folds than asked for when there are fewer units.

    Raises:
        DataError: all rows belong together.
    """
    units = _units(dataset, group)[positions]
    classes = _classes(dataset)[positions] if classification else np.zeros(len(positions), np.int64)
    of_unit, sizes, strata = _summarise(units, classes)
    num_folds = min(num_folds, len(sizes))
    if num_folds < 2:
        raise DataError(f"the {len(positions)} rows of {dataset.source} cannot be split: they all belong together.")
    shuffled = np.random.default_rng(derive(seed, "folds")).permutation(len(sizes))
    order = shuffled[np.lexsort((-sizes[shuffled], strata[shuffled]))]
    fold_of_unit = np.empty(len(sizes), np.int64)
    totals = np.zeros(num_folds)
    in_stratum = np.zeros(num_folds)
    stratum = -1
    for unit in order:
        if strata[unit] != stratum:
            stratum, in_stratum = strata[unit], np.zeros(num_folds)
        fold = int(np.lexsort((totals, in_stratum))[0])
        fold_of_unit[unit] = fold
        in_stratum[fold] += sizes[unit]
        totals[fold] += sizes[unit]
    fold_of_row = fold_of_unit[of_unit]
    return [(positions[fold_of_row != f], positions[fold_of_row == f]) for f in range(num_folds)]


def _how(dataset: Dataset, how: str | None, group: str | None, time: str | None) -> str:
    if how is None and group is not None and time is not None:
        raise OptionError(
            "--group and --time ask for two different splits; say which with --split group or --split time."
        )
    if how is None:
        how = "group" if group is not None else "time" if time is not None else "random"
    if (how == "group" and group is None) or (how == "time" and time is None):
        raise OptionError(f"--split {how} needs the column: add --{how} COLUMN.")
    if how not in ("random", "group", "time"):
        require_column(how, dataset.frame.columns, "--split")
    return how


def _named_parts(dataset: Dataset, column: str) -> NDArray[np.str_]:
    """Each row's part as the column says; a test file's rows stay the test."""
    said = dataset.frame[column].cast(pl.String).str.strip_chars().str.to_lowercase().to_list()
    given = dataset.part if dataset.part is not None else np.full(len(dataset), "train", "<U10")
    parts = []
    for row, (name, part) in enumerate(zip(said, given, strict=True)):
        if part != "train":
            parts.append(part)
        elif name in PART_NAMES:
            parts.append(PART_NAMES[name])
        else:
            raise DataError(
                f"--split {column}: {dataset.names[row]} says {name!r}; the column may say train, validation and test."
            )
    return np.array(parts, "<U10")


def _given_parts(dataset: Dataset) -> tuple[NDArray[np.str_], Positions]:
    """The user's parts, and the rows that leave them since a part further from training holds the same."""
    part = np.full(len(dataset), "train", "<U10") if dataset.part is None else dataset.part.astype("<U10")
    digests = dataset.digests
    leaves = (part == "train") & np.isin(digests, digests[part != "train"])
    leaves |= (part == "validation") & np.isin(digests, digests[part == "test"])
    part[leaves] = "left out"
    if not (part == "train").any():
        raise DataError(
            f"{dataset.source} has no training rows left: {int(leaves.sum())} equal rows of its validation or test "
            "part, and the others are in these parts."
        )
    return part, np.flatnonzero(leaves)


def _units(dataset: Dataset, group: str | None) -> NDArray[np.int64]:
    """A number for each row, equal for rows that belong together."""
    _, by_digest = np.unique(dataset.digests, return_inverse=True)
    if group is None:
        return by_digest.astype(np.int64)
    labels = dataset.frame[group].cast(pl.String)
    alone = [f"alone {i}" if label is None else f"group {label}" for i, label in enumerate(labels)]
    _, by_group = np.unique(np.array(alone), return_inverse=True)
    size = by_digest.max() + by_group.max() + 2
    links = coo_array((np.ones(len(dataset)), (by_digest, by_digest.max() + 1 + by_group)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    return component[by_digest].astype(np.int64)


def _classes(dataset: Dataset) -> NDArray[np.int64]:
    assert dataset.target is not None
    return np.unique(dataset.frame[dataset.target].cast(pl.String).to_numpy(), return_inverse=True)[1].astype(np.int64)


def _summarise(
    units: NDArray[np.int64], classes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Each row's unit, numbered from 0; each unit's size; each unit's stratum: the class of most of its rows."""
    _, of_unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    pairs, counts = np.unique(np.stack([of_unit, classes]), axis=1, return_counts=True)
    order = np.lexsort((counts, pairs[0]))
    last = np.flatnonzero(np.diff(pairs[0][order], append=-1))
    return of_unit, sizes, pairs[1][order][last]


def _cut(
    units: NDArray[np.int64], classes: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which rows to take so that about that share is taken of each class, in whole units.

    What rounding denies a class is made up for in the next. The first unit of every class stays, and a taken unit comes
    back when it holds the last rows of a class.
    """
    of_unit, sizes, strata = _summarise(units, classes)
    taken = np.zeros(len(sizes), bool)
    wanted = reached = 0.0
    totals = np.bincount(strata, weights=sizes)
    for stratum in np.argsort(totals, kind="stable"):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        wanted += share * totals[stratum]
        for unit in members[1:]:
            if reached + sizes[unit] <= wanted + 0.5:
                taken[unit] = True
                reached += sizes[unit]
    if not taken.any() and len(sizes) > 1:
        taken[np.argmin(np.abs(sizes - share * len(units)))] = True
    for name in np.setdiff1d(classes, classes[~taken[of_unit]]):
        holders = np.unique(of_unit[classes == name])
        if taken.sum() > 1:
            taken[holders[np.argmin(sizes[holders])]] = False
    return taken[of_unit]


def _by_time(dataset: Dataset, time: str, test_share: float, validation_share: float) -> Split:
    """The last rows are the test, those before them the validation; rows without a time train."""
    moments = dataset.frame[time].to_physical().cast(pl.Float64).fill_nan(None).to_numpy()
    part = np.full(len(dataset), "train", "<U10")
    for name, share in (("test", test_share), ("validation", validation_share)):
        rest = part == "train"
        part[rest & (moments >= _boundary(moments[rest], share, dataset.source, time))] = name
    part, left_out = _given_parts(replace(dataset, part=part))
    how = f"by {time!r}: the last {(part == 'test').mean():.0%} are the test, those before them the validation"
    if untimed := int(np.isnan(moments).sum()):
        how += f"; {untimed} rows without a time train"
    return _split(dataset, part, left_out, how + _equal_rows(left_out))


def _boundary(moments: NDArray[np.float64], share: float, source: str, time: str) -> float:
    """The moment from which on about that share of the rows lie."""
    known, counts = np.unique(moments[~np.isnan(moments)], return_counts=True)
    if len(known) < 2:
        raise DataError(f"{source}: {time!r} has too few distinct values to cut it into three parts.")
    from_here_on = counts[::-1].cumsum()[::-1][1:]
    return float(known[1 + np.argmin(np.abs(from_here_on - share * len(moments)))])


def _describe(
    dataset: Dataset,
    how: str,
    group: str | None,
    classification: bool,
    part: NDArray[np.str_],
    left_out: Positions,
) -> str:
    counts = " / ".join(f"{int((part == name).sum())}" for name in ("train", "validation", "test"))
    given = [] if dataset.part is None else [n for n in ("validation", "test") if (dataset.part == n).any()]
    own = "" if how in ("random", "group") else f" by the column {how!r}"
    way = f"no {group!r} on two sides" if group else "at random"
    way += f", stratified by {dataset.target}" if classification else ""
    if len(given) == 2:
        sentence = f"{counts} rows train / validate / test, your own split{own}"
    elif given:
        other = "validation" if given == ["test"] else "test"
        sentence = f"{counts} rows train / validate / test, your own {given[0]} part{own}; the {other} part cut {way}"
    else:
        sentence = f"{counts} rows train / validate / test, {way}"
    together = len(dataset) - len(np.unique(dataset.digests)) - len(left_out)
    if together > 0:
        sentence += f"; {together} exact duplicates stay on the side of their twins"
    return sentence + _equal_rows(left_out)


def _equal_rows(left_out: Positions) -> str:
    if len(left_out) == 0:
        return ""
    return f"; {len(left_out)} rows that equal a test or validation row were taken out of training"


def _split(dataset: Dataset, part: NDArray[np.str_], left_out: Positions, how: str) -> Split:
    for name in ("train", "validation", "test"):
        if not (part == name).any():
            raise DataError(
                f"{dataset.source}: the {name} part holds no row{_equal_rows(left_out)}. It needs more data."
            )
    train, validation, test = (np.flatnonzero(part == name) for name in ("train", "validation", "test"))
    return Split(train, validation, test, how, left_out)
