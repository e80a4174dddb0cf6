"""Decoded pictures, and the batches and tasks that networks learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earnest.api.model_folder import PictureColumn, Shipped
from earnest.api.parts import Inputs, LinearPart, NetworkPart
from earnest.api.question import Bench, Question, Rows
from earnest.api.sight import Sight
from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.weights import Preprocessing, Weights
from earnest.core.words import InputSpec
from earnest.data.augment import Augmented
from earnest.data.batches import ArrayBatches
from earnest.data.cache import cache_folder
from earnest.data.dataset import Dataset, Images
from earnest.data.image_arrays import ArrayImages
from earnest.data.images import Channels, Decoded, choose_channels, choose_size, decode, drop_unreadable
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression

SCRATCH_SIDE = 64
"""Larger images are scaled to this side for networks that learn from nothing, unless the user names another network."""

ROOM_TO_CROP = 8 / 7
"""Side that images are kept in, as a multiple of the side that pretrained weights expect: 256 for 224."""


@dataclass(frozen=True)
class Pictures:
    """A column of decoded images, row for row with the data set."""

    column: str
    array: NDArray[np.uint8]
    """(N, H, W, C)"""
    weights: Weights | None = None
    """Pretrained weights that suit them, for which they were decoded."""

    @property
    def spec(self) -> InputSpec:
        """What a model is told."""
        _, height, width, channels = self.array.shape
        return InputSpec("image", (channels, height, width))

    def inputs(self, rows: Rows) -> Inputs:
        """Some of the rows, as parts take them."""
        return Inputs((self.array[rows],))

    def shipped(self, part: LinearPart | NetworkPart) -> Shipped:
        """The part as something to ship."""
        return Shipped((part,), (self.described(),))

    def described(self, sight: Sight | None = None) -> PictureColumn:
        """What becomes of the column in a model that is shipped."""
        _, height, width, channels = self.array.shape
        return PictureColumn(self.column, (height, width), 1 if channels == 1 else 3, sight)


def look(
    bench: Bench, dataset: Dataset, weights: Weights | None, *, model: str | None
) -> tuple[Dataset, tuple[Pictures, ...]]:
    """Decode every image once, to suit `weights` or `model`; rows with one that cannot be read are left out, listed."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    for column in [column.name for column in dataset.inputs("image")]:
        decoded = _decoded(bench, dataset.images[column], weights, model)
        if decoded.failed:
            arrays = {name: array[decoded.kept] for name, array in arrays.items()}
            dataset = drop_unreadable(dataset, decoded)
        arrays[column] = decoded.array
    return dataset, tuple(Pictures(column, array, weights) for column, array in arrays.items())


def _decoded(bench: Bench, images: Images, weights: Weights | None, model: str | None) -> Decoded:
    channels: Channels = 3
    if weights is not None:
        assert isinstance(weights.preprocessing, Preprocessing)
        size = choose_size(images, largest=round(weights.preprocessing.size * ROOM_TO_CROP))
    else:
        channels = choose_channels(images)
        size = choose_size(images, largest=_side_for(model))
    with bench.screen.bar("decoding images", len(images)) as bar:
        return decode(
            images,
            size=size,
            channels=channels,
            cache_folder=None if isinstance(images, ArrayImages) else cache_folder(),
            progress=lambda done, total: bar(done),
        )


def task_for(
    question: Question, recipe: Recipe, train: Rows, *, stops_by_loss: bool = False
) -> Classification | Regression:
    """The task that the question is; `train` are the rows from which it may learn a scale.

    The best epoch is the one with the best metric, or with the least loss, which says more of few epochs' differences.
    """
    selects = {
        "metric": question.metric.name,
        "score": question.metric,
        "higher_is_better": question.metric.higher_is_better,
    }
    if stops_by_loss:
        selects = {"metric": "rmse" if question.num_classes is None else "log_loss", "higher_is_better": False}
    if question.num_classes is None:
        return Regression(question.truth[train], **selects)  # type: ignore[arg-type]
    return Classification(
        question.num_classes,
        label_smoothing=recipe.label_smoothing,
        views=recipe.views,
        **selects,  # type: ignore[arg-type]
    )


def batches(
    question: Question,
    pictures: Pictures,
    rows: Rows,
    recipe: Recipe,
    normalise: Normalise,
    *,
    learning: bool = False,
) -> ArrayBatches:
    """The rows as a source: shuffled and augmented for learning, in order and as they are for validation."""
    augmented = Augmented(normalise, recipe.augment, recipe.mixup, recipe.cutmix, question.num_classes)
    return ArrayBatches(
        (pictures.array,),
        question.truth,
        rows,
        batch_size=recipe.batch_size if learning else 4 * recipe.batch_size,
        shuffle=learning,
        transform=augmented if learning else normalise,
    )


def check_takes_images(name: str) -> None:
    """
    Raises:
        OptionError: the architecture is not for images.
    """
    kinds: Sequence[str] = models[name].about["kinds"]
    if "image" not in kinds:
        raise OptionError(f"--model {name} takes no images; `earnest zoo` lists those that do, such as airnet.")


def _side_for(model: str | None) -> int:
    if model is None or not models[model].about["input"]:
        return SCRATCH_SIDE
    return int(models[model].about["input"][-1])
