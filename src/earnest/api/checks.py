"""What can be found wrong with a request early: names before the data is read, the kind of model before training."""

from __future__ import annotations

import inspect
from pathlib import Path

from earnest.api.request import Request
from earnest.core.errors import DataError, OptionError, nearest
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.data.augment import AUGMENTATIONS
from earnest.data.dataset import Dataset
from earnest.evaluation.metrics import METRICS
from earnest.training.plan import choose_device


def check_names(request: Request) -> None:
    """Look up everything that the request names and the data has no say in.

    Raises:
        OptionError: there is no such model, metric, device or recipe; the nearest is offered.
    """
    if request.metric is not None and request.metric not in METRICS:
        hint = nearest(request.metric, METRICS) or "."
        raise OptionError(f"--metric {request.metric}: there is no such metric{hint} Known: {', '.join(METRICS)}.")
    if request.model is not None and request.model not in models:
        names = [entry.name for entry in models]
        hint = nearest(request.model, names) or "."
        raise OptionError(f"--model {request.model}: there is no such model{hint} `earnest zoo` lists them.")
    choose_device(request.device)
    if request.recipe is not None:
        _check_recipe(Recipe.read(Path(request.recipe)), request.recipe)


def check_model(request: Request, dataset: Dataset) -> None:
    """Check that the model which the request names can take the data.

    Raises:
        OptionError: it cannot; those that can are named.
        DataError: no model can.
    """
    if len(dataset.images) > 1:
        raise DataError(
            f"{dataset.source} has {len(dataset.images)} columns of images, and a model takes one; set the others "
            f"aside with --type COLUMN=id: {', '.join(map(repr, dataset.images))}."
        )
    kind = "image" if dataset.images else "table"
    name = request.model
    if name is None and request.recipe is not None:
        recipe = Recipe.read(Path(request.recipe))
        name = recipe.model if "model" in recipe.model_fields_set else None
    if name is not None and kind not in models[name].about["kinds"]:
        fit = ", ".join(entry.name for entry in models if kind in entry.about["kinds"] and not entry.about["tiny"])
        raise OptionError(
            f"the model {name} cannot learn from {dataset.source}, which holds {kind}s; try one of: {fit}."
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
