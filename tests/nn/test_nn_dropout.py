"""Dropout: the share, the scale, the gradient and the repeatability that it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from earnest.nn.dropout import Dropout


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(301, 997), (300_001,)])
def test_the_share_is_dropped_and_the_mean_stays(p: float, shape: tuple[int, ...]) -> None:
    found = Dropout(p)(torch.ones(shape, dtype=torch.float64))
    dropped = int((found == 0).sum())
    assert binomtest(dropped, found.numel(), p).pvalue > 1e-6
    assert torch.allclose(found[found != 0], torch.tensor(1 / (1 - p), dtype=torch.float64), rtol=2e-4)
    assert float(found.mean()) == pytest.approx(1, abs=6 * (p / (1 - p) / found.numel()) ** 0.5 + 1e-4)


def test_neighbours_are_dropped_independently() -> None:
    """Four elements share a draw; the variance of their number dropped is the binomial one, also along rows."""
    kept = (Dropout(0.3)(torch.ones(4000, 256)) != 0).double().numpy()
    for lag in (1, 2, 3, 4, 8, 256):
        flat = kept.reshape(-1)
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 6 / len(flat) ** 0.5


def test_its_gradient_is_the_scale_where_something_was_kept() -> None:
    x = torch.randn(57, 31, requires_grad=True)
    found = Dropout(0.4)(x)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(found, x * x.grad)
    assert len(x.grad.unique()) == 2


def test_the_generators_state_repeats_it() -> None:
    x, dropout = torch.randn(40, 12), Dropout(0.2)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_it_drops_nothing_outside_training_and_all_at_one() -> None:
    x = torch.randn(5, 8)
    assert Dropout(0.3).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert not Dropout(1.0)(x).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_it_keeps_dtype_shape_and_strides(dtype: torch.dtype) -> None:
    x = torch.randn(6, 4, 9, dtype=dtype).transpose(0, 1)
    found = Dropout(0.5)(x)
    assert (found.dtype, found.shape, found.stride()) == (dtype, x.shape, x.stride())
