"""Sources over fixed data, whose order is a pure function of (seed, stage, epoch, position)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.seeds import derive
from earnest.core.words import Batch, Clock, Step

Transform = Callable[[Batch, Step], Batch]


class RowBatches:
    """Batches of rows of fixed data; what is done to a batch (normalising, augmenting, masking) is its `transform`.

    In training (`shuffle`) every batch is whole, so that no batch-norm statistic comes from a handful of rows.
    Otherwise each row comes once.
    """

    def __init__(self, rows: NDArray[np.int64], *, batch_size: int, shuffle: bool, transform: Transform | None) -> None:
        self.rows = rows
        self.batch_size = min(batch_size, len(rows)) if shuffle else batch_size
        self.shuffle = shuffle
        self.transform = transform

    def order(self, step: Step) -> NDArray[np.int64]:
        """The epoch's rows in the order in which they come."""
        raise NotImplementedError(f"{type(self).__name__} has no order")

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """These rows' data, before the transform."""
        raise NotImplementedError(f"{type(self).__name__} reads nothing")

    def refresh(self, model: nn.Module, step: Step, clock: Clock) -> None:
        """Nothing: the data is fixed."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the data is fixed."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing: the data is fixed."""

    def num_batches(self, world: int = 1) -> int:
        """Batches an epoch; processes share each batch, so that their number changes nothing."""
        return -(-len(self.rows) // self.batch_size)

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The epoch's batches from `step.index` on, every `world`-th row of each from `rank` on."""
        order = self.order(step)
        for start in range(step.index * self.batch_size, len(order), self.batch_size):
            yield self.batch(order[start : start + self.batch_size][rank::world], step)

    def batch(self, rows: NDArray[np.int64], step: Step) -> Batch:
        """The batch of these rows."""
        batch = self.read(rows)
        return batch if self.transform is None else self.transform(batch, step)


class ArrayBatches(RowBatches):
    """Batches of rows of arrays.

    In training the last, shorter batch of an epoch is filled from the epoch's beginning; otherwise rows come in order.
    """

    def __init__(
        self,
        inputs: Sequence[NDArray[np.generic]],
        targets: NDArray[np.generic] | None,
        rows: NDArray[np.int64],
        *,
        batch_size: int,
        shuffle: bool = False,
        transform: Transform | None = None,
    ) -> None:
        """`inputs` and `targets` are indexed by the positions in `rows`; memory-mapped arrays are read as needed."""
        super().__init__(rows, batch_size=batch_size, shuffle=shuffle, transform=transform)
        self.inputs = tuple(inputs)
        self.targets = targets

    def order(self, step: Step) -> NDArray[np.int64]:
        """The epoch's rows in the order in which they come."""
        if not self.shuffle:
            return self.rows
        generator = np.random.default_rng(derive(step.seed, "order", step.stage, step.epoch))
        order = generator.permutation(self.rows)
        return np.concatenate([order, order[: -len(order) % self.batch_size]])

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """The batch of these rows."""
        inputs = tuple(torch.from_numpy(np.ascontiguousarray(array[rows])) for array in self.inputs)
        targets = None if self.targets is None else torch.from_numpy(np.ascontiguousarray(self.targets[rows]))
        return Batch(inputs[0] if len(inputs) == 1 else inputs, targets, torch.tensor(rows))
