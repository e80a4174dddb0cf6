"""Batches: the order is a pure function of the place, epochs are whole, and processes share each batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from earnest.core.words import Batch, Step
from earnest.data.batches import ArrayBatches


def source(num: int, batch_size: int, *, shuffle: bool = True, rows: np.ndarray | None = None) -> ArrayBatches:
    """Rows whose input and target tell which they are."""
    every = np.arange(2 * num)
    some = np.random.default_rng(0).permutation(every)[:num] if rows is None else rows
    return ArrayBatches((every[:, None] * 1.0,), every * 10, some, batch_size=batch_size, shuffle=shuffle)


def seen(batches: ArrayBatches, step: Step, **processes: int) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches.batches(step, **processes) if batch.rows is not None]


SIZES = [(64, 16), (65, 16), (79, 16), (7, 16), (1, 4), (33, 33), (50, 7)]


@pytest.mark.parametrize(("num", "batch_size"), SIZES)
def test_an_epoch_covers_every_row_in_whole_batches(num: int, batch_size: int) -> None:
    batches = source(num, batch_size)
    epoch = seen(batches, Step(seed=int(np.random.default_rng().integers(1 << 40)), epoch=3))
    assert len(epoch) == batches.num_batches() == -(-num // min(num, batch_size))
    assert {len(batch) for batch in epoch} == {min(num, batch_size)}
    flat = [row for batch in epoch for row in batch]
    assert sorted(set(flat)) == sorted(batches.rows.tolist())
    assert len(set(flat[:num])) == num
    assert flat[num:] == flat[: len(flat) - num]


@pytest.mark.parametrize(("num", "batch_size"), SIZES)
def test_without_shuffling_every_row_comes_once_and_in_order(num: int, batch_size: int) -> None:
    batches = source(num, batch_size, shuffle=False)
    epoch = seen(batches, Step(epoch=5, seed=9))
    assert [row for batch in epoch for row in batch] == batches.rows.tolist()
    assert len(epoch) == batches.num_batches()


def test_the_order_is_a_function_of_seed_stage_and_epoch_alone() -> None:
    here = Step(seed=5, epoch=2, stage="fit")
    first = seen(source(50, 8), here)
    np.random.seed(1)
    torch.manual_seed(1)
    used = source(50, 8)
    seen(used, here.at(epoch=7))
    assert seen(used, here) == first
    assert seen(used, here.at(phase="critic", progress=0.7)) == first
    for other in (here.at(seed=6), here.at(epoch=3), here.at(stage="head")):
        assert seen(used, other) != first


def test_an_epoch_goes_on_from_any_place() -> None:
    batches = source(53, 8)
    here = Step(seed=1, epoch=4)
    whole = seen(batches, here)
    for index in range(len(whole) + 1):
        assert seen(batches, here.at(index=index)) == whole[index:]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_part_each_batch_among_them(world: int) -> None:
    batches = source(41, 12)
    here = Step(seed=2)
    whole = seen(batches, here)
    shares = [seen(batches, here, rank=rank, world=world) for rank in range(world)]
    assert {len(share) for share in shares} == {batches.num_batches(world)} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert sorted(row for part in parts for row in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_inputs_and_targets_are_those_of_the_row() -> None:
    for batch in source(37, 5).batches(Step(seed=3)):
        assert isinstance(batch.inputs, Tensor)
        assert batch.rows is not None
        assert batch.targets is not None
        assert torch.equal(batch.inputs[:, 0], batch.rows.double())
        assert torch.equal(batch.targets, batch.rows * 10)


def test_several_inputs_come_as_a_tuple_and_targets_may_lack() -> None:
    numbers, codes = np.random.rand(9, 2), np.arange(18).reshape(9, 2)
    (batch,) = ArrayBatches((numbers, codes), None, np.arange(9), batch_size=20).batches(Step())
    assert isinstance(batch.inputs, tuple)
    assert batch.targets is None
    assert np.array_equal(batch.inputs[0], numbers)
    assert np.array_equal(batch.inputs[1], codes)


def test_a_batch_is_a_copy_and_the_data_stays_as_it_is() -> None:
    array = np.ones((6, 2))
    rows = np.arange(6)
    for shuffle in (False, True):
        for batch in ArrayBatches((array,), rows, rows, batch_size=3, shuffle=shuffle).batches(Step()):
            assert isinstance(batch.inputs, Tensor)
            assert batch.targets is not None
            batch.inputs.zero_()
            batch.targets.zero_()
    assert array.all()
    assert rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_read_only_and_memory_mapped_arrays_are_read(tmp_path: object) -> None:
    path = f"{tmp_path}/x.npy"
    np.save(path, np.random.rand(8, 3))
    array = np.load(path, mmap_mode="r")
    rows = np.arange(8)
    rows.flags.writeable = False
    for shuffle in (False, True):
        batches = ArrayBatches((array,), None, rows, batch_size=4, shuffle=shuffle)
        assert sum(len(batch) for batch in batches.batches(Step())) == 8


def test_the_transform_is_told_where_it_is() -> None:
    told: list[Step] = []

    def note(batch: Batch, step: Step) -> Batch:
        told.append(step)
        return Batch(batch.rows, None, batch.rows)  # type: ignore[arg-type]

    batches = ArrayBatches((np.zeros((10, 1)),), None, np.arange(10), batch_size=5, transform=note)
    here = Step(seed=8, epoch=1)
    assert [batch.targets for batch in batches.batches(here)] == [None, None]
    assert told == [here, here]


def test_a_batch_is_cut_into_nearly_equal_parts_in_order() -> None:
    batch = Batch((torch.arange(11), torch.arange(11) * 2), torch.arange(11), torch.arange(11))
    for parts in range(1, 12):
        cut = batch.split(parts)
        assert len(cut) <= parts
        assert torch.cat([part.inputs[1] for part in cut]).tolist() == list(range(0, 22, 2))
        assert max(map(len, cut)) == -(-11 // parts)
        assert torch.cat([part.targets for part in cut if part.targets is not None]).tolist() == list(range(11))
