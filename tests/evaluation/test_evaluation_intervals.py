from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from scipy.stats import bootstrap as scipy_bootstrap

from earnest.evaluation.intervals import Statistic, bootstrap, draws, rule_of_three, wilson
from earnest.evaluation.metrics import METRICS


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(1)


@pytest.mark.parametrize(("successes", "num"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 30), (951, 1000)])
def test_wilson_equals_scipys_and_has_width(successes, num):
    ours = wilson(successes, num)
    theirs = binomtest(successes, num).proportion_ci(method="wilson")
    assert ours.value == successes / num
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.low < ours.high
    assert ours.low <= ours.value <= ours.high


def test_bootstrap_of_a_skewed_mean_agrees_with_scipys_bca():
    values = np.random.default_rng().gamma(1.5, size=400)
    ours = bootstrap([Statistic(mean_of(values))], len(values), seed=1, num=4000)[0]
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="BCa", vectorized=True)
    assert ours.value == pytest.approx(values.mean())
    error = theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.2 * error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.2 * error)


def test_same_seed_same_interval():
    values = np.random.default_rng().normal(size=50)
    statistic = Statistic(mean_of(values))
    assert bootstrap([statistic], 50, seed=3) == bootstrap([statistic], 50, seed=3)
    assert bootstrap([statistic], 50, seed=3) != bootstrap([statistic], 50, seed=4)


@pytest.mark.parametrize("num", [1, 2, 40])
def test_no_spread_still_has_width_within_the_limits(num):
    interval = bootstrap([Statistic(mean_of(np.ones(num)), (0.0, 1.0))], num, seed=0)[0]
    assert interval.value == interval.high == 1.0
    assert 0.0 <= interval.low < 1.0
    assert interval == rule_of_three(1.0, num, Statistic(mean_of(np.ones(num)), (0.0, 1.0)))


def test_undefined_resamples_do_not_count():
    values = np.random.default_rng().normal(size=20)

    def sometimes_undefined(weights):
        return np.where(weights[:, 0] > 0, mean_of(values)(weights), np.nan)

    interval = bootstrap([Statistic(sometimes_undefined)], 20, seed=0)[0]
    assert np.isfinite([interval.low, interval.high]).all()


def test_whole_groups_are_drawn():
    groups = np.repeat(np.array(list("abcdef")), [1, 2, 3, 4, 5, 6])
    first_and_last = [lambda weights: weights[:, 6], lambda weights: weights[:, 9], lambda weights: weights[:, 10]]
    of_d, also_of_d, of_e = draws(first_and_last, len(groups), seed=0, num=200, groups=groups)
    assert (of_d == also_of_d).all()
    assert (of_d != of_e).any()


def test_groups_widen_the_interval_of_rows_that_repeat_each_other():
    random = np.random.default_rng()
    groups = np.repeat(np.arange(40), 25)
    values = random.normal(size=40)[groups] + 0.1 * random.normal(size=1000)
    alone, grouped = (bootstrap([Statistic(mean_of(values))], 1000, seed=0, groups=each)[0] for each in (None, groups))
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)
    expected = 2 * 1.96 * np.std([values[groups == g].mean() for g in range(40)]) / np.sqrt(40)
    assert grouped.high - grouped.low == pytest.approx(expected, rel=0.25)


def test_wilson_covers_95_percent():
    random = np.random.default_rng()
    rates = random.uniform(0.05, 0.95, 4000)
    hits = [(lambda i: i.low <= rate <= i.high)(wilson(int(random.binomial(200, rate)), 200)) for rate in rates]
    assert 0.935 < np.mean(hits) < 0.965


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rmse", "mae", "log_loss", "roc_auc", "f1_macro", "balanced_accuracy", "r2"])
def test_bootstrap_covers_95_percent(name):
    """The truth is the score on a very large sample of the same kind. Seeded, as a bound this tight would else fail
    now and then by chance."""
    metric, num_trials = METRICS[name], 4000
    random = np.random.default_rng(20)

    def sample(num):
        if metric.task == "regression":
            truth = random.normal(size=num)
            return truth, truth + 0.5 * random.normal(size=num)
        truth = (random.random(num) < 0.4).astype(np.int64)
        chance = norm.cdf(0.8 * random.normal(size=num) + truth - 0.5)
        return truth, np.stack([1 - chance, chance], 1)

    target = metric(*sample(2_000_000))
    hits = 0
    for trial in range(num_trials):
        interval = bootstrap([metric.statistic(*sample(250))], 250, seed=trial)[0]
        hits += interval.low <= target <= interval.high
    assert 0.935 <= hits / num_trials <= 0.965
