"""Boltzmann machines as classifiers: one, or a stack of them, taught without labels, and a linear layer on top.

G. Hinton, S. Osindero & Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18 (7), 2006,
pp. 1527-1554; back-propagation through the whole of it: G. Hinton & R. Salakhutdinov, "Reducing the dimensionality of
data with neural networks", Science 313, 2006. Dropout: N. Srivastava et al., JMLR 15, 2014, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.perceptron import num_numbers
from earnest.nn.belief import BeliefNet

PAPER = "Hinton, Osindero & Teh, A fast learning algorithm for deep belief nets, Neural Computation 18 (7), 2006"


class BeliefClassifier(nn.Module):
    """The layers of a deep belief net and a linear one; inputs are values from 0 to 1.

    `dropout` leaves out hidden units, and two fifths as many of the inputs.
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, *, hidden: Sequence[int], dropout: float = 0.0, frozen: bool = False
    ) -> None:
        """A `frozen` net is to learn without labels alone, and the linear layer from what it says."""
        super().__init__()
        self.frozen = frozen
        self.net = BeliefNet(num_inputs, hidden)
        self.num_features = hidden[-1]
        self.input_dropout = nn.Dropout(0.4 * dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_outputs)
        nn.init.xavier_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        x = self.input_dropout(x.flatten(1))
        for number, machine in enumerate(self.net.machines):
            x = machine.hidden(x if number == 0 else self.dropout(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


@models.register(
    "dbn",
    family="dbn",
    title="Deep belief net",
    year=2006,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=1_666_794,
    reference="1.25% error on MNIST with up-down fine-tuning (the paper's); 1.2% with back-propagation (Hinton & "
    "Salakhutdinov 2006), 0.92% with dropout too (Srivastava et al. 2014)",
    reproduced="1.19% error on MNIST with back-propagation and dropout, the mean of three seeds; the bound of the "
    "log-likelihood equals enumeration's",
    kinds=("vector", "image"),
    tiny=False,
)
def dbn(
    spec: InputSpec, num_outputs: int, *, hidden: Sequence[int] = (500, 500, 2000), dropout: float = 0.0
) -> BeliefClassifier:
    return BeliefClassifier(num_numbers(spec, model="dbn"), num_outputs, hidden=hidden, dropout=dropout)


@models.register(
    "dbn-tiny",
    family="dbn",
    title="Deep belief net, tiny",
    year=2006,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=13_802,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("vector", "image"),
    tiny=True,
)
def dbn_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> BeliefClassifier:
    return BeliefClassifier(num_numbers(spec, model="dbn-tiny"), num_outputs, hidden=(16, 16), dropout=dropout)
