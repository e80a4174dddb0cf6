"""The linear recurrence against its definition, finite differences and long memories."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from earnest.nn.scan import by_doubling, in_order, linear_recurrence


def by_definition(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    h, outputs = start, []
    for t in range(a.shape[1]):
        h = a[:, t] * h + b[:, t]
        outputs.append(h)
    return torch.stack(outputs, 1)


def some(length: int) -> tuple[Tensor, Tensor, Tensor]:
    a = torch.rand(3, length, 4, dtype=torch.float64)
    return a, torch.randn_like(a), torch.randn(3, 4, dtype=torch.float64)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("run", [in_order, by_doubling])
def test_both_forms_are_the_definition(run, length: int) -> None:
    a, b, _ = some(length)
    before = a.clone(), b.clone()
    torch.testing.assert_close(run(a, b), by_definition(a, b, torch.zeros(3, 4)), rtol=0.0, atol=1e-12)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("length", [1, 6])
def test_gradients_equal_finite_differences(length: int) -> None:
    inputs = tuple(x.requires_grad_() for x in some(length))
    assert torch.autograd.gradcheck(linear_recurrence, inputs)
    torch.testing.assert_close(linear_recurrence(*inputs), by_definition(*inputs))


@pytest.mark.parametrize("run", [in_order, by_doubling])
def test_closed_gates_neither_overflow_nor_lose_what_follows(run) -> None:
    a, b, _ = some(300)
    a[:, 150] = 0
    a[:, :100] = 1e-300
    torch.testing.assert_close(run(a, b), by_definition(a, b, torch.zeros(3, 4)), rtol=0.0, atol=1e-12)


def test_half_precision_is_widened() -> None:
    a, b, start = some(50)
    outputs = linear_recurrence(a.bfloat16(), b.bfloat16(), start.bfloat16())
    expected = by_definition(a.bfloat16().float(), b.bfloat16().float(), start.bfloat16().float())
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, expected)
