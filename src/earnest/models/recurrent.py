"""Recurrent networks that read a text: Elman's, LSTM, GRU and minGRU, forwards or both ways.

The papers of the cells stand beside them, in `earnest.nn.recurrent`. The sentence's features are the largest value that
each hidden unit takes on the way, unless told otherwise: A. Conneau et al., "Supervised learning of universal sentence
representations", arXiv:1705.02364, found that better than the last state and the mean.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.inputs import text_shape
from earnest.nn.recurrent import CellName, Recurrent, State, VariationalDropout

Pooling = Literal["last", "mean", "max"]
TokenInputs = tuple[Tensor, Tensor]
"""(B, T) int64 ids, 0 where there is none, and (B,) int64 lengths of at least 1."""


class RecurrentNetwork(nn.Module):
    """Embedded tokens, a stack of recurrent layers, a pool over the text, a head.

    Args:
        embedding_width: features a token becomes.
        width: hidden units of a layer, in each direction.
        depth: layers.
        pooling: "last" is what each direction knows at its end.
        dropout: of embeddings, between layers and of the last one's outputs, variational.
        weight_dropout: of hidden-to-hidden weights.
        residual: see `Recurrent`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        *,
        cell: CellName,
        embedding_width: int,
        width: int,
        depth: int = 1,
        bidirectional: bool = False,
        pooling: Pooling = "max",
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_width, padding_idx=0)
        self.embedding_dropout = VariationalDropout(dropout)
        self.recurrent = Recurrent(
            cell,
            embedding_width,
            width,
            num_layers=depth,
            bidirectional=bidirectional,
            dropout=dropout,
            weight_dropout=weight_dropout,
            residual=residual,
        )
        self.pooling = pooling
        self.num_features = self.recurrent.num_features
        self.dropout = VariationalDropout(dropout)
        self.head = nn.Linear(self.num_features, num_outputs)

    def set_embeddings(self, vectors: Tensor, ids: Tensor | None = None) -> None:
        """Take pretrained vectors (V, embedding_width), or (N, embedding_width) for the N tokens `ids` alone.

        Raises:
            OptionError: they do not fit.
        """
        set_vectors(self.embedding, vectors, ids)

    def tokens(self, inputs: TokenInputs) -> Tensor:
        """Hidden states (B, T, num_features); what stands past a length means nothing."""
        ids, lengths = inputs
        return self.dropout(self.recurrent(self.embedding_dropout(self.embedding(ids)), lengths))

    def stream(self, ids: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Hidden states (B, T, num_features) of a text that goes on from `states`, and the states after it.

        For networks that read forwards only; ids (B, T) hold no padding.
        """
        return self.recurrent.stream(self.embedding_dropout(self.embedding(ids)), states)

    def features(self, inputs: TokenInputs) -> Tensor:
        """(B, num_features), pooled over each text."""
        _, lengths = inputs
        hidden = self.tokens(inputs)
        if self.pooling == "last":
            return self._last(hidden, lengths)
        padding = torch.arange(hidden.shape[1], device=hidden.device) >= lengths[:, None]
        if self.pooling == "max":
            return hidden.masked_fill(padding[..., None], -torch.inf).amax(1)
        return hidden.masked_fill(padding[..., None], 0).sum(1) / lengths[:, None]

    def forward(self, inputs: TokenInputs) -> Tensor:
        """(B, num_outputs)."""
        return self.head(self.features(inputs))

    def _last(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """What the forward half knows at the text's last token, and the backward half at its first."""
        index = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[2])
        last = hidden.gather(1, index)[:, 0]
        if not self.recurrent.bidirectional:
            return last
        half = self.num_features // 2
        return torch.cat([last[:, :half], hidden[:, 0, half:]], dim=1)


@torch.no_grad()
def set_vectors(embedding: nn.Embedding, vectors: Tensor, ids: Tensor | None = None) -> None:
    """Copy pretrained vectors into an embedding: all of its rows, or those of `ids`.

    Raises:
        OptionError: they do not fit.
    """
    rows, width = len(embedding.weight if ids is None else ids), embedding.embedding_dim
    if vectors.shape != (rows, width):
        raise OptionError(
            f"the word vectors are {' x '.join(map(str, vectors.shape))}, and the network wants {rows} x {width}; "
            f"set embedding_width to the vectors' own width, and give one vector a token."
        )
    embedding.weight[slice(None) if ids is None else ids] = vectors.to(embedding.weight)


ELMAN = "Elman, Finding structure in time, Cognitive Science 14 (2), 1990"
SCHMIDHUBER = "Hochreiter & Schmidhuber, Long short-term memory, Neural Computation 9 (8), 1997"
SCHUSTER = "Schuster & Paliwal, Bidirectional recurrent neural networks, IEEE Trans. Signal Processing 45 (11), 1997"
CHO = "Cho et al., Learning phrase representations using RNN encoder-decoder, arXiv:1406.1078"
FENG = "Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, Were RNNs all we needed?, arXiv:2410.01201"
KERNEL = "outputs and gradients of the equations, step by step, equal PyTorch's LSTM, GRU and RNN in float64 to 1e-10"


def _register(
    name: str,
    cell: CellName,
    sizes: tuple[int, int, int] = (128, 256, 1),
    *,
    bidirectional: bool = False,
    residual: bool = False,
    **about: Any,
) -> None:
    """Register one network. `sizes`: widths of the embedding and of a layer, and layers, unless the user says other."""
    tiny = about.get("tiny", False)
    known = {
        "input": (256,),
        "vocabulary": 100 if tiny else 10_000,
        "num_outputs": 2,
        "reference": "none of this size",
        "reproduced": "" if tiny else KERNEL,
        "kinds": ("tokens",),
        "tiny": False,
        "generates": not bidirectional,
    }

    @models.register(name, **(known | about))
    def build(
        spec: InputSpec,
        num_outputs: int,
        *,
        embedding_width: int = sizes[0],
        width: int = sizes[1],
        depth: int = sizes[2],
        pooling: Pooling = "max",
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> RecurrentNetwork:
        _, vocabulary = text_shape(spec, model=name)
        return RecurrentNetwork(
            vocabulary,
            num_outputs,
            cell=cell,
            embedding_width=embedding_width,
            width=width,
            depth=depth,
            bidirectional=bidirectional,
            pooling=pooling,
            dropout=dropout,
            weight_dropout=weight_dropout,
            residual=residual,
        )


_register("elman", "elman", family="elman", title="Elman network", year=1990, paper=ELMAN, parameters=1_379_330)
_register("lstm", "lstm", family="lstm", title="LSTM", year=1997, paper=SCHMIDHUBER, parameters=1_675_778)
_register(
    "bilstm",
    "lstm",
    bidirectional=True,
    family="lstm",
    title="Bidirectional LSTM",
    year=1997,
    paper=SCHUSTER,
    reference="84.5% on SNLI with 2,048 units a direction (Conneau et al. 2017)",
    parameters=2_071_554,
)
_register("gru", "gru", family="gru", title="GRU", year=2014, paper=CHO, parameters=1_576_962)
_register(
    "bigru",
    "gru",
    bidirectional=True,
    family="gru",
    title="Bidirectional GRU",
    year=2014,
    paper=CHO,
    parameters=1_873_922,
)
_register(
    "mingru",
    "mingru",
    (256, 256, 2),
    residual=True,
    family="mingru",
    title="minGRU",
    year=2024,
    paper=FENG,
    reproduced="the scan's outputs and gradients equal its equations, step by step, in float64 to 1e-10",
    parameters=2_824_194,
)

TINY = (16, 16, 1)
_register(
    "elman-tiny",
    "elman",
    TINY,
    family="elman",
    title="Elman, tiny",
    year=1990,
    paper=ELMAN,
    parameters=2_178,
    tiny=True,
)
_register(
    "bilstm-tiny",
    "lstm",
    TINY,
    bidirectional=True,
    family="lstm",
    title="Bidirectional LSTM, tiny",
    year=1997,
    paper=SCHUSTER,
    parameters=6_018,
    tiny=True,
)
_register("gru-tiny", "gru", TINY, family="gru", title="GRU, tiny", year=2014, paper=CHO, parameters=3_266, tiny=True)
_register(
    "mingru-tiny",
    "mingru",
    (16, 16, 2),
    residual=True,
    family="mingru",
    title="minGRU, tiny",
    year=2024,
    paper=FENG,
    parameters=2_754,
    tiny=True,
)
