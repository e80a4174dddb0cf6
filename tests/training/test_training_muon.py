"""Muon against the singular value decomposition, and at its work."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from earnest.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(32, 288), (288, 32), (24, 40), (1, 9), (16, 16)])
def test_orthogonalised_keeps_singular_vectors_and_levels_singular_values(shape: tuple[int, int]) -> None:
    left, values, right = torch.linalg.svd(torch.randn(*shape, dtype=torch.float64), full_matrices=False)
    values = torch.linspace(1.0, 0.05, len(values), dtype=torch.float64)
    result = orthogonalised((left * values) @ right, num_iterations=10)
    core = left.T @ result @ right.T
    level = core.diagonal()
    assert level.min() > 0.65
    assert level.max() < 1.25
    assert (core - level.diag()).abs().max() < 1e-10


@pytest.mark.parametrize("shape", [(32, 288), (128, 64)])
def test_three_iterations_level_a_random_gradient(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(*shape), num_iterations=3).double())
    assert values.median() > 0.6
    assert values.max() < 1.3


def test_scale_of_the_gradient_does_not_matter() -> None:
    gradient = torch.randn(12, 30, dtype=torch.float64)
    torch.testing.assert_close(orthogonalised(gradient), orthogonalised(1000 * gradient), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_filters_move_as_matrices_along_the_momentum(nesterov: bool) -> None:
    weight = nn.Parameter(torch.randn(8, 3, 3, 3, dtype=torch.float64))
    start = weight.detach().clone()
    optimiser = Muon([weight], lr=0.1, momentum=0.6, nesterov=nesterov, weight_decay=0.01, num_iterations=5)
    gradients = torch.randn(2, 8, 3, 3, 3, dtype=torch.float64)
    expected, mean = start, torch.zeros_like(start)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimiser.step()
        mean = 0.6 * mean + gradient
        direction = gradient + 0.6 * mean if nesterov else mean
        update = orthogonalised(direction.reshape(8, 27), num_iterations=5).reshape(start.shape)
        expected = expected * (1 - 0.1 * 0.01) - 0.1 * update
    torch.testing.assert_close(weight.detach(), expected)


def test_update_of_a_tall_matrix_is_stretched() -> None:
    weight = nn.Parameter(torch.zeros(64, 16, dtype=torch.float64))
    weight.grad = torch.randn(64, 16, dtype=torch.float64)
    Muon([weight], lr=0.5, num_iterations=12).step()
    values = torch.linalg.svdvals(weight.detach())
    assert values.min() > 0.65 * 0.5 * 2
    assert values.max() < 1.25 * 0.5 * 2


def test_renormalised_filters_have_the_norm_of_an_orthogonal_matrix() -> None:
    filters, matrix = nn.Parameter(5 * torch.randn(9, 2, 3, 3)), nn.Parameter(torch.randn(4, 4))
    before = matrix.detach().clone()
    filters.grad, matrix.grad = torch.randn_like(filters), torch.randn_like(matrix)
    Muon([filters, matrix], lr=0.0, renormalise=True).step()
    assert math.isclose(float(filters.detach().norm()), 3.0, rel_tol=1e-5)
    torch.testing.assert_close(matrix.detach(), before)


def test_parameters_without_a_gradient_stay() -> None:
    weight = nn.Parameter(torch.randn(3, 3))
    before = weight.detach().clone()
    optimiser = Muon([weight])
    optimiser.step()
    torch.testing.assert_close(weight.detach(), before)
    assert not optimiser.state


def test_finds_a_linear_map() -> None:
    inputs, truth = torch.randn(256, 10), torch.randn(6, 10)
    weight = nn.Parameter(torch.zeros(6, 10))
    optimiser = Muon([weight], lr=0.2, momentum=0.6)
    first = float((inputs @ truth.T).square().mean())
    for step in range(120):
        optimiser.param_groups[0]["lr"] = 0.2 * (1 - step / 120)
        loss = (inputs @ (weight - truth).T).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.01 * first


def test_vectors_are_refused() -> None:
    with pytest.raises(AssertionError, match="matrices"):
        Muon([nn.Parameter(torch.zeros(5))])


def test_resumes_bit_equal() -> None:
    start, gradients = torch.randn(6, 2, 3, 3), torch.randn(4, 6, 2, 3, 3)
    weight = nn.Parameter(start.clone())
    optimiser = Muon([weight], lr=0.1, renormalise=True)

    def run(parameter: nn.Parameter, by: Muon, which: range) -> None:
        for index in which:
            parameter.grad = gradients[index].clone()
            by.step()

    run(weight, optimiser, range(2))
    again = nn.Parameter(weight.detach().clone())
    other = Muon([again], lr=0.1, renormalise=True)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    run(weight, optimiser, range(2, 4))
    run(again, other, range(2, 4))
    assert torch.equal(weight, again)
