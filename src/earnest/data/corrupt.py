"""Corruptions of whole batches of numbers, categories and tokens: views of an example that mean the same.

Images have `earnest.data.augment`. Random numbers come from PyTorch's default generator, which training reseeds at
each step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.words import Batch, Step
from earnest.data.ragged import Ragged
from earnest.data.text_batches import TextBatches


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on every number; categories stay as they are."""

    deviation: float = 0.1
    """In the unit of the numbers, which are usually scaled to a deviation of 1."""

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """The batch with noise; see `earnest.data.batches.Transform`."""

        def noisy(column: Tensor) -> Tensor:
            return column + self.deviation * torch.randn_like(column) if column.is_floating_point() else column

        inputs = batch.inputs
        return replace(batch, inputs=noisy(inputs) if isinstance(inputs, Tensor) else tuple(map(noisy, inputs)))


@dataclass(frozen=True)
class SwapFeatures:
    """Some numbers and categories of each row replaced by those of other rows of the batch.

    Each column so keeps its own distribution, whatever its scale (Bahri et al. 2022, arXiv:2106.15147).
    """

    share: float = 0.3
    """Probability with which a value is replaced."""

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """The batch with values replaced; see `earnest.data.batches.Transform`."""
        inputs = batch.inputs
        return replace(
            batch, inputs=self._swap(inputs) if isinstance(inputs, Tensor) else tuple(map(self._swap, inputs))
        )

    def _swap(self, columns: Tensor) -> Tensor:
        """(B, F) with values from the same column of random rows."""
        others = columns.gather(0, torch.randint(len(columns), columns.shape, device=columns.device))
        return torch.where(torch.rand(columns.shape, device=columns.device) < self.share, others, columns)


@dataclass(frozen=True)
class EditTokens:
    """Tokens deleted, masked, and swapped with the next one (Wei & Zou 2019, arXiv:1901.11196).

    Inputs are ids (B, T) and lengths (B,). The first token of a row and the `special` ones stay where they are.
    """

    mask: int
    """Id of the token that stands for any other: [MASK], or the unknown word's."""
    special: tuple[int, ...] = ()
    """Ids of tokens that are no part of the text, such as [CLS] and [SEP]."""
    deleted: float = 0.1
    """Probability with which a token is deleted; so for the others."""
    masked: float = 0.1
    swapped: float = 0.1

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """The batch edited; see `earnest.data.batches.Transform`."""
        ids, lengths = batch.inputs
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        free = (place > 0) & (place < lengths[:, None])
        if self.special:
            free &= ~torch.isin(ids, torch.tensor(self.special, device=ids.device))
        ids = torch.where(free & _chance(ids, self.masked), self.mask, ids)
        before_free = free & torch.cat([free[:, 1:], torch.zeros_like(free[:, :1])], 1)
        order = place + 1.5 * (before_free & _chance(ids, self.swapped))
        gone = free & _chance(ids, self.deleted)
        order = torch.where(gone, float(ids.shape[1] + 1), order).argsort(dim=1, stable=True)
        lengths = lengths - gone.sum(1)
        ids = ids.gather(1, order) * (place < lengths[:, None])
        return replace(batch, inputs=(ids[:, : int(lengths.max())], lengths))


def _chance(like: Tensor, probability: float) -> Tensor:
    """True with this probability, for each element by itself."""
    return torch.rand(like.shape, device=like.device) < probability


def edited(ids: Ragged, edit: EditTokens, *, seed: int) -> Ragged:
    """A copy of each of the texts, edited; a function of the texts and the seed."""
    copies: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(ids)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in TextBatches(ids, None, np.arange(len(ids)), batch_size=256, transform=edit).batches(Step()):
            assert batch.rows is not None
            for row, text, length in zip(batch.rows.tolist(), *batch.inputs, strict=True):
                copies[row] = text[:length].numpy()
    return Ragged.of(copies, ids.values.dtype)
