"""The recipes that a run starts from when the user gives none: by the kind and size of the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from earnest.api.request import Request
from earnest.core.recipe import Recipe
from earnest.core.words import InputSpec
from earnest.data.augment import defaults

MANY_IMAGES = 5000
"""Images from which on a wider network pays."""
RESERVE_SHARE = 0.05
LEAST_RESERVE = 6.0
"""Seconds of a budget that evaluation and report are given."""


def for_images(request: Request, spec: InputSpec, num_rows: int, labels: Sequence[str]) -> Recipe:
    """The recipe for a network that learns from `num_rows` images and nothing else."""
    augment = defaults(spec.shape[0], labels, num_rows=num_rows)
    few, gray = num_rows < MANY_IMAGES, spec.shape[0] == 1
    width = (16, 32, 64) if few and max(spec.shape[1:]) <= 32 else (32, 64, 128) if gray else (32, 128, 128)
    recipe = Recipe(
        model="airnet",
        model_options={"width": width} if named_model(request) in (None, "airnet") else {},
        epochs=20 if few else 30,
        batch_size=64 if few else 125,
        optimiser="muon",
        lr=0.1,
        lr_rest=0.1,
        momentum=0.6,
        weight_decay=5e-4,
        schedule="linear",
        warmup=0.1,
        label_smoothing=0.1 if few or gray else 0.2,
        augment=augment,
        views=6 if "flip" in augment else 1,
    )
    return stated(request, recipe if labels else _for_a_quantity(recipe))


def for_belief_nets(request: Request) -> Recipe:
    """The recipe for a net whose layers first learn without labels; nothing in it knows that a picture is one."""
    recipe = Recipe(
        model="dbn",
        epochs=90,
        batch_size=100,
        optimiser="adamw",
        lr=3e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
        pretraining=1 / 3,
        dropout=0.2 if named_model(request) == "dbn" else 0.0,
        ema=0.999,
    )
    return stated(request, recipe)


def for_a_quick_try(request: Request, spec: InputSpec, num_rows: int, labels: Sequence[str]) -> Recipe | None:
    """One epoch of a small, fast network: an answer within seconds, and a rung that the longer training has to beat.

    None where images are few, or the user says which network and recipe to train.
    """
    if num_rows < MANY_IMAGES or request.model is not None or request.recipe is not None:
        return None
    recipe = for_images(request, spec, num_rows, labels)
    return recipe.but(model_options={"width": (32, 64, 64), "stride": 2}, epochs=1, label_smoothing=0.1, views=1)


def for_fine_tuning(request: Request, architecture: str, labels: Sequence[str]) -> list[Recipe]:
    """The recipes for a pretrained network whose head is the linear model's, each deeper than the one before.

    One alone where the user's recipe says how deep.
    """
    views = views_of_photos(labels)
    top = Recipe(
        model=architecture,
        epochs=4,
        batch_size=16,
        optimiser="adamw",
        lr=3e-4,
        layer_decay=0.8,
        unfreeze=0.3,
        freeze_norms=True,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.1,
        augment=("crop", "random-flip") if views > 1 else ("crop",),
        views=views,
    )
    found = [stated(request, top), stated(request, top.but(unfreeze=1.0, lr=5e-5))]
    return found[: len({recipe.unfreeze for recipe in found})]


def for_fine_tuning_texts(request: Request, architecture: str, num_rows: int) -> list[Recipe]:
    """The recipe for a pretrained encoder whose head is the linear model's; its embeddings stay as they are.

    They are half of a small encoder's parameters, of which a batch touches few, and moving them costs more than it
    gains: an optimiser goes over all of them at every step.
    """
    recipe = Recipe(
        model=architecture,
        epochs=4 if num_rows < 5000 else 2 if num_rows < 30_000 else 1,
        batch_size=16 if num_rows < 5000 else 32,
        optimiser="adamw",
        lr=1e-4,
        layer_decay=0.9,
        unfreeze=0.9,
        weight_decay=0.01,
        clip=1.0,
        schedule="linear",
        warmup=0.06,
    )
    return [stated(request, recipe)]


def for_texts(request: Request, num_rows: int) -> Recipe:
    """The recipe for a network that learns to read from `num_rows` texts alone."""
    recipe = Recipe(
        model="bilstm",
        epochs=40 if num_rows < 5000 else 12,
        batch_size=32 if num_rows < 20_000 else 64,
        optimiser="adamw",
        lr=2e-3,
        dropout=0.4,
        weight_decay=0.01,
        clip=1.0,
        schedule="cosine",
        warmup=0.05,
        patience=3,
    )
    return stated(request, recipe)


def for_tagging(request: Request, num_rows: int, *, has_vectors: bool) -> Recipe:
    """The recipe for a tagger that learns from `num_rows` sentences; its word vectors do not decay, as many rest.

    Without word vectors, every fifth word is hidden in training, or those that it knows from one sentence are learned
    by heart: on CoNLL-2000 that gained half a point of F1. Telling the file's parts of speech too gained as much again.
    """
    own = named_model(request) in (None, "bilstm-crf")
    recipe = Recipe(
        model="bilstm-crf",
        model_options={"word_dropout": 0.2} if own and not has_vectors else {},
        epochs=24,
        batch_size=16 if num_rows < 20_000 else 32,
        optimiser="adamw",
        lr=2e-3,
        dropout=0.5 if own else 0.0,
        clip=5.0,
        schedule="cosine",
        warmup=0.05,
        patience=10,
        beside=1.0 if own else 0.0,
    )
    return stated(request, recipe)


def for_tagging_by_encoder(request: Request, architecture: str, num_rows: int) -> Recipe:
    """The recipe for a pretrained encoder with a new head on its words, which learns faster than what is below it."""
    recipe = Recipe(
        model=architecture,
        epochs=8 if num_rows < 5000 else 4,
        batch_size=16,
        optimiser="adamw",
        lr=2e-3,
        layer_decay=0.3,
        weight_decay=0.01,
        clip=1.0,
        schedule="linear",
        warmup=0.1,
    )
    return stated(request, recipe)


def views_of_photos(labels: Sequence[str]) -> Literal[1, 2]:
    """2 where a picture's mirror image has the same label."""
    return 2 if "flip" in defaults(3, labels) else 1


def for_columns(request: Request, specs: Sequence[InputSpec], num_rows: int, labels: Sequence[str]) -> Recipe:
    """The recipe for one network that learns from pictures of these shapes and from other columns."""
    many = num_rows >= MANY_IMAGES
    small = max(side for spec in specs for side in spec.shape[1:]) <= 32
    options = {"picture_width": (16, 32, 64)} if small and not many else {}
    augment = set.intersection(*(set(defaults(spec.shape[0], labels, num_rows=num_rows)) for spec in specs))
    recipe = Recipe(
        model="fusion",
        model_options=options if named_model(request) in (None, "fusion") else {},
        epochs=30 if many else 40,
        batch_size=125 if many else 64,
        optimiser="muon",
        lr=0.1,
        lr_rest=0.1,
        momentum=0.6,
        weight_decay=5e-4,
        schedule="linear",
        warmup=0.1,
        label_smoothing=0.1,
        augment=tuple(sorted(augment)),
    )
    return stated(request, recipe if labels else _for_a_quantity(recipe))


def _for_a_quantity(recipe: Recipe) -> Recipe:
    """The recipe for a regression: a squared error's gradient grows with the error, and SGD on the head runs away."""
    return recipe.but(
        optimiser="adamw",
        lr=3e-3,
        lr_rest=None,
        momentum=0.9,
        weight_decay=0.01,
        schedule="one-cycle",
        clip=1.0,
        label_smoothing=0.0,
    )


def for_tables(request: Request, num_rows: int) -> Recipe:
    """The network's recipe for a table with `num_rows` to learn from."""
    batch_size = 256 if num_rows >= 10_000 else 128 if num_rows >= 3_000 else 64
    recipe = Recipe(
        model="tabm",
        epochs=60,
        batch_size=batch_size,
        optimiser="adamw",
        lr=4e-3,
        weight_decay=0.03,
        clip=1.0,
        schedule="constant",
        warmup=0.03,
        patience=8,
    )
    return stated(request, recipe)


def named_model(request: Request) -> str | None:
    """The architecture that the request names, or its recipe."""
    if request.model is not None or request.recipe is None:
        return request.model
    recipe = Recipe.read(Path(request.recipe))
    return recipe.model if "model" in recipe.model_fields_set else None


def stated(request: Request, recipe: Recipe) -> Recipe:
    """The recipe with what the user's recipe file and flags say in place of the defaults."""
    changes: dict[str, object] = {}
    if request.recipe is not None:
        own = Recipe.read(Path(request.recipe))
        changes |= {name: getattr(own, name) for name in own.model_fields_set}
    if request.epochs is not None:
        changes["epochs"] = request.epochs
    if request.model is not None:
        changes["model"] = request.model
    return recipe.but(**changes)


def seconds_for(request: Request, num_rows: int) -> float:
    """Seconds to train a network for: what the user gave, or one to ten minutes by the number of rows."""
    if request.minutes is not None:
        return 60 * request.minutes
    return 60 + 540 * min(1.0, num_rows / 50_000)


def fine_tuning_seconds(request: Request) -> float:
    """Seconds that a rung of fine-tuning may take: what the user gave, or ten minutes."""
    return 60 * (request.minutes or 10)


def tagging_seconds(request: Request) -> float:
    """Seconds that one network for tags may take: what the user gave, or ten minutes."""
    return 60 * (request.minutes or 10)


def reserve(request: Request) -> float:
    """Seconds of the budget that are kept for evaluation and report."""
    return 0.0 if request.minutes is None else max(LEAST_RESERVE, RESERVE_SHARE * 60 * request.minutes)
