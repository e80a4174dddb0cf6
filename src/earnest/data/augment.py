"""Augmentations of whole batches: images (B, C, H, W), changed all at once, each example by its own random amount.

Random numbers come from PyTorch's default generator, which training reseeds at each step; the alternating flip needs
none. What a recipe names (`augment = ["crop", "flip"]`) is looked up in `AUGMENTATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.errors import OptionError, nearest
from earnest.core.seeds import derive
from earnest.core.words import Batch, Step
from earnest.data.batches import Transform

FEW_ROWS = 10_000


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Each image moved by up to `padding` pixels both ways; what comes in from outside is its own reflection.

    Raises:
        RuntimeError: `padding` is not smaller than the images.
    """
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4, mode="reflect")
    down, across = torch.randint(0, 2 * padding + 1, (2, len(images)), device=images.device)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    return windows[torch.arange(len(images), device=images.device), down, across]


def random_flip(images: Tensor) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    return mirrored(images, torch.rand(len(images), device=images.device) < 0.5)


def alternating_flip(images: Tensor, rows: Tensor, epoch: int, *, seed: int = 0) -> Tensor:
    """Each image mirrored in every second epoch; which ones begin is a coin flip of (`seed`, row id).

    Two epochs in a row thus always show both sides of an image, where chance shows the same side half of the time
    (Jordan 2024, arXiv:2404.00498, section 3.6).
    """
    multiplier = derive(seed, "flip") % 2**31 | 1
    mixed = (rows.long() + 1) * multiplier
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D
    return mirrored(images, ((mixed >> 17) + epoch) % 2 == 1)


def mirrored(images: Tensor, which: Tensor) -> Tensor:
    """`images` with those mirrored left to right for which the booleans `which` (B,) are true."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def random_erase(images: Tensor, *, share: float = 0.25) -> Tensor:
    """A square with sides of `share` of the image's, anywhere, set to 0 (cutout: DeVries & Taylor 2017).

    Its centre may lie at the border, so that part of it falls outside (arXiv:1708.04552).
    """
    height, width = images.shape[2:]
    size = torch.full((len(images),), share, device=images.device)
    return images.masked_fill(boxes(size, height, width), 0)


def random_affine(
    images: Tensor, *, degrees: float = 10.0, translate: float = 0.07, scale: float = 0.1, shear: float = 0.1
) -> Tensor:
    """Float images rotated, moved, scaled and slanted a little; edges go on outwards.

    Args:
        images: (B, C, H, W), floats.
        degrees: the largest rotation.
        translate: the largest movement, as a share of the side.
        scale: the largest change of size.
        shear: the largest slant: pixels across for each pixel down.
    """

    def within(limit: float, *shape: int) -> Tensor:
        return (2 * torch.rand(len(images), *shape, device=images.device) - 1) * limit

    angle, size = within(math.radians(degrees)), 1 + within(scale)
    cosine, sine = angle.cos() * size, angle.sin() * size
    across = torch.stack([cosine, -sine + within(shear)], 1)
    down = torch.stack([sine, cosine], 1)
    matrix = torch.cat([torch.stack([across, down], 1), 2 * within(translate, 2)[:, :, None]], 2)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def colour_jitter(images: Tensor, *, strength: float = 0.2) -> Tensor:
    """Brightness, contrast and saturation of normalised float images changed by up to `strength`."""

    def amount() -> Tensor:
        return (2 * torch.rand(len(images), 1, 1, 1, device=images.device) - 1) * strength

    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * (1 + amount())
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * (1 + amount()) + amount()


def mixup(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each example blended with another of the batch by a share from Beta(alpha, alpha) (Zhang et al. 2017).

    `targets` are class weights (B, C), or numbers (B,) to regress; they are blended alike (arXiv:1710.09412).
    """
    other, share = torch.randperm(len(images), device=images.device), beta(alpha, images)
    blended = torch.lerp(images[other], images, share[:, None, None, None])
    return blended, blend(targets, other, share)


def cutmix(images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """A box of each image replaced by another's; targets blended by the area (Yun et al. 2019, arXiv:1905.04899)."""
    other, share = torch.randperm(len(images), device=images.device), beta(alpha, images)
    box = boxes((1 - share).sqrt(), *images.shape[2:])
    kept = 1 - box.float().mean((1, 2, 3))
    return torch.where(box, images[other], images), blend(targets, other, kept)


def blend(targets: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` (B,) of the targets and the rest of those at `other`."""
    weight = share.view(-1, *[1] * (targets.ndim - 1)).to(targets.dtype)
    return torch.lerp(targets[other], targets, weight)


def beta(alpha: float, images: Tensor) -> Tensor:
    """A number from Beta(alpha, alpha) for each image."""
    concentration = torch.full((len(images),), alpha, device=images.device)
    return torch.distributions.Beta(concentration, concentration).sample()


def boxes(share: Tensor, height: int, width: int) -> Tensor:
    """True inside a box of `share` (B,) of both sides around a random centre: (B, 1, height, width)."""
    inside = []
    for size in (height, width):
        centre = torch.randint(0, size, (len(share),), device=share.device)
        half = (share * size / 2).round()
        position = torch.arange(size, device=share.device)
        low, high = (centre - half)[:, None], (centre + half)[:, None]
        inside.append((position >= low) & (position < high))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


Augmentation = Callable[[Tensor, Batch, Step], Tensor]
"""Normalised images, the batch they are from, and where training is -> images."""

AUGMENTATIONS: dict[str, Augmentation] = {
    "crop": lambda images, batch, step: random_crop(images, max(1, round(min(images.shape[2:]) / 16))),
    "flip": lambda images, batch, step: alternating_flip(images, _rows(batch), step.epoch, seed=step.seed),
    "random-flip": lambda images, batch, step: random_flip(images),
    "erase": lambda images, batch, step: random_erase(images),
    "affine": lambda images, batch, step: random_affine(images),
    "jitter": lambda images, batch, step: colour_jitter(images),
}
"""What a recipe's `augment` may name."""
STRONG = ("affine", "jitter", "erase")
"""What makes a strong view, after the usual ones: turned and slanted, recoloured, a part erased."""


def _rows(batch: Batch) -> Tensor:
    assert batch.rows is not None
    return batch.rows


def defaults(channels: int, labels: Sequence[str] = (), *, num_rows: int | None = None) -> tuple[str, ...]:
    """The augmentations that are right for most images of so many channels.

    Gray images, single characters, and labels that name a side are not mirrored: a mirrored 2 is none. Where rows are
    few, characters are turned, scaled and slanted too.
    """
    characters = bool(labels) and all(len(label) == 1 for label in labels)
    if characters and num_rows is not None and num_rows < FEW_ROWS:
        return ("affine",)
    sides = any(word in label.lower() for label in labels for word in ("left", "right"))
    return ("crop",) if channels == 1 or characters or sides else ("crop", "flip")


@dataclass(frozen=True)
class Augmented:
    """Batches as they are learned from: prepared, augmented in the order of `names`, then mixed.

    Raises:
        OptionError: there is no augmentation of that name.
    """

    prepare: Transform
    """Makes float images (B, C, H, W) of what the batch holds."""
    names: tuple[str, ...] = ()
    mixup: float = 0.0
    """Alpha; 0 turns it off. With cutmix on too, each batch gets one or the other."""
    cutmix: float = 0.0
    num_classes: int | None = None
    """None when numbers are learned."""

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in AUGMENTATIONS:
                known = ", ".join(AUGMENTATIONS)
                raise OptionError(f"there is no augmentation {name!r}{nearest(name, AUGMENTATIONS)} Known: {known}.")

    def __call__(self, batch: Batch, step: Step) -> Batch:
        """The batch to learn from at `step`; see `earnest.data.batches.Transform`."""
        batch = self.prepare(batch, step)
        images, targets = batch.inputs, batch.targets
        assert isinstance(images, Tensor)
        for name in self.names:
            images = AUGMENTATIONS[name](images, batch, step)
        if self.mixup or self.cutmix:
            assert targets is not None
            soft = targets.float() if self.num_classes is None else F.one_hot(targets, self.num_classes).float()
            if self.cutmix and not (self.mixup and torch.rand(()) < 0.5):
                images, targets = cutmix(images, soft, self.cutmix)
            else:
                images, targets = mixup(images, soft, self.mixup)
        return Batch(images, targets, batch.rows)


def altered(pictures: NDArray[np.uint8], names: Sequence[str], *, seed: int) -> NDArray[np.uint8]:
    """A copy of each picture (N, H, W, C), augmented; a function of the pictures and the seed."""
    copies = np.empty_like(pictures)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(pictures), 256):
            some = torch.from_numpy(np.ascontiguousarray(pictures[start : start + 256]))
            images = some.permute(0, 3, 1, 2) / 127.5 - 1
            for name in names:
                images = AUGMENTATIONS[name](images, Batch(images), Step())
            pixels = ((images + 1) * 127.5).round().clamp(0, 255).byte()
            copies[start : start + 256] = pixels.permute(0, 2, 3, 1).numpy()
    return copies
