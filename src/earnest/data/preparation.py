"""From decoded pixels to what a network is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.words import Batch, Step
from earnest.data.batches import Transform


@dataclass(frozen=True)
class Normalise:
    """uint8 pixels (B, H, W, C) to floats (B, C, H, W) of about zero mean and unit variance."""

    mean: Sequence[float]
    """By channel, in 0..255."""
    std: Sequence[float]
    size: int | None = None
    """Side of the square that pretrained weights expect; None takes pictures as they are."""

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
        floats = images.permute(0, 3, 1, 2).float()
        if self.size is not None:
            floats = centre_square(floats, self.size)
        return (floats - mean) / std

    def facts(self) -> dict[str, Any]:
        """For model.json."""
        return {"mean": list(self.mean), "std": list(self.std), "size": self.size}


@dataclass(frozen=True)
class OnPictures:
    """A transform for each of the pictures of a batch, which come first among its inputs; all else stays as it is."""

    each: Sequence[Transform]

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """See `earnest.data.batches.Transform`."""
        inputs = list(batch.inputs) if isinstance(batch.inputs, tuple) else [batch.inputs]
        for place, transform in enumerate(self.each):
            changed = transform(Batch(inputs[place], batch.targets, batch.rows), step).inputs
            assert isinstance(changed, Tensor)
            inputs[place] = changed
        return Batch(tuple(inputs) if len(inputs) > 1 else inputs[0], batch.targets, batch.rows)


def centre_square(images: Tensor, size: int) -> Tensor:
    """The centre of images (B, C, H, W), `size` pixels square, scaled only where it must be.

    A shorter side between `size` and 8/7 of it (256 for 224, as the field has it) is kept; any other is scaled to the
    nearer end.
    """
    shorter = min(images.shape[-2:])
    wanted = min(max(shorter, size), round(size * 8 / 7))
    if wanted != shorter:
        sides = [max(size, round(side * wanted / shorter)) for side in images.shape[-2:]]
        images = F.interpolate(images, size=sides, mode="bilinear", align_corners=False, antialias=True)
    top, left = ((side - size) // 2 for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]
