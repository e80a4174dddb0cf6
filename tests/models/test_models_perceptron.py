"""Rosenblatt's rule against its convergence theorem and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Perceptron as TheirPerceptron
from torch import Tensor

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.perceptron import rosenblatt


def separable(num_classes: int, margin: float) -> tuple[Tensor, Tensor, float]:
    """Points whose best class is ahead by `margin` under unit-norm weights, and the largest norm, biases included."""
    teacher = torch.randn(1 if num_classes == 2 else num_classes, 6, dtype=torch.float64)
    teacher /= teacher.norm()
    points = torch.cat([torch.randn(4000, 5, dtype=torch.float64), torch.ones(4000, 1, dtype=torch.float64)], dim=1)
    sums = points @ teacher.T
    if num_classes == 2:
        lead, labels = sums[:, 0].abs(), (sums[:, 0] > 0).long()
    else:
        best = sums.topk(2)
        lead, labels = best.values[:, 0] - best.values[:, 1], best.indices[:, 0]
    kept = lead > margin
    return points[kept, :5], labels[kept], float(points[kept].norm(dim=1).max())


@pytest.mark.parametrize("margin", [0.1, 0.3])
def test_two_separable_classes_are_learnt_within_novikoffs_bound(margin: float) -> None:
    x, y, radius = separable(2, margin)
    perceptron, mistakes = rosenblatt(x, y, epochs=10_000)
    assert mistakes[-1] == 0
    assert 0 < sum(mistakes) <= (radius / margin) ** 2
    with torch.inference_mode():
        assert torch.equal((perceptron(x)[:, 0] > 0).long(), y)


def test_several_separable_classes_are_learnt_within_the_bound() -> None:
    """In the space of all units' weights an example weighs twice: once added, once subtracted."""
    x, y, radius = separable(4, 0.2)
    perceptron, mistakes = rosenblatt(x, y, epochs=10_000, num_classes=4)
    assert mistakes[-1] == 0
    assert 0 < sum(mistakes) <= 2 * (radius / 0.2) ** 2
    with torch.inference_mode():
        assert torch.equal(perceptron(x).argmax(1), y)


def test_classes_that_no_line_separates_are_never_learnt() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    _, mistakes = rosenblatt(x, torch.tensor([0, 1, 1, 0]), epochs=50)
    assert len(mistakes) == 50
    assert min(mistakes) > 0


def test_the_weights_are_scikit_learns() -> None:
    """Which also changes weights on a sum of exactly zero; past a first example of class 1 there is none."""
    images, digits = load_digits(return_X_y=True)
    odd = digits % 2
    start = int(odd.argmax())
    images, odd = images[start:], odd[start:]
    theirs = TheirPerceptron(shuffle=False, tol=None, max_iter=3).fit(images, odd)
    ours, _ = rosenblatt(torch.from_numpy(images), torch.from_numpy(odd), epochs=3)
    np.testing.assert_allclose(ours.head.weight.detach().numpy(), theirs.coef_)
    np.testing.assert_allclose(ours.head.bias.detach().numpy(), theirs.intercept_)


def test_a_table_is_refused() -> None:
    with pytest.raises(OptionError, match="table"):
        models["perceptron"].build(InputSpec("table", (3,), (4,)), 2)
