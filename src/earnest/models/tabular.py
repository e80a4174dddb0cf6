"""TabM: one multilayer perceptron that trains as an ensemble, for tables of numbers and categories.

Every member of the ensemble uses the same weight matrices and owns only vectors that scale what goes into and comes
out of them (BatchEnsemble), so that `members` networks cost the parameters of little more than one. Members see the
same rows and are trained each on its own loss; their disagreement is what their average gains from.

Gorishniy, Kotelnikov & Babenko, "TabM: advancing tabular deep learning with parameter-efficient ensembling",
arXiv:2410.24210; the numbers' embedding: Gorishniy, Rubachev & Babenko, "On embeddings for numerical features in
tabular deep learning", arXiv:2203.05556.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec

PAPER = (
    "Gorishniy, Kotelnikov & Babenko, TabM: advancing tabular deep learning with parameter-efficient ensembling, "
    "arXiv:2410.24210"
)
CATEGORY_WIDTH = 8
"""Features of an embedded category: as many as it has codes, but no more than this."""


class PeriodicEmbedding(nn.Module):
    """Each number becomes a small vector of its own: itself, and a learned mix of waves of learned frequencies.

    `e_j(x) = [x, relu(W_j [cos(2 pi c_j x + b_j)] + d_j)]`, the "PLR" embedding of arXiv:2203.05556, section 3.3, with
    phases in place of its sines, and the number itself kept beside it as in RealMLP (arXiv:2407.04491). A plain
    perceptron is biased to smooth functions of its inputs; the waves let it bend sharply at a number.

    Args:
        num_columns: how many numbers a row has.
        width: features a number becomes.
        frequencies: waves a number is expanded in.
        sigma: standard deviation of the initial frequencies, in cycles per unit of the scaled number.
    """

    def __init__(self, num_columns: int, *, width: int = 8, frequencies: int = 24, sigma: float = 0.3) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(num_columns, frequencies) * sigma)
        self.phase = nn.Parameter((torch.rand(num_columns, frequencies) * 2 - 1) * math.pi)
        bound = 1 / math.sqrt(frequencies)
        self.weight = nn.Parameter(torch.empty(num_columns, frequencies, width - 1).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_columns, width - 1).uniform_(-bound, bound))

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, N) numbers to (B, N * width) features."""
        waves = torch.cos(2 * math.pi * self.frequency * numbers[..., None] + self.phase)
        mixed = torch.relu(torch.einsum("bnf,nfw->bnw", waves, self.weight) + self.bias)
        return torch.cat([numbers[..., None], mixed], dim=-1).flatten(1)


class EnsembleLinear(nn.Module):
    """A linear layer that the members of an ensemble share: `y_m = s_m * W (r_m * x_m) + b_m` (arXiv:2002.06715).

    `W` is common; `r_m`, `s_m` and `b_m` are vectors of the member's own. All start at one and an equal bias, so that
    members start equal, unless `spread` draws `r_m` from a standard normal: the first layer's task (arXiv:2410.24210,
    section 3.3).
    """

    def __init__(self, num_in: int, num_out: int, members: int, *, spread: bool = False) -> None:
        super().__init__()
        bound = 1 / math.sqrt(num_in) if num_in else 0.0
        self.weight = nn.Parameter(torch.empty(num_out, num_in).uniform_(-bound, bound))
        self.scale_in = nn.Parameter(torch.randn(members, num_in) if spread else torch.ones(members, num_in))
        self.scale_out = nn.Parameter(torch.ones(members, num_out))
        self.bias = nn.Parameter(torch.empty(num_out).uniform_(-bound, bound).repeat(members, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, members or 1, in) features to (B, members, out)."""
        return nn.functional.linear(features * self.scale_in, self.weight) * self.scale_out + self.bias


class TabM(nn.Module):
    """The network; see the module's docstring.

    Args:
        spec: how many numbers a row has, and how many codes each category has; either may be none.
        num_outputs: classes, or 1 for a regression.
        width: hidden units a layer.
        depth: hidden layers.
        members: networks in the ensemble.
        dropout: share of hidden units dropped in training.
        embedding_width: features a number becomes, itself among them.
        frequencies: waves a number is expanded in.
        sigma: standard deviation of the initial frequencies.

    Raises:
        OptionError: `spec` is not of a table.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: int,
        depth: int,
        members: int,
        dropout: float,
        embedding_width: int,
        frequencies: int,
        sigma: float,
    ) -> None:
        super().__init__()
        if spec.kind != "table":
            raise OptionError(f"the model 'tabm' reads tables, and this input is a {spec.kind}; choose a model for it.")
        (num_numbers,) = spec.shape
        self.numbers = PeriodicEmbedding(num_numbers, width=embedding_width, frequencies=frequencies, sigma=sigma)
        self.categories = nn.ModuleList(_category(num_codes) for num_codes in spec.cardinalities)
        num_in = num_numbers * embedding_width + sum(min(n, CATEGORY_WIDTH) for n in spec.cardinalities)
        widths = [num_in] + [width] * depth
        self.hidden = nn.ModuleList(
            EnsembleLinear(a, b, members, spread=i == 0)
            for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(width)
        self.head = nn.Parameter(torch.empty(members, width, num_outputs).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.empty(members, num_outputs).uniform_(-bound, bound))

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, N) finite numbers and (B, K) int64 codes to (B, members, num_outputs) logits or values.

        The loss is the mean of the members' losses, and the prediction the mean of their probabilities: the caller's
        part, in training and evaluation alike.
        """
        numbers, codes = inputs
        columns = [self.numbers(numbers)]
        columns += [embed(codes[:, column]) for column, embed in enumerate(self.categories)]
        features = torch.cat(columns, dim=-1)[:, None]
        for layer in self.hidden:
            features = self.dropout(torch.relu(layer(features)))
        return torch.einsum("bmw,mwo->bmo", features, self.head) + self.head_bias


def _category(num_codes: int) -> nn.Embedding:
    """An embedding that says nothing (zeros) for the code 0, missing or unseen, until training teaches it otherwise."""
    embedding = nn.Embedding(num_codes, min(num_codes, CATEGORY_WIDTH))
    with torch.no_grad():
        embedding.weight[0] = 0
    return embedding


@models.register(
    "tabm",
    family="tabular",
    title="TabM",
    year=2024,
    paper=PAPER,
    input=None,
    parameters=None,
    reference="",
    reproduced="",
    kinds=("table",),
    tiny=False,
)
def tabm(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: int = 128,
    depth: int = 2,
    members: int = 8,
    dropout: float = 0.1,
    embedding_width: int = 8,
    frequencies: int = 16,
    sigma: float = 0.1,
) -> TabM:
    return TabM(
        spec,
        num_outputs,
        width=width,
        depth=depth,
        members=members,
        dropout=dropout,
        embedding_width=embedding_width,
        frequencies=frequencies,
        sigma=sigma,
    )


@models.register(
    "tabm-tiny",
    family="tabular",
    title="TabM, tiny",
    year=2024,
    paper=PAPER,
    input=None,
    parameters=None,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("table",),
    tiny=True,
)
def tabm_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> TabM:
    return TabM(
        spec,
        num_outputs,
        width=32,
        depth=2,
        members=4,
        dropout=dropout,
        embedding_width=4,
        frequencies=8,
        sigma=0.1,
    )
