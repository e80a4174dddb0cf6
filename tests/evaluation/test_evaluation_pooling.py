"""The logarithmic pool, against a logistic regression of the same form, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from earnest.evaluation.calibration import apply_temperature
from earnest.evaluation.pooling import fit_pool, pooled

Floats = np.ndarray


def said(generator: np.random.Generator, truth: Floats, *, knowing: float, classes: int = 4) -> Floats:
    """Probabilities of a model that knows the classes as well as that."""
    logits = generator.normal(size=(len(truth), classes)) + knowing * np.eye(classes)[truth]
    return apply_temperature(logits, 1.0)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng()


def test_one_model_alone_is_as_it_is(generator: np.random.Generator) -> None:
    answers = said(generator, generator.integers(0, 4, 50), knowing=1.0)
    np.testing.assert_allclose(pooled([answers], np.ones(1)), answers, atol=1e-12)


def test_the_weights_are_those_of_the_greatest_likelihood(generator: np.random.Generator) -> None:
    truth = generator.integers(0, 4, 400)
    answers = [said(generator, truth, knowing=knowing) for knowing in (2.0, 1.0, 1.5)]
    ours = fit_pool(answers, truth)
    logits = torch.tensor(np.log(np.stack(answers)))
    weights = torch.full((3,), 1 / 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        nats = torch.nn.functional.cross_entropy(torch.einsum("k,knc->nc", weights, logits), torch.tensor(truth))
        total = nats + ((weights - 1 / 3) ** 2).sum() / len(truth)
        total.backward()
        return total

    optimiser.step(loss)
    np.testing.assert_allclose(ours, weights.detach().numpy(), atol=1e-3)


def test_a_model_that_guesses_gets_nothing(generator: np.random.Generator) -> None:
    truth = generator.integers(0, 4, 50_000)  # the weight of a guess has a standard error of .01
    good, guess = said(generator, truth, knowing=3.0), said(generator, generator.permutation(truth), knowing=3.0)
    weights = fit_pool([good, guess], truth)
    assert weights[1] < 0.05 < weights[0]


def test_a_model_that_is_too_sure_is_cooled_down(generator: np.random.Generator) -> None:
    truth = generator.integers(0, 4, 5000)
    honest = said(generator, truth, knowing=1.0)
    too_sure = apply_temperature(np.log(honest), 0.25)
    assert fit_pool([too_sure], truth)[0] == pytest.approx(fit_pool([honest], truth)[0] / 4, rel=0.05)


def test_two_that_know_different_things_are_better_together(generator: np.random.Generator) -> None:
    truth = generator.integers(0, 4, 2000)
    learned, asked = slice(0, 1000), slice(1000, 2000)
    answers = [said(generator, truth, knowing=1.5) for _ in range(2)]
    weights = fit_pool([its[learned] for its in answers], truth[learned])
    together = pooled([its[asked] for its in answers], weights).argmax(1) == truth[asked]
    alone = max((its[asked].argmax(1) == truth[asked]).mean() for its in answers)
    assert together.mean() > alone + 0.02


def test_certainty_of_what_is_not_breaks_nothing() -> None:
    truth = np.array([0, 1, 1, 0])
    wrong = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    weights = fit_pool([wrong, np.full((4, 2), 0.5)], truth)
    assert np.isfinite(weights).all()
    assert np.isfinite(pooled([wrong, np.full((4, 2), 0.5)], weights)).all()
