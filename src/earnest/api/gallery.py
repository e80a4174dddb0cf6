"""The pictures that a generator learns from: read, decoded, cut into three parts, with classes where they have some."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earnest.api.question import Bench, Rows
from earnest.api.request import Request
from earnest.core.errors import DataError
from earnest.core.words import InputSpec
from earnest.data.batches import ArrayBatches
from earnest.data.cache import cache_folder
from earnest.data.dataset import Dataset, Split
from earnest.data.image_arrays import ArrayImages
from earnest.data.images import choose_channels, choose_size, decode, drop_unreadable
from earnest.data.labels import in_order
from earnest.data.preparation import Normalise
from earnest.data.read import read, read_for_prediction
from earnest.data.splits import make_split
from earnest.nn.pyramid import LARGEST, nearest_side

FEWEST = 20
"""Pictures from which anything can be learned and judged."""
LARGEST_ON_A_CPU = 64
"""Pixels a side: what is larger takes days there."""
VALIDATION_SHARE, MOST_VALIDATION = 0.1, 2_000
MIDDLE = 127.5
"""Of the pixels 0 to 255, which a network sees as -1 to 1."""


@dataclass(frozen=True)
class Gallery:
    """Square pictures of one size."""

    dataset: Dataset
    split: Split
    array: NDArray[np.uint8]
    """(N, S, S, C)"""
    labels: tuple[str, ...] = ()
    """Names of the classes; empty where there are none."""
    codes: NDArray[np.int64] | None = None
    """(N,) the class of each picture."""

    @property
    def spec(self) -> InputSpec:
        """What a model is told."""
        _, height, width, channels = self.array.shape
        return InputSpec("image", (channels, height, width))

    @property
    def normalise(self) -> Normalise:
        """Pixels to -1..1, (B, C, H, W)."""
        return scaling(self.array.shape[3])

    def batches(self, rows: Rows, batch_size: int, *, shuffle: bool = False) -> ArrayBatches:
        """Some of the pictures, as a network sees them."""
        return ArrayBatches(
            (self.array,), self.codes, rows, batch_size=batch_size, shuffle=shuffle, transform=self.normalise
        )


def scaling(channels: int) -> Normalise:
    """Pixels to -1..1."""
    return Normalise((MIDDLE,) * channels, (MIDDLE,) * channels)


def read_pictures(request: Request) -> Dataset:
    """The pictures that the request names, with their classes where they have at least two.

    Raises:
        DataError: there are no pictures, or too few.
    """
    try:
        dataset = read(request.data, test=request.test)
    except DataError as error:
        if request.test is not None:
            raise
        dataset = read_for_prediction(request.data)
        dataset = replace(dataset, notes=(*dataset.notes, f"the pictures are taken for one kind: {error}"))
    if len(dataset.inputs("image")) != 1:
        raise DataError(f"{request.data} holds no pictures, which --task generate learns from; name a folder of them.")
    if len(dataset) < FEWEST:
        raise DataError(
            f"{request.data} holds {len(dataset)} picture{'s' if len(dataset) > 1 else ''} that can be read; a "
            f"generator needs at least {FEWEST}, and hundreds to make anything new."
        )
    return dataset


def hang(bench: Bench, dataset: Dataset) -> Gallery:
    """Decode the pictures at a side that generators can make, and cut them into parts.

    Raises:
        DataError: too few can be read.
    """
    column = dataset.inputs("image")[0].name
    images = dataset.images[column]
    size = choose_size(images, largest=LARGEST if bench.device.startswith("cuda") else LARGEST_ON_A_CPU)
    side = nearest_side(min(size))
    if size != (side, side):
        bench.screen.say(
            f"the pictures are {size[0]} x {size[1]}; generators make them {side} x {side}, so they are scaled to that"
        )
    with bench.screen.bar("decoding images", len(images)) as bar:
        decoded = decode(
            images,
            size=(side, side),
            channels=choose_channels(images),
            cache_folder=None if isinstance(images, ArrayImages) else cache_folder(),
            progress=lambda done, total: bar(done),
        )
    dataset = drop_unreadable(dataset, decoded)
    if len(dataset) < FEWEST:
        raise DataError(f"of the pictures in {dataset.source} only {len(dataset)} can be read; {FEWEST} are needed.")
    labels, codes = _classes(dataset)
    split = make_split(
        dataset,
        seed=bench.seed,
        classification=bool(labels),
        validation_share=min(VALIDATION_SHARE, MOST_VALIDATION / len(dataset)),
    )
    return Gallery(dataset, split, decoded.array, labels, codes)


def _classes(dataset: Dataset) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    """The names of the classes, in order, and each picture's; none where the labels are numbers to regress."""
    if dataset.target is None or dataset.column(dataset.target).kind != "category":
        return (), None
    values = dataset.frame[dataset.target].cast(str)
    labels = tuple(in_order(values))
    numbers = {label: number for number, label in enumerate(labels)}
    return labels, np.array([numbers[value] for value in values], dtype=np.int64)
