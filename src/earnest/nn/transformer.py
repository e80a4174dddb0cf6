"""The blocks of Transformers: attention, then a small network on each token, each with a residual and a norm.

Vaswani et al., "Attention is all you need", arXiv:1706.03762 (a norm after each sum); Xiong et al., "On layer
normalization in the Transformer architecture", arXiv:2002.04745 (a norm before each part); Shazeer, "GLU variants
improve Transformer", arXiv:2002.05202 (GeGLU).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from earnest.nn.attention import CrossAttention, KeysAndValues, Rotation, SelfAttention
from earnest.nn.dropout import Dropout
from earnest.nn.packing import Packing, first_tokens


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """What kind of Transformer a block belongs to; as it stands, the one of 2017 with BERT's activation."""

    norm_first: bool = False
    """Norms before each part ("pre-norm"), rather than after each sum."""
    activation: Literal["relu", "gelu", "gelu-tanh", "geglu"] = "gelu"
    """"gelu-tanh" is the approximation that GPT-2 was trained with."""
    bias: bool = True
    """Whether linear layers and norms have one."""
    eps: float = 1e-5
    """Added to the variance by norms."""
    causal: bool = False
    """A token sees only itself and those before it."""
    dropout: float = 0.0
    """Share of what each part adds that is dropped in training."""
    attention_dropout: float = 0.0
    """Share of the attention weights that is dropped in training; more than 0 costs the fused kernel."""

    def norm(self, width: int) -> nn.LayerNorm:
        return nn.LayerNorm(width, eps=self.eps, bias=self.bias)


class FeedForward(nn.Module):
    """Two linear layers with an activation between; GeGLU's first gives `hidden` gates as well, which scale."""

    def __init__(self, width: int, hidden: int, options: BlockOptions) -> None:
        super().__init__()
        self.gated = options.activation == "geglu"
        self.activation = options.activation
        self.up = nn.Linear(width, 2 * hidden if self.gated else hidden, bias=options.bias)
        self.down = nn.Linear(hidden, width, bias=options.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        if self.gated:
            x, gate = x.chunk(2, -1)
            return self.down(F.gelu(x) * gate)
        if self.activation == "relu":
            return self.down(x.relu())
        return self.down(F.gelu(x, approximate="tanh" if self.activation == "gelu-tanh" else "none"))


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward network; with `options.causal`, the block of a language model.

    Args:
        width: features of a token, a multiple of `heads`.
        hidden: units of the feed-forward network.
    """

    def __init__(self, width: int, heads: int, hidden: int, options: BlockOptions) -> None:
        super().__init__()
        self.norm_first = options.norm_first
        self.attention = SelfAttention(
            width, heads, causal=options.causal, bias=options.bias, dropout=options.attention_dropout
        )
        self.attention_norm = options.norm(width)
        self.feed_forward = FeedForward(width, hidden, options)
        self.feed_forward_norm = options.norm(width)
        self.dropout = Dropout(options.dropout)

    def forward(self, tokens: Tensor, packing: Packing, rotation: Rotation | None = None) -> Tensor:
        """(N, width) to (N, width)."""
        normed = self.attention_norm(tokens) if self.norm_first else tokens
        return self._go_on(tokens, self.attention(normed, packing, rotation))

    def first(self, tokens: Tensor, packing: Packing, rotation: Rotation | None = None) -> Tensor:
        """As `forward`, of each row's first token alone, (B, width): less is then left to do after attention."""
        normed = self.attention_norm(tokens) if self.norm_first else tokens
        return self._go_on(first_tokens(tokens, packing), self.attention.first(normed, packing, rotation))

    def extend(
        self, tokens: Tensor, packing: Packing, rotation: Rotation | None, past: KeysAndValues | None
    ) -> tuple[Tensor, KeysAndValues]:
        """As `forward` for tokens that follow those of `past`, in rows without padding; and the past with them."""
        normed = self.attention_norm(tokens) if self.norm_first else tokens
        attended, present = self.attention.extend(normed, packing, rotation, past)
        return self._go_on(tokens, attended), present

    def _go_on(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block: tokens and what attention made of them, then the feed-forward network."""
        tokens = tokens + self.dropout(attended)
        if not self.norm_first:
            tokens = self.attention_norm(tokens)
        return add(tokens, self.feed_forward, self.feed_forward_norm, self.dropout, norm_first=self.norm_first)


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to a memory, a feed-forward network: the block that translates.

    Arguments as in `EncoderBlock`; `options.causal` must be set.
    """

    def __init__(self, width: int, heads: int, hidden: int, options: BlockOptions) -> None:
        super().__init__()
        assert options.causal, "a decoder that sees what it is to say learns nothing"
        self.norm_first = options.norm_first
        bias, dropout = options.bias, options.attention_dropout
        self.attention = SelfAttention(width, heads, causal=True, bias=bias, dropout=dropout)
        self.attention_norm = options.norm(width)
        self.cross_attention = CrossAttention(width, heads, bias=bias, dropout=dropout)
        self.cross_attention_norm = options.norm(width)
        self.feed_forward = FeedForward(width, hidden, options)
        self.feed_forward_norm = options.norm(width)
        self.dropout = Dropout(options.dropout)

    def forward(
        self,
        tokens: Tensor,
        packing: Packing,
        memory: Tensor,
        memory_packing: Packing,
        rotation: Rotation | None = None,
    ) -> Tensor:
        """(N, width) tokens and (M, width) tokens of the memory to (N, width)."""
        parts: tuple[tuple[Callable[[Tensor], Tensor], nn.Module], ...] = (
            (lambda x: self.attention(x, packing, rotation), self.attention_norm),
            (lambda x: self.cross_attention(x, packing, memory, memory_packing), self.cross_attention_norm),
            (self.feed_forward, self.feed_forward_norm),
        )
        for part, norm in parts:
            tokens = add(tokens, part, norm, self.dropout, norm_first=self.norm_first)
        return tokens


def add(
    x: Tensor, part: Callable[[Tensor], Tensor], norm: nn.Module, dropout: nn.Module, *, norm_first: bool
) -> Tensor:
    """`x` and what `part` makes of it, with the norm where it belongs."""
    if norm_first:
        return x + dropout(part(norm(x)))
    return norm(x + dropout(part(x)))
