"""Corrupted views: what may change changes as often as asked, and all else stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from earnest.core.words import Batch, Step
from earnest.data import corrupt
from earnest.data.corrupt import EditTokens, Noise, SwapFeatures
from earnest.data.ragged import Ragged

CLS, SEP, MASK = 1, 2, 3


def test_noise_has_the_deviation_asked_for_and_leaves_categories() -> None:
    deviation = float(np.random.default_rng().uniform(0.1, 2))
    numbers, codes = torch.randn(4000, 5), torch.randint(9, (4000, 2))
    noisy, same = Noise(deviation)(Batch((numbers, codes)), Step()).inputs
    assert torch.equal(same, codes)
    assert (noisy - numbers).std().item() == pytest.approx(deviation, rel=0.05)
    assert abs((noisy - numbers).mean().item()) < 0.05 * deviation


def test_swapped_values_come_from_their_own_column() -> None:
    share = float(np.random.default_rng().uniform(0.1, 0.9))
    numbers = torch.rand(3000, 4) + torch.arange(4) * 10
    codes = torch.randint(5, (3000, 2)) + torch.tensor([0, 100])
    target = torch.arange(3000)
    batch = SwapFeatures(share)(Batch((numbers, codes), target, target), Step())
    swapped, others = batch.inputs
    assert batch.targets is target
    assert batch.rows is target
    for column in range(4):
        assert torch.isin(swapped[:, column], numbers[:, column]).all()
    assert torch.equal(others // 100, codes // 100)
    assert (swapped != numbers).float().mean().item() == pytest.approx(share, abs=0.03)
    plain = SwapFeatures(share)(Batch(numbers), Step()).inputs
    assert isinstance(plain, Tensor)
    assert (plain != numbers).float().mean().item() == pytest.approx(share, abs=0.03)


def sentences(num: int = 400) -> tuple[Tensor, Tensor]:
    """[CLS] words [SEP], every word of a row another one; some have no word at all."""
    generator = np.random.default_rng()
    lengths = generator.integers(2, 30, num)
    ids = np.zeros((num, lengths.max()), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = [CLS, *generator.permutation(np.arange(10, 60))[: length - 2], SEP]
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def edited(ids: Tensor, lengths: Tensor, **chances: float) -> tuple[list[list[int]], list[list[int]]]:
    """Rows before and after, without padding."""
    off = {"deleted": 0.0, "masked": 0.0, "swapped": 0.0}
    batch = EditTokens(MASK, (CLS, SEP), **{**off, **chances})(Batch((ids, lengths)), Step())
    after, shorter = batch.inputs
    assert after.shape[1] == shorter.max()
    padding = torch.arange(after.shape[1]) >= shorter[:, None]
    assert not after[padding].any()
    assert after[~padding].all()
    old = [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]
    return old, [row[:length].tolist() for row, length in zip(after, shorter, strict=True)]


@pytest.mark.parametrize("chance", [0.1, 0.5, 1.0])
def test_deleted_tokens_are_gone_and_the_others_keep_their_order(chance: float) -> None:
    before, after = edited(*sentences(), deleted=chance)
    for old, new in zip(before, after, strict=True):
        assert [token for token in old if token in set(new)] == new
        assert (new[0], new[-1]) == (CLS, SEP)
    gone = sum(map(len, before)) - sum(map(len, after))
    assert gone == pytest.approx(chance * sum(len(old) - 2 for old in before), rel=0.15)


def test_masked_tokens_keep_their_place() -> None:
    before, after = edited(*sentences(), masked=0.3)
    for old, new in zip(before, after, strict=True):
        assert len(old) == len(new)
        assert all(b in (a, MASK) for a, b in zip(old, new, strict=True))
        assert (new[0], new[-1]) == (CLS, SEP)
    masked = sum(new.count(MASK) for new in after)
    assert masked == pytest.approx(0.3 * sum(len(old) - 2 for old in before), rel=0.1)


def test_swapped_tokens_move_a_little_between_the_special_ones() -> None:
    before, after = edited(*sentences(), swapped=0.3)
    moved = 0
    for old, new in zip(before, after, strict=True):
        assert sorted(old) == sorted(new)
        assert (new[0], new[-1]) == (CLS, SEP)
        shifts = [abs(old.index(token) - place) for place, token in enumerate(new)]
        assert max(shifts) <= 2
        moved += sum(shift > 0 for shift in shifts)
    assert moved > 0.3 * sum(len(old) - 2 for old in before)


def test_the_first_token_stays_where_none_is_special() -> None:
    ids, lengths = torch.randint(10, 20, (50, 6)), torch.randint(1, 7, (50,))
    ids = ids * (torch.arange(6) < lengths[:, None])
    tokens, shorter = EditTokens(MASK, deleted=1.0)(Batch((ids, lengths)), Step()).inputs
    assert torch.equal(tokens, ids[:, :1])
    assert (shorter == 1).all()


def test_edited_copies_are_of_every_text_and_the_same_each_time() -> None:
    rng = np.random.default_rng()
    texts = [np.concatenate([[CLS], rng.integers(10, 500, length), [SEP]]) for length in rng.integers(1, 40, 600)]
    ids, seed = Ragged.of(texts), int(rng.integers(1 << 30))
    copies = corrupt.edited(ids, EditTokens(MASK, (CLS, SEP)), seed=seed)
    again, other = (corrupt.edited(ids, EditTokens(MASK, (CLS, SEP)), seed=seed + more) for more in (0, 1))
    assert len(copies) == len(ids)
    assert (copies.values == again.values).all()
    assert not np.array_equal(copies.values, other.values)
    for text, copy in zip(texts, copies, strict=True):
        assert (copy[0], copy[-1]) == (CLS, SEP)
        assert set(copy) <= {*text, MASK}
    untouched = corrupt.edited(ids, EditTokens(MASK, deleted=0, masked=0, swapped=0), seed=seed)
    np.testing.assert_array_equal(untouched.values, ids.values)
    np.testing.assert_array_equal(untouched.offsets, ids.offsets)
