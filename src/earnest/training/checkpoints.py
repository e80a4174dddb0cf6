"""Checkpoints: one safetensors file each, whole or not there, and read back before an older one goes.

checkpoints/step-000001200.safetensors    the last two
checkpoints/best.safetensors              the weights with the best validation score
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from earnest.core import atomic
from earnest.core.errors import RunError

KEEP = 2
Write = Callable[[Path, dict[str, Tensor], dict[str, Any]], None]


class Checkpoints:
    """The checkpoints of one training, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], *, write: Write | None = None) -> Path:
        """Write a checkpoint, read it back, then drop all but the last two, and what broken writes left behind.

        `write` takes the place of `write_tensors`.

        Raises:
            OSError: the disk is full, or what was written does not read back; the older ones are untouched.
        """
        path = self.folder / f"step-{step:09d}.safetensors"
        (write or write_tensors)(path, tensors, facts)
        for old in [*self._all()[:-KEEP], *self.folder.glob(".*.tmp")]:
            old.unlink()
        return path

    def save_best(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Write the best weights so far."""
        write_tensors(self.folder / "best.safetensors", tensors, facts)

    def last(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None when there is none at all.

        Raises:
            RunError: there are some, and all are damaged.
        """
        found = self._all()
        for path in reversed(found):
            try:
                return read_tensors(path)
            except RunError:
                continue
        if found:
            raise RunError(f"every checkpoint in {self.folder} is damaged; start again with `earnest fit --overwrite`.")
        return None

    def best(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The best weights so far, or None.

        Raises:
            RunError: they are damaged.
        """
        path = self.folder / "best.safetensors"
        return read_tensors(path) if path.exists() else None

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors")) if self.folder.exists() else []


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Tensors and plain facts as one safetensors file with a checksum, atomically, and read back.

    Raises:
        OSError: it could not be written, or does not read back; what stood there before still stands.
    """
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in sorted(tensors.items())}
    metadata = {"facts": json.dumps(facts), "crc32": str(_checksum(plain))}

    def write(temporary: Path) -> None:
        temporary.write_bytes(save(plain, metadata))  # `save_file` hides what kind of OSError there was
        try:
            read_tensors(temporary)
        except RunError as error:
            raise OSError(errno.EIO, f"what was written does not read back ({error})", str(path)) from error

    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_with(path, write)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is missing or damaged ({error}).") from error
    if metadata.get("crc32") != str(_checksum(tensors)):
        raise RunError(f"{path} is damaged: its content does not match its checksum.")
    return tensors, json.loads(metadata["facts"])


def _checksum(tensors: dict[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name].reshape(-1)
        total = zlib.crc32(name.encode(), total)
        if tensor.numel():
            total = zlib.crc32(tensor.view(torch.uint8).numpy().data, total)
    return total
