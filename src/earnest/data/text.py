"""Free texts as numbers: TF-IDF over words and pairs of neighbouring words, and a dense projection of it.

TF-IDF as in Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 6: sublinear term
frequencies, smoothed inverse document frequencies, rows of length 1. The projection is latent semantic analysis
(Deerwester et al. 1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from earnest.data.kinds import cast

MAX_TERMS = 200_000
"""Words and pairs of words, the commonest of all."""
DENSE_WORDS = 20_000
"""The commonest words, of which the dense features are made."""
DENSE_WIDTH = 64
BLOCK = 1 << 24
"""Bytes of text that are taken apart at a time."""

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Extended_Pictographic}"
"""Scripts that put no spaces between words, and emoji."""
_WORD = rf"[{_UNSPACED}]|[\w--[{_UNSPACED}]]+"
"""One character of these, or a run of letters, digits and their marks."""

Texts = pl.Series | Sequence[str | None]
"""None is an empty text."""
Integers = NDArray[np.int64]


def joined(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Each row's texts, one under the other; a missing one is empty."""
    series = [cast(frame[name], "text").fill_null("") for name in columns]
    return frame.select(pl.concat_str(series, separator="\n")).to_series().to_list()


@dataclass(frozen=True)
class TextEncoder:
    """The terms of the training texts and how much each one tells. The V terms are W words, then V - W pairs."""

    words: pl.Series
    """(W,) strings, the commonest first."""
    pairs: NDArray[np.int32]
    """(V - W, 2) positions in `words` of words that stand side by side, in order."""
    idf: NDArray[np.float32]
    """(V,)"""
    projection: NDArray[np.float32]
    """(D, T): from the TF-IDF of the first D words to dense features, each of unit variance on the training texts."""

    @classmethod
    def fit(cls, texts: Texts, *, max_terms: int = MAX_TERMS) -> TextEncoder:
        """Learn terms, weights and projection from training texts.

        Terms of a single text are passed over, as long as there are others.
        """
        texts = pl.Series(texts, dtype=pl.String)
        words = _count(map(_words, _blocks(texts)))
        least = min(2, words["count"].to_numpy().max(initial=1))
        words = words.filter(pl.col("count") >= least).head(max_terms)
        base = max(1, len(words))
        pairs = _count(_side_by_side(*_known_words(block, words["term"]), base) for block in _blocks(texts))
        pairs = pairs.filter(pl.col("count") >= least)
        commonest = np.argsort(-np.concatenate([words["count"], pairs["count"]]), kind="stable")[:max_terms]
        num_words = int((commonest < len(words)).sum())
        words, pairs = words.head(num_words), pairs.head(len(commonest) - num_words).sort("term")
        counts = np.concatenate([words["count"], pairs["count"]])
        idf = (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32)
        places = np.stack(np.divmod(pairs["term"].to_numpy(), base), axis=1).astype(np.int32)
        bare = cls(words["term"], places, idf, np.zeros((0, 0), np.float32))
        return replace(bare, projection=_projection(bare.sparse(texts)[:, : min(num_words, DENSE_WORDS)]))

    @property
    def terms(self) -> list[str]:
        """The V terms."""
        words = self.words.to_list()
        return words + [f"{words[first]} {words[second]}" for first, second in self.pairs]

    def sparse(self, texts: Texts) -> sp.csr_array:
        """(N, V) float32 TF-IDF, each row of length 1, or 0 where it holds no known term."""
        blocks = [self._weigh(self._counts(block)) for block in _blocks(pl.Series(texts, dtype=pl.String))]
        return sp.vstack(blocks, format="csr", dtype=np.float32)

    def dense(self, sparse: sp.csr_array) -> NDArray[np.float32]:
        """(N, T) float32 from what `sparse` gave."""
        return np.asarray(sparse[:, : len(self.projection)] @ self.projection, dtype=np.float32)

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Plain JSON and arrays."""
        return {"words": self.words.to_list()}, {"pairs": self.pairs, "idf": self.idf, "projection": self.projection}

    @classmethod
    def from_state(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TextEncoder:
        """What `to_state` gave."""
        words = pl.Series(facts["words"], dtype=pl.String)
        return cls(words, arrays["pairs"], arrays["idf"], arrays["projection"])

    def _counts(self, texts: pl.Series) -> sp.csr_array:
        """(N, V) how often each text holds each term."""
        rows, words = _known_words(texts, self.words)
        pair_rows, codes = _side_by_side(rows, words, len(self.words))
        known = self.pairs[:, 0].astype(np.int64) * len(self.words) + self.pairs[:, 1]
        places = np.searchsorted(known, codes)
        held = np.append(known, -1)[places] == codes.to_numpy()
        rows = np.concatenate([rows[words >= 0], pair_rows[held]])
        columns = np.concatenate([words[words >= 0], len(self.words) + places[held]])
        ones = np.ones(len(rows), np.float32)
        return sp.coo_array((ones, (rows, columns)), shape=(len(texts), len(self.idf))).tocsr()

    def _weigh(self, counts: sp.csr_array) -> sp.csr_array:
        rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        weights = (1 + np.log(counts.data.astype(np.float64))) * self.idf[counts.indices]
        norms = np.sqrt(np.bincount(rows, weights=weights**2, minlength=counts.shape[0]))
        return sp.csr_array(((weights / norms[rows]).astype(np.float32), counts.indices, counts.indptr), counts.shape)


def _blocks(texts: pl.Series) -> Iterator[pl.Series]:
    """The texts in order, in blocks of about `BLOCK` bytes; one empty block where there are none."""
    sizes = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64) + 1
    number = np.cumsum(sizes) // BLOCK
    starts = np.flatnonzero(np.diff(number, prepend=0))
    for start, end in pairwise([0, *starts.tolist(), len(texts)]):
        yield texts[start:end]


def _words(texts: pl.Series) -> tuple[Integers, pl.Series]:
    """The words of the texts in lower case, one after the other, and the row of each."""
    found = texts.fill_null("").str.to_lowercase().str.extract_all(_WORD)
    rows = np.repeat(np.arange(len(texts)), found.list.len().to_numpy())
    return rows, found.explode().drop_nulls()


def _known_words(texts: pl.Series, vocabulary: pl.Series) -> tuple[Integers, Integers]:
    """The row of each word, and its position in the vocabulary, -1 where it is not there."""
    rows, words = _words(texts)
    places = words.cast(pl.Enum(vocabulary), strict=False).to_physical()
    return rows, places.cast(pl.Int64).fill_null(-1).to_numpy()


def _side_by_side(rows: Integers, words: Integers, base: int) -> tuple[Integers, pl.Series]:
    """The row of each pair of neighbouring known words, and its code: first * base + second."""
    pairs = (rows[1:] == rows[:-1]) & (words[1:] >= 0) & (words[:-1] >= 0)
    return rows[1:][pairs], pl.Series(words[:-1][pairs] * base + words[1:][pairs])


def _count(found: Iterable[tuple[Integers, pl.Series]]) -> pl.DataFrame:
    """The columns term and count: in how many texts each term is, the commonest first.

    `found` is rows and terms, block by block.
    """
    blocks = [
        pl.DataFrame({"row": rows, "term": terms}).unique().group_by("term").len("count") for rows, terms in found
    ]
    counts = pl.concat(blocks).group_by("term").agg(pl.col("count").sum().cast(pl.Int64))
    return counts.sort(["count", "term"], descending=[True, False])


def _projection(sparse: sp.csr_array) -> NDArray[np.float32]:
    """(D, T): right singular vectors scaled to unit variance; all words as they are when there are few."""
    num_rows, num_words = sparse.shape
    if num_words <= DENSE_WIDTH or num_rows <= DENSE_WIDTH:
        directions = np.eye(num_words, dtype=np.float64)[:, :DENSE_WIDTH]
    else:
        directions = TruncatedSVD(DENSE_WIDTH, random_state=0).fit(sparse).components_.T
    spread = np.asarray(sparse @ directions).std(axis=0)
    return (directions / np.where(spread > 1e-6, spread, 1.0)).astype(np.float32)
