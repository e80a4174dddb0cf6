"""Annealed importance sampling against counting, and counting against every pair of states."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.neural_network import BernoulliRBM

from earnest.evaluation.boltzmann import counted, estimated, pseudo_likelihood, states
from earnest.nn.boltzmann import BoltzmannMachine


def some_machine(num_visible: int, num_hidden: int, *, gaussian: bool = False, scale: float = 0.5) -> BoltzmannMachine:
    machine = BoltzmannMachine(num_visible, num_hidden, gaussian=gaussian)
    for parameter in machine.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return machine.requires_grad_(False)


def test_states_are_all_there_once() -> None:
    found = torch.cat(list(states(15)))
    assert found.shape == (1 << 15, 15)
    assert len(found.unique(dim=0)) == 1 << 15


@pytest.mark.parametrize(("num_visible", "num_hidden"), [(5, 4), (4, 5)])
def test_counting_is_a_sum_over_every_pair(num_visible: int, num_hidden: int) -> None:
    machine = some_machine(num_visible, num_hidden).double()
    pairs = itertools.product(
        itertools.product([0.0, 1.0], repeat=num_visible), itertools.product([0.0, 1.0], repeat=num_hidden)
    )
    v, h = (torch.tensor(part).double() for part in zip(*pairs, strict=True))
    assert counted(machine).value == pytest.approx(float(torch.logsumexp(-machine.energy(v, h), 0)))


@pytest.mark.parametrize("gaussian", [False, True])
def test_the_estimate_is_near_the_count_at_twenty_hidden_units(gaussian: bool) -> None:
    machine = some_machine(12 if gaussian else 30, 20, gaussian=gaussian, scale=0.3)
    exact = counted(machine).value
    rates = torch.zeros(12) if gaussian else torch.full((30,), 0.5)
    found = estimated(machine, rates, torch.ones_like(rates), num_chains=200, num_steps=1000)
    assert found.value == pytest.approx(exact, abs=0.05)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.2


def test_bounds_hold_the_count_as_often_as_three_standard_errors_should() -> None:
    machine = some_machine(8, 6, scale=1.0)
    exact = counted(machine).value
    found = [estimated(machine, torch.full((8,), 0.5), num_chains=50, num_steps=60) for _ in range(30)]
    assert sum(one.low <= exact <= one.high for one in found) >= 27


def test_without_weights_the_estimate_is_exact() -> None:
    machine = BoltzmannMachine(7, 3).requires_grad_(False)
    machine.weight.zero_()
    machine.visible_bias.normal_()
    exact = float(torch.nn.functional.softplus(machine.visible_bias).sum()) + 3 * math.log(2)
    found = estimated(machine, machine.visible_bias.sigmoid(), num_chains=5, num_steps=10)
    assert found.value == pytest.approx(exact, abs=1e-4)
    assert found.low == pytest.approx(found.high, abs=1e-3)


def test_pseudo_likelihood_is_that_of_each_unit_given_the_others() -> None:
    machine = some_machine(5, 4).double()
    v = torch.cat(list(states(5))).double()
    log_p = -machine.free_energy(v)
    expected = 0.0
    for row, log in zip(v, log_p, strict=True):
        for unit in range(5):
            other = row.clone()
            other[unit] = 1 - other[unit]
            expected += float(log - torch.logaddexp(log, -machine.free_energy(other[None])[0]))
    assert pseudo_likelihood(machine, v) == pytest.approx(expected / len(v))


def test_pseudo_likelihood_is_what_scikit_learn_estimates() -> None:
    torch.manual_seed(0)
    rows = torch.bernoulli(torch.rand(12).expand(300, -1))
    theirs = BernoulliRBM(6, n_iter=5, random_state=0).fit(rows.numpy())
    machine = BoltzmannMachine(12, 6).double().requires_grad_(False)
    for ours, its in (
        (machine.weight, "components_"),
        (machine.visible_bias, "intercept_visible_"),
        (machine.hidden_bias, "intercept_hidden_"),
    ):
        ours.copy_(torch.from_numpy(getattr(theirs, its)))
    theirs.set_params(random_state=np.random.RandomState(1))  # otherwise the same units every time
    estimates = torch.stack([torch.from_numpy(theirs.score_samples(rows.numpy())) for _ in range(200)])
    found = pseudo_likelihood(machine, rows.double())
    error = float(estimates.mean(1).std()) / math.sqrt(200)
    assert found == pytest.approx(float(estimates.mean()), abs=5 * error)
