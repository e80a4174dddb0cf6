"""The restricted Boltzmann machine: its energy, what follows from it, and how to draw from it.

P. Smolensky, "Information processing in dynamical systems: foundations of harmony theory", in Parallel Distributed
Processing, 1986; G. Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14
(8), 2002, pp. 1771-1800. Visible units of real numbers: K. Cho, A. Ilin & T. Raiko, "Improved learning of
Gaussian-Bernoulli restricted Boltzmann machines", ICANN 2011, equation 2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.nn.draws import sample_, uniforms

FIRST_WEIGHTS = 0.28
"""Standard deviation of weights at first, times the root of the visible units' number."""
LEAST_RATE = 1e-3
"""First biases are those of a pixel that is on this often at least, and at most so often not."""


class BoltzmannMachine(nn.Module):
    """Visible units v (V), hidden units h (H) of 0 and 1, and an energy of the two.

    Binary v: E(v, h) = -b'v - c'h - h'Wv. A value between 0 and 1 is taken for the probability of a 1.
    Real v, `gaussian`: E(v, h) = sum((v - b)^2 / 2s^2) - c'h - h'W(v / s^2), with a variance s^2 for each unit.

    p(v, h) is exp(-E) / Z; nobody can know Z of a large one, see `earnest.evaluation.boltzmann`.
    """

    log_variance: nn.Parameter | None

    def __init__(self, num_visible: int, num_hidden: int, *, gaussian: bool = False) -> None:
        super().__init__()
        self.gaussian = gaussian
        self.weight = nn.Parameter(torch.empty(num_hidden, num_visible))
        self.visible_bias = nn.Parameter(torch.zeros(num_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(num_hidden))
        self.register_parameter("log_variance", nn.Parameter(torch.zeros(num_visible)) if gaussian else None)
        nn.init.xavier_normal_(self.weight)

    @torch.no_grad()
    def start_from(
        self, mean: Tensor, variance: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> None:
        """Begin with the visible units' own rates, or means and variances (V,), so that W explains the rest.

        G. Hinton, "A practical guide to training restricted Boltzmann machines", 2010, section 8: hidden units are on
        half of the time, and weights are small, N(0, .01^2) for MNIST's 784 pixels and larger where there are fewer.
        """
        nn.init.normal_(self.weight, std=FIRST_WEIGHTS / math.sqrt(len(mean)), generator=generator)
        self.hidden_bias.zero_()
        if self.log_variance is None:
            self.visible_bias.copy_(mean.clamp(LEAST_RATE, 1 - LEAST_RATE).logit())
        else:
            assert variance is not None
            self.visible_bias.copy_(mean)
            self.log_variance.copy_(variance.log())

    def scaled(self, v: Tensor) -> Tensor:
        """What W and b meet in the energy: v, or v over its variance."""
        return v if self.log_variance is None else v * (-self.log_variance).exp()

    def hidden_inputs(self, v: Tensor) -> Tensor:
        """The log-odds (B, H) of each hidden unit, given v (B, V)."""
        return torch.addmm(self.hidden_bias, self.scaled(v), self.weight.t())

    def hidden(self, v: Tensor) -> Tensor:
        """p(h = 1 | v), (B, H)."""
        return self.hidden_inputs(v).sigmoid_()

    def visible_inputs(self, h: Tensor) -> Tensor:
        """The log-odds (B, V) of each binary visible unit, or the mean of each real one, given h (B, H)."""
        return torch.addmm(self.visible_bias, h, self.weight)

    def visible(self, h: Tensor) -> Tensor:
        """E(v | h), (B, V)."""
        inputs = self.visible_inputs(h)
        return inputs if self.gaussian else inputs.sigmoid_()

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h), (B,)."""
        return self.visible_energy(v) - (self.hidden_inputs(v) * h).sum(1)

    def visible_energy(self, v: Tensor) -> Tensor:
        """The part of the energy (B,) that v has by itself."""
        if self.log_variance is None:
            return -(v @ self.visible_bias)
        return 0.5 * self.scaled((v - self.visible_bias).square()).sum(1)

    def free_energy(self, v: Tensor) -> Tensor:
        """-log of the sum over all h of exp(-E(v, h)), (B,); log p(v) is minus it, minus log Z."""
        return self.visible_energy(v) - F.softplus(self.hidden_inputs(v)).sum(1)

    def hidden_free_energy(self, h: Tensor) -> Tensor:
        """-log of the sum, or integral, over all v of exp(-E(v, h)), (B,)."""
        inputs = self.visible_inputs(h)
        if self.log_variance is None:
            return -(h @ self.hidden_bias) - F.softplus(inputs).sum(1)
        gain = 0.5 * self.scaled(inputs.square() - self.visible_bias.square()).sum(1)
        return -(h @ self.hidden_bias) - gain - 0.5 * (math.log(2 * math.pi) + self.log_variance).sum()

    def draw_visible(
        self, h: Tensor, *, heat: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """v ~ p(v | h), (B, V); at the inverse temperatures `heat` (B, 1), where they are given."""
        inputs = self.visible_inputs(h)
        if self.log_variance is None:
            return sample_((inputs if heat is None else inputs.mul_(heat)).sigmoid_(), generator)
        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype, device=inputs.device)
        noise *= (0.5 * self.log_variance).exp()
        return inputs.add_(noise if heat is None else noise / heat.sqrt())

    @torch.no_grad()
    def sample(self, number: int, *, steps: int = 1000, generator: torch.Generator | None = None) -> Tensor:
        """Visible units (N, V) after `steps` of Gibbs sampling from noise, the last time their means."""
        h = uniforms((number, len(self.hidden_bias)), like=self.weight, generator=generator).round_()
        for _ in range(steps - 1):
            h = sample_(self.hidden(self.draw_visible(h, generator=generator)), generator)
        return self.visible(h)
