"""Free texts as numbers: TF-IDF over words and pairs of words, and a dense projection of it.

TF-IDF as in Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 6: sublinear term
frequencies, smoothed inverse document frequencies, rows of length 1. The projection is latent semantic analysis
(Deerwester et al. 1990).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

MAX_TERMS = 20_000
DENSE_WIDTH = 64

_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\u3040-\u30ff\u4e00-\u9fff]+")
"""A run of letters and digits, or one character of a script that writes no spaces."""


@dataclass(frozen=True)
class TextEncoder:
    """The terms of the training texts and how much each one tells."""

    terms: dict[str, int]
    """Term -> column."""
    idf: NDArray[np.float32]
    """(V,)"""
    projection: NDArray[np.float32]
    """(V, T): from TF-IDF to the dense features, each of unit variance on the training texts."""

    @classmethod
    def fit(cls, texts: Sequence[str | None]) -> TextEncoder:
        """Learn terms, weights and projection from training texts; None is an empty text.

        Terms of a single text are passed over, as long as there are others.
        """
        counts = Counter(term for text in texts for term in set(_terms(text)))
        common = [term for term, count in counts.items() if count > 1] or list(counts)
        kept = sorted(sorted(common, key=lambda term: (-counts[term], term))[:MAX_TERMS])
        frequencies = np.array([counts[term] for term in kept], np.float64)
        idf = (np.log((1 + len(texts)) / (1 + frequencies)) + 1).astype(np.float32)
        bare = cls({term: i for i, term in enumerate(kept)}, idf, np.zeros((len(kept), 0), np.float32))
        return cls(bare.terms, idf, _projection(bare.sparse(texts)))

    def sparse(self, texts: Sequence[str | None]) -> sp.csr_array:
        """(N, V) float32 TF-IDF, each row of length 1, or 0 where it holds no known term."""
        columns: list[int] = []
        values: list[int] = []
        ends = [0]
        for text in texts:
            found = Counter(self.terms[term] for term in _terms(text) if term in self.terms)
            for column in sorted(found):
                columns.append(column)
                values.append(found[column])
            ends.append(len(columns))
        weights = (1 + np.log(np.array(values, np.float64))) * self.idf[columns]
        rows = np.repeat(np.arange(len(texts)), np.diff(ends))
        norms = np.sqrt(np.bincount(rows, weights=weights**2, minlength=len(texts)))
        weights = (weights / norms[rows]).astype(np.float32)
        return sp.csr_array((weights, np.array(columns, np.int32), ends), shape=(len(texts), len(self.terms)))

    def dense(self, sparse: sp.csr_array) -> NDArray[np.float32]:
        """(N, T) float32 from what `sparse` gave."""
        return np.asarray(sparse @ self.projection, dtype=np.float32).reshape(sparse.shape[0], -1)

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Plain JSON and arrays."""
        return {"terms": list(self.terms)}, {"idf": self.idf, "projection": self.projection}

    @classmethod
    def from_state(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TextEncoder:
        """What `to_state` gave."""
        return cls({term: i for i, term in enumerate(facts["terms"])}, arrays["idf"], arrays["projection"])


def _terms(text: str | None) -> list[str]:
    """The words of a text in lower case, and its pairs of neighbouring words."""
    words = _WORD.findall((text or "").lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _projection(sparse: sp.csr_array) -> NDArray[np.float32]:
    """(V, T): right singular vectors scaled to unit variance; all terms as they are when there are few."""
    num_rows, num_terms = sparse.shape
    if num_terms <= DENSE_WIDTH or num_rows <= DENSE_WIDTH:
        directions = np.eye(num_terms, dtype=np.float64)[:, :DENSE_WIDTH]
    else:
        directions = TruncatedSVD(DENSE_WIDTH, random_state=0).fit(sparse).components_.T
    spread = np.asarray(sparse @ directions).std(axis=0)
    return (directions / np.where(spread > 1e-6, spread, 1.0)).astype(np.float32)
