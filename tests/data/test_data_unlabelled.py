"""Labelled and unlabelled rows in one batch: whole, in order, the same from any place, parted among processes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from earnest.core.errors import DataError
from earnest.core.words import Batch, Step
from earnest.data.batches import ArrayBatches
from earnest.data.corrupt import Noise
from earnest.data.ragged import Ragged
from earnest.data.text_batches import TextBatches
from earnest.data.unlabelled import UNLABELLED, PairedBatch, UnlabelledBatches

LABELLED = np.arange(10, 18)


def halved(batch: Batch, step: Step) -> Batch:
    assert isinstance(batch.inputs, Tensor)
    return Batch(batch.inputs / 2, batch.targets, batch.rows)


def negated(batch: Batch, step: Step) -> Batch:
    assert isinstance(batch.inputs, Tensor)
    return Batch(-batch.inputs, batch.targets, batch.rows)


def source(*, batch_size: int = 4, beside: int = 12, num_unlabelled: int = 61) -> UnlabelledBatches:
    """Row r holds the number r; weak views are halves, strong ones negated, and a class is the row's last digit."""
    numbers = np.arange(1000, dtype=np.float64)[:, None]
    labels = np.arange(1000) % 10
    rows = np.arange(100, 100 + num_unlabelled)
    labelled = ArrayBatches((numbers,), labels, LABELLED, batch_size=batch_size, shuffle=True, transform=halved)
    unlabelled = ArrayBatches((numbers,), labels, rows, batch_size=beside, shuffle=True, transform=halved)
    return UnlabelledBatches(labelled, unlabelled, strong=negated)


def parts(batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and rows of labelled, weak and strong examples, by the targets."""
    assert isinstance(batch.inputs, Tensor)
    assert batch.targets is not None
    assert batch.rows is not None
    num_labelled = int((batch.targets != UNLABELLED).sum())
    assert torch.equal(batch.targets[:num_labelled], batch.rows[:num_labelled] % 10)
    beside = (len(batch) - num_labelled) // 2
    sizes = [num_labelled, beside, beside]
    return list(batch.inputs[:, 0].split(sizes)), list(batch.rows.split(sizes))


def test_a_batch_is_labelled_rows_then_weak_then_strong_views_of_the_same() -> None:
    batches = list(source().batches(Step(seed=int(np.random.default_rng().integers(1 << 30)))))
    assert len(batches) == source().num_batches() == 6
    for batch in batches:
        (labelled, weak, strong), rows = parts(batch)
        assert [len(x) for x in rows] == [4, 12, 12]
        assert torch.equal(labelled, rows[0] / 2)
        assert torch.equal(weak, rows[1] / 2)
        assert torch.equal(strong, -rows[1].double())
        assert torch.equal(rows[1], rows[2])
        assert set(rows[0].tolist()) <= set(LABELLED.tolist())


def test_an_epoch_sees_every_unlabelled_row_and_the_labelled_ones_again_and_again() -> None:
    batches = source()
    labelled: list[int] = []
    for epoch in range(4):
        seen = [parts(batch)[1] for batch in batches.batches(Step(seed=3, epoch=epoch))]
        assert set(torch.cat([rows[1] for rows in seen]).tolist()) == set(range(100, 161))
        labelled += torch.cat([rows[0] for rows in seen]).tolist()
    passes = [labelled[i : i + len(LABELLED)] for i in range(0, len(labelled), len(LABELLED))]
    assert all(sorted(one) == LABELLED.tolist() for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_an_epoch_goes_on_from_any_place() -> None:
    here = Step(seed=8, epoch=3)
    whole = [batch.rows.tolist() for batch in source().batches(here) if batch.rows is not None]
    for index in range(len(whole) + 1):
        rest = [batch.rows.tolist() for batch in source().batches(here.at(index=index)) if batch.rows is not None]
        assert rest == whole[index:]


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize(("batch_size", "beside"), [(4, 12), (5, 15), (5, 17), (8, 8)])
def test_processes_part_each_batch_among_them(world: int, batch_size: int, beside: int) -> None:
    here = Step(seed=4, epoch=1)
    whole = list(source(batch_size=batch_size, beside=beside).batches(here))
    shares = [list(source(batch_size=batch_size, beside=beside).batches(here, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {len(whole)}
    for number, batch in enumerate(whole):
        whole_rows, part_rows = parts(batch)[1], [parts(share[number])[1] for share in shares]
        for place in range(3):
            together = torch.cat([rows[place] for rows in part_rows])
            assert sorted(together.tolist()) == sorted(whole_rows[place].tolist())
        if beside % batch_size == 0:
            assert all(len(rows[1]) == len(rows[0]) * beside // batch_size for rows in part_rows)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 9])
def test_micro_batches_are_such_batches_too(number: int) -> None:
    (batch,) = itertools.islice(source(batch_size=4, beside=12).batches(Step(seed=1)), 1)
    cut = batch.map(lambda x: x + 0).split(number)
    assert len(cut) == {1: 1, 2: 2, 3: 2, 4: 4, 9: 4}[number]
    whole = parts(batch)[1]
    for place in range(3):
        together = torch.cat([parts(part)[1][place] for part in cut])
        assert torch.equal(together, whole[place])
    for part in cut:
        assert isinstance(part, PairedBatch)
        labelled, weak, strong = parts(part)[1]
        assert torch.equal(weak, strong)
        assert len(weak) == 3 * len(labelled)


def test_token_ids_are_padded_to_the_longest_of_all() -> None:
    generator = np.random.default_rng()
    ids = Ragged.of([generator.integers(1, 50, generator.integers(1, 20)) for _ in range(80)])
    labels = generator.integers(0, 3, 80)
    labelled = TextBatches(ids, labels, np.arange(8), batch_size=4, shuffle=True)
    unlabelled = TextBatches(ids, None, np.arange(8, 80), batch_size=8, shuffle=True)
    for batch in UnlabelledBatches(labelled, unlabelled, strong=lambda batch, step: batch).batches(Step()):
        tokens, lengths = batch.inputs
        assert batch.rows is not None
        assert tokens.shape == (20, int(lengths.max()))
        for row, given, length in zip(batch.rows.tolist(), tokens, lengths, strict=True):
            assert given[:length].tolist() == ids[row].tolist()
            assert not given[length:].any()


def test_pairs_of_numbers_and_categories_come_as_a_tuple() -> None:
    numbers, codes = np.random.rand(30, 3), np.arange(60).reshape(30, 2)
    labelled = ArrayBatches((numbers, codes), np.zeros(30, np.int64), np.arange(5), batch_size=4, shuffle=True)
    unlabelled = ArrayBatches((numbers, codes), None, np.arange(5, 30), batch_size=8, shuffle=True)
    for batch in UnlabelledBatches(labelled, unlabelled, strong=Noise(0.0)).batches(Step()):
        assert batch.rows is not None
        assert np.array_equal(batch.inputs[0], numbers[batch.rows])
        assert np.array_equal(batch.inputs[1], codes[batch.rows])


def test_too_few_unlabelled_rows_are_told() -> None:
    with pytest.raises(DataError, match="3 unlabelled rows, fewer than the 4 labelled"):
        source(num_unlabelled=3)
