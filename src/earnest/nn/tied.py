"""An output layer that is the transpose of an embedding: what a token means is what makes it likely."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TiedLinear(nn.Module):
    """Scores of every token of a vocabulary by the rows of its embedding, which it shares and does not store.

    Press & Wolf, "Using the output embedding to improve language models", arXiv:1608.05859.
    """

    bias: nn.Parameter | None

    def __init__(self, embedding: nn.Embedding, *, bias: bool = False) -> None:
        super().__init__()
        self._shared = (embedding,)  # in a tuple, so that the parameter is registered, counted and saved once
        self.register_parameter("bias", nn.Parameter(torch.zeros(embedding.num_embeddings)) if bias else None)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., vocabulary)."""
        return F.linear(hidden, self._shared[0].weight, self.bias)
