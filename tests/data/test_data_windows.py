"""Windows of a running text: what is asked, in which order, and how often."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.core.words import Step
from earnest.data.windows import IGNORED, AskingWindows, LearningWindows


def learning(num: int, length: int, *, batch_size: int = 4, most: int = 1000) -> LearningWindows:
    """Over tokens that are their own places."""
    return LearningWindows(np.arange(num, dtype=np.int32), length=length, batch_size=batch_size, most=most)


def starts(source: LearningWindows, step: Step) -> list[int]:
    return [int(start) for batch in source.batches(step) for start in batch.inputs[0][:, 0]]


def test_each_token_of_a_window_is_asked_for_the_next() -> None:
    length = int(default_rng().integers(2, 12))
    for batch in learning(200, length).batches(Step(seed=3)):
        ids, lengths = batch.inputs
        assert ids.shape == (4, length)
        assert (lengths == length).all()
        assert (batch.targets == ids + 1).all()
        assert (ids[:, 1:] == ids[:, :-1] + 1).all()


def test_the_order_is_a_function_of_the_place_and_goes_on_anywhere() -> None:
    source, step = learning(997, 7), Step(seed=int(default_rng().integers(2**40)))
    whole = starts(source, step)
    assert whole == starts(learning(997, 7), step)
    assert starts(source, step.at(index=5)) == whole[5 * 4 :]
    assert starts(source, step.at(epoch=1)) != whole
    assert starts(source, step.at(seed=step.seed + 1)) != whole
    assert len(whole) == source.num_batches() * 4


def test_a_long_text_takes_several_epochs_a_pass_and_no_window_comes_twice() -> None:
    source = learning(1000, 9, batch_size=6, most=20)
    epochs = [starts(source, Step(epoch=epoch)) for epoch in range(source.epochs_a_pass)]
    assert source.epochs_a_pass > 1
    assert all(len(epoch) <= 20 for epoch in epochs)
    seen = [start for epoch in epochs for start in epoch]
    assert len(set(seen)) == len(seen)
    assert len({start % 9 for start in seen}) == 1, "windows of a pass lie side by side"
    assert not set(starts(source, Step(epoch=source.epochs_a_pass))) <= set(seen), "the next pass begins elsewhere"


@pytest.mark.parametrize("num", [9, 10, 17, 18, 40])
def test_short_texts_give_windows_that_stay_inside(num: int) -> None:
    for epoch in range(10):
        for batch in learning(num, 8, batch_size=3).batches(Step(epoch=epoch)):
            assert int(batch.targets.max()) < num


@pytest.mark.parametrize("trial", range(20))
def test_every_token_of_a_part_is_asked_for_once_with_what_came_before(trial: int) -> None:
    rng = default_rng()
    num = int(rng.integers(3, 300))
    start = int(rng.integers(1, num - 1))
    end = int(rng.integers(start + 1, num + 1))
    length = int(rng.integers(1, 40))
    context = int(rng.integers(0, length))
    ids = rng.integers(1, 1000, num).astype(np.int32)
    source = AskingWindows(ids, start, end, length=length, context=context, batch_size=int(rng.integers(1, 9)))
    asked: list[int] = []
    place = start
    for batch in source.batches(Step()):
        for shown, number, targets in zip(*batch.inputs, batch.targets, strict=True):
            wanted = targets != IGNORED
            first, last = int(wanted.nonzero()[0]), int(wanted.nonzero()[-1])
            assert last == number - 1, "what is asked for ends the window"
            assert first >= min(context, place - 1)
            before = ids[place - first - 1 : place - first - 1 + int(number)]
            assert shown[: int(number)].tolist() == before.tolist()
            assert not shown[int(number) :].any()
            asked += targets[wanted].tolist()
            place += int(wanted.sum())
    assert asked == ids[start:end].tolist()
