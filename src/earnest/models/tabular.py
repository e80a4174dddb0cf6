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
from itertools import pairwise

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec

PAPER = (
    "Gorishniy, Kotelnikov & Babenko, TabM: advancing tabular deep learning with parameter-efficient ensembling, "
    "arXiv:2410.24210"
)
LEAST_BIN_WIDTH = 1e-6
"""Values closer than this are not told apart, so that a bin's slope stays finite."""
CATEGORY_WIDTH = 8
"""Features of an embedded category: as many as it has codes, but no more than this."""


class PiecewiseLinearEmbedding(nn.Module):
    """Each number becomes a small vector of its own, a learned piecewise-linear function of it.

    `e_j(x) = w_j x + b_j + V_j PLE_j(x)`, arXiv:2203.05556, equation 1, and arXiv:2410.24210, appendix A: bin t of
    column j says how much of it lies below x, from 0 to 1, and `V_j` starts at zero. A perceptron alone is biased to
    smooth functions of its inputs; the bins let it bend, and jump, where the data do.

    Args:
        num_columns: how many numbers a row has.
        width: features a number becomes.
        bins: bins a column has, at most.
    """

    lower: Tensor
    inverse_width: Tensor

    def __init__(self, num_columns: int, *, width: int, bins: int) -> None:
        super().__init__()
        edges = torch.linspace(-3, 3, bins + 1).repeat(num_columns, 1)
        self.register_buffer("lower", edges[:, :-1].contiguous())
        self.register_buffer("inverse_width", 1 / edges.diff(dim=1))
        self.slope = nn.Parameter(torch.randn(num_columns, width) / 2)
        self.bias = nn.Parameter(torch.randn(num_columns, width) / 2)
        self.weight = nn.Parameter(torch.zeros(num_columns, bins, width))

    @torch.no_grad()
    def set_bins(self, numbers: Tensor) -> None:
        """Choose the bins from training rows (rows, N): half their edges are quantiles of rows, half of values.

        Quantiles of rows give bins to where rows are. Quantiles of the values that occur, each counted once, give them
        to what is rare and telling as well, such as the few capital gains among thousands of zeros.
        """
        num_columns, bins = self.lower.shape
        self.lower.zero_()
        self.inverse_width.zero_()
        for column in range(num_columns):
            values = numbers[:, column].sort().values
            edges = torch.cat([_spread(values, bins // 2), _spread(values.unique(), bins - bins // 2 + 1)]).unique()
            self.lower[column, : len(edges) - 1] = edges[:-1]
            self.inverse_width[column, : len(edges) - 1] = 1 / edges.diff().clamp(min=LEAST_BIN_WIDTH)

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, N) numbers to (B, N * width) features."""
        below = ((numbers[..., None] - self.lower) * self.inverse_width).clamp(0, 1)
        bent = torch.einsum("bnt,ntw->bnw", below, self.weight)
        return (numbers[..., None] * self.slope + self.bias + bent).flatten(1)


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
        embedding_width: features a number becomes.
        bins: bins a number's range is cut into.

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
        bins: int,
    ) -> None:
        super().__init__()
        if spec.kind != "table":
            raise OptionError(f"the model 'tabm' reads tables, and this input is a {spec.kind}; choose a model for it.")
        (num_numbers,) = spec.shape
        self.numbers = PiecewiseLinearEmbedding(num_numbers, width=embedding_width, bins=bins)
        self.categories = nn.ModuleList(category_embedding(num_codes) for num_codes in spec.cardinalities)
        num_in = num_numbers * embedding_width + sum(min(n, CATEGORY_WIDTH) for n in spec.cardinalities)
        widths = [num_in] + [width] * depth
        self.hidden = nn.ModuleList(
            EnsembleLinear(a, b, members, spread=i == 0) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(width)
        self.head = nn.Parameter(torch.empty(members, width, num_outputs).uniform_(-bound, bound))
        self.head_bias = nn.Parameter(torch.empty(members, num_outputs).uniform_(-bound, bound))

    def set_bins(self, numbers: Tensor) -> None:
        """Fit the numbers' bins to training rows (rows, N), once, before training; they are saved with the weights."""
        self.numbers.set_bins(numbers)

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


def _spread(values: Tensor, num: int) -> Tensor:
    """`num` of the sorted `values`, evenly spread over their ranks, the first and the last among them."""
    return values[torch.linspace(0, len(values) - 1, num).round().long()]


def category_embedding(num_codes: int) -> nn.Embedding:
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
    reference=(
        "86.8% accuracy and .92 ROC AUC on Adult's test file with 32 members and tuned widths (the authors' own runs)"
    ),
    reproduced=(
        ".927 ROC AUC (.917 to .936) on validation rows of Adult, where LightGBM had .925; .928 (.924 to .932) on its "
        "test file, averaged with LightGBM; one run of a minute, 8 members"
    ),
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
    bins: int = 128,
) -> TabM:
    return TabM(
        spec,
        num_outputs,
        width=width,
        depth=depth,
        members=members,
        dropout=dropout,
        embedding_width=embedding_width,
        bins=bins,
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
        bins=8,
    )
