"""The recipes that a run starts from when the user gives none: by the kind and size of the data."""

from __future__ import annotations

from pathlib import Path

from earnest.api.request import Request
from earnest.core.recipe import Recipe

RESERVE_SHARE = 0.08
LEAST_RESERVE = 6.0
"""Seconds of a budget that evaluation and report are given."""


def for_images(request: Request, shape: tuple[int, ...], num_rows: int) -> tuple[Recipe, float]:
    """The recipe for images of `shape` (N, H, W, C) with `num_rows` to learn from, and seconds to train for."""
    recipe = Recipe(
        model=request.model or "airnet",
        epochs=40,
        batch_size=64 if num_rows < 5000 else 256,
        optimiser="adamw",
        lr=3e-3,
        weight_decay=0.01,
        label_smoothing=0.1,
        schedule="linear",
        warmup=0.2,
    )
    return stated(request, recipe), 60 + 540 * min(1.0, num_rows / 50_000)


def for_tables(request: Request, num_rows: int) -> tuple[Recipe, float]:
    """The network's recipe for a table with `num_rows` to learn from, and seconds to train for."""
    recipe = Recipe(
        model=request.model or "tabm",
        epochs=60,
        batch_size=256 if num_rows > 5000 else 64,
        optimiser="adamw",
        lr=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
        patience=12,
    )
    return stated(request, recipe), 60 + 240 * min(1.0, num_rows / 50_000)


def stated(request: Request, recipe: Recipe) -> Recipe:
    """The recipe with what the user's recipe file and flags say in place of the defaults."""
    if request.recipe is not None:
        recipe = Recipe.read(Path(request.recipe))
    changes: dict[str, object] = {}
    if request.epochs is not None:
        changes["epochs"] = request.epochs
    if request.model is not None:
        changes["model"] = request.model
    return recipe.but(**changes)


def reserve(request: Request) -> float:
    """Seconds of the budget that are kept for evaluation and report."""
    return 0.0 if request.minutes is None else max(LEAST_RESERVE, RESERVE_SHARE * 60 * request.minutes)
