"""Augmentations against enumeration, other libraries' arithmetic, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from earnest.core.errors import OptionError
from earnest.core.words import Batch, Step
from earnest.data import augment
from earnest.data.augment import AUGMENTATIONS, Augmented
from earnest.data.preparation import Normalise


def images(number: int = 40, channels: int = 3, height: int = 9, width: int = 12) -> Tensor:
    return torch.randn(number, channels, height, width)


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_crop_is_a_window_of_the_reflected_image_and_all_windows_come(channels_last: bool) -> None:
    batch = images(400)
    if channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)
    padded = np.pad(batch.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    seen = set()
    for before, after in zip(padded, augment.random_crop(batch, 2).numpy(), strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if (before[:, i : i + 9, j : j + 12] == after).all()]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 25


def test_random_flip_mirrors_about_half() -> None:
    batch = images(2000, 1, 4, 4)
    flipped = augment.random_flip(batch)
    which = (flipped != batch).flatten(1).any(1)
    np.testing.assert_array_equal(flipped[which].numpy(), batch[which].numpy()[..., ::-1])
    assert 850 < int(which.sum()) < 1150


def test_alternating_flip_shows_both_sides_in_any_two_epochs() -> None:
    batch, rows = images(3000, 1, 3, 4), torch.randperm(100_000)[:3000]

    def side(epoch: int, seed: int = 0) -> Tensor:
        return (augment.alternating_flip(batch, rows, epoch, seed=seed) != batch).flatten(1).any(1)

    first = side(0)
    assert torch.equal(first, side(2))
    assert torch.equal(first, ~side(1))
    assert 1300 < int(first.sum()) < 1700
    neighbours = augment.alternating_flip(batch, torch.arange(3000), 0)
    which = (neighbours != batch).flatten(1).any(1)
    assert 1300 < int((which[1:] == which[:-1]).sum()) < 1700
    assert 1200 < int((side(0, seed=5) == first).sum()) < 1800


def test_a_row_is_flipped_alike_in_any_batch() -> None:
    batch, rows = images(50), torch.arange(50)
    whole = augment.alternating_flip(batch, rows, 3, seed=1)
    order = torch.randperm(50)
    assert torch.equal(augment.alternating_flip(batch[order], rows[order], 3, seed=1), whole[order])


def test_erased_squares_are_zero_and_the_rest_is_untouched() -> None:
    batch = images(300, 3, 16, 16) + 10
    erased = augment.random_erase(batch, share=0.25)
    gone = (erased == 0).all(1)
    assert torch.equal(erased.where(~gone[:, None], batch), batch)
    area = gone.flatten(1).sum(1)
    assert int(area.max()) == 16
    assert int(area.min()) >= 4


def test_affine_with_no_amounts_changes_nothing() -> None:
    batch = images()
    same = augment.random_affine(batch, degrees=0, translate=0, scale=0, shear=0)
    torch.testing.assert_close(same, batch, atol=1e-5, rtol=1e-4)


def test_affine_rotates_as_pillow_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij")
    picture = torch.exp(-((rows - 20) ** 2 + (columns - 12) ** 2) / 12)[None, None]
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    ours = augment.random_affine(picture, degrees=25, translate=0, scale=0, shear=0)
    theirs = Image.fromarray(picture[0, 0].numpy()).rotate(25, resample=Image.Resampling.BILINEAR)
    np.testing.assert_allclose(ours[0, 0].numpy(), np.asarray(theirs), atol=5e-3)


def test_affine_moves_by_a_share_of_the_side(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = images(3, 2, 10, 20)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    moved = augment.random_affine(batch, degrees=0, translate=0.1, scale=0, shear=0)
    torch.testing.assert_close(moved[:, :, :-1, :-2], batch[:, :, 1:, 2:], atol=1e-4, rtol=1e-4)


def test_jitter_of_strength_zero_changes_nothing_and_keeps_gray_gray() -> None:
    batch = images()
    torch.testing.assert_close(augment.colour_jitter(batch, strength=0.0), batch)
    gray = images(channels=1).expand(-1, 3, -1, -1)
    jittered = augment.colour_jitter(gray)
    torch.testing.assert_close(jittered[:, 0], jittered[:, 2])
    assert not torch.allclose(jittered, gray)


def test_mixup_blends_pixels_and_targets_by_the_same_share() -> None:
    classes = 30
    batch, targets = torch.eye(classes)[:, :, None, None].expand(-1, -1, 4, 5), torch.eye(classes)
    mixed, soft = augment.mixup(batch, targets, 0.4)
    torch.testing.assert_close(mixed, soft[:, :, None, None].expand(-1, -1, 4, 5))
    torch.testing.assert_close(soft.sum(1), torch.ones(classes))
    assert 0 < float(soft.diagonal().mean()) < 1


def test_cutmix_targets_are_the_areas() -> None:
    classes = 30
    batch, targets = torch.eye(classes)[:, :, None, None].expand(-1, -1, 16, 11), torch.eye(classes)
    mixed, soft = augment.cutmix(batch, targets, 1.0)
    assert set(mixed.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(mixed.mean((2, 3)), soft)


def test_beta_shares_have_the_right_spread() -> None:
    shares = augment.beta(0.5, torch.empty(20_000, 1)).double()
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.5 + 1)), abs=0.01)


def test_mirroring_is_a_default_for_colour_photographs_only() -> None:
    assert augment.defaults(3, ["cat", "dog"]) == ("crop", "flip")
    assert augment.defaults(1, ["cat", "dog"]) == ("crop",)
    assert augment.defaults(3, [str(digit) for digit in range(10)]) == ("crop",)
    assert augment.defaults(3, ["Left hand", "right hand"]) == ("crop",)
    assert augment.defaults(1, ["3", "8"], num_rows=1797) == ("affine",)
    assert augment.defaults(1, ["3", "8"], num_rows=60_000) == ("crop",)
    assert augment.defaults(3, ["cat", "dog"], num_rows=200) == ("crop", "flip")


def raw(number: int = 16) -> Batch:
    pixels = torch.randint(0, 256, (number, 8, 8, 3), dtype=torch.uint8)
    return Batch(pixels, torch.randint(0, 4, (number,)), torch.arange(number))


PREPARE = Normalise((120.0, 110.0, 100.0), (60.0, 61.0, 62.0))


def test_nothing_named_is_the_preparation_alone() -> None:
    batch = raw()
    result = Augmented(PREPARE)(batch, Step())
    assert isinstance(result.inputs, Tensor)
    assert isinstance(batch.inputs, Tensor)
    assert torch.equal(result.inputs, PREPARE.pixels(batch.inputs))
    assert result.targets is batch.targets
    assert result.rows is batch.rows


@pytest.mark.parametrize("options", [{"names": tuple(AUGMENTATIONS)}, {"mixup": 0.3}, {"mixup": 0.2, "cutmix": 1.0}])
def test_the_same_random_state_gives_the_same_batch(options: dict[str, object]) -> None:
    learned = Augmented(PREPARE, num_classes=4, **options)  # type: ignore[arg-type]
    batch, results = raw(), []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(learned(batch, Step(epoch=2)))
    assert torch.equal(results[0].inputs, results[1].inputs)  # type: ignore[arg-type]
    assert results[0].inputs.shape == (16, 3, 8, 8)  # type: ignore[union-attr]
    targets = results[0].targets
    assert targets is not None
    assert torch.equal(targets, results[1].targets)  # type: ignore[arg-type]
    if len(options) and "names" not in options:
        torch.testing.assert_close(targets.sum(1), torch.ones(16))


def test_numbers_to_regress_are_mixed_as_numbers() -> None:
    batch = raw()
    batch.targets = torch.linspace(2.0, 3.0, 16)
    targets = Augmented(PREPARE, mixup=1.0)(batch, Step()).targets
    assert targets is not None
    assert targets.shape == (16,)
    assert 2.0 <= float(targets.min()) <= float(targets.max()) <= 3.0


def test_an_unknown_name_is_refused_and_the_nearest_offered() -> None:
    with pytest.raises(OptionError, match="did you mean 'crop'"):
        Augmented(PREPARE, ("crops",))


@pytest.mark.parametrize("channels", [1, 3])
def test_altered_copies_are_pixels_again_and_the_same_each_time(channels: int) -> None:
    rng = np.random.default_rng()
    pictures, seed = rng.integers(0, 256, (300, 12, 9, channels), dtype=np.uint8), int(rng.integers(1 << 30))
    np.testing.assert_array_equal(augment.altered(pictures, (), seed=seed), pictures)
    copies, again, other = (augment.altered(pictures, augment.STRONG, seed=seed + more) for more in (0, 0, 1))
    assert (copies.shape, copies.dtype) == (pictures.shape, np.uint8)
    np.testing.assert_array_equal(copies, again)
    changed = (copies != pictures).any((1, 2, 3))
    assert changed.all()
    assert (copies != other).any((1, 2, 3)).all()
