"""The recipes of language models, and how long they may train."""

from __future__ import annotations

import math
from typing import Any

from earnest.api.recipes import named_model, stated
from earnest.api.request import Request
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models

DEFAULT, DEFAULT_ENCODER = "lstm", "bert-modern-mini"
ENCODERS = ("bert", "bert-modern")
"""Families."""
AN_EPOCH = 250_000
"""Tokens that an epoch of a language model learns from, at most: a long text takes several a pass, so that there are
some within minutes, and the plan can be mended between them."""
PASSES, PATIENT_PASSES = 30, 4
"""Over a text of characters: at most, and without getting better."""
WIDTHS = ((100_000, 128), (500_000, 256), (math.inf, 384))
"""Units of a recurrent layer for texts below so many bytes, and some minutes on a CPU."""


def for_language(request: Request, num_bytes: int) -> Recipe:
    """The recipe for a network that learns to go on with a text of this size.

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
    epochs_a_pass = max(1, round(num_bytes / AN_EPOCH))
    recipe = Recipe(
        model=name,
        model_options=_sizes(name, num_bytes),
        epochs=PASSES * epochs_a_pass,
        batch_size=32,
        optimiser="adamw",
        lr=1e-3 if attends else 3e-3,
        beta2=0.99,
        weight_decay=0.1 if attends else 0.01,
        clip=1.0,
        schedule="cosine",
        warmup=0.05,
        dropout=0.1,
        patience=PATIENT_PASSES * epochs_a_pass,
        window=256 if attends else 128,
    )
    recipe = stated(request, recipe)
    if recipe.tokens not in (None, "character", "bpe"):
        raise OptionError(f"the recipe's tokens, {recipe.tokens}, do not give back the text; take character or bpe.")
    return recipe


def for_masked_language(request: Request) -> Recipe:
    """The recipe for pretraining an encoder by missing tokens, within minutes to hours.

    Tokens begin as skip-gram's vectors and move slowly, so that what skip-gram knows is not lost; nothing is dropped,
    as hardly a window is seen twice.

    Raises:
        OptionError: the model that the request names is no such encoder; those that are, are named.
    """
    name = named_model(request) or DEFAULT_ENCODER
    if models[name].about["family"] not in ENCODERS:
        fit = [entry.name for entry in models if entry.about["family"] in ENCODERS and not entry.about["tiny"]]
        raise OptionError(f"the model {name} cannot learn from missing tokens; try one of: {', '.join(fit)}.")
    recipe = Recipe(
        model=name,
        model_options={"dropout": 0.0},
        epochs=1000,
        batch_size=32,
        optimiser="muon-adamw",
        lr=0.03,
        lr_rest=5e-4,
        beta2=0.98,
        weight_decay=0.01,
        clip=1.0,
        schedule="linear",
        warmup=0.05,
        window=128,
        tokens="wordpiece",
        token_vectors="skip-gram",
    )
    recipe = stated(request, recipe)
    if recipe.tokens != "wordpiece":
        raise OptionError(f"the recipe's tokens are {recipe.tokens}; encoders read wordpiece, leave the line out.")
    return recipe


def _sizes(name: str, num_bytes: int) -> dict[str, Any]:
    """Options of a recurrent network; those of others, and of tiny ones, are in their names."""
    if name not in ("elman", "lstm", "gru", "mingru"):
        return {}
    width = next(width for most, width in WIDTHS if num_bytes < most)
    if name == "mingru":
        return {"embedding_width": width // 2, "width": width // 2, "depth": 4}
    return {"embedding_width": 128, "width": width}


def seconds_for(request: Request, num_tokens: int) -> float:
    """Seconds to train for: what the user gave, or one to ten minutes by the number of tokens."""
    if request.minutes is not None:
        return 60 * request.minutes
    return 60 + 540 * min(1.0, num_tokens / 1_000_000)
