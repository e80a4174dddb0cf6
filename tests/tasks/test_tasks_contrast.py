"""The hand-written gradient against autograd through sums over all states, and what it learns against the data."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.chains import Chains, FromData, Persistent, Tempered
from earnest.tasks.ascent import Ascent
from earnest.tasks.contrast import Contrasting


class Exactly(Chains):
    """Draws from the machine itself: hidden states by their probability, then what is visible."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def beside(
        self, machine: BoltzmannMachine, v: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        h = states(len(machine.hidden_bias)).to(machine.weight)
        chosen = torch.multinomial((-machine.hidden_free_energy(h)).softmax(0), self.number, replacement=True)
        both = torch.cat([v, machine.draw_visible(h[chosen])])
        return both, machine.hidden(both)


def states(num: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=num)))


def log_likelihood(machine: BoltzmannMachine, v: Tensor) -> Tensor:
    """Exactly, (B,)."""
    h = states(len(machine.hidden_bias)).to(machine.weight)
    return -machine.free_energy(v) - torch.logsumexp(-machine.hidden_free_energy(h), 0)


def some_machine(*, gaussian: bool) -> BoltzmannMachine:
    machine = BoltzmannMachine(4, 3, gaussian=gaussian).double()
    for parameter in machine.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return machine


def in_parameters(machine: BoltzmannMachine, contrasting: Contrasting, v: Tensor) -> tuple[Tensor, ...]:
    """The contrast of a batch as gradients of weights and biases, a row; centring taken back.

    Centring asks for the biases of centred units: b' = b + W'l and c' = c + W m for centres l and m.
    """
    found = contrasting.find(machine, v)
    weight, visible, hidden = found.weight, found.visible_bias, found.hidden_bias
    if contrasting.centred:
        visible = visible + weight.t() @ contrasting.hidden_offset
        hidden = hidden + weight @ contrasting.visible_offset
        weight = (
            weight + torch.outer(contrasting.hidden_offset, visible) + torch.outer(hidden, contrasting.visible_offset)
        )
    spread = () if found.log_variance is None else (found.log_variance,)
    return tuple(part / len(v) for part in (weight, visible, hidden, *spread))


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("centred", [False, True])
def test_the_gradient_is_the_log_likelihood_s(gaussian: bool, centred: bool) -> None:
    machine = some_machine(gaussian=gaussian)
    v = torch.randn(50, 4).double() if gaussian else torch.bernoulli(torch.full((50, 4), 0.4).double())
    wanted = torch.autograd.grad(log_likelihood(machine, v).mean(), list(machine.parameters()))
    contrasting = Contrasting(machine, Exactly(4000), centred=centred).double()
    found = [
        torch.stack(parts) for parts in zip(*(in_parameters(machine, contrasting, v) for _ in range(40)), strict=True)
    ]
    for draws, exact in zip(found, wanted, strict=True):
        error = (draws.mean(0) - exact).abs() / (draws.std(0) / math.sqrt(len(draws)) + 1e-6)
        assert error.max() < 5


def test_centred_and_plain_gradients_climb_the_same_hill() -> None:
    """Where draws are the same, they agree on the directions of W, once the centres are taken back."""
    machine = some_machine(gaussian=False)
    v = torch.bernoulli(torch.full((30, 4), 0.4).double())
    for chains in (FromData(steps=2), Persistent(30, 3).double(), Tempered(30, 3).double()):
        parts = []
        for centred in (False, True):
            torch.manual_seed(4)
            parts.append(in_parameters(machine, Contrasting(machine, chains, centred=centred).double(), v))
            for buffer in chains.buffers():
                buffer.mul_(0 if buffer.shape[-1] == 3 else 1)
        for plain, centred_ in zip(*parts, strict=True):
            torch.testing.assert_close(plain, centred_)


def bars_and_stripes(side: int = 3) -> Tensor:
    """Every picture whose rows, or whose columns, are each all on or all off; (14, 9) for a side of 3."""
    rows = states(side)[:, :, None].expand(-1, -1, side).flatten(1)
    columns = states(side)[:, None, :].expand(-1, side, -1).flatten(1)
    return torch.cat([rows, columns]).unique(dim=0)


@pytest.mark.parametrize("kind", ["cd", "persistent", "tempered"])
def test_a_small_machine_learns_bars_and_stripes(kind: str) -> None:
    """The data's entropy, log 14 = 2.64 nats, is the best that can be; units on their own come to 6.24."""
    torch.manual_seed(1)
    data = bars_and_stripes()
    machine = BoltzmannMachine(9, 16)
    machine.start_from(data.mean(0))
    chains = {"cd": FromData(steps=5), "persistent": Persistent(56, 16, steps=5), "tempered": Tempered(56, 16)}[kind]
    ascent = Ascent(machine, Contrasting(machine, chains), average=0.99)
    rows = data.repeat(4, 1)
    for step in range(3000):
        ascent.step(rows, lr=0.15 * (1 - step / 3000), momentum=0.5)
    ascent.finish()
    found = -float(log_likelihood(machine.double(), data.double()).detach().mean())
    assert math.log(14) <= found < 2.95


def test_real_units_learn_two_clusters() -> None:
    """Better than one Gaussian, which is the best that units without hidden causes can be."""
    torch.manual_seed(2)
    sign = torch.randint(0, 2, (2000, 1)) * 2.0 - 1
    rows = sign * torch.tensor([1.0, -1.0]) + 0.5 * torch.randn(2000, 2)
    rows /= rows.std(0)
    machine = BoltzmannMachine(2, 4, gaussian=True)
    machine.start_from(rows.mean(0), rows.var(0))
    before = float(log_likelihood(machine, rows).detach().mean())
    ascent = Ascent(machine, Contrasting(machine, Persistent(100, 4)), average=0.99)
    for step in range(3000):
        ascent.step(rows[torch.randint(0, 2000, (100,))], lr=0.02 * (1 - step / 3000), momentum=0.5)
    ascent.finish()
    assert float(log_likelihood(machine, rows).detach().mean()) > before + 0.5


def test_units_become_as_seldom_on_as_asked() -> None:
    torch.manual_seed(3)
    data = bars_and_stripes().repeat(4, 1)
    rates = []
    for sparsity in (None, 0.1):
        machine = BoltzmannMachine(9, 16)
        machine.start_from(data.mean(0))
        ascent = Ascent(machine, Contrasting(machine, FromData(), sparsity=sparsity, sparsity_cost=0.5))
        for _ in range(1000):
            ascent.step(data, lr=0.05)
        rates.append(float(machine.hidden(data).detach().mean()))
    assert rates[0] > 0.25
    assert rates[1] < 0.2


def test_momentum_and_weight_cost_are_what_they_say() -> None:
    torch.manual_seed(5)
    v = torch.bernoulli(torch.full((20, 4), 0.4))
    machine = BoltzmannMachine(4, 3)
    first = machine.weight.detach().clone()
    generator = torch.Generator().manual_seed(6)
    contrasting = Contrasting(machine, FromData())
    ascent = Ascent(machine, contrasting, weight_cost=0.5)
    velocity = torch.zeros_like(first)
    expected = first
    for _ in range(3):
        state = generator.get_state()
        saved = {name: buffer.clone() for name, buffer in contrasting.named_buffers()}
        gradient = contrasting.find(machine, v, generator).weight / len(v)
        generator.set_state(state)
        contrasting.load_state_dict(saved)
        velocity = 0.9 * velocity + 0.1 * gradient
        expected = expected * (1 - 0.1 * 0.5) + velocity
        ascent.step(v, lr=0.1, momentum=0.9, generator=generator)
        torch.testing.assert_close(machine.weight.detach(), expected)
