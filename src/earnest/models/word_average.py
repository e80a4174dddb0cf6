"""The average of a text's word vectors, and what can be told from that: no order, and hardly any cost.

M. Iyyer, V. Manjunatha, J. Boyd-Graber & H. Daumé III, "Deep unordered composition rivals syntactic methods for text
classification", ACL 2015, whose "neural bag of words" this is; their deeper net has layers on the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.recurrent import set_vectors
from earnest.nn.inputs import text_shape

PAPER = "Iyyer, Manjunatha, Boyd-Graber & Daumé, Deep unordered composition rivals syntactic methods, ACL 2015"
FIRST_WORD = 2
"""Ids below it, padding and the unknown word, have no vector and do not count."""


class WordAverage(nn.Module):
    """Vectors of the known words, their mean, hidden layers on it, a head; zeros where no word is known."""

    def __init__(
        self, vocabulary: int, num_outputs: int, *, embedding_width: int, hidden: Sequence[int] = (), dropout: float = 0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        sizes = (embedding_width, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self.num_features = sizes[-1]
        self.head = nn.Linear(self.num_features, num_outputs)

    def set_embeddings(self, vectors: Tensor, ids: Tensor | None = None) -> None:
        """Take pretrained vectors (V, embedding_width), or (N, embedding_width) for the N tokens `ids` alone.

        Raises:
            OptionError: they do not fit.
        """
        set_vectors(self.embedding, vectors, ids)

    def features(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T) ids and (B,) lengths to (B, num_features)."""
        ids, lengths = inputs
        counts = (ids >= FIRST_WORD) & (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])
        total = torch.where(counts[..., None], self.embedding(ids), 0).sum(1)
        x = total / counts.sum(1, keepdim=True).clamp_min(1)
        for layer in self.layers:
            x = layer(self.dropout(x)).relu()
        return x

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return self.head(self.dropout(self.features(inputs)))


def _register(name: str, *, width: int, vocabulary: int, parameters: int, **about: Any) -> None:
    known = {
        "family": "word-average",
        "year": 2015,
        "paper": PAPER,
        "input": (256,),
        "vocabulary": vocabulary,
        "num_outputs": 2,
        "parameters": parameters,
        "kinds": ("tokens",),
        "reproduced": "",
    }

    @models.register(name, **(known | about))
    def build(
        spec: InputSpec,
        num_outputs: int,
        *,
        embedding_width: int = width,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> WordAverage:
        _, size = text_shape(spec, model=name)
        return WordAverage(size, num_outputs, embedding_width=embedding_width, hidden=hidden, dropout=dropout)


_register(
    "word-average",
    width=50,
    vocabulary=400_002,
    title="Average of word vectors",
    parameters=20_000_202,
    reference="83.6% on SST-2 by the average alone, 86.3% with layers on it, of moving 300-d GloVe (table 1)",
    reproduced="nothing yet",
    tiny=False,
)
_register(
    "word-average-tiny",
    width=16,
    vocabulary=100,
    title="Average of word vectors, tiny",
    parameters=1_634,
    reference="none; for tests and first tries",
    tiny=True,
)
