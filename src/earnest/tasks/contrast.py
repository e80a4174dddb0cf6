"""The gradient of a Boltzmann machine's log-likelihood, estimated: what the data says against what the model says.

It is written out by hand, as products of matrices: there is nothing to differentiate. The centred form, which learns
as well whatever is black and what is white, is from K. Cho, T. Raiko & A. Ilin, "Enhanced gradient for training
restricted Boltzmann machines", Neural Computation 25 (3), 2013, and J. Melchior, A. Fischer & L. Wiskott, "How to
center deep Boltzmann machines", JMLR 17, 2016, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.chains import Chains

OFFSET_RATE = 0.01
"""How fast the units' centres follow the data (Melchior et al. 2016, section 4)."""
ACTIVITY_RATE = 0.1
"""How fast the estimate of how often a hidden unit is on follows the batches (Hinton's guide, section 11)."""


@dataclass(slots=True)
class Contrast:
    """The gradient of a batch's log-likelihood, summed over its B rows; that of the weights as two factors."""

    hidden: Tensor
    """(B + N, H): centred hidden units of the data, then of the model's N draws, these with the other sign."""
    visible: Tensor
    """(B + N, V): the visible units that belong to them, centred."""
    visible_bias: Tensor
    hidden_bias: Tensor
    log_variance: Tensor | None
    """Of visible units of real numbers."""

    @property
    def weight(self) -> Tensor:
        """The gradient (H, V) of the weights."""
        return self.hidden.t() @ self.visible

    @property
    def rest(self) -> list[Tensor]:
        """The gradients of all other parameters, in the machine's order."""
        gradients = [self.visible_bias, self.hidden_bias]
        return gradients if self.log_variance is None else [*gradients, self.log_variance]


class Contrasting(nn.Module):
    """Finds contrasts of a machine; its chains and its centres are buffers: saved and resumed."""

    visible_offset: Tensor
    hidden_offset: Tensor
    activity: Tensor

    def __init__(
        self,
        machine: BoltzmannMachine,
        chains: Chains,
        *,
        centred: bool = True,
        sparsity: float | None = None,
        sparsity_cost: float = 0.1,
    ) -> None:
        """`sparsity` is how often a hidden unit should be on, `sparsity_cost` the weight of that in the gradient."""
        super().__init__()
        num_hidden, num_visible = machine.weight.shape
        self.chains = chains
        self.centred = centred
        self.sparsity = sparsity
        self.sparsity_cost = sparsity_cost
        self.register_buffer("visible_offset", torch.full((num_visible,), 0.5))
        self.register_buffer("hidden_offset", torch.full((num_hidden,), 0.5))
        self.register_buffer("activity", torch.full((num_hidden,), sparsity or 0.5))
        self._signs = torch.empty(0)

    def centre_on(self, mean: Tensor) -> None:
        """Start with these means (V,) of the data, as the machine scales it, for the visible units' centres."""
        self.visible_offset.copy_(mean)

    @torch.no_grad()
    def find(self, machine: BoltzmannMachine, v: Tensor, generator: torch.Generator | None = None) -> Contrast:
        """The contrast of the batch `v` (B, V); moves the chains and the centres on."""
        visible, hidden = self.chains.beside(machine, v, generator)
        signs = self._signs_of(len(v), visible)
        if self.centred or self.sparsity is not None:
            mean = hidden[: len(v)].mean(0).to(self.hidden_offset.dtype)
        spread = None if machine.log_variance is None else _log_variance(machine, visible, hidden, signs)
        if self.centred:
            hidden -= self.hidden_offset.lerp_(mean, OFFSET_RATE)
        hidden[len(v) :].mul_(-len(v) / (len(hidden) - len(v)))
        if self.sparsity is not None:
            self.activity.lerp_(mean, ACTIVITY_RATE)
            hidden[: len(v)].add_(self.sparsity - self.activity, alpha=self.sparsity_cost)
        visible = machine.scaled(visible)
        if not self.centred:
            return Contrast(hidden, visible, signs @ visible, hidden.sum(0), spread)
        centre = visible[: len(v)].mean(0).to(self.visible_offset.dtype)
        visible -= self.visible_offset.lerp_(centre, OFFSET_RATE)
        visible_bias = (signs - hidden @ self.hidden_offset.to(hidden.dtype)) @ visible
        hidden_bias = (1 - visible @ self.visible_offset.to(visible.dtype)) @ hidden
        return Contrast(hidden, visible, visible_bias, hidden_bias, spread)

    def _signs_of(self, num_rows: int, visible: Tensor) -> Tensor:
        """(B + N,): 1 for rows of the data, and for draws so much below 0 that both sum to nothing."""
        if len(self._signs) != len(visible) or self._signs.device != visible.device:
            self._signs = visible.new_ones(len(visible))
            self._signs[num_rows:] = -num_rows / (len(visible) - num_rows)
        return self._signs


def _log_variance(machine: BoltzmannMachine, visible: Tensor, hidden: Tensor, signs: Tensor) -> Tensor:
    """The gradient (V,) of the log-variances: (v - b)^2 / 2s^2 - v W'h / s^2, the data's less the model's."""
    terms = 0.5 * (visible - machine.visible_bias).square() - visible * (hidden @ machine.weight)
    return signs @ machine.scaled(terms)
