"""Learning rates and momenta against PyTorch's schedulers, and against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from earnest.core.recipe import Recipe
from earnest.training import optimisers, schedules

STEPS = 200


def peer(make: object, lr: float = 1.0) -> np.ndarray:
    """The rates (STEPS,) that one of PyTorch's schedulers gives."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimiser)  # type: ignore[operator]
    rates = []
    for _ in range(STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return np.array(rates, np.float64)


def ours(recipe: Recipe) -> np.ndarray:
    return np.array([schedules.lr_factor(recipe, step / STEPS) for step in range(STEPS)])


def test_cosine_is_pytorchs() -> None:
    expected = peer(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS))
    np.testing.assert_allclose(ours(Recipe(schedule="cosine", warmup=0)), expected, atol=1e-12)


def test_linear_is_pytorchs() -> None:
    expected = peer(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, STEPS))
    np.testing.assert_allclose(ours(Recipe(schedule="linear", warmup=0)), expected, atol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_warm_up_rises_linearly_from_nothing_to_the_peak_and_the_rest_follows(schedule: str) -> None:
    warmup = float(np.random.default_rng().uniform(0.05, 0.6))
    recipe = Recipe(schedule=schedule, warmup=warmup)  # type: ignore[arg-type]
    cold = Recipe(schedule=schedule, warmup=0)  # type: ignore[arg-type]
    for progress in np.random.default_rng().uniform(0, 1, 100):
        expected = progress / warmup
        if progress >= warmup:
            expected = schedules.lr_factor(cold, (progress - warmup) / (1 - warmup))
        assert schedules.lr_factor(recipe, progress) == pytest.approx(expected, abs=1e-12)


def test_one_cycle_starts_at_a_25th_and_falls_as_pytorchs_does() -> None:
    """PyTorch rises by a cosine, and ends at a 10,000th of where it began rather than at 0."""
    warmup = 0.3
    made = ours(Recipe(schedule="one-cycle", warmup=warmup))
    expected = peer(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=STEPS + 1, pct_start=(warmup * STEPS + 1) / (STEPS + 1), cycle_momentum=False
        )
    )
    top = round(warmup * STEPS)
    assert made[0] == pytest.approx(expected[0]) == pytest.approx(1 / 25)
    assert made.argmax() == expected.argmax() == top
    np.testing.assert_allclose(made[top:], expected[top:], atol=2e-5)
    np.testing.assert_allclose(np.diff(made[: top + 1]), (1 - 1 / 25) / top, atol=1e-12)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "linear", "constant"])
def test_rates_stay_within_nothing_and_the_peak_and_do_not_jump(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, warmup=0.2)  # type: ignore[arg-type]
    rates = np.array([schedules.lr_factor(recipe, p) for p in np.linspace(0, 1, 5001)])
    assert rates.min() >= 0
    assert rates.max() == pytest.approx(1)
    assert np.abs(np.diff(rates)).max() < 0.002


def test_under_one_cycle_momentum_moves_against_the_rate() -> None:
    recipe = Recipe(schedule="one-cycle", momentum=0.95, warmup=0.3)
    places = np.linspace(0, 1, 501)
    rates = np.array([schedules.lr_factor(recipe, p) for p in places])
    momenta = np.array([schedules.momentum(recipe, p) for p in places])
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[-1] == pytest.approx(0.95)
    assert momenta.min() == pytest.approx(0.85)
    assert momenta.argmin() == rates.argmax()
    above = rates > 1 / 25
    np.testing.assert_allclose(momenta[above], 0.95 - 0.1 * (rates[above] - 0.04) / 0.96, atol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_elsewhere_momentum_stays(schedule: str) -> None:
    recipe = Recipe(schedule=schedule, momentum=0.93)  # type: ignore[arg-type]
    assert {schedules.momentum(recipe, p) for p in np.linspace(0, 1, 11)} == {0.93}


def test_a_low_momentum_is_left_alone() -> None:
    assert schedules.momentum(Recipe(schedule="one-cycle", momentum=0.5), 0.3) == 0.5


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
def test_the_schedule_reaches_every_group(optimiser: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    recipe = Recipe(optimiser=optimiser, lr=0.2, lr_rest=0.05, momentum=0.95, layer_decay=0.5)  # type: ignore[arg-type]
    made = optimisers.build(model.named_parameters(), recipe)
    progress = float(np.random.default_rng().uniform())
    factor = optimisers.set_progress(made, recipe, progress)
    assert factor == schedules.lr_factor(recipe, progress)
    for group in (group for one in made for group in one.param_groups):
        assert math.isclose(group["lr"], group["peak_lr"] * factor)
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        assert momentum == schedules.momentum(recipe, progress)
