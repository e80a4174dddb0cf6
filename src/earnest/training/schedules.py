"""Learning rate and momentum as functions of progress, from 0 at the first step to 1 at the last."""

from __future__ import annotations

import math

from earnest.core.recipe import Recipe

ONE_CYCLE_START = 1 / 25
ONE_CYCLE_LOW_MOMENTUM = 0.85


def lr_factor(recipe: Recipe, progress: float) -> float:
    """The learning rate at `progress`, as a share of its peak.

    It rises linearly over `recipe.warmup`, then follows the schedule. One-cycle starts at a 25th and falls by a half
    cosine (Smith & Topin 2017, arXiv:1708.07120).
    """
    if progress < recipe.warmup:
        start = ONE_CYCLE_START if recipe.schedule == "one-cycle" else 0.0
        return start + (1 - start) * progress / recipe.warmup
    behind = (progress - recipe.warmup) / (1 - recipe.warmup)
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "linear":
        return 1.0 - behind
    return 0.5 * (1 + math.cos(math.pi * behind))


def momentum(recipe: Recipe, progress: float) -> float:
    """The momentum at `progress`: under one-cycle it falls to .85 while the learning rate rises, and comes back."""
    if recipe.schedule != "one-cycle" or recipe.momentum <= ONE_CYCLE_LOW_MOMENTUM:
        return recipe.momentum
    share = (lr_factor(recipe, progress) - ONE_CYCLE_START) / (1 - ONE_CYCLE_START)
    return recipe.momentum + (ONE_CYCLE_LOW_MOMENTUM - recipe.momentum) * max(share, 0.0)
