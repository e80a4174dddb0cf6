"""Sequences of different lengths, one behind the other in a single array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """N sequences of numbers: the i-th is `values[offsets[i] : offsets[i + 1]]`."""

    values: NDArray[Any]
    """(total,), or (total, W) where each element is W numbers; may be memory-mapped."""
    offsets: NDArray[np.int64]
    """(N + 1,), from 0 up to the number of values."""

    @classmethod
    def of(cls, sequences: Sequence[NDArray[Any] | Sequence[int]], dtype: Any = np.int32) -> Ragged:
        """The sequences, in order."""
        offsets = np.zeros(len(sequences) + 1, np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
        values = np.empty(offsets[-1], dtype)
        for i, sequence in enumerate(sequences):
            values[offsets[i] : offsets[i + 1]] = sequence
        return cls(values, offsets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,)"""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        """One sequence."""
        index = range(len(self))[index]
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Some of the sequences, in that order."""
        values, lengths = self._gather(rows)
        return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))

    def padded(self, rows: NDArray[np.int64], *, fill: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Some of the sequences as (B, T) or (B, T, W) int64, `fill` behind the shorter ones; their lengths (B,)."""
        values, lengths = self._gather(rows)
        padded = np.full((len(rows), lengths.max(initial=0), *values.shape[1:]), fill, np.int64)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = values
        return padded, lengths

    def _gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The values of these sequences one behind the other, and the sequences' lengths."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        ends = np.cumsum(lengths)
        places = np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)
        return np.asarray(self.values[places]), lengths
