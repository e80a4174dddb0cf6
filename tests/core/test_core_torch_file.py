"""Files of tensors as PyTorch wrote them before 1.6, against `torch.load`, and with programs in them that do harm."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from earnest.core.errors import RunError
from earnest.core.torch_file import MAGIC, PROTOCOL, load_tensors


def save(value: Any, path: Path) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def program(path: Path, described: Any) -> Path:
    """A file whose fourth pickle is of our making, with no storages."""
    parts = (MAGIC, PROTOCOL, {"little_endian": True}, described, [])
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    return path


def test_a_networks_tensors_equal_those_that_torch_reads(tmp_path: Path) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.Linear(300, 7).double()
    )
    file = save(network.state_dict(), tmp_path / "network.pth")
    expected, found = torch.load(file, weights_only=True), load_tensors(file)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_views_of_one_storage_keep_their_places(tmp_path: Path) -> None:
    whole = torch.randn(40, 50)
    views = {"turned": whole.T, "part": whole[3:5, ::7], "half": whole.half(), "number": torch.tensor(5)}
    found = load_tensors(save(views, tmp_path / "views.pth"))
    assert all(torch.equal(found[name], tensor) for name, tensor in views.items())


class Harm:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_program_that_calls_something_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "harm"
    with pytest.raises(RunError, match=r"its program calls .*mkdir"):
        load_tensors(program(tmp_path / "harm.pth", collections.OrderedDict(weight=Harm(folder))))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("described", "says"),
    [({"weight": 3}, "not all that it names are tensors"), ([1], "no file of tensors"), ({"weight": 1.5}, "BINFLOAT")],
)
def test_what_is_no_tensor_is_named(tmp_path: Path, described: Any, says: str) -> None:
    with pytest.raises(RunError, match=says):
        load_tensors(program(tmp_path / "other.pth", described))


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    content = save({"weight": torch.randn(5, 6), "bias": torch.randn(6)}, tmp_path / "whole.pth").read_bytes()
    file = tmp_path / "cut.pth"
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(RunError, match=r"cut\.pth is no file of tensors"):
            load_tensors(file)


def test_a_size_beyond_the_storage_is_refused(tmp_path: Path) -> None:
    content = save({"weight": torch.zeros(100)}, tmp_path / "whole.pth").read_bytes()
    count = (100).to_bytes(8, "little")
    assert content.count(count) == 1
    for told in (50, 2**62):
        (tmp_path / "wrong.pth").write_bytes(content.replace(count, told.to_bytes(8, "little")))
        with pytest.raises(RunError, match="no file of tensors"):
            load_tensors(tmp_path / "wrong.pth")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "new.pth")
    with pytest.raises(RunError, match=r"before 1\.6"):
        load_tensors(tmp_path / "new.pth")
