"""What a linear model sees of rows: dense features, and the TF-IDF of their texts, which stays sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from earnest.evaluation.intervals import Floats

FARTHEST = 10.0
"""Standardised features are cut off here, so that one absurd value cannot decide an answer."""
SPARSE_COST = 10
"""Multiplying by a sparse entry takes as long as by this many dense ones, about."""


@dataclass(frozen=True, slots=True)
class Design:
    """N rows of F dense features and V sparse ones."""

    dense: NDArray[Any]
    """(N, F)"""
    texts: sp.csr_array
    """(N, V), V 0 where there are no texts."""

    @classmethod
    def of(cls, features: NDArray[np.generic] | Design) -> Design:
        """Dense features alone as a design; a design as it is."""
        if isinstance(features, Design):
            return features
        return cls(features, sp.csr_array((len(features), 0), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.dense)

    def __getitem__(self, rows: slice | NDArray[np.integer]) -> Design:
        return Design(self.dense[rows], self.texts[rows])

    @property
    def num_features(self) -> int:
        """F + V."""
        return self.dense.shape[1] + self.texts.shape[1]

    @property
    def cost_of_row(self) -> float:
        """What multiplying by one row takes, on average, in dense entries."""
        return max(1.0, self.dense.shape[1] + SPARSE_COST * self.texts.nnz / len(self))

    def standardised(self, centre: Floats, scale: Floats) -> Design:
        """Dense features less `centre`, divided by `scale`, both (F,), and cut off; texts as they are."""
        x = np.asarray(self.dense).astype(np.float32)
        x -= centre.astype(np.float32)
        x /= scale.astype(np.float32)
        return Design(np.clip(x, -FARTHEST, FARTHEST, out=x), self.texts)

    def outputs(self, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> NDArray[np.floating]:
        """(N, C) for weights (C, F + V) and biases (C,), in their precision."""
        num_dense = self.dense.shape[1]
        found: NDArray[np.floating] = self.dense @ weights[:, :num_dense].T + bias
        if self.texts.shape[1]:
            found += self.texts @ np.ascontiguousarray(weights[:, num_dense:].T)
        return found

    def gradient(self, errors: NDArray[np.float32]) -> Floats:
        """(C, F + V) of the weights, where the outputs' is `errors` (N, C)."""
        dense = (errors.T @ self.dense).astype(np.float64)
        if not self.texts.shape[1]:
            return dense
        return np.concatenate([dense, (self.texts.T @ errors).T], axis=1)


def stacked(designs: Sequence[Design]) -> Design:
    """The rows of one after those of another."""
    texts = sp.vstack([design.texts for design in designs], format="csr")
    return Design(np.concatenate([design.dense for design in designs]), texts)
