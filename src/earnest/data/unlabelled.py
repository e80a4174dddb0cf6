"""Batches of few labelled and many unlabelled examples, for `earnest.tasks.semi_supervised`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.errors import DataError
from earnest.core.words import Batch, Clock, Inputs, Step
from earnest.data.batches import RowBatches, Transform

UNLABELLED = -1
"""The target of an example whose class is not known."""


@dataclass(slots=True)
class PairedBatch(Batch):
    """Rows [labelled, weak views, strong views], both views in the same order; their targets are -1."""

    def split(self, parts: int) -> list[Batch]:
        """The batch cut into at most `parts` such batches, each with the share of unlabelled examples of the whole."""
        assert self.targets is not None
        num_labelled = int((self.targets >= 0).sum())
        num_unlabelled = (len(self) - num_labelled) // 2
        size = -(-num_labelled // parts)
        beside = _beside(num_labelled, num_unlabelled)
        part = torch.from_numpy(np.concatenate([np.arange(num_labelled), beside, beside]) // size)
        return [self.map(lambda x, i=i: x[part == i]) for i in range(int(part.max()) + 1)]  # type: ignore[misc]


class UnlabelledBatches:
    """Batches of labelled examples and of unlabelled ones in two views, a weak and a strong one.

    The labelled examples and the weak views are what their sources yield, transforms included; the strong views are
    what `strong` makes of the unlabelled data. An epoch passes once over the unlabelled rows; meanwhile the labelled
    ones, which are few, come again and again, shuffled anew each time. Processes share each batch.
    """

    def __init__(self, labelled: RowBatches, unlabelled: RowBatches, *, strong: Transform) -> None:
        """Both sources shuffle; `mu` unlabelled examples to a labelled one is the ratio of their batch sizes.

        Raises:
            DataError: there are fewer unlabelled rows than labelled ones in a batch.
        """
        assert labelled.shuffle
        assert unlabelled.shuffle
        if unlabelled.batch_size < labelled.batch_size:
            raise DataError(
                f"there are {len(unlabelled.rows)} unlabelled rows, fewer than the {labelled.batch_size} labelled ones "
                f"of a batch: give more unlabelled rows, or learn from the labelled ones alone."
            )
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.strong = strong

    def refresh(self, model: nn.Module, step: Step, clock: Clock) -> None:
        """Nothing: the data is fixed, and pseudo-labels are made in the step that learns them."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the data is fixed."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing: the data is fixed."""

    def num_batches(self, world: int = 1) -> int:
        """Batches an epoch, which is a pass over the unlabelled rows."""
        return self.unlabelled.num_batches(world)

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[PairedBatch]:
        """The epoch's batches from `step.index` on."""
        order, size = self.unlabelled.order(step), self.unlabelled.batch_size
        labelled = self._labelled(step, rank, world)
        for start in range(step.index * size, len(order), size):
            rows = order[start : start + size]
            rows = rows[_beside(self.labelled.batch_size, len(rows)) % world == rank]
            yield _joined([next(labelled), self.unlabelled.batch(rows, step), self._strong(rows, step)])

    def _labelled(self, step: Step, rank: int, world: int) -> Iterator[Batch]:
        """Labelled batches from where `step` stands, in epochs of their own."""
        size = self.labelled.batch_size
        first, index = divmod(step.epoch * self.num_batches() + step.index, self.labelled.num_batches())
        for epoch in itertools.count(first):
            its = step.at(epoch=epoch)
            order = self.labelled.order(its)
            for start in range(index * size, len(order), size):
                yield self.labelled.batch(order[start : start + size][rank::world], its)
            index = 0

    def _strong(self, rows: NDArray[np.int64], step: Step) -> Batch:
        return self.strong(self.unlabelled.read(rows), step)


def _beside(num_labelled: int, num_unlabelled: int) -> NDArray[np.int64]:
    """For each unlabelled example of a batch the labelled one (its number) that it goes with when the batch is cut."""
    return np.arange(num_unlabelled) * num_labelled // num_unlabelled


def _joined(batches: Sequence[Batch]) -> PairedBatch:
    """Labelled, weak and strong rows as one batch."""
    targets, rows = batches[0].targets, [batch.rows for batch in batches if batch.rows is not None]
    assert targets is not None
    assert len(rows) == len(batches)
    unknown = targets.new_full((sum(map(len, batches[1:])),), UNLABELLED)
    columns = zip(*(_columns(batch.inputs) for batch in batches), strict=True)
    inputs = tuple(_stacked(parts) for parts in columns)
    return PairedBatch(inputs[0] if len(inputs) == 1 else inputs, torch.cat([targets, unknown]), torch.cat(rows))


def _columns(inputs: Inputs) -> tuple[Tensor, ...]:
    return inputs if isinstance(inputs, tuple) else (inputs,)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """One behind the other; token ids (B, T) are padded with 0 to the longest."""
    if parts[0].ndim == 2:
        longest = max(part.shape[1] for part in parts)
        parts = [F.pad(part, (0, longest - part.shape[1])) for part in parts]
    return torch.cat(list(parts))
