"""Matrices written piece by piece are the safetensors files that others write and read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from earnest.core.errors import RunError
from earnest.training import array_files
from earnest.training.array_files import write_matrices
from earnest.training.checkpoints import Checkpoints, read_tensors


def test_what_is_written_is_read_by_safetensors_and_by_checkpoints(tmp_path: Path) -> None:
    tensors = {"outputs": torch.randn(7, 3), "inputs": torch.randn(1000, 13)}
    path = tmp_path / "folder" / "a.safetensors"
    write_matrices(path, tensors, {"epoch": 3})
    theirs = load_file(path)
    ours, facts = read_tensors(path)
    assert facts == {"epoch": 3}
    assert theirs.keys() == ours.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(theirs[name], tensor)
        assert torch.equal(ours[name], tensor)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        read_tensors(path)


def test_what_does_not_read_back_does_not_replace_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    before = {"x": torch.randn(4)}
    checkpoints.save(1, before, {"n": 1}, write=write_matrices)
    monkeypatch.setattr(array_files, "_checksum", lambda *where: -1)
    with pytest.raises(OSError, match="does not read back"):
        checkpoints.save(1, {"x": torch.randn(4)}, {"n": 2}, write=write_matrices)
    saved = checkpoints.last()
    assert saved is not None
    assert torch.equal(saved[0]["x"], before["x"])
    assert saved[1] == {"n": 1}
