"""Regression: its scale, its loss in float64, its way back to the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import skew
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.core.words import Batch, Step
from earnest.data.batches import ArrayBatches
from earnest.tasks.regression import SKEWED, Regression, is_skewed
from earnest.training import loop
from earnest.training.state import TrainState

NUM = 40


class Saying(nn.Module):
    """Answers row i, whose input is i, with the i-th of the given outputs."""

    def __init__(self, outputs: np.ndarray) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.from_numpy(outputs), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs[x[:, 0].long()]


def even(num: int = NUM) -> np.ndarray:
    return np.random.default_rng().uniform(-5, 20, num)


def tailed(num: int = NUM) -> np.ndarray:
    """Incomes, say: positive, most small, one large."""
    values = np.random.default_rng().lognormal(3, 0.5, num)
    values[0] = 50_000.0
    return values


def source(targets: np.ndarray) -> ArrayBatches:
    return ArrayBatches((np.arange(NUM)[:, None] * 1.0,), targets, np.arange(NUM), batch_size=7)


def batch(targets: np.ndarray) -> Batch:
    return Batch(torch.arange(NUM)[:, None].double(), torch.from_numpy(targets))


def scaled(targets: np.ndarray) -> np.ndarray:
    values = np.log1p(targets) if is_skewed(targets) else targets
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize("make", [even, tailed])
def test_the_loss_is_the_summed_squared_error_on_the_standard_scale(make: object) -> None:
    targets, outputs = make(), np.random.default_rng().normal(size=(NUM, 1))  # type: ignore[operator]
    task = Regression(targets)
    loss = task.loss(Saying(outputs), task.encode(batch(targets)), Step())
    assert float(loss.total) == pytest.approx(float(((outputs[:, 0] - scaled(targets)) ** 2).sum()), rel=1e-5)
    assert loss.weight == NUM


def test_an_ensembles_members_each_learn_and_their_mean_answers() -> None:
    targets, outputs = even(), np.random.default_rng().normal(size=(NUM, 5, 1))
    task = Regression(targets)
    loss = task.loss(Saying(outputs), task.encode(batch(targets)), Step())
    expected = np.mean([((outputs[:, member, 0] - scaled(targets)) ** 2).sum() for member in range(5)])
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    found, _ = task.predict(Saying(outputs), source(targets), Step())
    np.testing.assert_allclose(found, outputs.mean((1, 2)) * targets.std() + targets.mean(), rtol=1e-9)


@pytest.mark.parametrize("make", [even, tailed])
def test_to_the_learned_scale_and_back(make: object) -> None:
    targets = make()  # type: ignore[operator]
    task = Regression(targets)
    assert task.logarithmic == (make is tailed)
    standard = task.standardise(torch.from_numpy(targets))
    assert float(standard.mean()) == pytest.approx(0, abs=1e-9)
    assert float(standard.std(correction=0)) == pytest.approx(1)
    np.testing.assert_allclose(task.decode(standard[:, None]).numpy(), targets, rtol=1e-9)


@pytest.mark.parametrize("offset", [1e9, -1.7e9, 1e12, 0.0])
def test_a_large_offset_costs_no_digits(offset: float) -> None:
    """All that is left to float32 is the standardised target, whose digits are the spread's, not the offset's."""
    targets = offset + even()
    task = Regression(targets)
    encoded = task.encode(batch(targets)).targets
    assert encoded is not None
    assert encoded.dtype == torch.float32
    exact = (targets - targets.mean()) / targets.std()
    np.testing.assert_allclose(encoded.numpy(), exact, atol=3e-7 + 1e-15 * abs(offset), rtol=0)
    np.testing.assert_allclose(task.decode(encoded[:, None]).numpy(), targets, atol=1e-5 + 1e-15 * abs(offset), rtol=0)


class NoFloat64(TorchDispatchMode):
    """Refuses what Apple's MPS refuses."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        assert not any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in tree_leaves(outputs)), function
        return outputs


def test_nothing_on_the_device_is_float64() -> None:
    targets = 1e9 + even()
    task, model = Regression(targets), nn.Linear(1, 1)
    assert {tensor.dtype for tensor in task.state_dict().values()} == {torch.float32}
    encoded = task.encode(Batch(torch.rand(NUM, 1), torch.from_numpy(targets)))
    with NoFloat64():
        task.loss(model, encoded, Step()).total.backward()


def test_small_differences_of_large_targets_are_learned() -> None:
    x = np.random.default_rng().normal(size=(NUM, 1)).astype(np.float32)
    targets = 1e9 + 3.0 * x[:, 0].astype(np.float64)
    train = ArrayBatches((x,), targets, np.arange(NUM), batch_size=NUM, shuffle=True)
    state = TrainState(nn.Linear(1, 1), Regression(targets))
    for _ in loop.train(state, train, None, Recipe(epochs=150, lr=0.1, schedule="linear"), clock=WallClock()):
        pass
    predicted, _ = state.task.predict(state.model, ArrayBatches((x,), None, np.arange(NUM), batch_size=8), Step())
    np.testing.assert_allclose(predicted - 1e9, targets - 1e9, atol=0.05)


def test_a_logarithmic_prediction_stays_within_what_was_seen() -> None:
    targets = tailed()
    task = Regression(targets)
    wild = task.decode(torch.tensor([[-1e6], [1e6], [0.0]]))
    np.testing.assert_allclose(wild[:2].numpy(), [targets.min(), targets.max()])
    assert targets.min() < float(wild[2]) < targets.max()
    assert float(Regression(even()).decode(torch.tensor([[1e6]]))) > 1e6


def test_validation_is_scikit_learns() -> None:
    targets, outputs = even(), np.random.default_rng().normal(size=(NUM, 1))
    task = Regression(targets)
    scores = task.validate(Saying(outputs), source(targets), Step(index=2))
    predicted = outputs[:, 0] * targets.std() + targets.mean()
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(targets, predicted))
    assert scores["mae"] == pytest.approx(mean_absolute_error(targets, predicted))
    assert scores["r2"] == pytest.approx(r2_score(targets, predicted))


def test_the_metric_asked_for_sees_the_users_units() -> None:
    targets = tailed()
    outputs = scaled(targets)[:, None]
    task = Regression(targets, metric="mine", score=lambda truth, found: float(np.abs(truth - found).max()))
    assert task.validate(Saying(outputs), source(targets), Step())["mine"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("make", [even, tailed])
def test_a_perfect_output_scores_perfectly_and_a_constant_one_as_the_baseline(make: object) -> None:
    targets = make()  # type: ignore[operator]
    task = Regression(targets)
    perfect = task.validate(Saying(scaled(targets)[:, None]), source(targets), Step())
    assert perfect["rmse"] == pytest.approx(0, abs=1e-6)
    assert perfect["r2"] == pytest.approx(1)
    if make is even:
        constant = task.validate(Saying(np.zeros((NUM, 1))), source(targets), Step())
        assert constant["rmse"] == pytest.approx(targets.std())
        assert constant["r2"] == pytest.approx(0, abs=1e-9)


def test_equal_targets_are_no_division_by_nothing() -> None:
    targets = np.full(NUM, 3.5)
    task = Regression(targets)
    outputs = np.zeros((NUM, 1))
    assert float(task.loss(Saying(outputs), task.encode(batch(targets)), Step()).total) == 0
    assert task.validate(Saying(outputs), source(targets), Step()) == {"rmse": 0.0, "mae": 0.0, "r2": 0.0}


def test_only_a_long_positive_tail_is_skewed() -> None:
    assert is_skewed(tailed())
    assert not is_skewed(even())
    assert not is_skewed(-tailed())
    assert not is_skewed(tailed() - 1000)
    assert not is_skewed(np.array([1.0, 1e9]))
    assert not is_skewed(np.full(9, 2.0))
    for _ in range(20):
        values = np.random.default_rng().lognormal(0, np.random.default_rng().uniform(0.2, 1.2), 200)
        assert is_skewed(values) == (skew(values) > SKEWED)


def test_the_scale_travels_with_the_task() -> None:
    targets = tailed()
    task, other = Regression(targets), Regression(np.zeros(1))
    other.logarithmic = task.logarithmic
    other.load_state_dict(task.state_dict())
    outputs = torch.randn(9, 1)
    assert torch.equal(task.decode(outputs), other.decode(outputs))
