"""Writes happen whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earnest.core import atomic


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "ü.bin"
    for content in (b"", b"one", os.urandom(100_000)):
        atomic.write_bytes(path, content)
        assert path.read_bytes() == content
    atomic.write_text(path, "naïve\n")
    assert path.read_bytes() == "naïve\n".encode()
    assert listing(tmp_path) == ["ü.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_when_it_fails_the_old_file_stands_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x"
    atomic.write_bytes(path, b"old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["x"]


def test_when_the_writer_breaks_off_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "x"
    atomic.write_bytes(path, b"old")

    def half(temporary: Path) -> None:
        temporary.write_bytes(b"ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic.write_with(path, half)
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from earnest.core import atomic
def half(temporary):
    temporary.write_bytes(b"ha")
    os.kill(os.getpid(), signal.SIGKILL)
atomic.write_with(Path(sys.argv[1]), half)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_in_the_middle_the_old_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "x"
    atomic.write_bytes(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.write_bytes(tmp_path / "none" / "x", b"")


def test_json_has_no_word_for_nan_and_knows_numpys_types(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"),
        "inf": np.float32("-inf"),
        "float": np.float64(0.1),
        "int": np.int64(2**60),
        "bool": np.bool_(True),
        "array": np.array([[1.0, np.nan], [2.0, 3.0]]),
        "tuple": (1, "ü", None),
        "path": Path("a") / "b",
        3: {"deep": [np.uint8(7)]},
    }
    atomic.write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "ü" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "nan": None,
        "inf": None,
        "float": 0.1,
        "int": 2**60,
        "bool": True,
        "array": [[1.0, None], [2.0, 3.0]],
        "tuple": [1, "ü", None],
        "path": str(Path("a") / "b"),
        "3": {"deep": [7]},
    }


def test_sets_become_lists() -> None:
    assert sorted(atomic.plain({3, 1, 2})) == [1, 2, 3]
    assert atomic.plain(frozenset({4})) == [4]
