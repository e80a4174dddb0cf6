"""Large float32 matrices as a safetensors file, written piece by piece: no second copy of them is ever in memory."""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from earnest.core import atomic

_PIECE = 1 << 22
"""Bytes."""


def write_matrices(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """As `earnest.training.checkpoints.write_tensors`, for contiguous float32 tensors on the CPU, none of them empty.

    Raises:
        OSError: it could not be written, or does not read back; what stood there before still stands.
    """
    views = {name: tensors[name].detach().numpy().data.cast("B") for name in sorted(tensors)}
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    checksum, end = 0, 0
    header: dict[str, Any] = {}
    for name, view in views.items():
        checksum = zlib.crc32(view, zlib.crc32(name.encode(), checksum))
        shape = list(tensors[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + len(view)]}
        end += len(view)
    header["__metadata__"] = {"facts": json.dumps(facts), "crc32": str(checksum)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for view in views.values():
                file.write(view)
        if _checksum(temporary, 8 + len(text), {name: len(view) for name, view in views.items()}) != checksum:
            raise OSError(errno.EIO, "what was written does not read back", str(path))

    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_with(path, write)


def _checksum(path: Path, start: int, sizes: Mapping[str, int]) -> int:
    total = 0
    with path.open("rb") as file:
        file.seek(start)
        for name, size in sizes.items():
            total = zlib.crc32(name.encode(), total)
            while size:
                piece = file.read(min(size, _PIECE))
                if not piece:
                    return -1
                total, size = zlib.crc32(piece, total), size - len(piece)
    return total
