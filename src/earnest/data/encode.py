"""Typed columns to arrays: what numbers, categories, dates and texts become for trees, linear models and networks.

Everything is learned from the training rows and kept as plain data, so that one row is encoded as many are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from earnest.core.errors import DataError, nearest
from earnest.data.dataset import Column
from earnest.data.kinds import cast
from earnest.data.text import MAX_TERMS, TextEncoder
from earnest.data.values import labels

MAX_LABELS = 1_000
"""Labels of a category column with a code of their own; the rest of a column with more share one."""

_LARGEST = float(np.finfo(np.float32).max)
_DAY = 86_400e6
"""Microseconds."""
_EPOCH_2000 = 10_957
"""Days from 1970 to 2000, from which dates count, so that float32 holds minutes."""


@dataclass(frozen=True)
class EncodedTable:
    """N rows as arrays, without the rows' ids."""

    numbers: NDArray[np.float32]
    """(N, F) numbers as they are, dates as several numbers, NaN for missing."""
    scaled: NDArray[np.float32]
    """(N, F + M) the same scaled, clipped and imputed, then 1 where missing for the M that were missing in training."""
    codes: NDArray[np.int64]
    """(N, K), 0 for missing or unseen."""
    text_sparse: sp.csr_array | None
    """(N, V) TF-IDF."""
    text_dense: NDArray[np.float32] | None
    """(N, T) what trees and networks get of the texts. A tree splits on one rare word at a time, and a network needs a
    weight for each word and hidden unit: neither learns from 100,000 sparse columns what a linear model does."""
    names: tuple[str, ...]
    """Of the F numbers, then of the K codes."""
    notes: tuple[str, ...] = ()
    """Cells that did not fit their column, and count as missing."""
    pictures: NDArray[np.float32] | None = None
    """(N, P) what a pretrained network sees in pictures that belong to the rows, each of unit variance."""

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: NDArray[np.int64]) -> EncodedTable:
        """Some of the rows, in that order."""
        return replace(
            self,
            numbers=self.numbers[rows],
            scaled=self.scaled[rows],
            codes=self.codes[rows],
            text_sparse=None if self.text_sparse is None else self.text_sparse[rows],
            text_dense=None if self.text_dense is None else self.text_dense[rows],
            pictures=None if self.pictures is None else self.pictures[rows],
        )

    def trees_numbers(self) -> NDArray[np.float32]:
        """(N, F + T + P): what trees get besides the codes, numbers as they are, dense texts and pictures."""
        return self._with_media(self.numbers)

    def network_numbers(self) -> NDArray[np.float32]:
        """(N, F + M + T + P): what a network gets besides the codes, all finite and of unit scale."""
        return self._with_media(self.scaled)

    def _with_media(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        media = [dense for dense in (self.text_dense, self.pictures) if dense is not None]
        return np.concatenate([numbers, *media], axis=1)


@dataclass(frozen=True)
class TableEncoder:
    """How a table's input columns become arrays."""

    columns: tuple[Column, ...]
    """The columns that are encoded, in order: numbers, dates, categories, texts among them."""
    centers: NDArray[np.float64]
    """(F,) medians."""
    scales: NDArray[np.float64]
    """(F,) what the distance from the median is multiplied by."""
    indicated: NDArray[np.int64]
    """(M,) the numbers, by position, that were missing in training."""
    vocabularies: tuple[tuple[str, ...], ...]
    """Labels with codes 1, 2, ... for each category column."""
    crowded: tuple[bool, ...]
    """Whether a category column has a last code for every other label."""
    texts: tuple[TextEncoder, ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame, columns: Iterable[Column], *, max_terms: int = MAX_TERMS) -> TableEncoder:
        """Learn from the training rows.

        Args:
            frame: these rows only.
            columns: the inputs; kinds other than number, date, category and text are passed over.
            max_terms: terms of each text column, at most.
        """
        columns = tuple(column for column in columns if column.kind in ("number", "date", "category", "text"))
        numbers = _numbers(frame, columns)
        centers, scales = _robust_scales(numbers)
        once = [i for i, (_, part) in enumerate(_number_names(columns)) if part in ("", "days")]
        vocabularies, crowded = [], []
        for column in columns:
            if column.kind == "category":
                known, more = _vocabulary(labels(frame[column.name]))
                vocabularies.append(known)
                crowded.append(more)
        return cls(
            columns,
            centers,
            scales,
            np.array([i for i in once if np.isnan(numbers[:, i]).any()], np.int64),
            tuple(vocabularies),
            tuple(crowded),
            tuple(
                TextEncoder.fit(_texts(frame, column), max_terms=max_terms)
                for column in columns
                if column.kind == "text"
            ),
        )

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes a category column can take, counting 0."""
        return tuple(1 + len(known) + more for known, more in zip(self.vocabularies, self.crowded, strict=True))

    def transform(self, frame: pl.DataFrame) -> EncodedTable:
        """Encode rows; cells that do not fit their column's kind are missing, labels never seen have code 0.

        Raises:
            DataError: columns are missing, which are named.
        """
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            listed = ", ".join(repr(name) for name in absent)
            raise DataError(
                f"the table lacks the column{'s' * (len(absent) > 1)} {listed} that the model was trained with"
                f"{nearest(absent[0], frame.columns) or '.'}"
            )
        numbers = _numbers(frame, self.columns)
        sparse = [
            encoder.sparse(_texts(frame, column))
            for encoder, column in zip(self.texts, self._of_kind("text"), strict=True)
        ]
        dense = [encoder.dense(matrix) for encoder, matrix in zip(self.texts, sparse, strict=True)]
        return EncodedTable(
            numbers=np.clip(numbers, -_LARGEST, _LARGEST).astype(np.float32),
            scaled=self._scaled(numbers),
            codes=self._codes(frame),
            text_sparse=sp.hstack(sparse, format="csr") if sparse else None,
            text_dense=np.concatenate(dense, axis=1) if dense else None,
            names=(
                *(f"{name} ({part})" if part else name for name, part in _number_names(self.columns)),
                *(column.name for column in self._of_kind("category")),
            ),
            notes=tuple(note for column in self.columns if (note := _misfits(frame[column.name], column))),
        )

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Plain JSON and arrays, for `from_state`."""
        facts: dict[str, Any] = {
            "columns": [asdict(column) for column in self.columns],
            "vocabularies": self.vocabularies,
            "crowded": self.crowded,
            "texts": [],
        }
        arrays: dict[str, NDArray[Any]] = {
            "centers": self.centers,
            "scales": self.scales,
            "indicated": self.indicated,
        }
        for number, encoder in enumerate(self.texts):
            its, its_arrays = encoder.to_state()
            facts["texts"].append(its)
            arrays |= {f"text.{number}.{name}": array for name, array in its_arrays.items()}
        return facts, arrays

    @classmethod
    def from_state(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TableEncoder:
        """The encoder whose `to_state` gave this, through JSON too."""
        texts = [
            TextEncoder.from_state(
                its, {name: arrays[f"text.{number}.{name}"] for name in ("pairs", "idf", "projection")}
            )
            for number, its in enumerate(facts["texts"])
        ]
        return cls(
            tuple(Column(**column) for column in facts["columns"]),
            arrays["centers"],
            arrays["scales"],
            arrays["indicated"],
            tuple(tuple(known) for known in facts["vocabularies"]),
            tuple(facts["crowded"]),
            tuple(texts),
        )

    def _of_kind(self, kind: str) -> list[Column]:
        return [column for column in self.columns if column.kind == kind]

    def _scaled(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """RealMLP's robust scaling and smooth clipping (Holzmüller et al. 2024, arXiv:2407.04491, section 3)."""
        missing = np.isnan(numbers)
        offsets = (np.clip(np.where(missing, self.centers, numbers), -1e150, 1e150) - self.centers) * self.scales
        offsets = np.clip(offsets, -1e150, 1e150)
        clipped = offsets / np.sqrt(1 + (offsets / 3) ** 2)
        return np.concatenate([clipped, missing[:, self.indicated]], axis=1).astype(np.float32)

    def _codes(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        columns = self._of_kind("category")
        codes = np.zeros((len(frame), len(columns)), np.int64)
        for k, (column, known, more) in enumerate(zip(columns, self.vocabularies, self.crowded, strict=True)):
            strings = labels(frame[column.name])
            code = strings.replace_strict(
                list(known),
                list(range(1, len(known) + 1)),
                default=len(known) + 1 if more else 0,
                return_dtype=pl.Int64,
            )
            codes[:, k] = code.set(strings.is_null(), 0).to_numpy()
        return codes


def _numbers(frame: pl.DataFrame, columns: Iterable[Column]) -> NDArray[np.float64]:
    """(N, F) float64, NaN for missing: each number, and of each date its parts."""
    series: list[pl.Series] = []
    for column in columns:
        if column.kind == "number":
            series.append(cast(frame[column.name], "number", column.written))
        elif column.kind == "date":
            dates = cast(frame[column.name], "date", column.written)
            days = dates.dt.epoch("us") / _DAY - _EPOCH_2000
            parts = (days, dates.dt.year(), dates.dt.month(), dates.dt.weekday(), dates.dt.hour())
            series += [part.cast(pl.Float64) for part in parts]
    if not series:
        return np.zeros((len(frame), 0))
    return np.stack([one.fill_null(float("nan")).to_numpy() for one in series], axis=1)


def _number_names(columns: Iterable[Column]) -> list[tuple[str, str]]:
    """(column, part) of each number, the part of a date or ""."""
    names = []
    for column in columns:
        if column.kind == "number":
            names.append((column.name, ""))
        elif column.kind == "date":
            names += [(column.name, part) for part in ("days", "year", "month", "weekday", "hour")]
    return names


def _robust_scales(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians, and 1 / interquartile range; 2 / range where that is 0, and 0 for a constant."""
    centers, scales = np.zeros(numbers.shape[1]), np.zeros(numbers.shape[1])
    for f in range(numbers.shape[1]):
        present = numbers[np.isfinite(numbers[:, f]), f]
        if len(present) == 0:
            continue
        low, lower, centers[f], upper, high = np.quantile(present, [0, 0.25, 0.5, 0.75, 1])
        if upper > lower:
            scales[f] = 1 / (upper - lower)
        elif high > low:
            scales[f] = 2 / (high - low)
    return centers, scales


def _vocabulary(strings: pl.Series) -> tuple[tuple[str, ...], bool]:
    """The most frequent labels, and whether there are more."""
    counts = strings.drop_nulls().alias("label").value_counts(name="count")
    ordered = counts.sort(["count", "label"], descending=[True, False])["label"].to_list()
    return tuple(ordered[:MAX_LABELS]), len(ordered) > MAX_LABELS


def _texts(frame: pl.DataFrame, column: Column) -> pl.Series:
    return cast(frame[column.name], "text")


def _misfits(series: pl.Series, column: Column) -> str:
    """How many cells of a number or date column hold something else."""
    if column.kind not in ("number", "date"):
        return ""
    count = cast(series, column.kind, column.written).null_count() - labels(series).null_count()
    return f"{count} cells of {column.name!r} are no {column.kind}s and count as missing" if count > 0 else ""
