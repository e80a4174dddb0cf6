"""Fusion: an encoder for each group of columns, what they give joined and mixed, and one head, trained end to end.

A picture goes through an AirNet. Numbers and categories are embedded as TabM embeds them and go through a hidden layer.
Every encoder's output is normalised, so that none drowns the others, and a perceptron on all of them finds what only
several say together: neither a picture nor a price alone tells a bargain.

Joining what encoders of their own make of each kind of input: Ngiam, Khosla, Kim, Nam, Lee & Ng, "Multimodal deep
learning", ICML 2011. The perceptron's first layer gates its features by others, as in Dauphin, Fan, Auli &
Grangier, "Language modeling with gated convolutional networks", arXiv:1612.08083: interactions of columns are products.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.airnet import AirNet
from earnest.models.tabular import PiecewiseLinearEmbedding, category_embedding

PAPER = "Ngiam, Khosla, Kim, Nam, Lee & Ng, Multimodal deep learning, ICML 2011"


class PictureEncoder(nn.Module):
    """An AirNet without its head."""

    num_tensors = 1

    def __init__(self, spec: InputSpec, *, width: Sequence[int]) -> None:
        super().__init__()
        self.network = AirNet(spec, 1, width=width)
        del self.network.head
        self.num_features = self.network.num_features

    def prepare(self, images: Tensor) -> None:
        """Fit the whitening layer to training images (N, C, H, W)."""
        self.network.whiten(images)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F)."""
        return self.network.features(images)


class TableEncoder(nn.Module):
    """Embedded numbers and categories, and a hidden layer on all of them."""

    num_tensors = 2

    def __init__(self, spec: InputSpec, *, width: int, embedding_width: int, bins: int) -> None:
        super().__init__()
        (num_numbers,) = spec.shape
        categories = [category_embedding(num_codes) for num_codes in spec.cardinalities]
        self.numbers = PiecewiseLinearEmbedding(num_numbers, width=embedding_width, bins=bins)
        self.categories = nn.ModuleList(categories)
        embedded = num_numbers * embedding_width + sum(category.embedding_dim for category in categories)
        self.hidden = nn.Linear(embedded, width)
        self.num_features = width

    def prepare(self, numbers: Tensor, codes: Tensor) -> None:
        """Fit the numbers' bins to training rows (N, numbers)."""
        self.numbers.set_bins(numbers)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """(B, numbers) and (B, categories) to (B, F)."""
        embedded = [self.numbers(numbers), *(embed(codes[:, k]) for k, embed in enumerate(self.categories))]
        return F.gelu(self.hidden(torch.cat(embedded, dim=1)))


class Fusion(nn.Module):
    """The network; see the module's docstring.

    Args:
        spec: the groups of columns: images and tables.
        num_outputs: classes, or 1 for a regression.
        picture_width: channels of the three groups of every picture's encoder.
        table_width: features that the table's encoder gives.
        hidden: units of each of the perceptron's two layers.
        embedding_width: features that a number becomes.
        bins: bins that a number's range is cut into.
        dropout: before the head.

    Raises:
        OptionError: `spec` is not of several groups of columns.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        picture_width: Sequence[int],
        table_width: int,
        hidden: int,
        embedding_width: int,
        bins: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if spec.kind != "columns":
            raise OptionError(
                f"the model 'fusion' reads pictures and other columns together, and this input is a {spec.kind}; "
                "choose a model for it."
            )
        encoders = [
            PictureEncoder(part, width=picture_width)
            if part.kind == "image"
            else TableEncoder(part, width=table_width, embedding_width=embedding_width, bins=bins)
            for part in spec.parts
        ]
        ends = list(accumulate(encoder.num_tensors for encoder in encoders))
        self.shares = [slice(start, end) for start, end in pairwise([0, *ends])]
        widths = [encoder.num_features for encoder in encoders]
        self.encoders = nn.ModuleList(encoders)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.gated = nn.Linear(sum(widths), 2 * hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.num_features = hidden
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_outputs)

    @torch.no_grad()
    def prepare(self, inputs: tuple[Tensor, ...]) -> None:
        """Fit what comes before learning (whitening, bins) to some thousand training rows, once."""
        for encoder, share in zip(self.encoders, self.shares, strict=True):
            assert isinstance(encoder, (PictureEncoder, TableEncoder))
            encoder.prepare(*inputs[share])

    def features(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """(B, F) for the tensors of all parts."""
        joined = [
            norm(encoder(*inputs[share]))
            for encoder, norm, share in zip(self.encoders, self.norms, self.shares, strict=True)
        ]
        mixed = self.norm(F.glu(self.gated(torch.cat(joined, dim=1)), dim=1))
        return F.gelu(self.hidden(F.gelu(mixed)))

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits or values (B, num_outputs)."""
        outputs: Tensor = self.head(self.dropout(self.features(inputs)))
        return outputs


FUSION = {
    "family": "fusion",
    "year": 2011,
    "paper": PAPER,
    "input": None,
    "parameters": None,
    "kinds": ("columns",),
}
"""What is known of all of them."""


@models.register(
    "fusion",
    title="Fusion of pictures and other columns",
    reference="none for this combination",
    reproduced=(
        "99.4% of 359 test rows where the parity of scikit-learn's digits and a colour make the label together; the "
        "pictures alone get 61%; one run"
    ),
    tiny=False,
    **FUSION,
)
def fusion(
    spec: InputSpec,
    num_outputs: int,
    *,
    picture_width: Sequence[int] = (32, 64, 128),
    table_width: int = 64,
    hidden: int = 128,
    embedding_width: int = 8,
    bins: int = 64,
    dropout: float = 0.0,
) -> Fusion:
    return Fusion(
        spec,
        num_outputs,
        picture_width=picture_width,
        table_width=table_width,
        hidden=hidden,
        embedding_width=embedding_width,
        bins=bins,
        dropout=dropout,
    )


@models.register(
    "fusion-tiny",
    title="Fusion, tiny",
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **FUSION,
)
def fusion_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> Fusion:
    return Fusion(
        spec,
        num_outputs,
        picture_width=(8, 16, 16),
        table_width=16,
        hidden=16,
        embedding_width=4,
        bins=8,
        dropout=dropout,
    )
