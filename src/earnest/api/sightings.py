"""What pictures are judged by: features of a classifier of their classes, or the principal components of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from earnest.api import recipes
from earnest.api.gallery import Gallery
from earnest.api.networks import Fit, a_while, fit_network
from earnest.api.question import Bench, Floats
from earnest.core.registry import models
from earnest.core.words import Step
from earnest.tasks.classification import Classification

SHARE = 0.08
"""Of the time that is left, what the classifier may learn for, and its epochs at most."""
EPOCHS = 8
WIDTH = (16, 32, 64)
NUM_COMPONENTS, MOST_FITTED = 64, 5000
"""Principal components, and the pictures that they are fitted to."""
TOGETHER = 500


@dataclass(frozen=True)
class Extractor:
    """A way to see pictures, and what a reader must know of it."""

    name: str
    see: Callable[[NDArray[np.uint8]], Floats]
    """(N, S, S, C) pixels to features (N, F)."""


def choose_extractor(bench: Bench, gallery: Gallery) -> Extractor:
    """A classifier of the pictures' classes that is trained here, or where they have none, principal components.

    Features are scaled to a mean square of 1, as a polynomial kernel has to know what is large.
    """
    found = _classifier(bench, gallery) if gallery.labels else _components(bench, gallery)
    usual = found.see(gallery.array[gallery.split.train[:MOST_FITTED]])
    size = max(float(np.sqrt(np.mean(usual**2))), 1e-12)
    return Extractor(found.name, lambda pixels: found.see(pixels) / size)


def _classifier(bench: Bench, gallery: Gallery) -> Extractor:
    bench = a_while(replace(bench, request=replace(bench.request, model=None, recipe=None, epochs=None)), SHARE)
    split, spec = gallery.split, gallery.spec
    recipe = recipes.for_images(bench.request, spec, len(split.train), gallery.labels)
    recipe = recipe.but(epochs=EPOCHS, model_options={"width": WIDTH}, augment=(), views=1)
    num_classes = len(gallery.labels)
    task = Classification(num_classes, label_smoothing=recipe.label_smoothing)
    seconds = SHARE * recipes.seconds_for(bench.request, len(split.train))
    validation = gallery.batches(split.validation, 4 * recipe.batch_size)

    def build() -> nn.Module:
        network: nn.Module = models[recipe.model].build(spec, num_classes, **recipe.model_options)
        network.whiten(gallery.normalise.pixels(torch.from_numpy(gallery.array[split.train[:MOST_FITTED]])))  # type: ignore[operator]
        return network

    source = gallery.batches(split.train, recipe.batch_size, shuffle=True)
    state = fit_network(bench, Fit("judge", build, task, source, validation, recipe, seconds))
    network = state.model.to("cpu").eval()
    right = task.to("cpu").validate(network, validation, Step(seed=bench.seed))["accuracy"]
    return Extractor(
        f"features of a classifier of the {num_classes} classes, {right:.1%} right on validation pictures",
        lambda pixels: seen(network, pixels, gallery),
    )


def _components(bench: Bench, gallery: Gallery) -> Extractor:
    fitted_to = gallery.array[gallery.split.train[:MOST_FITTED]]
    flat = fitted_to.reshape(len(fitted_to), -1).astype(np.float64) / 255
    num = min(NUM_COMPONENTS, *flat.shape)
    components = PCA(num, svd_solver="randomized", random_state=bench.seed % 2**32).fit(flat)

    def see(pixels: NDArray[np.uint8]) -> Floats:
        told: Floats = components.transform(pixels.reshape(len(pixels), -1).astype(np.float64) / 255)
        return told

    return Extractor(f"the {num} principal components of the pixels", see)


@torch.no_grad()
def seen(network: nn.Module, pixels: NDArray[np.uint8], gallery: Gallery) -> Floats:
    """What a network on the CPU sees in pictures: its features."""
    found = []
    for start in range(0, len(pixels), TOGETHER):
        some = torch.from_numpy(np.ascontiguousarray(pixels[start : start + TOGETHER]))
        found.append(network.features(gallery.normalise.pixels(some)))  # type: ignore[operator]
    told: Floats = torch.cat(found).double().numpy()
    return told
