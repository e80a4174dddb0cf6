"""The recipes of word vectors."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from typing import Any

import torch

from earnest.api.recipes import named_model, stated
from earnest.api.request import Request
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec

TASK = "word-vectors"
DEFAULT, FAMILY = "skip-gram", "word2vec"
RATE, RATE_OF_MEANS = 0.025, 0.05
"""Of skip-gram, and of CBOW, as in the original code."""
MOST_WORDS = 1_000_000


@dataclass(frozen=True)
class Options:
    """A recipe's `model_options`, with the defaults of what it leaves out; see `earnest.models.word2vec.skip_gram`."""

    width: int
    negatives: int
    min_count: int
    sample: float
    phrases: int
    subwords: bool
    buckets: int


def can_learn_vectors() -> bool:
    """Whether Numba is installed, which compiles the kernel that word vectors are learned by."""
    return importlib.util.find_spec("numba") is not None


def for_words(request: Request) -> Recipe:
    """The recipe for vectors of words.

    Raises:
        OptionError: the request or its recipe names another kind of model, or tokens that are no words; or Numba, which
            the kernel is compiled by, is not installed.
    """
    if not can_learn_vectors():
        raise OptionError("word vectors are learned by a kernel that Numba compiles: pip install 'earnest[words]'")
    name = named_model(request) or DEFAULT
    if models[name].about["family"] != FAMILY:
        fit = [entry.name for entry in models if entry.about["family"] == FAMILY]
        raise OptionError(f"the model {name} does not learn word vectors; try one of: {', '.join(fit)}.")
    recipe = Recipe(
        model=name,
        epochs=5,
        optimiser="sgd",
        lr=RATE_OF_MEANS if name == "cbow" else RATE,
        momentum=0.0,
        schedule="linear",
        warmup=0.0,
        window=5,
        tokens="words",
        vocabulary=MOST_WORDS,
    )
    recipe = stated(request, recipe)
    if recipe.tokens not in ("words", "spaces"):
        raise OptionError(f"the recipe's tokens are {recipe.tokens}; for word vectors take words, or spaces.")
    return recipe


def options_of(recipe: Recipe) -> Options:
    """The model's options, whole.

    Raises:
        OptionError: one of them is out of range.
    """
    build = models[recipe.model].build
    signature = inspect.signature(build)
    defaults = {name: each.default for name, each in signature.parameters.items() if each.kind is each.KEYWORD_ONLY}
    chosen: dict[str, Any] = {**defaults, **recipe.model_options}
    with torch.device("meta"):
        build(InputSpec("tokens", (recipe.window,), (2,)), 2, **chosen)
    return Options(**chosen)
