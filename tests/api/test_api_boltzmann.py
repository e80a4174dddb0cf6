"""`earnest.RBM` and `earnest.DBN`: scikit-learn's manners, scores that are likelihoods, and unusable data named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import earnest
from earnest.core.errors import DataError, OptionError, RunError


def coins(num: int = 400, seed: int = 0) -> np.ndarray:
    """Eight columns, of which the second four repeat the first; so 4 log 2 = 2.77 nats a row, and not 5.55."""
    first = np.random.default_rng(seed).integers(0, 2, (num, 4))
    return np.concatenate([first, first], 1).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> earnest.RBM:
    return earnest.RBM(8, epochs=40, batch_size=10, learning_rate=0.2, averaging=0.99, random_state=0).fit(
        coins(), validation=coins(seed=1)
    )


def test_its_score_is_the_log_likelihood(fitted: earnest.RBM) -> None:
    score = fitted.score(coins(seed=2))
    assert -3.4 < score <= -4 * np.log(2) + 0.05
    every = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)
    assert np.exp(fitted.score_samples(every)).sum() == pytest.approx(1, abs=1e-3)
    assert fitted.partition_.low == fitted.partition_.high
    assert set(fitted.history_[-1]) == {"free_energy", "validation_free_energy", "gap"}


def test_learned_in_bfloat16_it_is_as_likely(fitted: earnest.RBM) -> None:
    low = clone(fitted).set_params(precision="bfloat16").fit(coins())
    assert low.machine_.weight.dtype == torch.float32
    assert low.score(coins(seed=2)) > fitted.score(coins(seed=2)) - 0.15
    with pytest.raises(OptionError, match="too coarse for real numbers"):
        earnest.RBM(4, visible="gaussian", precision="bfloat16").fit(coins())


def test_features_are_hidden_probabilities(fitted: earnest.RBM) -> None:
    rows = coins(10)
    expected = 1 / (1 + np.exp(-(rows @ fitted.components_.T + fitted.machine_.hidden_bias.detach().numpy())))
    np.testing.assert_allclose(fitted.transform(rows), expected, atol=1e-5)
    assert list(fitted.get_feature_names_out())[:2] == ["rbm0", "rbm1"]


def test_its_samples_are_like_the_data(fitted: earnest.RBM) -> None:
    drawn = fitted.sample(300, steps=200) > 0.5
    assert (drawn[:, :4] == drawn[:, 4:]).mean() > 0.9
    assert 0.35 < drawn.mean() < 0.65


def test_saved_and_loaded_it_answers_the_same(fitted: earnest.RBM, tmp_path: Path) -> None:
    fitted.score(coins(2))
    fitted.save(tmp_path / "rbm")
    assert {path.name for path in (tmp_path / "rbm").iterdir()} == {"model.json", "model.safetensors"}
    loaded = earnest.RBM.load(tmp_path / "rbm")
    np.testing.assert_array_equal(loaded.score_samples(coins(9)), fitted.score_samples(coins(9)))
    assert loaded.partial_fit(coins(50)).score(coins(9)) < 0
    with pytest.raises(OptionError, match="not empty"):
        fitted.save(tmp_path / "rbm")
    with pytest.raises(RunError, match="another kind, no DBN"):
        earnest.DBN.load(tmp_path / "rbm")
    with pytest.raises(RunError, match="holds no RBM"):
        earnest.RBM.load(tmp_path)


def test_a_seed_decides_everything_and_a_clone_knows_nothing() -> None:
    one, two = (earnest.RBM(4, epochs=2, random_state=3).fit(coins(60)) for _ in range(2))
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.sample(3), two.sample(3))
    assert not hasattr(clone(one), "machine_")
    assert clone(one).get_params() == one.get_params()


@pytest.mark.parametrize("sampler", ["cd", "tempering"])
def test_partial_fits_learn_too(sampler: Any) -> None:
    rbm = earnest.RBM(8, sampler=sampler, num_steps=2, batch_size=20, learning_rate=0.2, random_state=0)
    rbm.partial_fit(coins())
    before = rbm.score(coins(seed=1))
    for _ in range(40):
        rbm.partial_fit(coins())
    assert rbm.score(coins(seed=1)) > before + 0.5


def test_real_numbers_have_a_density_in_their_own_units() -> None:
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((1000, 1)) < 0.5, -2.0, 2.0) + rng.normal(size=(1000, 2)) + 100
    rbm = earnest.RBM(3, visible="gaussian", epochs=60, batch_size=20, learning_rate=0.03, random_state=0).fit(rows)
    side = np.linspace(80, 120, 301)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    assert np.exp(rbm.score_samples(grid)).sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=0.01)
    one_gaussian = -0.5 * (np.log(2 * np.pi * rows.var(0)) + 1).sum()
    assert rbm.score(rows) > one_gaussian + 0.3
    assert rbm.sample(5).mean() == pytest.approx(100, abs=5)


def test_in_a_pipeline_its_features_tell_digits_apart() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    raw = LogisticRegression(C=10, max_iter=2000)
    pipeline = make_pipeline(earnest.RBM(64, epochs=20, batch_size=10, random_state=0), raw).fit(X[:1000], y[:1000])
    assert pipeline.score(X[1000:], y[1000:]) > 0.85


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda X: X[:1], "has 1 row, and 2 are the least"),
        (lambda X: np.where(X > 0, np.nan, X), "nan in row"),
        (lambda X: 255 * X, "255 in row .*divide pixels by 255"),
        (lambda X: -X, "-1 in row .*not between 0 and 1"),
        (lambda X: np.ones_like(X), "all 20 rows of X are the same"),
    ],
)
def test_data_that_cannot_be_used_is_named(change: Any, complaint: str) -> None:
    for estimator in (earnest.RBM(2, epochs=1), earnest.DBN((2, 2), epochs=1)):
        with pytest.raises(DataError, match=complaint):
            estimator.fit(change(coins(20)))


def test_columns_are_called_by_their_names() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "same": [5.0, 5.0, 5.0]})
    with pytest.raises(DataError, match="column 'same' of X is 5 in all rows: a unit of real numbers"):
        earnest.RBM(2, visible="gaussian").fit(frame)
    frame["age"] = [0.0, np.inf, 1.0]
    with pytest.raises(DataError, match="inf in row 1, column 'age': fill it in"):
        earnest.RBM(2).fit(frame[["age"]])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"num_hidden": 0}, "num_hidden=0"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"sampler": "cd1"}, "did you mean 'cd'"),
        ({"momentum": 1.0}, "momentum=1.0: give a number, 0 or more and below 1"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"visible": "gaussian", "learning_rate": 1e6}, "ran away"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        earnest.RBM(**options).fit(coins(20))


def test_a_deep_belief_net_bounds_the_log_likelihood(tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 40, "batch_size": 10, "learning_rate": 0.2, "random_state": 0}
    dbn = earnest.DBN((8, 6), fine_tuning_epochs=30, **options).fit(coins())
    assert -4.5 < dbn.score(coins(seed=1)) < -4 * np.log(2) + 0.05  # columns on their own come to -5.55
    assert dbn.transform(coins(3)).shape == (3, 6)
    assert dbn.sample(4, steps=10).shape == (4, 8)
    dbn.save(tmp_path / "dbn")
    np.testing.assert_array_equal(earnest.DBN.load(tmp_path / "dbn").transform(coins(5)), dbn.transform(coins(5)))
