"""Unpadding: the real tokens of a padded batch as the rows of one matrix, and back.

What works on each token by itself (linear layers, norms, activations) then never sees padding; what works on a row's
tokens together (attention) gets the padded form. Zeng et al., "Boosting distributed training performance of the
unpadded BERT model", arXiv:2208.08124; Portes et al., "MosaicBERT", arXiv:2312.17482, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the tokens of a padded batch (B, T) are in a matrix (N, D), which has a row for each.

    With unpadding N is the number of real tokens; without it, or where there is no padding, N is B * T.
    """

    num_rows: int
    width: int
    """T, tokens in a padded row."""
    positions: Tensor
    """(N,) the place of each token in its row, from 0."""
    places: Tensor | None
    """(N,) the place of each token in the flattened padded batch; None: all of them, in order."""
    mask: Tensor | None
    """(B, 1, 1, T) which keys are real; None: all are."""
    starts: Tensor
    """(B,) the place of each row's first token in the matrix."""

    @classmethod
    def of(cls, lengths: Tensor, width: int, *, unpad: bool = True) -> Packing:
        """The packing of rows of `lengths` (B,) padded to `width` tokens.

        Where shapes must not depend on values (an export, the meta device), padding stays.
        """
        rows = lengths.shape[0]  # not len(), which an export would take for a constant
        every = torch.arange(width, device=lengths.device).expand(rows, width)
        real = every < lengths[:, None]
        mask = real[:, None, None]
        starts = torch.arange(rows, device=lengths.device) * width
        if not unpad or lengths.is_meta or torch.compiler.is_exporting():
            return cls(rows, width, every.flatten(), None, mask, starts)
        if real.all():
            return cls(rows, width, every.flatten(), None, None, starts)
        places = real.flatten().nonzero()[:, 0]
        return cls(rows, width, every.flatten()[places], places, mask, lengths.cumsum(0) - lengths)

    def pack(self, padded: Tensor) -> Tensor:
        """(B, T, ...) to (N, ...)."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)

    def pad(self, tokens: Tensor) -> Tensor:
        """(N, ...) to (B, T, ...), padded with zeros."""
        if self.places is not None:
            empty = tokens.new_zeros(self.num_rows * self.width, *tokens.shape[1:])
            tokens = empty.index_copy(0, self.places, tokens)
        return tokens.unflatten(0, (self.num_rows, self.width))


def first_tokens(tokens: Tensor, packing: Packing) -> Tensor:
    """Each row's first token: (N, D) to (B, D)."""
    return tokens.index_select(0, packing.starts)


def mean_of_tokens(hidden: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each row's real tokens: (B, T, D) and (B,) to (B, D)."""
    real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
    return torch.where(real[..., None], hidden, 0).sum(1) / lengths[:, None].to(hidden.dtype)


def last_token(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Each row's last real token: (B, T, D) and (B,) to (B, D)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
