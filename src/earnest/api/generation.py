"""Fits a network that makes pictures, watches whether it collapses, and has what it makes judged after every epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earnest.api.gallery import Gallery
from earnest.api.generating_recipes import gentler, seconds_for
from earnest.api.grids import grid_png, write_png
from earnest.api.networks import Fit, a_while, fit_network
from earnest.api.picture_generator import PictureGenerator, to_pixels
from earnest.api.question import Bench, Floats, Rows
from earnest.api.sightings import Extractor
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.run import Run
from earnest.core.words import Step
from earnest.data.augment import Augmented
from earnest.evaluation.collapse import why_collapsed
from earnest.evaluation.generation import METRIC, distinct, diversity, kernel_distance, precision_recall
from earnest.models.autoencoder import VAE
from earnest.models.gan import GAN
from earnest.tasks.adversarial import Adversarial
from earnest.tasks.autoencoder import Autoencoding, VariationalAutoencoding
from earnest.tasks.generating import Generating, Judge
from earnest.training.state import TrainState

LEAST_STEPS = 50
"""Of an epoch: few pictures come several times in one."""
SHOWN = 64
"""Samples of the grid that every epoch leaves."""
RESTARTS = 1
"""Times that training begins again from the best weights after a collapse."""
RIVAL_SHARE = 0.12
"""Of the time, what the rival of a GAN may learn for."""
AT_THE_SOURCE = "flip"
"""The augmentation that needs to know which picture it is: it changes real pictures alone."""


@dataclass(frozen=True)
class Trained:
    """A network that was fitted, and what went wrong on the way."""

    generator: PictureGenerator
    seconds: float
    score: float | None
    """Of the best epoch."""
    collapses: tuple[str, ...] = ()


def learn(bench: Bench, gallery: Gallery, recipe: Recipe, extractor: Extractor, *, share: float = 1.0) -> Trained:
    """Train as the recipe says; after a collapse once more, gently, from the weights that were best until then.

    `share` is that of the time that the network may take.
    """
    bench = bench if share == 1 else a_while(bench, share)
    started = time.monotonic()
    weights: dict[str, Tensor] | None = None
    collapses: list[str] = []
    best: TrainState | None = None
    for attempt in range(1 + RESTARTS):
        name = recipe.model if attempt == 0 else f"{recipe.model}-again"
        seconds = share * 0.5**attempt * seconds_for(bench.request, len(gallery.split.train))
        state = _fit(bench, gallery, recipe, extractor, name, weights, seconds)
        if best is None or (state.best or np.inf) < (best.best or np.inf):
            best = state
        why = why_collapsed(epochs_of(bench.run, name)) if isinstance(state.model, GAN) else None
        if why is None:
            break
        collapses.append(why)
        what_now = "" if attempt == RESTARTS else "; training begins again from its best epoch, more gently"
        bench.screen.say(why + what_now)
        weights, recipe = _shippable(best), gentler(recipe)
    assert best is not None
    network = best.model.to("cpu").eval()
    about = {"name": recipe.model, "data": gallery.dataset.fingerprint}
    generator = PictureGenerator(network, recipe.model, recipe.model_options, gallery.spec, gallery.labels, about)
    return Trained(generator, time.monotonic() - started, best.best, tuple(collapses))


def epochs_of(run: Run, training: str) -> list[dict[str, Any]]:
    """The log's lines of a training's epochs, the last of each."""
    found = {event["epoch"]: event for event in run.events("epoch") if event.get("training") == training}
    return [found[epoch] for epoch in sorted(found)]


def _fit(
    bench: Bench,
    gallery: Gallery,
    recipe: Recipe,
    extractor: Extractor,
    name: str,
    weights: dict[str, Tensor] | None,
    seconds: float,
) -> TrainState:
    """One training, from nothing or from `weights`."""

    def untrained() -> nn.Module:
        network: nn.Module = models[recipe.model].build(gallery.spec, len(gallery.labels), **recipe.model_options)
        return network

    def build() -> nn.Module:
        network = untrained()
        if weights is not None:
            network.load_state_dict(weights)
        return network

    train, validation = gallery.split.train, gallery.split.validation
    batch_size = min(recipe.batch_size, len(train))
    source = gallery.batches(_often(train, batch_size), batch_size, shuffle=True)
    with torch.device("meta"):
        kind = untrained()
    task, at_source = _task(kind, recipe, _judge(bench, gallery, extractor, name))
    source.transform = Augmented(gallery.normalise, at_source)
    return fit_network(
        bench,
        Fit(
            name=name,
            build=build,
            task=task,
            source=source,
            validation=gallery.batches(validation, 4 * batch_size),
            recipe=recipe,
            seconds=seconds,
            give_up=(lambda: why_collapsed(epochs_of(bench.run, name))) if isinstance(kind, GAN) else None,
        ),
    )


def _task(network: nn.Module, recipe: Recipe, judge: Judge) -> tuple[Generating, tuple[str, ...]]:
    """What trains such a network, and the augmentations that its source makes.

    A GAN's critic is shown altered pictures, real and made; an autoencoder learns from altered ones.
    """
    if isinstance(network, GAN):
        shown = tuple(name for name in recipe.augment if name != AT_THE_SOURCE)
        at_source = tuple(name for name in recipe.augment if name == AT_THE_SOURCE)
        gamma, every = recipe.gradient_penalty, recipe.penalty_every
        return Adversarial(judge, gradient_penalty=gamma, penalty_every=every, augment=shown), at_source
    if isinstance(network, VAE):
        return VariationalAutoencoding(judge, kl_weight=recipe.kl_weight, metric=METRIC), recipe.augment
    return Autoencoding(judge, metric=METRIC), recipe.augment


def _judge(bench: Bench, gallery: Gallery, extractor: Extractor, name: str) -> Judge:
    """Compares samples with the validation pictures, and leaves a grid of them in the run folder."""
    real = extractor.see(gallery.array[gallery.split.validation])

    def judge(samples: Tensor, step: Step) -> dict[str, float]:
        pixels = to_pixels(samples)
        if bench.run.writes:
            path = bench.run.path / "samples" / f"{name}-epoch-{step.epoch + 1:04}.png"
            write_png(path, grid_png(pixels[:SHOWN], 8))
        made = extractor.see(pixels)
        return judged(real, made, seed=bench.seed)

    return judge


def judged(real: Floats, made: Floats, *, seed: int) -> dict[str, float]:
    """What is told after every epoch."""
    precision, recall = precision_recall(real, made)
    return {
        METRIC: kernel_distance(real, made, seed=seed).value,
        "precision": precision,
        "recall": recall,
        "diversity": diversity(real, made),
        "distinct": distinct(real, made),
    }


def _often(rows: Rows, batch_size: int) -> Rows:
    """The rows, several times where an epoch would be a few steps."""
    return np.tile(rows, max(1, -(-LEAST_STEPS * batch_size // len(rows))))


def _shippable(state: TrainState) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu") for name, tensor in state.model.state_dict().items()}
