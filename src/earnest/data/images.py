"""Images, many at once: the size to keep them in, and decoding each one a single time into one cached uint8 array."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earnest.core import atomic
from earnest.core.errors import DataError
from earnest.data import pixels
from earnest.data.cache import describe_array, load_array, store_array
from earnest.data.dataset import Dataset, Images, LeftOut
from earnest.data.labels import check_classes

FORMAT = 1
"""Version of what `decode` makes of an image: part of the cache's key."""

LARGEST = 256
"""The side that larger images are kept in: 224, the field's usual input, and room to crop."""

_SAMPLE = 64
_CHUNK = 32
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Channels = Literal[1, 3]
Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""


@dataclass(frozen=True)
class Decoded:
    """The images that could be read, in one array."""

    array: NDArray[np.uint8]
    """(K, H, W, C); a read-only memory map where it is larger than the memory limit."""
    kept: NDArray[np.int64]
    """(K,): which image each is; all of them, in order, when none failed."""
    failed: tuple[tuple[int, str], ...]
    """The images that could not be read, and why."""


@dataclass(frozen=True)
class ChainedImages:
    """Images of several sources, one after the other."""

    sources: tuple[Images, ...]
    places: tuple[tuple[int, int], ...]
    """For each image its source and its index there."""

    @classmethod
    def of(cls, *sources: Images) -> ChainedImages:
        """All of the first, all of the second, and so on."""
        return cls(sources, tuple((s, i) for s, source in enumerate(sources) for i in range(len(source))))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def digests(self) -> NDArray[np.uint64]:
        """See `Images.digests`."""
        digests = [source.digests for source in self.sources]
        return np.array([digests[source][place] for source, place in self.places], dtype=np.uint64)

    def name(self, index: int) -> str:
        """As the source says."""
        source, place = self.places[index]
        return self.sources[source].name(place)

    def load(self, index: int, *, at_least: int | None = None) -> NDArray[np.uint8]:
        """See `Images.load`."""
        source, place = self.places[index]
        return self.sources[source].load(place, at_least=at_least)

    def take(self, indices: NDArray[np.int64]) -> ChainedImages:
        """See `Images.take`."""
        return replace(self, places=tuple(self.places[i] for i in indices))

    def key(self) -> str:
        """See `Images.key`."""
        order = np.asarray(self.places, dtype="<i8").tobytes()
        keys = "".join(source.key() for source in self.sources)
        return hashlib.sha256(keys.encode() + order).hexdigest()


def choose_size(images: Images, *, largest: int = LARGEST) -> tuple[int, int]:
    """The (height, width) to keep `images` in, from a sample of them.

    Images that all have one size of at most 64 x 64 keep it. Any others are kept as squares whose side is the median
    of their shorter sides, at most `largest`: `decode` scales the shorter side to it and keeps the centre.

    Raises:
        DataError: none of the sample can be read.
    """
    sizes = [size for size, _ in _survey(images, at_least=largest)]
    if len(set(sizes)) == 1 and max(sizes[0]) <= 64:
        return sizes[0]
    side = min(largest, int(np.median([min(size) for size in sizes])))
    return side, side


def choose_channels(images: Images) -> Channels:
    """1 when every image of a sample is gray, also where it is stored as RGB; else 3.

    Raises:
        DataError: none of the sample can be read.
    """
    return 1 if all(gray for _, gray in _survey(images, at_least=64)) else 3


def decode(
    images: Images,
    *,
    size: tuple[int, int],
    channels: Channels,
    cache_folder: Path | None,
    progress: Progress | None = None,
    workers: int | None = None,
    memory_limit: int = 1 << 30,
) -> Decoded:
    """Every image as (H, W, C) uint8: scaled to cover `size`, cut to its centre, gray or RGB.

    Args:
        images: what to decode.
        size: (height, width).
        channels: 1 or 3.
        cache_folder: where the array is kept for the next time, under the content's digest; None keeps nothing.
        progress: told how far it is.
        workers: threads; by default one a core, at most 8.
        memory_limit: an array of more bytes lies on disk, in the cache, and is memory-mapped.

    Raises:
        DataError: no image can be read, or the array is too large for memory and the cache's disk is full.
    """
    if cache_folder is None:
        return _decode_into(_empty(images, size, channels), images, progress, workers)
    path = cache_folder / f"{_key(images, size, channels)}.npy"
    if (found := load_array(path, memory_limit=memory_limit)) is not None:
        array, facts = found
        return _decoded(array, len(images), tuple((i, why) for i, why in facts["failed"]))
    if len(images) * size[0] * size[1] * channels > memory_limit:
        return _decode_to_disk(path, images, size, channels, progress, workers)
    decoded = _decode_into(_empty(images, size, channels), images, progress, workers)
    with suppress(OSError):  # The disk is full or read-only: the next run decodes again.
        store_array(path, decoded.array, {"failed": decoded.failed})
    return decoded


def drop_unreadable(dataset: Dataset, decoded: Decoded) -> Dataset:
    """`dataset` without the rows whose image failed, each listed among `left_out`; its rows are those of `array`.

    Raises:
        DataError: too few classes are left to learn from.
    """
    if not decoded.failed:
        return dataset
    bad = tuple(LeftOut(dataset.names[index], reason) for index, reason in decoded.failed)
    kept = replace(dataset.take(decoded.kept), left_out=(*dataset.left_out, *bad))
    check_classes(kept)
    return kept


def _survey(images: Images, *, at_least: int) -> list[tuple[tuple[int, int], bool]]:
    """The size, and whether it is gray, of up to `_SAMPLE` readable images, evenly spaced among all."""
    found: list[tuple[tuple[int, int], bool]] = []
    reason = "there are none"
    with pixels.without_warnings():
        for index in np.unique(np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(int)):
            try:
                image = images.load(int(index), at_least=at_least)
            except DataError as error:
                reason = f"{images.name(int(index))}: {error}"
            else:
                gray = image.shape[2] == 1 or bool((image[..., :1] == image[..., 1:]).all())
                found.append(((image.shape[0], image.shape[1]), gray))
    if not found:
        raise DataError(f"no image can be read: {reason}")
    return found


def _key(images: Images, size: tuple[int, int], channels: int) -> str:
    text = f"pixels {FORMAT} {images.key()} {size[0]}x{size[1]}x{channels}"
    return "pixels-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _empty(images: Images, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    return np.zeros((len(images), *size, channels), np.uint8)


def _decoded(array: NDArray[np.uint8], num_images: int, failed: tuple[tuple[int, str], ...]) -> Decoded:
    kept = np.setdiff1d(np.arange(num_images), np.array([index for index, _ in failed], dtype=np.int64))
    return Decoded(array[: len(kept)], kept.astype(np.int64), failed)


def _decode_into(out: NDArray[np.uint8], images: Images, progress: Progress | None, workers: int | None) -> Decoded:
    """Decode every image into its row of `out`, then close the gaps that failed ones left."""
    failed: list[tuple[int, str]] = []

    def work(start: int) -> list[tuple[int, str]]:
        return _decode_chunk(out, images, range(start, min(start + _CHUNK, len(images))))

    with pixels.without_warnings(), _pool(workers) as pool:
        starts = range(0, len(images), _CHUNK)
        futures: list[Future[list[tuple[int, str]]]] = [pool.submit(work, start) for start in starts]
        for start, future in zip(starts, futures, strict=True):
            failed += future.result()
            if progress is not None:
                progress(min(start + _CHUNK, len(images)), len(images))
    if len(failed) == len(images):
        reason = f"{images.name(failed[0][0])}: {failed[0][1]}" if failed else "there are none"
        raise DataError(f"no image can be read: {reason}")
    decoded = _decoded(out, len(images), tuple(failed))
    for new, old in enumerate(decoded.kept):
        if new != old:
            out[new] = out[old]
    return decoded


def _decode_chunk(out: NDArray[np.uint8], images: Images, indices: range) -> list[tuple[int, str]]:
    failed = []
    _, height, width, channels = out.shape
    for index in indices:
        try:
            image = images.load(index, at_least=max(height, width))
        except DataError as error:
            failed.append((index, str(error)))
        else:
            out[index] = pixels.fit(image, (height, width), 1 if channels == 1 else 3)
    return failed


def _decode_to_disk(
    path: Path,
    images: Images,
    size: tuple[int, int],
    channels: int,
    progress: Progress | None,
    workers: int | None,
) -> Decoded:
    """Decode into a memory-mapped file that takes its place in the cache when it is whole."""
    shape = (len(images), *size, channels)
    decoded: Decoded | None = None

    def write(temporary: Path) -> None:
        nonlocal decoded
        out = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(temporary)
        decoded = _decode_into(out, images, progress, workers)
        out.flush()

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_with(path, write)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        assert decoded is not None
        describe_array(path, array, {"failed": decoded.failed})
    except OSError as error:
        gigabytes = np.prod(shape, dtype=float) / 1e9
        why = "is full" if error.errno in _DISK_FULL else f"cannot be written ({error.strerror or error})"
        raise DataError(
            f"the decoded images take {gigabytes:.1f} GB and the disk of the cache, {path.parent}, {why}; "
            "make room with `earnest cache clear`, or set EARNEST_CACHE to a folder on a larger disk."
        ) from error
    return _decoded(array, len(images), decoded.failed)


def _reserve(path: Path) -> None:
    """Take the disk space now: a memory map that runs out of it later would end the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@contextmanager
def _pool(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads (Pillow decodes without the interpreter's lock); an interrupt drops what has not begun."""
    pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
