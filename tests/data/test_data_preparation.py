"""What is done to the pictures of a batch, and to nothing else of it."""

from __future__ import annotations

import torch
from torch import Tensor

from earnest.core.words import Batch, Step
from earnest.data.augment import Augmented
from earnest.data.preparation import Normalise, OnPictures

FIRST, SECOND = Normalise((10.0, 20.0, 30.0), (2.0, 4.0, 8.0)), Normalise((5.0,), (3.0,))


def batch() -> Batch:
    pictures = torch.randint(0, 256, (7, 6, 5, 3), dtype=torch.uint8), torch.randint(0, 256, (7, 4, 4, 1)).byte()
    table = torch.randn(7, 2), torch.randint(0, 3, (7, 1))
    return Batch((*pictures, *table), torch.randn(7), torch.arange(7))


def test_each_column_of_pictures_is_normalised_by_its_own_scale() -> None:
    given = batch()
    done = OnPictures((FIRST, SECOND))(given, Step())
    assert isinstance(done.inputs, tuple)
    expected = (given.inputs[0].double() - torch.tensor(FIRST.mean)) / torch.tensor(FIRST.std)
    torch.testing.assert_close(done.inputs[0], expected.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(done.inputs[1][:, 0], (given.inputs[1][..., 0].float() - 5) / 3)
    assert all(ours is theirs for ours, theirs in zip(done.inputs[2:], given.inputs[2:], strict=True))
    assert done.targets is given.targets
    assert done.rows is given.rows


def test_a_batch_of_nothing_but_pictures_stays_one_tensor() -> None:
    images = batch().inputs[0]
    done = OnPictures((FIRST,))(Batch(images, None, None), Step())
    assert isinstance(done.inputs, Tensor)
    assert torch.equal(done.inputs, FIRST.pixels(images))


def test_without_pictures_nothing_is_done() -> None:
    given = Batch(batch().inputs[2:])
    assert OnPictures(())(given, Step()).inputs == given.inputs


def test_augmentations_know_the_rows_that_they_are_given() -> None:
    given = batch()
    once, again = (
        OnPictures((Augmented(FIRST, ("flip",)), Augmented(SECOND, ("flip",))))(given, Step(epoch=epoch))
        for epoch in (0, 1)
    )
    for place, normalise in enumerate((FIRST, SECOND)):
        plain = normalise.pixels(given.inputs[place])
        torch.testing.assert_close(once.inputs[place] + again.inputs[place], plain + plain.flip(3))
