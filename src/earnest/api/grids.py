"""Pictures side by side in one PNG."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from earnest.core import atomic

GAP = 1
"""Pixels between pictures."""
LEAST_SIDE = 56
"""Pixels that a picture of a grid is at least shown in: smaller ones are enlarged by a whole factor."""


def grid(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """(N, S, S, C) in rows of `columns`, on white."""
    num, height, width, channels = pictures.shape
    rows = -(-num // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def png(picture: NDArray[np.uint8], *, enlarge: int = 1) -> bytes:
    """(H, W, C) as a PNG file's content."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    if enlarge > 1:
        image = image.resize((enlarge * image.width, enlarge * image.height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def grid_png(pictures: NDArray[np.uint8], columns: int) -> bytes:
    """A grid as a PNG file's content, small pictures enlarged."""
    return png(grid(pictures, columns), enlarge=max(1, LEAST_SIDE // pictures.shape[1]))


def write_png(path: Path, content: bytes) -> None:
    """Write a file, and the folder that it lies in where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, content)


def data_uri(content: bytes) -> str:
    """A PNG as a page holds it."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
