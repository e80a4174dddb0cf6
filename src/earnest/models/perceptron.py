"""The perceptron: one layer of threshold units, with Rosenblatt's own learning rule.

F. Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the brain",
Psychological Review 65 (6), 1958, pp. 386-408.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec

PAPER = (
    "Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, "
    "Psychological Review 65 (6), 1958"
)


class Perceptron(nn.Module):
    """A linear layer on the input's numbers. All weights start at zero.

    Trained by gradients it is logistic (or linear) regression; `rosenblatt` trains it as its inventor did.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_features = num_inputs
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_inputs, num_outputs)
        self.initialise()

    def initialise(self) -> None:
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


@torch.no_grad()
def rosenblatt(x: Tensor, y: Tensor, *, epochs: int, num_classes: int = 2) -> tuple[Perceptron, list[int]]:
    """A perceptron taught by Rosenblatt's rule: only a mistake changes the weights.

    With two classes there is one unit, which fires (class 1) when its sum exceeds zero; when it should have fired the
    example is added to its weights, when it should not have, subtracted. With more there is a unit a class and the
    largest sum wins; after a mistake the example is added to the right unit's weights and subtracted from the winner's.
    Examples are taken in the order given. On separable classes the number of mistakes is at most (R / margin)^2 for two
    classes (A. Novikoff, "On convergence proofs on perceptrons", 1962), and teaching ends after an epoch without any.

    Args:
        x: (N, ...) floats, flattened.
        y: (N,) integers from 0 to `num_classes` - 1.
        epochs: passes over the examples, at most.

    Returns:
        The perceptron, and the mistakes made in each epoch.
    """
    x = x.flatten(1)
    weight = x.new_zeros(1 if num_classes == 2 else num_classes, x.shape[1])
    bias = x.new_zeros(len(weight))
    mistakes = []
    for _ in range(epochs):
        mistakes.append(0)
        for example, label in zip(x, y.tolist(), strict=True):
            sums = weight @ example + bias
            answer = int(sums[0] > 0) if num_classes == 2 else int(sums.argmax())
            if answer == label:
                continue
            mistakes[-1] += 1
            changes = [(0, label - answer)] if num_classes == 2 else [(label, 1), (answer, -1)]
            for unit, sign in changes:
                weight[unit] += sign * example
                bias[unit] += sign
        if mistakes[-1] == 0:
            break
    taught = Perceptron(x.shape[1], len(weight)).to(x)
    taught.head.weight.copy_(weight)
    taught.head.bias.copy_(bias)
    return taught, mistakes


def num_numbers(spec: InputSpec, *, model: str) -> int:
    """How many numbers an image or a vector holds.

    Raises:
        OptionError: `spec` is of neither.
    """
    if spec.kind not in ("vector", "image"):
        raise OptionError(
            f"the model {model!r} reads vectors and images, and this input is a {spec.kind}; choose a model for it."
        )
    return math.prod(spec.shape)


@models.register(
    "perceptron",
    family="perceptron",
    title="Perceptron",
    year=1958,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=7_850,
    reference="12.0% error on MNIST for a linear classifier (LeCun et al. 1998)",
    reproduced="Rosenblatt's rule makes scikit-learn's Perceptron's weights, and stays within Novikoff's bound",
    kinds=("vector", "image"),
    tiny=False,
)
def perceptron(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> Perceptron:
    return Perceptron(num_numbers(spec, model="perceptron"), num_outputs, dropout=dropout)
