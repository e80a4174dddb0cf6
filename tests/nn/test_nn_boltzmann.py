"""The machine against sums over all its states, and its chains against the distribution that they should draw from."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from earnest.nn.belief import BeliefNet
from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.chains import Chains, FromData, Persistent, Tempered
from earnest.nn.draws import sample_, uniforms


def states(num: int) -> Tensor:
    """(2^n, n), by counting."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=num)), dtype=torch.float64)


def some_machine(num_visible: int, num_hidden: int, *, gaussian: bool = False, scale: float = 1.0) -> BoltzmannMachine:
    """With parameters that matter, in float64."""
    machine = BoltzmannMachine(num_visible, num_hidden, gaussian=gaussian).double()
    for parameter in machine.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return machine.requires_grad_(False)


def energy_by_hand(machine: BoltzmannMachine, v: Tensor, h: Tensor) -> float:
    """Of one pair, term by term."""
    weight, b, c = machine.weight, machine.visible_bias, machine.hidden_bias
    if machine.log_variance is None:
        own, met = -sum(b[i] * v[i] for i in range(len(v))), v
    else:
        variance = machine.log_variance.exp()
        own = sum((v[i] - b[i]) ** 2 / (2 * variance[i]) for i in range(len(v)))
        met = v / variance
    both = sum(weight[j, i] * h[j] * met[i] for j in range(len(h)) for i in range(len(v)))
    return float(own - sum(c[j] * h[j] for j in range(len(h))) - both)


@pytest.mark.parametrize("gaussian", [False, True])
def test_the_energy_is_the_published_sum(gaussian: bool) -> None:
    machine = some_machine(4, 3, gaussian=gaussian)
    v = torch.randn(1, 4, dtype=torch.float64) if gaussian else torch.bernoulli(torch.full((1, 4), 0.5).double())
    for h in states(3):
        assert float(machine.energy(v, h[None])) == pytest.approx(energy_by_hand(machine, v[0], h))


@pytest.mark.parametrize("gaussian", [False, True])
def test_the_free_energy_sums_over_hidden_states(gaussian: bool) -> None:
    machine = some_machine(4, 3, gaussian=gaussian)
    v = torch.randn(5, 4, dtype=torch.float64)
    energies = torch.stack([machine.energy(v, h.expand(5, -1)) for h in states(3)])
    torch.testing.assert_close(machine.free_energy(v), -torch.logsumexp(-energies, 0))


def test_the_free_energy_of_hidden_units_sums_over_visible_states() -> None:
    machine = some_machine(4, 3)
    h = states(3)
    energies = torch.stack([machine.energy(v.expand(8, -1), h) for v in states(4)])
    torch.testing.assert_close(machine.hidden_free_energy(h), -torch.logsumexp(-energies, 0))


def test_a_density_of_real_numbers_integrates_to_one() -> None:
    machine = some_machine(2, 3, gaussian=True)
    log_z = torch.logsumexp(-machine.hidden_free_energy(states(3)), 0)
    side = torch.linspace(-30, 30, 1501, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    density = (-machine.free_energy(grid) - log_z).exp()
    assert float(density.sum() * (side[1] - side[0]) ** 2) == pytest.approx(1, abs=1e-3)


def frequencies(draws: Tensor) -> Tensor:
    """Of each visible state among draws (N, V) of ones and zeros."""
    codes = (draws @ (2.0 ** torch.arange(draws.shape[1] - 1, -1, -1).to(draws))).long()
    return torch.bincount(codes, minlength=2 ** draws.shape[1]).double() / len(draws)


@pytest.mark.parametrize("chains", [Persistent(4000, 3, steps=40), Tempered(2000, 3, steps=40, num_heats=4)])
def test_chains_come_to_the_machine_s_distribution(chains: Chains) -> None:
    machine = some_machine(4, 3, scale=0.7).float()
    exact = (-machine.double().free_energy(states(4))).softmax(0)
    machine.float()
    both, hidden = chains.beside(machine, torch.zeros(2, 4))
    drawn = both[2:]
    assert (frequencies(drawn) - exact).abs().sum() < 6 * math.sqrt(16 / len(drawn))
    torch.testing.assert_close(hidden, machine.hidden(both))


def test_tempering_crosses_between_modes_that_gibbs_sampling_does_not() -> None:
    """Two modes, all on and all off, equally probable, with a wall between them."""
    machine = BoltzmannMachine(8, 8).requires_grad_(False)
    machine.weight.fill_(1.5)
    machine.visible_bias.fill_(-6.0)
    machine.hidden_bias.fill_(-6.0)
    plain, tempered = Persistent(200, 8, steps=200), Tempered(200, 8, steps=200, num_heats=10)
    shares = [float(chains.beside(machine, torch.zeros(1, 8))[0][1:].mean()) for chains in (plain, tempered)]
    assert shares[0] < 0.2
    assert 0.3 < shares[1] < 0.7


def test_contrastive_divergence_of_many_steps_forgets_the_data() -> None:
    machine = some_machine(3, 3, scale=0.7).float()
    both, _ = FromData(steps=60).beside(machine, torch.ones(4000, 3))
    exact = (-machine.double().free_energy(states(3))).softmax(0)
    assert (frequencies(both[4000:]) - exact).abs().sum() < 6 * math.sqrt(8 / 4000)


def test_real_units_are_drawn_with_their_mean_and_variance() -> None:
    machine = some_machine(3, 2, gaussian=True)
    h = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(40_000, -1)
    drawn = machine.draw_visible(h)
    assert machine.log_variance is not None
    torch.testing.assert_close(drawn.var(0), machine.log_variance.exp(), rtol=0.05, atol=0)
    error = (drawn.mean(0) - machine.visible(h[:1])[0]).abs() / (machine.log_variance.exp() / len(h)).sqrt()
    assert error.max() < 5


def test_uniform_numbers_are_uniform() -> None:
    numbers = uniforms((1001, 333), like=torch.empty(0))
    assert numbers.shape == (1001, 333)
    assert numbers.min() >= 0
    assert numbers.max() <= 1
    counts = torch.histc(numbers, 64, 0, 1)
    expected = numbers.numel() / 64
    assert float(((counts - expected) ** 2 / expected).sum()) < 63 + 6 * math.sqrt(2 * 63)
    for number in (10, 40_000):  # many come from another source
        generator = torch.Generator().manual_seed(3)
        first = uniforms((number,), like=torch.empty(0), generator=generator)
        assert not torch.equal(first, uniforms((number,), like=torch.empty(0), generator=generator))
        assert torch.equal(first, uniforms((number,), like=torch.empty(0), generator=generator.manual_seed(3)))


def test_samples_are_as_frequent_as_their_probability() -> None:
    p = torch.tensor([0.0, 0.02, 0.5, 0.9, 1.0])
    drawn = sample_(p.repeat(50_000, 1))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert ((drawn.mean(0) - p).abs() <= 5 * (p * (1 - p) / 50_000).sqrt()).all()


def test_the_bound_of_a_deep_belief_net_is_below_its_log_likelihood_and_near() -> None:
    """By enumeration: p(v) is a sum over the middle layer of p(v | h) times the top machine's p(h)."""
    net = BeliefNet(4, (3, 3), untied=True).double().requires_grad_(False)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    h, v = states(3), states(4)
    log_p_h = (-net.top.free_energy(h)).log_softmax(0)
    log_odds = net.down(0).visible_inputs(h)
    log_p_v_given_h = torch.stack([torch.distributions.Bernoulli(logits=log_odds).log_prob(row).sum(1) for row in v])
    exact = torch.logsumexp(log_p_v_given_h + log_p_h, 1)
    assert float(exact.exp().sum()) == pytest.approx(1)
    log_z = torch.logsumexp(-net.top.free_energy(h), 0)
    bound = net.unnormalised_bound(v.repeat(400, 1)).view(400, -1).mean(0) - log_z
    q = torch.distributions.Bernoulli(logits=net.machines[0].hidden_inputs(v))
    log_q = torch.stack([q.log_prob(state).sum(1) for state in h], 1)
    expected = (log_q.exp() * (log_p_v_given_h + log_p_h - log_q)).sum(1)
    assert (expected <= exact + 1e-9).all()
    torch.testing.assert_close(bound, expected, rtol=0, atol=0.4)
    assert float((bound - expected).mean().abs()) < 0.1


def test_draws_in_bfloat16_are_finer_than_it() -> None:
    """Its own random numbers are 1/256 apart: a unit that is on once in 2,000 times would be on twice as often."""
    p = torch.tensor([0.0005, 0.0, 1.0, 0.25], dtype=torch.bfloat16)
    drawn = sample_(p.repeat(400_000, 1)).float().mean(0)
    assert 0.0003 < float(drawn[0]) < 0.0007
    assert float(drawn[1]) == 0
    assert float(drawn[2]) == 1
    assert float(drawn[3]) == pytest.approx(0.25, abs=0.005)
