"""The deep belief net: a stack of restricted Boltzmann machines, each learning what the one below it says.

G. Hinton, S. Osindero & Y.-W. Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18 (7), 2006,
pp. 1527-1554.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.draws import sample_

Generator = torch.Generator | None


class BeliefNet(nn.Module):
    """The top two layers are a Boltzmann machine; below it, each layer is drawn from the one above.

    Up goes recognition, q(h | v), down generation, p(v | h). They share their weights until they are `untied`.
    """

    def __init__(self, num_visible: int, num_hidden: Sequence[int], *, untied: bool = False) -> None:
        super().__init__()
        sizes = (num_visible, *num_hidden)
        self.layers = nn.ModuleList(BoltzmannMachine(below, above) for below, above in pairwise(sizes))
        self.generative = nn.ModuleList()
        if untied:
            self.untie()

    @property
    def machines(self) -> list[BoltzmannMachine]:
        """The machine of each layer, by which it is recognised, from the lowest up."""
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def top(self) -> BoltzmannMachine:
        """The machine of the top two layers."""
        return self.machines[-1]

    def untie(self) -> None:
        """Give generation weights of its own, so far the same ones."""
        self.generative = nn.ModuleList(copy.deepcopy(layer) for layer in self.layers[:-1])

    def down(self, layer: int) -> BoltzmannMachine:
        """The machine whose p(v | h) generates what lies below `layer`."""
        return (self.generative if len(self.generative) else self.layers)[layer]  # type: ignore[return-value]

    def upward(self, v: Tensor, *, layers: int | None = None) -> Tensor:
        """Probabilities of the hidden units `layers` up, or at the top, each layer's told from those below."""
        for machine in self.machines[:layers]:
            v = machine.hidden(v)
        return v

    def states(self, v: Tensor, generator: Generator = None, *, layers: int | None = None) -> list[Tensor]:
        """v (B, V), then a draw of each hidden layer from the draw below it; of `layers`, or of all but the top one."""
        drawn = [v]
        for machine in self.machines[: len(self.layers) - 1 if layers is None else layers]:
            drawn.append(sample_(machine.hidden(drawn[-1]), generator))
        return drawn

    @torch.no_grad()
    def sample(self, number: int, *, steps: int = 1000, generator: Generator = None) -> Tensor:
        """Probabilities (N, V) of visible units, after `steps` of Gibbs sampling in the top machine."""
        v = self.top.sample(number, steps=steps, generator=generator)
        for layer in reversed(range(len(self.layers) - 1)):
            v = self.down(layer).visible(sample_(v, generator))
        return v

    @torch.no_grad()
    def unnormalised_bound(self, v: Tensor, *, draws: int = 1, generator: Generator = None) -> Tensor:
        """A lower bound (B,) of log p(v), short of the top machine's -log Z; an average over `draws` of q(h | v).

        It is E_q[log p(v | h) - log q(h | v)] of each layer, and the top machine's -F (R. Salakhutdinov & I. Murray,
        ICML 2008, equations 20 and 21).
        """
        total = v.new_zeros(len(v))
        for _ in range(draws):
            drawn = self.states(v, generator)
            for layer, (below, above) in enumerate(pairwise(drawn)):
                up, down = self.machines[layer].hidden_inputs(below), self.down(layer).visible_inputs(above)
                total += _log_bernoulli(below, down) - _log_bernoulli(above, up)
            total -= self.top.free_energy(drawn[-1])
        return total / draws


def _log_bernoulli(values: Tensor, log_odds: Tensor) -> Tensor:
    """log probability (B,) of ones and zeros (B, U), or the expected one where values are probabilities."""
    return -F.binary_cross_entropy_with_logits(log_odds, values, reduction="none").sum(1)
