"""What pictures are judged by: features of a network, or the principal components of pixels.

Unless the user names another, the network is a classifier of the pictures' classes that is trained first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import nn

from earnest.api import recipes, transfer
from earnest.api.gallery import Gallery
from earnest.api.networks import Fit, a_while, fit_network
from earnest.api.parts import NetworkPart
from earnest.api.predict import Predictor, load
from earnest.api.question import Bench, Floats
from earnest.core import weights as known_weights
from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import Step
from earnest.data.pixels import fit
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification
from earnest.training.features import extract_features

PIXELS = "pixels"
"""The judge's name for principal components."""
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


def named_extractor(bench: Bench) -> Extractor | None:
    """The network that the user has judge, looked for before anything else is; None where none is named.

    Raises:
        OptionError: there is no such network, or it does not see pictures.
        RunError: the run is not finished, or damaged.
    """
    wanted = bench.request.judge
    if wanted is None or wanted == PIXELS:
        return None
    return _of_run(bench, Path(wanted)) if Path(wanted).exists() else _of_weights(bench, wanted)


def choose_extractor(bench: Bench, gallery: Gallery, named: Extractor | None = None) -> Extractor:
    """The one that is `named`, or a classifier of the pictures' classes that is trained here.

    Where pictures have no classes, or pixels are asked for, it is principal components. Features are scaled to a mean
    square of 1, as a polynomial kernel has to know what is large.
    """
    found = named
    if found is None:
        trains = bool(gallery.labels) and bench.request.judge != PIXELS
        found = _classifier(bench, gallery) if trains else _components(bench, gallery)
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


def _of_run(bench: Bench, run: Path) -> Extractor:
    """The network that a run shipped for one picture a row."""
    predictor = load(run)
    shipped = predictor.model.shipped if isinstance(predictor, Predictor) else None
    parts = () if shipped is None else shipped.parts
    part = next((part for part in parts if isinstance(part, NetworkPart) and hasattr(part.model, "features")), None)
    if shipped is None or part is None or len(shipped.pictures) != 1 or part.spec.kind != "image":
        raise OptionError(f"--judge {run} ships no network that sees pictures alone; name a run of a folder of them.")
    column, network, normalise = shipped.pictures[0], part.model, part.normalise[0]

    def see(pixels: NDArray[np.uint8]) -> Floats:
        fitted = np.stack([fit(picture, column.size, column.channels) for picture in pixels])
        return _features(bench, network, fitted, normalise)

    return Extractor(f"features of {part.name}, trained in {run.name}", see)


def _of_weights(bench: Bench, name: str) -> Extractor:
    """A network with pretrained weights."""
    try:
        weights = known_weights.find(name)
    except OptionError as error:
        raise OptionError(f'--judge {name} is no run folder, nor "{PIXELS}", and {error}') from error
    if weights.kind != "image":
        raise OptionError(f"--judge {name}: these weights are of a network that reads texts.")
    pretrained = transfer.fetch(weights, bench.request, bench.screen)

    def see(pixels: NDArray[np.uint8]) -> Floats:
        coloured = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
        return _features(bench, pretrained.model, coloured, pretrained.normalise)

    return Extractor(f"features of {weights.name}", see)


def _features(bench: Bench, network: nn.Module, pixels: NDArray[np.uint8], normalise: Normalise) -> Floats:
    """(N, F)"""
    told = extract_features(
        network, pixels, preprocessing=normalise, cache_folder=None, device=bench.device, flips=False
    )
    return told.astype(np.float64)


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
