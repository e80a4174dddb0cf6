"""The linear recurrence h_t = a_t h_(t-1) + b_t, with hand-written gradients.

Two forms give the same numbers. One moment after the other costs the least work and is what a CPU wants; doubling (the
moment t takes in what the moment t - 1, then t - 2, t - 4, ... gathered) costs log2 T times as much and has only log2 T
steps, which is what a GPU wants: G. Blelloch, "Prefix sums and their applications", 1990.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def linear_recurrence(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    """h (B, T, F) from a and b (B, T, F), and h_0 `start` (B, F), zeros unless given; in at least float32.

    No logarithms are taken: products of gates between 0 and 1 cannot overflow, and what underflows is forgotten.
    """
    a, b = at_least_float32(a), at_least_float32(b)
    if start is not None:
        b = torch.cat([(b[:, 0] + a[:, 0] * start)[:, None], b[:, 1:]], dim=1)
    states: Tensor = _LinearRecurrence.apply(a, b)
    return states


def at_least_float32(x: Tensor) -> Tensor:
    """What is of half precision in float32: a gate near 1 needs more digits than bfloat16 has."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class _LinearRecurrence(torch.autograd.Function):
    """The gradients of b are the same recurrence, run backwards; those of a are b's times the h before."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        h = _run(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx: Any, grad_h: Tensor) -> tuple[Tensor, Tensor]:
        a, h = ctx.saved_tensors
        later = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], dim=1)
        grad_b = _run(later.flip(1), grad_h.flip(1)).flip(1)
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
        return grad_b * before, grad_b


def _run(a: Tensor, b: Tensor) -> Tensor:
    return in_order(a, b) if a.device.type == "cpu" else by_doubling(a, b)


def in_order(a: Tensor, b: Tensor) -> Tensor:
    """h (B, T, F), one moment after the other."""
    h = b.clone()
    for t in range(1, b.shape[1]):
        h[:, t].addcmul_(a[:, t], h[:, t - 1])
    return h


def by_doubling(a: Tensor, b: Tensor) -> Tensor:
    """h (B, T, F) in log2 T steps."""
    a, h = a.clone(), b.clone()
    reach = 1
    while reach < b.shape[1]:
        h[:, reach:] += a[:, reach:] * h[:, :-reach]
        a[:, reach:] *= a[:, :-reach].clone()
        reach *= 2
    return h
