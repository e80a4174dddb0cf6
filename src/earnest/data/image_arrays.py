"""Arrays of pixels as a data set: from (N, H, W) or (N, H, W, C) numbers of many kinds to uint8 images and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.dataset import Column, Dataset, Kind


@dataclass(frozen=True)
class ArrayImages:
    """Images in one array; some of them, in any order, without a copy."""

    array: NDArray[np.uint8]
    """(N, H, W, C) with C 1 or 3."""
    order: NDArray[np.int64]
    """Positions in `array`."""
    names: tuple[str, ...]
    digests: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.order)

    def name(self, index: int) -> str:
        """See `Images.name`."""
        return self.names[index]

    def load(self, index: int, *, at_least: int | None = None) -> NDArray[np.uint8]:
        """See `Images.load`."""
        return self.array[self.order[index]]

    def take(self, indices: NDArray[np.int64]) -> ArrayImages:
        """See `Images.take`."""
        names = tuple(self.names[i] for i in indices)
        return replace(self, order=self.order[indices], names=names, digests=self.digests[indices])

    def key(self) -> str:
        """See `Images.key`."""
        return hashlib.sha256(str(self.array.shape[1:]).encode() + self.digests.tobytes()).hexdigest()


def as_images(inputs: NDArray[Any], notes: list[str]) -> NDArray[np.uint8] | None:
    """`inputs` as (N, H, W, C) uint8 when they look like images, else None; what was changed goes to `notes`."""
    if inputs.ndim not in (3, 4) or inputs.dtype.kind not in "uifb" or min(inputs.shape[1:3]) < 1:
        return None
    if inputs.ndim == 3:
        inputs = inputs[..., None]
    if inputs.shape[3] not in (1, 3, 4) and inputs.shape[1] in (1, 3):
        inputs = np.moveaxis(inputs, 1, 3)
        notes.append("channels came first; they were moved last")
    if inputs.shape[3] == 4:
        inputs = inputs[..., :3]
        notes.append("the fourth channel (transparency) was dropped")
    if inputs.shape[3] not in (1, 3) or min(inputs.shape[1:3]) < 4:
        return None
    return _to_uint8(inputs, notes)


def image_dataset(
    source: str,
    images: NDArray[np.uint8],
    targets: pl.Series | None,
    *,
    part: NDArray[np.str_] | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """A `Dataset` of images (N, H, W, C) with the column "label" when there are targets."""
    numbers = tuple(str(i) for i in range(len(images)))
    digests = array_digests(images)
    frame = pl.DataFrame({"image": numbers})
    columns = [Column("image", "image", "pixels")]
    if targets is not None:
        frame = frame.with_columns(targets.alias("label"))
        kind: Kind = "category" if targets.dtype == pl.String else "number"
        columns.append(Column("label", kind, "the targets that came with the images", role="target"))
    return Dataset(
        source=source,
        frame=frame,
        columns=tuple(columns),
        rows=np.arange(len(images)),
        names=tuple(f"image {number}" for number in numbers),
        digests=digests,
        fingerprint=fingerprint(images.shape[1:], digests, targets, part),
        target=None if targets is None else "label",
        part=part,
        images={"image": ArrayImages(images, np.arange(len(images)), numbers, digests)},
        notes=tuple(notes),
    )


def array_digests(array: NDArray[Any]) -> NDArray[np.uint64]:
    """A 64-bit digest of each row's bytes."""
    digests = [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=8).digest() for row in array]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def fingerprint(
    shape: tuple[int, ...], digests: NDArray[np.uint64], targets: pl.Series | None, part: NDArray[np.str_] | None
) -> str:
    digest = hashlib.sha256(f"{shape}".encode() + digests.astype("<u8").tobytes())
    digest.update(repr(None if targets is None else targets.to_list()).encode())
    digest.update(repr(None if part is None else part.tolist()).encode())
    return digest.hexdigest()


def _to_uint8(inputs: NDArray[Any], notes: list[str]) -> NDArray[np.uint8]:
    if inputs.dtype == np.uint8:
        return inputs
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError("the images hold NaN or infinite values; replace them first.")
    low, high = float(inputs.min()), float(inputs.max())
    ends: tuple[float, float]
    if inputs.dtype.kind in "ui" and low >= 0 and 1 < high <= 255:
        return inputs.astype(np.uint8)
    if low >= 0 and high <= 1:
        scale, offset, ends = 255.0, 0.0, (0, 1)
    elif low >= 0 and high <= 255:
        scale, offset, ends = 1.0, 0.0, (0, 255)
    elif low >= -1 and high <= 1:
        scale, offset, ends = 127.5, 1.0, (-1, 1)
    else:
        scale, offset, ends = 255 / max(high - low, 1e-12), -low, (low, high)
    notes.append(f"{inputs.dtype} pixels from {ends[0]:g} to {ends[1]:g} were scaled to 0..255")
    out = np.empty(inputs.shape, np.uint8)
    for i in range(0, len(inputs), 1024):
        out[i : i + 1024] = np.rint((inputs[i : i + 1024].astype(np.float64) + offset) * scale)
    return out
