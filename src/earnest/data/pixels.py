"""One image file's bytes to upright uint8 pixels, whatever odd form it came in.

CMYK, palettes, transparency (laid on white), 1-bit and 16-bit gray, floats, animations (the first frame) and
EXIF-rotated photographs are read; truncated and mislabelled files and image bombs are refused with a `DataError`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from earnest.core.errors import DataError

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
}
"""What is read, by Pillow's names, and the suffixes of such files. Pillow's other formats, some of which start programs
(EPS) or hold no pictures, are never tried."""

SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
"""Of image files that can be read, in lower case."""

UNREADABLE_SUFFIXES = frozenset(
    (".heic", ".heif", ".svg", ".psd", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".dcm", ".jxl")
)
"""Of image files that cannot: they are named as left out, not passed over."""

MAX_PIXELS = 178_956_970
"""A picture that states more in its header is refused before anything is allocated: 178 megapixels (Pillow's limit)."""

MAX_BYTES = 1 << 28
"""A file that is larger is not read as one image: 256 MiB."""

TOO_LARGE = "the file is larger than 256 MiB"

_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",  # TIFF
    b"MM\x00*",
    b"II+\x00",  # BigTIFF
    b"MM\x00+",
    b"P1",  # PBM, PGM, PPM
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
)

# What Pillow's parsers raise on damaged files, by format.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def problem(content: bytes, suffix: str) -> str | None:
    """Why a file cannot be an image, from its first bytes and its suffix (".jpg"); None when it looks like one."""
    if suffix in UNREADABLE_SUFFIXES:
        return f"{suffix[1:].upper()} files are not supported; convert it to JPEG or PNG"
    if not content:
        return "the file is empty (0 bytes)"
    if content[4:8] == b"ftyp" and b"avif" not in content[8:64]:
        return "a HEIC image or a video, which are not supported; convert it to JPEG or PNG"
    if content.startswith(_MAGIC) or content[8:12] == b"WEBP" or content[4:8] == b"ftyp":
        return None
    if not content[:4096].strip(b"\x00"):
        return "the file holds only zeros"
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"<":
        return "not an image: the file holds HTML or XML"
    if _is_text(start):
        return "not an image: the file holds text"
    return "not an image: no known format begins like this"


def load(content: bytes, *, at_least: int | None = None) -> NDArray[np.uint8]:
    """The image in `content` as (H, W, C) uint8, upright; C is 1 for gray and 3 for RGB.

    Args:
        content: a whole file.
        at_least: a shorter side that is enough: a larger JPEG may come back scaled down by 2, 4 or 8 to no less than
            this, which is several times faster to decode.

    Raises:
        DataError: it cannot be read; the message says why, in a few words.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(_too_large(image.width, image.height))
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            _turn_upright(image)
            return _to_array(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("an image of more than 178 megapixels, which could be a bomb") from error
    except UnidentifiedImageError as error:
        raise DataError(problem(content, "") or "damaged: no image can be found in the file") from error
    except DataError:
        raise
    except _DAMAGE as error:
        reason = "truncated" if "truncated" in str(error) or isinstance(error, EOFError) else "damaged"
        raise DataError(f"{reason}: {error}" if str(error) else reason) from error


def fit(pixels: NDArray[np.uint8], size: tuple[int, int], channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """`pixels` (H, W, C) scaled to cover `size` (height, width), cut to its centre, with `channels` channels.

    Resampling is bicubic with anti-aliasing; gray from RGB is ITU-R 601 luma.
    """
    height, width = size
    if pixels.shape == (height, width, channels):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image = image.convert("L" if channels == 1 else "RGB")
    if (image.height, image.width) != size:
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        box = (left, top, left + scale * width, top + scale * height)
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image).reshape(height, width, channels)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Without Pillow's warnings about metadata and large sizes: what cannot be read is told by `load`.

    To be entered in the main thread, as warnings are filtered for all threads at once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _too_large(width: int, height: int) -> str:
    return f"an image of {width:,} x {height:,} pixels, which could be a bomb (at most 178 megapixels are read)"


def _is_text(start: bytes) -> bool:
    return bool(start) and all(byte >= 32 or byte in b"\t\r\n" for byte in start[:256]) and b"\xff" not in start[:16]


def _turn_upright(image: Image.Image) -> None:
    """Turn it as its EXIF says; an EXIF that is damaged itself says nothing."""
    with contextlib.suppress(*_DAMAGE):
        ImageOps.exif_transpose(image, in_place=True)


def _to_array(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        return _deep_gray(np.asarray(image))[:, :, None]
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))[:, :, None]
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        gray = image.mode in ("1", "L", "LA", "La")
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(image.convert("L"))[:, :, None] if gray else np.asarray(image.convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _deep_gray(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Gray of more than 8 bits scaled to 0..255: 16 bits by 1/257, floats in 0..1 by 255, else by its own range.

    Numbers that stay below 256 are taken for 8 bits in a wider file.
    """
    deep = np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = float(deep.min()), float(deep.max())
    floats = values.dtype.kind == "f"
    if floats and low >= 0 and high <= 1:
        deep = deep * 255
    elif low >= 0 and not (floats and high > 255) and high <= 65535:
        deep = deep / 257 if high > 255 else deep
    else:
        deep = (deep - low) * (255 / max(high - low, 1e-12))
    return np.rint(deep).astype(np.uint8)
