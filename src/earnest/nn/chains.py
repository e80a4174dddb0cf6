"""Where the negative phase of a Boltzmann machine's gradient comes from: Markov chains of Gibbs sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.draws import sample_, uniforms

Generator = torch.Generator | None
Sampler = Literal["persistent", "tempering", "cd"]


class Chains(nn.Module, ABC):
    """Draws from the model what a batch of data is contrasted with."""

    @abstractmethod
    def beside(self, machine: BoltzmannMachine, v: Tensor, generator: Generator = None) -> tuple[Tensor, Tensor]:
        """The data `v` (B, V) with the model's N draws below it, (B + N, V), and all their p(h = 1 | v), (B + N, H)."""


class FromData(Chains):
    """Contrastive divergence: `steps` of Gibbs sampling from the data, each time anew (Hinton 2002)."""

    def __init__(self, *, steps: int = 1) -> None:
        super().__init__()
        self.steps = steps

    def beside(self, machine: BoltzmannMachine, v: Tensor, generator: Generator = None) -> tuple[Tensor, Tensor]:
        of_data = hidden = machine.hidden(v)
        for _ in range(self.steps):
            drawn = machine.draw_visible(sample_(hidden.clone(), generator), generator=generator)
            hidden = machine.hidden(drawn)
        return torch.cat([v, drawn]), torch.cat([of_data, hidden])


class Persistent(Chains):
    """Persistent contrastive divergence: chains that go on from batch to batch.

    T. Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008.
    """

    state: Tensor

    def __init__(self, num_chains: int, num_hidden: int, *, steps: int = 1) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("state", torch.zeros(num_chains, num_hidden))

    def beside(self, machine: BoltzmannMachine, v: Tensor, generator: Generator = None) -> tuple[Tensor, Tensor]:
        for _ in range(self.steps - 1):
            drawn = machine.draw_visible(self.state, generator=generator)
            self.state.copy_(sample_(machine.hidden(drawn), generator))
        both = torch.cat([v, machine.draw_visible(self.state, generator=generator)])
        hidden = machine.hidden(both)
        sample_(self.state.copy_(hidden[len(v) :]), generator)
        return both, hidden


class Tempered(Chains):
    """Parallel tempering: a replica of each persistent chain at each of several inverse temperatures from 1 to 0.

    The hot ones wander, and neighbours change places by Metropolis's rule (G. Desjardins et al., "Tempered Markov chain
    Monte Carlo for training of restricted Boltzmann machines", AISTATS 2010).
    """

    state: Tensor
    heats: Tensor

    def __init__(self, num_chains: int, num_hidden: int, *, steps: int = 1, num_heats: int = 10) -> None:
        super().__init__()
        self.steps = steps
        self.num_chains = num_chains
        self.register_buffer("heats", torch.linspace(1.0, 0.0, num_heats)[:, None], persistent=False)
        self.register_buffer("state", torch.zeros(num_heats * num_chains, num_hidden))

    def beside(self, machine: BoltzmannMachine, v: Tensor, generator: Generator = None) -> tuple[Tensor, Tensor]:
        heat = self.heats.repeat_interleave(self.num_chains, 0)
        for _ in range(self.steps):
            drawn = machine.draw_visible(self.state, heat=heat.clamp(min=1e-3), generator=generator)
            inputs = machine.hidden_inputs(drawn)
            state = sample_(torch.sigmoid(inputs * heat), generator)
            energies = machine.visible_energy(drawn) - (inputs * state).sum(1)
            places = self._exchanged(energies.view(len(self.heats), -1), generator)
            self.state.copy_(state[places])
        both = torch.cat([v, drawn[places[: self.num_chains]]])
        return both, machine.hidden(both)

    def _exchanged(self, energies: Tensor, generator: Generator) -> Tensor:
        """Where each replica's state comes from after neighbours at heats i and i + 1 have changed places or not.

        They do with probability min(1, exp((heat_i - heat_i+1) (E_i - E_i+1))), those with an even i or those with an
        odd one, by lot.
        """
        places = torch.arange(energies.numel(), device=energies.device).view_as(energies)
        chance = uniforms(energies.shape, like=energies, generator=generator).log_()
        first = int(uniforms((1,), like=energies, generator=generator) < 0.5)
        for i in range(first, len(self.heats) - 1, 2):
            swap = chance[i] < (self.heats[i] - self.heats[i + 1]) * (energies[i] - energies[i + 1])
            cold, hot = places[i].clone(), places[i + 1].clone()
            places[i] = torch.where(swap, hot, cold)
            places[i + 1] = torch.where(swap, cold, hot)
        return places.reshape(-1)


def build(sampler: Sampler, num_chains: int, num_hidden: int, *, steps: int) -> Chains:
    """The chains of that name."""
    if sampler == "cd":
        return FromData(steps=steps)
    kind = Persistent if sampler == "persistent" else Tempered
    return kind(num_chains, num_hidden, steps=steps)
