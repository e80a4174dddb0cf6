"""IDX files, the format of MNIST and its kin: a folder of `train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`, ...

Each, gzipped or not, is two zero bytes, a code for the type of number, the number of dimensions, the dimensions as
big-endian 32-bit integers, and the numbers, big-endian too (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.dataset import Dataset
from earnest.data.image_arrays import as_images, image_dataset

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)[-_.]?(?P<what>images|labels)[-.]idx\d-\w+(\.gz)?", re.I)
_MAX_BYTES = 1 << 36


def is_idx(path: Path) -> bool:
    """Whether a file is named as IDX files are."""
    return _NAME.fullmatch(path.name) is not None


def read_idx(folder: Path) -> Dataset:
    """The images and labels of a folder's IDX files, with their own parts where there are two.

    Raises:
        DataError: a file is missing or damaged, or images and labels do not agree.
    """
    files: dict[tuple[str, str], Path] = {}
    sets = set()
    for path in sorted(folder.iterdir()):
        if match := _NAME.fullmatch(path.name):
            part = "train" if match["part"].lower() == "train" else "test"
            files.setdefault((part, match["what"].lower()), path)
            sets.add(match["set"])
    if len(sets) > 1:
        raise DataError(f"{folder} holds several sets, {', '.join(sorted(sets))}; put the files of one into a folder.")
    parts = [part for part in ("train", "test") if (part, "images") in files]
    for part, what in files:
        if what == "labels" and part not in parts:
            raise DataError(f"{folder} holds labels whose images are not there: the {part} images are missing.")
    images = [read_idx_file(files[part, "images"]) for part in parts]
    labels = [read_idx_file(files[part, "labels"]) for part in parts if (part, "labels") in files]
    if labels and len(labels) < len(parts):
        raise DataError(f"{folder} has labels for one part only; train-labels and t10k-labels are both needed.")
    for part, x, y in zip(parts, images, labels, strict=False):
        if y.shape != (len(x),):
            raise DataError(f"{folder}: {len(x):,} {part} images and labels of shape {y.shape} do not belong together.")
    if len({x.shape[1:] for x in images}) > 1:
        raise DataError(f"{folder}: training and test images have different sizes.")
    notes = ["IDX files: " + ", ".join(f"{len(x):,} {part}" for part, x in zip(parts, images, strict=True))]
    pixels = as_images(np.concatenate(images), notes)
    if pixels is None:
        raise DataError(f"{files[parts[0], 'images']} holds no images: its shape is {images[0].shape}.")
    targets = pl.Series(np.concatenate(labels).astype(str).tolist(), dtype=pl.String) if labels else None
    split = np.repeat(parts, [len(x) for x in images]) if len(parts) > 1 else None
    return image_dataset(str(folder), pixels, targets, part=split, notes=notes)


def read_idx_file(path: Path) -> NDArray[Any]:
    """The array in one IDX file, in the machine's byte order.

    Raises:
        DataError: the file is damaged or cut short.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not head[3]:
                raise DataError(f"{path} is no IDX file: it does not begin like one.")
            dtype = np.dtype(_TYPES[head[2]])
            shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
            size = math.prod(shape) * dtype.itemsize
            if size > _MAX_BYTES:
                raise DataError(f"{path} states a size of {shape}, more than can be read.")
            content = file.read(size)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path} cannot be read, it is damaged or cut short: {error}.") from error
    if len(content) != size:
        raise DataError(f"{path} is cut short: {len(content):,} of {size:,} bytes of numbers are there.")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
