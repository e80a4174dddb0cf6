"""The recipes of language models, and how long they may train."""

from __future__ import annotations

from typing import Any

from earnest.api.recipes import named_model, stated
from earnest.api.request import Request
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models

DEFAULT = "lstm"
OPTIONS: dict[str, dict[str, Any]] = {
    "elman": {"embedding_width": 128, "width": 512},
    "lstm": {"embedding_width": 128, "width": 512},
    "gru": {"embedding_width": 128, "width": 512},
    "mingru": {"embedding_width": 256, "width": 256, "depth": 4},
}
"""Sizes for a text of some megabytes and some minutes on a CPU; those of Transformers are in their names."""


def for_language(request: Request) -> Recipe:
    """The recipe for a network that learns to go on with a text.

    Raises:
        OptionError: the model that the request names cannot; those that can are named.
    """
    name = named_model(request) or DEFAULT
    if not models[name].about.get("generates"):
        fit = [entry.name for entry in models if entry.about.get("generates") and not entry.about["tiny"]]
        raise OptionError(
            f"the model {name} cannot go on with a text, as it does not read from left to right; try one of: "
            f"{', '.join(fit)}."
        )
    attends = models[name].about["family"] == "transformer"
    recipe = Recipe(
        model=name,
        model_options=OPTIONS.get(name, {}),
        epochs=30,
        batch_size=32,
        optimiser="adamw",
        lr=1e-3 if attends else 3e-3,
        beta2=0.99,
        weight_decay=0.1 if attends else 0.01,
        clip=1.0,
        schedule="cosine",
        warmup=0.05,
        dropout=0.1,
        patience=4,
        window=256 if attends else 128,
    )
    return stated(request, recipe)


def seconds_for(request: Request, num_tokens: int) -> float:
    """Seconds to train for: what the user gave, or one to ten minutes by the number of tokens."""
    if request.minutes is not None:
        return 60 * request.minutes
    return 60 + 540 * min(1.0, num_tokens / 1_000_000)
