"""What can be found wrong with a request early: names before the data is read, the kind of model before training."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Literal

from earnest.api import encoder_folder, language_model, language_recipes, word_recipes
from earnest.api.encoder_folder import PretrainedEncoder
from earnest.api.recipes import named_model
from earnest.api.request import Request
from earnest.core import weights as known_weights
from earnest.core.errors import OptionError, nearest
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.data.augment import AUGMENTATIONS
from earnest.data.dataset import Dataset
from earnest.data.readers.conll import is_conll
from earnest.evaluation.metrics import METRICS
from earnest.training.plan import choose_device

DEFAULTS = {
    word_recipes.TASK: word_recipes.DEFAULT,
    language_model.TASK: language_recipes.DEFAULT,
    encoder_folder.TASK: language_recipes.DEFAULT_ENCODER,
}
"""The model of a task, which need not be named for its options to be known."""


def check_names(request: Request) -> None:
    """Look up everything that the request names and the data has no say in.

    Raises:
        OptionError: there is no such model, metric, device or recipe; the nearest is offered.
        RunError, DataError: there is no such encoder to start from, or its files do not fit each other.
    """
    if request.metric is not None and request.metric not in METRICS:
        hint = nearest(request.metric, METRICS) or "."
        raise OptionError(f"--metric {request.metric}: there is no such metric{hint} Known: {', '.join(METRICS)}.")
    if request.model is not None and request.model not in models:
        names = [entry.name for entry in models]
        hint = nearest(request.model, names) or "."
        raise OptionError(f"--model {request.model}: there is no such model{hint} `earnest zoo` lists them.")
    choose_device(request.device)
    if request.start_from is not None:
        PretrainedEncoder.of_run(Path(request.start_from))
    if request.recipe is not None:
        recipe = Recipe.read(Path(request.recipe))
        if name := named_model(request) or DEFAULTS.get(request.task or ""):
            recipe = recipe.but(model=name)
        _check_recipe(recipe, request.recipe)


Group = Literal["image", "tokens", "table", "columns", "tags"]
"""One column of pictures; nothing but texts; other columns; several pictures, or pictures and other columns; or
sentences whose words have tags."""
GROUPS: dict[Group, str] = {
    "image": "images",
    "tokens": "texts",
    "table": "a table",
    "columns": "images and other columns",
    "tags": "tagged sentences",
}


def group_of(dataset: Dataset) -> Group:
    """What a model that takes all inputs takes."""
    if is_tagged(dataset):
        return "tags"
    pictures, inputs = len(dataset.inputs("image")), dataset.inputs()
    if not pictures:
        return "tokens" if inputs and len(dataset.inputs("text")) == len(inputs) else "table"
    return "image" if pictures == len(inputs) == 1 else "columns"


def is_tagged(dataset: Dataset) -> bool:
    """Whether the target is a tag for every word."""
    return dataset.target is not None and dataset.column(dataset.target).kind == "tags"


def takes(model: str, group: Group) -> bool:
    """Whether the model of that name can learn from such data: tags need an answer for each word, classes must not."""
    about = models[model].about
    if group == "tags":
        encoders = {weights.architecture for weights in known_weights.available("tokens")}
        return bool(about.get("per_token")) or model in encoders
    return group in about["kinds"] and not about.get("per_token")


def concerning(request: Request, group: Group) -> Request:
    """The request as candidates for some of the columns see it: a model for others, and its recipe, are not theirs."""
    model = named_model(request)
    if model is None or takes(model, group):
        return request
    return replace(request, model=None, recipe=None)


def check_model(request: Request, dataset: Dataset) -> None:
    """Check that the model which the request names can take the data, or some of its columns.

    Raises:
        OptionError: it cannot; those that can are named.
    """
    group, name = group_of(dataset), named_model(request)
    if request.start_from is not None and group != "tokens":
        raise OptionError(f"--start-from is for texts, and {dataset.source} holds {GROUPS[group]}; leave it out.")
    groups: tuple[Group, ...] = ("image", "tokens", "table", "columns") if group == "columns" else (group,)
    if name is not None and not any(takes(name, one) for one in groups):
        suited = [entry.name for entry in models if any(takes(entry.name, one) for one in groups)]
        fit = [model for model in suited if not models[model].about["tiny"]]
        raise OptionError(
            f"the model {name} cannot learn from {dataset.source}, which holds {GROUPS[group]}; "
            f"try one of: {', '.join(fit)}."
        )


def check_is_table(request: Request) -> None:
    """Check that what to learn from a file of plain text is said.

    Raises:
        OptionError: it is not.
    """
    path = Path(request.data)
    if request.target is None and path.suffixes[:1] == [".txt"] and path.is_file() and not is_conll(path):
        raise OptionError(
            f"{path} may be a running text or a table, and what to learn from it is not said: --task language-model "
            "learns to go on with a text, --task word-vectors what its words mean, --target COLUMN to predict a column."
        )


def _check_recipe(recipe: Recipe, path: str) -> None:
    if recipe.model not in models:
        names = [entry.name for entry in models]
        raise OptionError(f"{path}: there is no model {recipe.model!r}{nearest(recipe.model, names) or '.'}")
    known = list(inspect.signature(models[recipe.model].build).parameters)[2:]
    for option in recipe.model_options:
        if option not in known:
            hint = nearest(option, known) or "."
            raise OptionError(
                f"{path}: the model {recipe.model} has no option {option!r}{hint} Its options: {', '.join(known)}."
            )
    for name in recipe.augment:
        if name not in AUGMENTATIONS:
            hint = nearest(name, AUGMENTATIONS) or "."
            raise OptionError(f"{path}: there is no augmentation {name!r}{hint} Known: {', '.join(AUGMENTATIONS)}.")
