"""What a pretrained network sees in pictures, as a few numbers that join the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.preparation import Normalise
from earnest.training.features import extract_features

WIDTH = 64
"""Numbers that a picture becomes, at most."""
LEAST_VARIANCE = 1e-6
"""Directions of a smaller variance than this share of the largest are noise."""


@dataclass(frozen=True)
class Sight:
    """A frozen network and the principal components of its features, each of unit variance on the training rows."""

    architecture: str
    model: nn.Module
    """Offers `features(x)`; its head is of no use here."""
    normalise: Normalise
    flips: bool
    """Whether a picture's features are the mean of its own and its mirror image's."""
    centre: NDArray[np.float32]
    """(F,)"""
    projection: NDArray[np.float32]
    """(F, P)"""

    @classmethod
    def fit(
        cls, features: NDArray[np.float32], architecture: str, model: nn.Module, normalise: Normalise, *, flips: bool
    ) -> Sight:
        """Find the components of features (N, F), those of the training rows only, that the network gave."""
        centre = features.mean(0, dtype=np.float64)
        offsets = features - centre
        variances, directions = np.linalg.eigh(offsets.T @ offsets / len(features))
        variances, directions = variances[::-1][:WIDTH], directions[:, ::-1][:, :WIDTH]
        tell = variances > LEAST_VARIANCE * max(variances[0], np.finfo(np.float32).tiny)
        projection = directions[:, tell] / np.sqrt(variances[tell])
        return cls(architecture, model, normalise, flips, centre.astype(np.float32), projection.astype(np.float32))

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, P) for pictures (N, H, W, C)."""
        return self.of_features(
            extract_features(self.model, pictures, preprocessing=self.normalise, cache_folder=None, flips=self.flips)
        )

    def of_features(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, P) for what the network gave, (N, F)."""
        numbers = (features - self.centre) @ self.projection
        return numbers.astype(np.float32, copy=False)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Facts for model.json and tensors for model.safetensors."""
        facts = {"architecture": self.architecture, "normalise": self.normalise.facts(), "flips": self.flips}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items() if not _of_head(name)}
        tensors |= {"centre": torch.from_numpy(self.centre), "projection": torch.from_numpy(self.projection)}
        return facts, tensors

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> Sight:
        """What `pack` gave."""
        entry = models[facts["architecture"]]
        model: nn.Module = entry.build(InputSpec("image", entry.about["input"]), 1)
        body = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        model.load_state_dict({name: t for name, t in model.state_dict().items() if _of_head(name)} | body)
        return cls(
            entry.name,
            model,
            Normalise(**facts["normalise"]),
            facts["flips"],
            tensors["centre"].numpy(),
            tensors["projection"].numpy(),
        )


def _of_head(name: str) -> bool:
    return name.startswith("head.")
