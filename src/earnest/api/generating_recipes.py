"""The recipes of networks that make pictures, and how long they may train."""

from __future__ import annotations

from earnest.api.recipes import named_model, stated
from earnest.api.request import Request
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec

STRIDED = "r3gan-strided"
DEFAULT = STRIDED
FEW = 10_000
"""Pictures below which a critic would learn them by heart, so that it is shown altered ones."""
LONG = 1800.0
"""Seconds from which on strided networks are twice as wide: slower, and on Fashion-MNIST further after 45 minutes."""
COMMON = {"epochs": 2000, "batch_size": 64, "optimiser": "adamw"}


def for_pictures(request: Request, spec: InputSpec, num_rows: int) -> Recipe:
    """The recipe for a network that learns to make pictures like these.

    Raises:
        OptionError: the model that the request names makes none; those that do are named.
    """
    name = named_model(request) or DEFAULT
    about = models[name].about
    if "noise" not in about["kinds"]:
        fit = [entry.name for entry in models if "noise" in entry.about["kinds"] and not entry.about["tiny"]]
        raise OptionError(f"the model {name} makes no pictures; try one of: {', '.join(fit)}.")
    family = about["family"]
    recipe = for_autoencoding(name) if family == "autoencoder" else _old(name)
    if family == "r3gan":
        recipe = _modern(name, spec, num_rows)
    if name == STRIDED and seconds_for(request, num_rows) >= LONG:
        recipe = recipe.but(model_options={"width": 64})
    return stated(request, recipe)


def for_autoencoding(name: str) -> Recipe:
    """An autoencoder's, plain or variational."""
    return Recipe(model=name, lr=1e-3, schedule="cosine", warmup=0.02, **COMMON)


def rivals_of(recipe: Recipe) -> list[Recipe]:
    """What is fitted beside the network: a variational autoencoder beside a GAN, for as many epochs at most."""
    if models[recipe.model].about["family"] == "autoencoder":
        return []
    name = "vae-tiny" if models[recipe.model].about["tiny"] else "vae"
    return [for_autoencoding(name).but(epochs=recipe.epochs)]


def gentler(recipe: Recipe) -> Recipe:
    """For another try from weights that were still good: a critic that is held ten times tighter, and half the pace."""
    return recipe.but(gradient_penalty=max(10 * recipe.gradient_penalty, 0.1), lr=recipe.lr / 2)


def seconds_for(request: Request, num_rows: int) -> float:
    """Seconds to train for: what the user gave, or five to fifteen minutes by the number of pictures."""
    return 60 * request.minutes if request.minutes is not None else 300 + 600 * min(1.0, num_rows / 50_000)


def _modern(name: str, spec: InputSpec, num_rows: int) -> Recipe:
    """R3GAN's; momentum 0, as it has it. Strided networks pay the penalty on every eighth batch."""
    altered = ("crop", "erase") if spec.shape[0] == 1 else ("crop", "jitter", "erase")
    return Recipe(
        model=name,
        lr=5e-4,
        momentum=0.0,
        beta2=0.99,
        schedule="cosine",
        warmup=0.02,
        gradient_penalty=0.5,
        penalty_every=8 if name == STRIDED else 1,
        ema=0.999,
        augment=altered if num_rows < FEW else (),
        **COMMON,
    )


def _old(name: str) -> Recipe:
    """DCGAN's, which serves the first GAN too: Adam with beta 1 of .5, no average, no penalty."""
    return Recipe(model=name, lr=2e-4, momentum=0.5, beta2=0.999, schedule="constant", warmup=0.0, **COMMON)
