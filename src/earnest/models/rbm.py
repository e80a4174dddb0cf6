"""The restricted Boltzmann machine as a classifier: a linear layer on what its hidden units say.

P. Smolensky, "Information processing in dynamical systems: foundations of harmony theory", in Parallel Distributed
Processing, volume 1, MIT Press, 1986, pp. 194-281; taught as in G. Hinton, "Training products of experts by minimizing
contrastive divergence", Neural Computation 14 (8), 2002.
"""

from __future__ import annotations

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.dbn import BeliefClassifier
from earnest.models.perceptron import num_numbers

PAPER = (
    "Smolensky, Information processing in dynamical systems: foundations of harmony theory, in Parallel Distributed "
    "Processing 1, 1986"
)


@models.register(
    "rbm",
    family="rbm",
    title="Restricted Boltzmann machine, and a linear layer",
    year=1986,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=398_294,
    reference="log-likelihood of binarised MNIST with 500 hidden units: -86.3 nats by CD-25, -105.5 by CD-3 "
    "(Salakhutdinov & Murray 2008)",
    reproduced="gradients equal enumeration's, and log Z is within .05 nats of counting at 20 hidden units",
    kinds=("vector", "image"),
    tiny=False,
)
def rbm(spec: InputSpec, num_outputs: int, *, num_hidden: int = 500, dropout: float = 0.0) -> BeliefClassifier:
    numbers = num_numbers(spec, model="rbm")
    return BeliefClassifier(numbers, num_outputs, hidden=(num_hidden,), dropout=dropout, frozen=True)


@models.register(
    "rbm-tiny",
    family="rbm",
    title="Restricted Boltzmann machine, tiny",
    year=1986,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=13_514,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("vector", "image"),
    tiny=True,
)
def rbm_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> BeliefClassifier:
    return BeliefClassifier(
        num_numbers(spec, model="rbm-tiny"), num_outputs, hidden=(16,), dropout=dropout, frozen=True
    )
