"""Arrays that are worth keeping between runs: decoded pixels, computed features. Safe to delete at any moment.

Each is a `.npy` file and a `.json` beside it that states its size and checksum; the JSON is written last, so that an
array that a crash cut short, or that the disk damaged, is found out and made anew.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.core import atomic

FORMAT = 1
"""Of the cached files; another one is made anew."""


def cache_folder() -> Path:
    """Where arrays are cached: below `EARNEST_CACHE`, or below the user's cache folder on this system."""
    if chosen := os.environ.get("EARNEST_CACHE"):
        root = Path(chosen).expanduser()
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "earnest" / "cache"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "earnest"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "earnest"
    return root / "arrays"


def cache_info() -> tuple[int, int]:
    """How many files are cached, and their bytes."""
    sizes = [path.stat().st_size for path in _files()]
    return len(sizes), sum(sizes)


def clear_cache() -> tuple[int, int]:
    """Delete every cached file; how many there were, and their bytes."""
    found = cache_info()
    for path in _files():
        path.unlink(missing_ok=True)
    return found


def load_array(path: Path, *, memory_limit: int) -> tuple[NDArray[Any], dict[str, Any]] | None:
    """The array in `path` (a `.npy`) and the facts stored with it; None when there is none, or it is damaged.

    An array of more than `memory_limit` bytes comes as a read-only memory map.
    """
    try:
        stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if stored["format"] != FORMAT or path.stat().st_size != stored["bytes"]:
            return None
        large = stored["bytes"] > memory_limit
        array = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
        return (array, stored["facts"]) if checksum(array) == stored["crc32"] else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def store_array(path: Path, array: NDArray[Any], facts: dict[str, Any]) -> None:
    """Cache `array` and `facts` (JSON) under `path`, a `.npy`.

    Raises:
        OSError: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_with(path, lambda temporary: _save(temporary, array))
    describe_array(path, array, facts)


def describe_array(path: Path, array: NDArray[Any], facts: dict[str, Any]) -> None:
    """Write the JSON that makes `array`, which lies in `path` already, a valid entry."""
    entry = {"format": FORMAT, "bytes": path.stat().st_size, "crc32": checksum(array), "facts": facts}
    atomic.write_json(path.with_suffix(".json"), entry)


def checksum(array: NDArray[Any]) -> int:
    """CRC-32 of the array's bytes in C order."""
    crc = 0
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        crc = zlib.crc32(np.ascontiguousarray(array[start : start + step]).data, crc)
    return crc


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _files() -> Iterator[Path]:
    folder = cache_folder()
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if path.suffix in (".npy", ".json", ".tmp"))
