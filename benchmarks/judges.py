"""A classifier whose features made pictures are judged by: trained here on real ones, the same for every generator."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.run import WallClock
from earnest.core.words import InputSpec
from earnest.data.batches import ArrayBatches
from earnest.data.preparation import Normalise
from earnest.evaluation.generation import judge
from earnest.tasks.classification import Classification
from earnest.training.loop import train
from earnest.training.state import TrainState

TOGETHER = 1000
WIDTH = (32, 64, 128)
SEED = 7
"""Of the classifier and of what is drawn in judging: never that of a generator."""


@dataclass(frozen=True)
class Classifier:
    """AirNet after some epochs on real pictures."""

    network: nn.Module
    normalise: Normalise
    epochs: int
    accuracy: float = 0.0
    """On the official test pictures."""
    size: float = 1.0
    """Of its features on real pictures, which they are divided by."""

    @torch.inference_mode()
    def see(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, H, W, C) to features (N, F), whose mean square over real pictures is about 1."""
        seen = [self.network.features(part).double().numpy() for part in self._parts(pictures)]
        return np.concatenate(seen) / self.size

    @torch.inference_mode()
    def classes(self, pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(N,) the likeliest class of each."""
        return np.concatenate([self.network(part).argmax(1).numpy() for part in self._parts(pictures)])

    def facts(self) -> dict[str, object]:
        """What a reader must know of it."""
        return {"network": f"airnet, width {WIDTH}", "epochs": self.epochs, "test_accuracy": self.accuracy}

    def _parts(self, pictures: NDArray[np.uint8]) -> list[torch.Tensor]:
        parts = [np.ascontiguousarray(pictures[i : i + TOGETHER]) for i in range(0, len(pictures), TOGETHER)]
        return [self.normalise.pixels(torch.from_numpy(part)) for part in parts]


def train_classifier(
    learned: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    epochs: int = 6,
) -> Classifier:
    """A classifier of pictures (N, H, W, C) and their labels, in some minutes on a CPU."""
    torch.manual_seed(SEED)
    (x, y), normalise = learned, Normalise.of(learned[0])
    num_classes = int(y.max()) + 1
    network = models["airnet"].build(InputSpec("image", (x.shape[3], *x.shape[1:3])), num_classes, width=WIDTH)
    network.whiten(normalise.pixels(torch.from_numpy(x[:5000])))
    recipe = Recipe(
        epochs=epochs,
        batch_size=125,
        optimiser="muon",
        lr=0.1,
        lr_rest=0.1,
        momentum=0.6,
        weight_decay=5e-4,
        schedule="linear",
        label_smoothing=0.1,
    )
    source = ArrayBatches((x,), y, np.arange(len(x)), batch_size=125, shuffle=True, transform=normalise)
    state = TrainState(network, Classification(num_classes, label_smoothing=0.1), seed=SEED)
    for event in train(state, source, None, recipe, clock=WallClock()):
        if event.kind == "epoch":
            print(f"the judge's epoch {event.step.epoch + 1}: loss {event.values['train_loss']:.3f}", flush=True)
    found = Classifier(network.eval(), normalise, epochs)
    accuracy = float((found.classes(test[0]) == test[1]).mean())
    return replace(found, accuracy=accuracy, size=float(np.sqrt((found.see(x[:5000]) ** 2).mean())))


def figures(classifier: Classifier, real: NDArray[np.uint8], made: NDArray[np.uint8]) -> dict[str, object]:
    """Kernel and Fréchet distance with intervals, precision, recall, diversity."""
    return dict(judge(classifier.see(real), classifier.see(made), seed=SEED).metrics())
