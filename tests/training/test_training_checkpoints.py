"""Checkpoints survive what disks and crashes do to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from earnest.core.errors import RunError
from earnest.training.checkpoints import Checkpoints, read_tensors, write_tensors


def some_tensors() -> dict[str, torch.Tensor]:
    return {
        "weights": torch.randn(5, 7),
        "half": torch.randn(3).bfloat16(),
        "count": torch.tensor(12, dtype=torch.int64),
        "transposed": torch.randn(4, 6).T,
        "none": torch.zeros(0, 3),
    }


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tensors = some_tensors()
    write_tensors(tmp_path / "x.safetensors", tensors, {"step": 3, "sums": {"loss": 0.1}})
    back, facts = read_tensors(tmp_path / "x.safetensors")
    assert facts == {"step": 3, "sums": {"loss": 0.1}}
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_the_last_two_are_kept_and_the_newest_is_found(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    for step in (5, 10, 20, 100):
        store.save(step, {"x": torch.tensor(step)}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000020.safetensors",
        "step-000000100.safetensors",
    ]
    newest = store.last()
    assert newest is not None
    assert newest[0]["x"] == 100


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, some_tensors(), {"step": 1})
    newest = store.save(2, some_tensors(), {"step": 2})
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[-20] ^= 1
    newest.write_bytes({"cut": content[:-9], "flip": content, "empty": b""}[damage])
    found = store.last()
    assert found is not None
    assert found[1] == {"step": 1}


def test_all_damaged_is_an_error_that_says_so(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, some_tensors(), {}).write_bytes(b"nonsense")
    with pytest.raises(RunError, match="damaged"):
        store.last()


def test_none_at_all_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere").last() is None


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_an_injected_write_error_leaves_the_last_one_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, some_tensors(), {"step": 1})

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        store.save(2, some_tensors(), {"step": 2})
    monkeypatch.undo()
    found = store.last()
    assert found is not None
    assert found[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.safetensors"]
