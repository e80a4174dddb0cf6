"""Batches of token sequences of nearly equal lengths, so that little is padding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.seeds import derive
from earnest.core.words import Batch, Step
from earnest.data.batches import RowBatches, Transform
from earnest.data.ragged import Ragged

IGNORED = -100
"""Fills targets behind a sequence's end; torch's cross-entropy passes it over."""

POOL = 50
"""Batches whose rows are sorted by length together: enough for little padding, few enough for batches of any mix."""


class TextBatches(RowBatches):
    """Batches whose inputs are ids (B, T) and lengths (B,), T the longest of the batch, and what else is `beside` them.

    In training (`shuffle`) the rows are shuffled, sorted by length within pools of 50 batches, cut into whole batches,
    and the batches shuffled; where a batch lacks rows it shares some with its neighbour in length, so that none of it
    comes twice. Otherwise each row comes once, the longest first: `Batch.rows` says where each answer belongs.
    """

    def __init__(
        self,
        ids: Ragged,
        targets: NDArray[np.generic] | Ragged | None,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        beside: Sequence[Ragged | NDArray[np.generic]] = (),
        shuffle: bool = False,
        transform: Transform | None = None,
    ) -> None:
        """`rows` are positions in the other arrays; ragged targets are padded with -100, other ragged arrays with 0."""
        super().__init__(rows, batch_size=batch_size, shuffle=shuffle, transform=transform)
        self.ids = ids
        self.targets = targets
        self.beside = tuple(beside)
        self._lengths = ids.lengths

    def order(self, step: Step) -> NDArray[np.int64]:
        """The epoch's rows in the order in which they come."""
        if not self.shuffle:
            return self.rows[np.argsort(-self._lengths[self.rows], kind="stable")]
        generator = np.random.default_rng(derive(step.seed, "order", step.stage, step.epoch))
        shuffled = generator.permutation(self.rows)
        num_batches = self.num_batches()
        num_pools = max(1, num_batches // POOL)
        bounds = [pool * num_batches // num_pools * self.batch_size for pool in range(num_pools + 1)]
        batches = np.concatenate([self._sorted_batches(shuffled[a:b], generator) for a, b in pairwise(bounds)])
        return generator.permutation(batches).reshape(-1)

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """The batch of these rows."""
        ids, lengths = self.ids.padded(rows)
        others = (_tensor(array, rows, fill=0) for array in self.beside)
        targets = None if self.targets is None else _tensor(self.targets, rows, fill=IGNORED)
        return Batch((torch.from_numpy(ids), torch.from_numpy(lengths), *others), targets, torch.tensor(rows))

    def _sorted_batches(self, pool: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """(batches, batch size) of at least that many rows; one batch, any of them, begins early to be whole."""
        pool = pool[np.argsort(self._lengths[pool], kind="stable")]
        starts = np.arange(0, len(pool), self.batch_size)
        lacking = -len(pool) % self.batch_size
        starts[generator.integers(1, len(starts)) if lacking else len(starts) :] -= lacking
        return pool[starts[:, None] + np.arange(self.batch_size)]


def _tensor(array: Ragged | NDArray[np.generic], rows: NDArray[np.int64], *, fill: int) -> Tensor:
    values = array.padded(rows, fill=fill)[0] if isinstance(array, Ragged) else np.ascontiguousarray(array[rows])
    return torch.from_numpy(values)
