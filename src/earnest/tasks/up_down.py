"""Up-down: a contrastive form of wake-sleep, which fits a whole deep belief net to its data.

Hinton, Osindero & Teh 2006, section 5 and appendix B; here the top machine's chains go on from batch to batch, where
theirs begin at the data each time.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from earnest.nn.belief import BeliefNet
from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.chains import Persistent
from earnest.nn.draws import sample_
from earnest.tasks.ascent import Ascent
from earnest.tasks.contrast import Contrasting


class UpDown:
    """Moves recognition, the top machine and generation towards each other; unties the net first."""

    def __init__(self, net: BeliefNet, *, num_chains: int, steps: int = 3) -> None:
        """`steps` of Gibbs sampling in the top machine an update."""
        self.net = net
        if not len(net.generative):
            net.untie()
        self.chains = Persistent(num_chains, len(net.top.hidden_bias), steps=steps).to(net.top.weight)
        self.ascent = Ascent(net.top, Contrasting(net.top, self.chains).to(net.top.weight))

    @torch.no_grad()
    def step(self, v: Tensor, *, lr: float, generator: torch.Generator | None = None) -> None:
        """One update by the batch `v` (B, V)."""
        awake = self.net.states(v, generator)
        self.ascent.step(awake[-1], lr=lr, generator=generator)
        for layer, (below, above) in enumerate(pairwise(awake)):
            _towards(self.net.down(layer), below, above, lr=lr, generates=True)
        asleep = self.net.top.draw_visible(self.chains.state, generator=generator)
        for layer in reversed(range(len(self.net.layers) - 1)):
            below = sample_(self.net.down(layer).visible(asleep), generator)
            _towards(self.net.machines[layer], below, asleep, lr=lr, generates=False)
            asleep = below


def _towards(machine: BoltzmannMachine, below: Tensor, above: Tensor, *, lr: float, generates: bool) -> None:
    """Make one side of a layer more probable given the other: the delta rule, which a logistic layer's gradient is."""
    rate = lr / len(below)
    if generates:
        missing = below - machine.visible(above)
        machine.weight.addmm_(above.t(), missing, alpha=rate)
        machine.visible_bias.add_(missing.sum(0), alpha=rate)
    else:
        missing = above - machine.hidden(below)
        machine.weight.addmm_(missing.t(), below, alpha=rate)
        machine.hidden_bias.add_(missing.sum(0), alpha=rate)
