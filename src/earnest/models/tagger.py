"""Taggers, which answer for every word: a bidirectional LSTM under a CRF, and a head on any encoder of word pieces.

Z. Huang, W. Xu & K. Yu, "Bidirectional LSTM-CRF models for sequence tagging", arXiv:1508.01991; G. Lample et al.,
"Neural architectures for named entity recognition", arXiv:1603.01360; X. Ma & E. Hovy, "End-to-end sequence labeling
via bi-directional LSTM-CNNs-CRF", arXiv:1603.01354, whose character features and sizes these are.

A tagger's `forward` gives scores (B, T, K) of K tags for every word; `crf` is what joins them, None where each word's
tag is chosen by itself; `num_words` is how many of a row's T places are words. `tell_beside` gives, with these scores,
those of what else a recurrent tagger was made to learn of every word, which helps it and is not shipped: A. Sogaard &
Y. Goldberg, "Deep multi-task learning with low level tasks supervised at lower layers", ACL 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.recurrent import set_vectors
from earnest.nn.crf import LinearChainCRF
from earnest.nn.recurrent import CellName, Recurrent, VariationalDropout

UNKNOWN = 1
"""The id of a word that is not in the vocabulary."""
SHAPE_WIDTH = 8
"""Features of how a word is written."""

PAPER = "Huang, Xu & Yu, Bidirectional LSTM-CRF models for sequence tagging, arXiv:1508.01991"


class CharacterCNN(nn.Module):
    """A word's characters as features: the largest answer of each filter anywhere in the word (arXiv:1603.01354)."""

    def __init__(self, num_characters: int, *, width: int = 30, num_filters: int = 30, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = _embedding(num_characters, width)
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv1d(width, num_filters, 3, padding=1)
        self.num_features = num_filters

    def forward(self, characters: Tensor) -> Tensor:
        """(B, T, W) int64, 0 past a word's end, to (B, T, num_filters); zeros where there is no character at all."""
        words = characters.flatten(0, 1)
        real = words > 0
        found = self.conv(self.dropout(self.embedding(words)).transpose(1, 2))
        largest = found.masked_fill(~real[:, None], -torch.inf).amax(2)
        return largest.masked_fill(~real.any(1)[:, None], 0).unflatten(0, characters.shape[:2])


class RecurrentTagger(nn.Module):
    """Embedded words, beside them their characters and how they are written, a bidirectional stack, a head, a CRF.

    Args:
        spec: of "tokens"; its cardinalities are those of words, and of characters and shapes where they are inputs.
        num_tags: K.
        embedding_width: features a word becomes.
        width: hidden units of a layer, in each direction.
        character_filters: features that come from a word's characters.
        crf: whether a CRF joins the words' tags; otherwise each is chosen by itself.
        dropout: of characters, of what goes into the stack, between its layers and before the head.
        word_dropout: share of words that training shows as unknown, so that it learns what to do with those.

    Raises:
        OptionError: `spec` is not of tokens.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_tags: int,
        *,
        model: str,
        cell: CellName,
        embedding_width: int,
        width: int,
        depth: int,
        character_filters: int,
        crf: bool,
        dropout: float,
        word_dropout: float,
    ) -> None:
        super().__init__()
        if spec.kind != "tokens":
            raise OptionError(
                f"the model {model!r} reads words, and this input is a {spec.kind}; choose a model for it."
            )
        num_words, num_characters, num_shapes = (*spec.cardinalities, 0, 0)[:3]
        self.words = _embedding(num_words, embedding_width)
        self.characters = (
            CharacterCNN(num_characters, num_filters=character_filters, dropout=dropout) if num_characters else None
        )
        self.shapes = nn.Embedding(num_shapes, SHAPE_WIDTH) if num_shapes else None
        self.word_dropout = word_dropout
        self.input_dropout = VariationalDropout(dropout)
        num_inputs = embedding_width + character_filters * bool(num_characters) + SHAPE_WIDTH * bool(num_shapes)
        self.recurrent = Recurrent(cell, num_inputs, width, num_layers=depth, bidirectional=True, dropout=dropout)
        self.num_features = self.recurrent.num_features
        self.dropout = VariationalDropout(dropout)
        self.head = nn.Linear(self.num_features, num_tags)
        self.crf = LinearChainCRF(num_tags) if crf else None
        self.beside = nn.ModuleList()
        self.initialise()

    def initialise(self) -> None:
        """Embeddings as in arXiv:1603.01354, section 3.1: small, so that rare words do not drown their characters."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                bound = math.sqrt(3 / module.embedding_dim)
                nn.init.uniform_(module.weight, -bound, bound)
                if module.padding_idx is not None:
                    nn.init.zeros_(module.weight[module.padding_idx])

    def set_embeddings(self, vectors: Tensor, ids: Tensor | None = None) -> None:
        """Take pretrained vectors (V, embedding_width), or (N, embedding_width) for the N words `ids` alone.

        Raises:
            OptionError: they do not fit.
        """
        set_vectors(self.words, vectors, ids)

    def num_words(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """(B,) words of each row."""
        return inputs[1]

    def tokens(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Hidden states (B, T, num_features); what stands past a length means nothing.

        `inputs` are (B, T) int64 ids and (B,) int64 lengths, and, if the spec has them, (B, T, W) int64 characters and
        (B, T) int64 shapes.
        """
        ids, lengths, *others = inputs
        if self.training and self.word_dropout:
            hidden = torch.rand(ids.shape, device=ids.device) < self.word_dropout
            ids = ids.masked_fill(hidden & (ids > 0), UNKNOWN)
        readings = [module for module in (self.words, self.characters, self.shapes) if module is not None]
        features = [read(its) for read, its in zip(readings, (ids, *others), strict=True)]
        return self.recurrent(self.input_dropout(torch.cat(features, dim=-1)), lengths)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Scores of tags (B, T, num_tags)."""
        return self.head(self.dropout(self.tokens(inputs)))

    def learn_beside(self, num_values: Sequence[int]) -> None:
        """Learn, or where there is none learn no longer, further columns of so many values each."""
        self.beside = nn.ModuleList(nn.Linear(self.num_features, num) for num in num_values)

    def tell_beside(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """Scores of tags (B, T, num_tags), and of the values of each further column (B, T, values)."""
        hidden = self.dropout(self.tokens(inputs))
        return self.head(hidden), [its(hidden) for its in self.beside]


def _embedding(num_rows: int, width: int) -> nn.Embedding:
    """Rows as small as in arXiv:1603.01354, so that what a rare word learns outweighs where it began; row 0 is 0."""
    embedding = nn.Embedding(num_rows, width, padding_idx=0)
    bound = (3 / width) ** 0.5
    with torch.no_grad():
        embedding.weight[1:].uniform_(-bound, bound)
    return embedding


class TokenEncoder(Protocol):
    """What knows something about every token of a text."""

    num_features: int

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T) ids and (B,) lengths to (B, T, num_features)."""


class EncoderTagger(nn.Module):
    """Tags words by what an encoder of their pieces knows at each word's first piece (arXiv:1810.04805, section 5.3).

    Args:
        encoder: a module that encodes tokens, such as a BERT.
    """

    def __init__(self, encoder: TokenEncoder, num_tags: int, *, crf: bool = False, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_features = encoder.num_features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_tags)
        self.crf = LinearChainCRF(num_tags) if crf else None

    def num_words(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """(B,) words of each row."""
        return inputs[3]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Scores of tags (B, N, num_tags).

        `inputs` are (B, T) int64 ids of pieces, (B,) int64 how many of them, (B, N) int64 places of each word's first
        piece (0 past the last word) and (B,) int64 how many words.
        """
        ids, lengths, first, _ = inputs
        hidden = self.encoder.tokens((ids, lengths))
        return self.head(self.dropout(hidden.gather(1, first[..., None].expand(-1, -1, self.num_features))))


ABOUT: dict[str, Any] = {
    "family": "tagger",
    "year": 2015,
    "paper": PAPER,
    "input": None,
    "parameters": None,
    "kinds": ("tokens",),
    "per_token": True,
}


@models.register(
    "bilstm-crf",
    title="BiLSTM-CRF",
    reference="F1 94.46 on CoNLL-2000 chunks (Huang et al.); 91.21 on CoNLL-2003 names (Ma & Hovy), with word vectors",
    reproduced="the CRF's likelihood, gradients and best path equal the enumeration of all paths",
    tiny=False,
    **ABOUT,
)
def bilstm_crf(
    spec: InputSpec,
    num_outputs: int,
    *,
    cell: CellName = "lstm",
    embedding_width: int = 100,
    width: int = 200,
    depth: int = 1,
    character_filters: int = 30,
    crf: bool = True,
    dropout: float = 0.5,
    word_dropout: float = 0.05,
) -> RecurrentTagger:
    return RecurrentTagger(
        spec,
        num_outputs,
        model="bilstm-crf",
        cell=cell,
        embedding_width=embedding_width,
        width=width,
        depth=depth,
        character_filters=character_filters,
        crf=crf,
        dropout=dropout,
        word_dropout=word_dropout,
    )


@models.register(
    "bilstm-crf-tiny",
    title="BiLSTM-CRF, tiny",
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **ABOUT,
)
def bilstm_crf_tiny(spec: InputSpec, num_outputs: int, *, crf: bool = True, dropout: float = 0.0) -> RecurrentTagger:
    return RecurrentTagger(
        spec,
        num_outputs,
        model="bilstm-crf-tiny",
        cell="lstm",
        embedding_width=16,
        width=16,
        depth=1,
        character_filters=8,
        crf=crf,
        dropout=dropout,
        word_dropout=0.0,
    )
