"""From decoded pixels to what a network is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.words import Batch, Step


@dataclass(frozen=True)
class Normalise:
    """uint8 pixels (B, H, W, C) to floats (B, C, H, W) of about zero mean and unit variance."""

    mean: Sequence[float]
    """By channel, in 0..255."""
    std: Sequence[float]

    @classmethod
    def of(cls, images: NDArray[np.uint8], *, most: int = 5000) -> Normalise:
        """The statistics of `images` (N, H, W, C), at most `most` of them evenly chosen."""
        sample = images[:: max(1, len(images) // most)].astype(np.float32)
        std = np.maximum(sample.std((0, 1, 2), dtype=np.float64), 1.0)
        return cls(tuple(sample.mean((0, 1, 2), dtype=np.float64).tolist()), tuple(std.tolist()))

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """The batch with its pixels normalised; see `earnest.data.batches.Transform`."""
        assert isinstance(batch.inputs, Tensor)
        return Batch(self.pixels(batch.inputs), batch.targets, batch.rows)

    def pixels(self, images: Tensor) -> Tensor:
        """The same for a tensor."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images.permute(0, 3, 1, 2).float() - mean) / std

    def facts(self) -> dict[str, Any]:
        """For model.json."""
        return {"mean": list(self.mean), "std": list(self.std)}
