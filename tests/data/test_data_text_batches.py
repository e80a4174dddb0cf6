"""Batches of sequences: as `test_data_batches.py` holds of rows, and rows of nearly equal length lie together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from earnest.core.words import Batch, Step
from earnest.data.ragged import Ragged
from earnest.data.text_batches import IGNORED, POOL, TextBatches

Rows = NDArray[np.int64]


def sequences(lengths: list[int] | Rows) -> Ragged:
    """Sequences that tell which they are and where in them one is: 1000 * row + place."""
    return Ragged.of([1000 * row + np.arange(length) for row, length in enumerate(lengths)])


def source(num: int, batch_size: int, *, shuffle: bool = True, lengths: Rows | None = None) -> TextBatches:
    """Some of the rows that there are, in any order, of lengths that are the same at each call."""
    generator = np.random.default_rng(num)
    lengths = generator.geometric(0.05, 2 * num).clip(1, 999) if lengths is None else lengths
    rows = generator.permutation(len(lengths))[:num]
    return TextBatches(sequences(lengths), np.arange(len(lengths)) * 10, rows, batch_size=batch_size, shuffle=shuffle)


def seen(batches: TextBatches, step: Step, **processes: int) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches.batches(step, **processes) if batch.rows is not None]


SIZES = [(64, 16), (65, 16), (79, 16), (7, 16), (1, 4), (33, 33), (50, 7), (34, 33), (1999, 3), (700, 3)]


@pytest.mark.parametrize(("num", "batch_size"), SIZES)
def test_an_epoch_covers_every_row_in_whole_batches(num: int, batch_size: int) -> None:
    batches = source(num, batch_size)
    epoch = seen(batches, Step(seed=int(np.random.default_rng().integers(1 << 40)), epoch=3))
    size = min(num, batch_size)
    assert len(epoch) == batches.num_batches() == -(-num // size)
    assert {len(batch) for batch in epoch} == {len(set(batch)) for batch in epoch} == {size}
    assert {row for batch in epoch for row in batch} == set(batches.rows.tolist())


@pytest.mark.parametrize(("num", "batch_size"), SIZES)
def test_without_shuffling_every_row_comes_once_the_longest_first(num: int, batch_size: int) -> None:
    batches = source(num, batch_size, shuffle=False)
    epoch = list(batches.batches(Step(epoch=5, seed=9)))
    rows = torch.cat([batch.rows for batch in epoch if batch.rows is not None])
    assert sorted(rows.tolist()) == sorted(batches.rows.tolist())
    assert len(epoch) == batches.num_batches()
    lengths = batches.ids.lengths[rows.numpy()]
    assert (np.diff(lengths) <= 0).all()
    answers = torch.empty(2 * num, dtype=torch.long)
    answers[rows] = torch.cat([batch.inputs[0][:, 0] for batch in epoch])
    assert torch.equal(answers[torch.from_numpy(batches.rows)], 1000 * torch.from_numpy(batches.rows))


def test_the_order_is_a_function_of_seed_stage_and_epoch_alone() -> None:
    here = Step(seed=5, epoch=2, stage="fit")
    first = seen(source(500, 8), here)
    np.random.seed(1)
    torch.manual_seed(1)
    used = source(500, 8)
    seen(used, here.at(epoch=7))
    assert seen(used, here) == first
    assert seen(used, here.at(phase="critic", progress=0.7)) == first
    for other in (here.at(seed=6), here.at(epoch=3), here.at(stage="head")):
        assert seen(used, other) != first


def test_an_epoch_goes_on_from_any_place() -> None:
    batches = source(453, 8)
    here = Step(seed=1, epoch=4)
    for shuffle in (True, False):
        batches.shuffle = shuffle
        whole = seen(batches, here)
        for index in range(0, len(whole) + 1, 3):
            assert seen(batches, here.at(index=index)) == whole[index:]


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_part_each_batch_among_them(world: int, shuffle: bool) -> None:
    batches = source(41, 12, shuffle=shuffle)
    here = Step(seed=2)
    whole = seen(batches, here)
    shares = [seen(batches, here, rank=rank, world=world) for rank in range(world)]
    assert {len(share) for share in shares} == {batches.num_batches(world)} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(row for part in parts for row in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_ids_and_targets_are_those_of_the_row_and_the_rest_is_padding() -> None:
    batches = source(137, 5)
    for batch in batches.batches(Step(seed=3)):
        ids, lengths = batch.inputs
        assert batch.rows is not None
        assert batch.targets is not None
        assert (ids.dtype, lengths.dtype) == (torch.int64, torch.int64)
        assert ids.shape == (5, int(lengths.max()))
        assert lengths.tolist() == batches.ids.lengths[batch.rows.numpy()].tolist()
        assert torch.equal(batch.targets, batch.rows * 10)
        for row, line, length in zip(batch.rows.tolist(), ids, lengths.tolist(), strict=True):
            assert line.tolist() == [1000 * row + place for place in range(length)] + [0] * (len(line) - length)


def test_ragged_targets_are_padded_with_what_the_loss_passes_over() -> None:
    ids = sequences([3, 1, 4, 1, 5])
    tags = Ragged.of([np.full(length, row) for row, length in enumerate(ids.lengths)], np.int16)
    (batch,) = TextBatches(ids, tags, np.arange(5), batch_size=9).batches(Step())
    assert batch.targets is not None
    assert batch.rows is not None
    places = torch.arange(5) < batch.inputs[1][:, None]
    assert torch.equal(batch.targets, torch.where(places, batch.rows[:, None], IGNORED))
    logits = torch.randn(5, 5, 5, requires_grad=True)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum").backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(-1) > 0, places)


def test_targets_may_lack_and_the_transform_is_told_where_it_is() -> None:
    told: list[Step] = []

    def note(batch: Batch, step: Step) -> Batch:
        told.append(step)
        return Batch(batch.inputs, None, batch.rows)

    here = Step(seed=8, epoch=1)
    batches = TextBatches(sequences([2] * 10), None, np.arange(10), batch_size=5, transform=note)
    assert [batch.targets for batch in batches.batches(here)] == [None, None]
    assert told == [here, here]


def test_little_is_padding_and_batches_are_of_all_lengths_throughout() -> None:
    generator = np.random.default_rng()
    batches = source(6400, 32, lengths=generator.integers(1, 200, 6400))
    epoch = list(batches.batches(Step(seed=int(generator.integers(1 << 30)))))
    padded = sum(batch.inputs[0].numel() for batch in epoch)
    assert padded < 1.1 * sum(int(batch.inputs[1].sum()) for batch in epoch)
    widths = np.array([batch.inputs[0].shape[1] for batch in epoch])
    halves = widths[: len(widths) // 2].mean(), widths[len(widths) // 2 :].mean()
    assert abs(halves[0] - halves[1]) < 5 * 58 / np.sqrt(len(widths) / 2)
    again = list(batches.batches(Step(seed=1, epoch=1)))
    together = {frozenset(batch.rows.tolist()) for batch in epoch if batch.rows is not None}
    assert not together & {frozenset(batch.rows.tolist()) for batch in again if batch.rows is not None}
    assert POOL * 32 < 6400


@given(st.lists(st.integers(1, 30), min_size=1, max_size=400), st.integers(1, 50), st.integers(0, 1 << 62))
@settings(max_examples=60, deadline=None)
def test_any_lengths_make_an_epoch(lengths: list[int], batch_size: int, seed: int) -> None:
    rows = np.arange(len(lengths))
    batches = TextBatches(sequences(lengths), None, rows, batch_size=batch_size, shuffle=True)
    epoch = seen(batches, Step(seed=seed))
    assert {len(set(batch)) for batch in epoch} == {min(batch_size, len(lengths))}
    assert len(epoch) == batches.num_batches()
    assert {row for batch in epoch for row in batch} == set(rows.tolist())


@given(st.lists(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=12), max_size=20), st.data())
@settings(max_examples=60, deadline=None)
def test_ragged_gives_back_what_it_got(lists: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(lists)
    assert [ragged[i].tolist() for i in range(len(ragged))] == lists
    assert ragged.lengths.tolist() == [len(one) for one in lists]
    if not lists:
        return
    assert ragged[-1].tolist() == lists[-1]
    rows = np.array(data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=30)), np.int64)
    taken = ragged.take(rows)
    assert [taken[i].tolist() for i in range(len(taken))] == [lists[row] for row in rows]
    ids, lengths = taken.padded(np.arange(len(taken)), fill=7)
    width = max((len(lists[row]) for row in rows), default=0)
    assert ids.tolist() == [lists[row] + [7] * (width - len(lists[row])) for row in rows]
    assert lengths.tolist() == [len(lists[row]) for row in rows]


def test_ragged_reads_a_memory_map_and_refuses_what_is_not_there(tmp_path: Path) -> None:
    ragged = sequences([4, 2, 9])
    np.save(tmp_path / "values.npy", ragged.values)
    mapped = Ragged(np.load(tmp_path / "values.npy", mmap_mode="r"), ragged.offsets)
    rows = np.array([2, 0, 2])
    assert np.array_equal(mapped.padded(rows)[0], ragged.padded(rows)[0])
    assert np.array_equal(mapped.take(rows).values, ragged.take(rows).values)
    with pytest.raises(IndexError):
        ragged[3]
