"""Random numbers in bulk: on a CPU, making them is a good part of what Gibbs sampling costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

MANY = 8_000
"""64-bit numbers from which on a generator of their own pays."""


def uniforms(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Numbers in [0, 1] of the type, and on the device, of `like`.

    Two float32 are made of each 64 random bits, which on a CPU takes less time than `torch.rand`.
    """
    if like.dtype != torch.float32 or like.device.type != "cpu":
        return torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)
    number = math.prod(shape)
    bits = _bits((number + 1) // 2, generator, like.device)
    return (bits.view(torch.int32)[:number] * 2.0**-32).add_(0.5).view(shape)


def sample_(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Turn probabilities, in place, into ones and zeros drawn with them."""
    if probabilities.dtype == torch.bfloat16:  # numbers of its own would be 1/256 apart
        chance = _coarse_uniforms(probabilities, generator)
    else:
        chance = uniforms(probabilities.shape, like=probabilities, generator=generator)
    return torch.lt(chance, probabilities, out=probabilities)


def _coarse_uniforms(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """float32 numbers in [0, 1], 2^-16 apart, in the shape of `like`: four are made of each 64 random bits."""
    bits = _bits((like.numel() + 3) // 4, generator, like.device)
    return (bits.view(torch.int16)[: like.numel()] * 2.0**-16).add_(0.5 + 2.0**-17).view(like.shape)


def _bits(number: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(number,) int64 of random bits; on a CPU many come from SFC64, which `generator` seeds, as that is faster."""
    if number < MANY or device.type != "cpu":
        return torch.empty(number, dtype=torch.int64, device=device).random_(-(2**63), None, generator=generator)
    seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
    return torch.from_numpy(np.random.SFC64(seed).random_raw(number).view(np.int64))
