"""The multilayer perceptron: linear layers with rectifiers between them.

D. Rumelhart, G. Hinton & R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986,
pp. 533-536. The rectifier and its initialisation are later (He et al., arXiv:1502.01852).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.perceptron import num_numbers
from earnest.nn.init import he_normal

PAPER = "Rumelhart, Hinton & Williams, Learning representations by back-propagating errors, Nature 323, 1986"


class MLP(nn.Module):
    """`hidden` holds the units of each hidden layer; `dropout` follows every one of them."""

    def __init__(self, num_inputs: int, num_outputs: int, *, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = (num_inputs, *hidden)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.num_features = sizes[-1]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_outputs)
        he_normal(self)

    def features(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for index, layer in enumerate(self.layers):
            x = layer(x if index == 0 else self.dropout(x)).relu()
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


@models.register(
    "mlp",
    family="perceptron",
    title="Multilayer perceptron",
    year=1986,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=1_276_810,
    reference="1.6% error on MNIST with one hidden layer of 800, cross-entropy, no distortions (Simard et al. 2003)",
    reproduced="gradients equal finite differences",
    kinds=("vector", "image"),
    tiny=False,
)
def mlp(spec: InputSpec, num_outputs: int, *, hidden: Sequence[int] = (800, 800), dropout: float = 0.0) -> MLP:
    return MLP(num_numbers(spec, model="mlp"), num_outputs, hidden=hidden, dropout=dropout)


@models.register(
    "mlp-tiny",
    family="perceptron",
    title="Multilayer perceptron, tiny",
    year=1986,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=13_002,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("vector", "image"),
    tiny=True,
)
def mlp_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> MLP:
    return MLP(num_numbers(spec, model="mlp-tiny"), num_outputs, hidden=(16, 16), dropout=dropout)
