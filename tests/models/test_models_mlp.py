"""The multilayer perceptron against finite differences and its definition."""

from __future__ import annotations

import torch

from earnest.core.registry import models
from earnest.core.words import InputSpec


def test_gradients_equal_finite_differences() -> None:
    network = models["mlp"].build(InputSpec("vector", (5,)), 3, hidden=(7, 6)).double()
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (x,))
    names = [name for name, _ in network.named_parameters()]

    def outputs(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x.detach(),))

    assert torch.autograd.gradcheck(outputs, tuple(network.parameters()))


def test_it_is_matrices_with_rectifiers_between_them() -> None:
    network = models["mlp"].build(InputSpec("image", (2, 3, 3)), 4, hidden=(6, 5))
    images = torch.randn(8, 2, 3, 3)
    x = images.reshape(8, 18)
    for layer in (*network.layers,):
        x = (x @ layer.weight.T + layer.bias).clamp_min(0)
    torch.testing.assert_close(network(images), x @ network.head.weight.T + network.head.bias)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    network = models["mlp"].build(InputSpec("vector", (30,)), 4, dropout=0.5)
    x = torch.randn(8, 30)
    assert torch.equal(network.eval()(x), network(x))
    assert not torch.equal(network.train()(x), network(x))
