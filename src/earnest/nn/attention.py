"""Multi-head attention: every token asks the others of its row, and takes from those that answer.

Vaswani et al., "Attention is all you need", arXiv:1706.03762, section 3.2; rotary positions: Su et al., "RoFormer",
arXiv:2104.09864.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.nn.packing import Packing

SHORT = {torch.float32: 64, torch.bfloat16: 256}
"""Tokens of a row up to which plain products are faster than the fused kernel on a CPU, which is made for long rows:
a step in bfloat16 took it up to five times as long (32 rows of 64 tokens, 12 heads of 32, an EPYC with AVX512-BF16)."""


class Rotation(NamedTuple):
    """What rotary positions turn each token's queries and keys by: cosines and sines, each (N, 1, head width / 2)."""

    cos: Tensor
    sin: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """(N, heads, head width) turned: dimensions i and i + half of it are a plane's coordinates."""
        first, second = x.chunk(2, -1)
        return torch.cat([first * self.cos - second * self.sin, second * self.cos + first * self.sin], -1)


class Rotary(nn.Module):
    """Rotary positions: attention then depends on how far apart two tokens are, and on nothing else of their places.

    Args:
        head_width: features of an attention head, even.
        base: wavelengths run from 2 pi to 2 pi * base tokens.
    """

    frequencies: Tensor

    def __init__(self, head_width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        exponents = torch.arange(0, head_width, 2).double() / head_width
        self.register_buffer("frequencies", (base**-exponents).float(), persistent=False)

    def forward(self, positions: Tensor) -> Rotation:
        """The rotation of tokens at `positions` (N,)."""
        angles = positions[:, None, None] * self.frequencies
        return Rotation(angles.cos(), angles.sin())


@dataclass(slots=True)
class KeysAndValues:
    """What a layer's attention said of the tokens so far, kept for those to come: (B, heads, T, head width) each."""

    keys: Tensor
    values: Tensor


class SelfAttention(nn.Module):
    """Attention of a row's tokens to each other.

    Args:
        width: features of a token, a multiple of `heads`.
        causal: a token sees only itself and those before it.
        bias: whether the projections have one.
        dropout: share of the attention weights dropped in training; more than 0 costs the fused kernel.
    """

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not share {width} features evenly"
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, packing: Packing, rotation: Rotation | None = None) -> Tensor:
        """(N, width) to (N, width)."""
        query, key, value = self._project(tokens, packing, rotation)
        mask = None if self.causal else packing.mask  # causal rows are padded at the end, which no real token sees
        attended = attend(query, key, value, mask, causal=self.causal, dropout=_rate(self.dropout))
        return self.out(packing.pack(attended.transpose(1, 2)).flatten(1))

    def first(self, tokens: Tensor, packing: Packing, rotation: Rotation | None = None) -> Tensor:
        """As `forward`, of each row's first token alone: (N, width) to (B, width)."""
        assert not self.causal, "a causal row's first token sees nothing but itself"
        query, key, value = self._project(tokens, packing, rotation)
        attended = attend(query[:, :, :1], key, value, packing.mask, dropout=_rate(self.dropout))
        return self.out(attended.flatten(1))

    def extend(
        self, tokens: Tensor, packing: Packing, rotation: Rotation | None, past: KeysAndValues | None
    ) -> tuple[Tensor, KeysAndValues]:
        """As `forward` for tokens that follow those of `past`, in rows without padding; and the past with them."""
        assert self.causal
        assert packing.mask is None, "generation knows no padding"
        query, key, value = self._project(tokens, packing, rotation)
        if past is not None:
            key, value = torch.cat([past.keys, key], 2), torch.cat([past.values, value], 2)
        new, total = query.shape[2], key.shape[2]
        seen = torch.ones(new, total, dtype=torch.bool, device=tokens.device).tril(total - new)
        attended = attend(query, key, value, None if new == 1 else seen)
        return self.out(packing.pack(attended.transpose(1, 2)).flatten(1)), KeysAndValues(key, value)

    def _project(self, tokens: Tensor, packing: Packing, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, T, head width) each."""
        projected = self.qkv(tokens).unflatten(1, (3, self.heads, -1))
        if rotation is not None:
            turned = rotation(projected[:, :2].flatten(1, 2)).unflatten(1, (2, self.heads))
            projected = torch.cat([turned, projected[:, 2:]], 1)
        query, key, value = (each.transpose(1, 2) for each in packing.pad(projected).unbind(2))
        return query, key, value


class CrossAttention(nn.Module):
    """Attention of a row's tokens to those of another row, the memory; options as in `SelfAttention`."""

    def __init__(self, width: int, heads: int, *, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not share {width} features evenly"
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key_value = nn.Linear(width, 2 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, packing: Packing, memory: Tensor, memory_packing: Packing) -> Tensor:
        """(N, width) tokens and (M, width) tokens of the memory to (N, width)."""
        query = packing.pad(self.query(tokens).unflatten(1, (self.heads, -1))).transpose(1, 2)
        key_value = memory_packing.pad(self.key_value(memory).unflatten(1, (2, self.heads, -1)))
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend(query, key, value, memory_packing.mask, dropout=_rate(self.dropout))
        return self.out(packing.pack(attended.transpose(1, 2)).flatten(1))


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """softmax(QK' / sqrt(D)) V, arXiv:1706.03762, equation 1, by whatever computes it fastest here.

    Args:
        query: (B, heads, S, D).
        key, value: (B, heads, T, D).
        mask: True where a query may look, of a shape that spreads to (B, heads, S, T); None: everywhere.
        causal: a query sees the keys up to its own place; S is T then, and there is no mask.
        dropout: share of the weights that is dropped.
    """
    if query.device.type != "cpu" or key.shape[2] > SHORT.get(query.dtype, 0) or torch.compiler.is_exporting():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout)
    if causal:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril_()
    scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
    if mask is not None:
        scores = scores + scores.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return F.dropout(scores.softmax(3), dropout) @ value


def _rate(dropout: nn.Dropout) -> float:
    return dropout.p if dropout.training else 0.0
