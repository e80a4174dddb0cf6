"""Windows of a running text: those to learn from, and those that ask for every token once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earnest.core.seeds import derive
from earnest.core.words import Batch, Step
from earnest.data.batches import RowBatches

IGNORED = -100
"""The target of a token that is context only."""


class LearningWindows(RowBatches):
    """Windows side by side, from another place in every pass over the text, in an order drawn anew.

    Every batch is whole: the last one of an epoch is filled from the epoch's beginning.

    Args:
        ids: (N,) tokens, more than `length` of them; may be memory-mapped.
        length: tokens of a window, each of which is asked for the one that follows it.
        most: windows an epoch, at most; a longer text takes several epochs a pass.
    """

    def __init__(self, ids: NDArray[Any], *, length: int, batch_size: int, most: int) -> None:
        assert len(ids) > length, "the caller checks that there is a window"
        self.ids = ids
        self.length = length
        self.num_windows = max((len(ids) - 1) // length - 1, 1)  # one less than fit, so that they can begin anywhere
        self.epochs_a_pass = -(-self.num_windows // most)
        rows = np.arange(self.num_windows // self.epochs_a_pass)
        super().__init__(rows, batch_size=batch_size, shuffle=True, transform=None)

    def order(self, step: Step) -> NDArray[np.int64]:
        """Where the epoch's windows begin."""
        turn, part = divmod(step.epoch, self.epochs_a_pass)
        generator = np.random.default_rng(derive(step.seed, "windows", step.stage, turn))
        spare = len(self.ids) - 1 - self.num_windows * self.length
        starts = generator.integers(spare + 1) + self.length * generator.permutation(self.num_windows)
        starts = starts[part * len(self.rows) : (part + 1) * len(self.rows)]
        return np.concatenate([starts, starts[: -len(starts) % self.batch_size]])

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """The windows that begin there."""
        tokens = torch.from_numpy(self.ids[rows[:, None] + np.arange(self.length + 1)].astype(np.int64))
        lengths = torch.full((len(rows),), self.length)
        return Batch((tokens[:, :-1], lengths), tokens[:, 1:], torch.from_numpy(rows))


class SurroundedWindows(LearningWindows):
    """The same windows, each as a text of its own between the tokens that mark its ends; nothing is asked for.

    Args:
        ids, length, batch_size, most: as for `LearningWindows`; `length` is that of the text between the marks.
        around: the ids before and behind.
        learns: without it, every window comes once, in the order of the text.
    """

    def __init__(
        self,
        ids: NDArray[Any],
        *,
        length: int,
        batch_size: int,
        most: int,
        around: tuple[tuple[int, ...], tuple[int, ...]],
        learns: bool = True,
    ) -> None:
        super().__init__(ids, length=length, batch_size=batch_size, most=most)
        self.around = around
        self.shuffle = learns
        self.batch_size = batch_size if not learns else self.batch_size

    def order(self, step: Step) -> NDArray[np.int64]:
        """Where the epoch's windows begin."""
        return super().order(step) if self.shuffle else self.rows * self.length

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """The windows that begin there."""
        before, behind = (np.tile(np.array(marks, np.int64), (len(rows), 1)) for marks in self.around)
        text = self.ids[rows[:, None] + np.arange(self.length)].astype(np.int64)
        ids = torch.from_numpy(np.concatenate([before, text, behind], axis=1))
        return Batch((ids, torch.full((len(rows),), ids.shape[1])), None, torch.from_numpy(rows))


class AskingWindows(RowBatches):
    """Asks for each of the tokens `start` to `end` once, in order, with context before it wherever there is any.

    Args:
        ids: (N,) tokens; what stands before `start` is context.
        start: 1 at least, as nothing tells the first token of all.
        length: tokens that a window shows.
        context: of these, how many come before those that are asked for.
    """

    def __init__(self, ids: NDArray[Any], start: int, end: int, *, length: int, context: int, batch_size: int) -> None:
        assert 1 <= start < end <= len(ids)
        assert 0 <= context < length
        self.ids = ids
        self.start = start
        self.end = end
        self.length = length
        self.asked = length - context
        rows = np.arange(-(-(end - start) // self.asked))
        super().__init__(rows, batch_size=batch_size, shuffle=False, transform=None)

    def order(self, step: Step) -> NDArray[np.int64]:
        """All windows, as they stand in the text."""
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Batch:
        """These windows, shorter ones padded with 0; targets that are not asked for are -100."""
        first = self.start + rows * self.asked
        last = np.minimum(first + self.asked, self.end)
        begin = np.maximum(first + self.asked - self.length, 1)
        lengths = last - begin
        places = np.arange(lengths.max())
        inside = places < lengths[:, None]
        following = np.minimum(begin[:, None] + places, len(self.ids) - 1)
        shown = np.where(inside, self.ids[following - 1], 0).astype(np.int64)
        wanted = inside & (following >= first[:, None])
        targets = np.where(wanted, self.ids[following], IGNORED).astype(np.int64)
        inputs = (torch.from_numpy(shown), torch.from_numpy(lengths))
        return Batch(inputs, torch.from_numpy(targets), torch.from_numpy(rows))
