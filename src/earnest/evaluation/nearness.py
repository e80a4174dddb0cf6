"""A test that every text brings along: is a word that stands near another in unseen text more like it than one drawn?

No pairs judged by people are needed. It tells whether vectors have learned anything that holds beyond the text they
come from, and whether they have learned more than counting does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.data.word_corpus import WordCorpus
from earnest.data.word_vectors import WordVectors
from earnest.evaluation.compare import bootstrapped
from earnest.evaluation.intervals import Floats, Statistic, Weighted, bootstrap

METRIC = "nearness"
BLOCKS = 200
"""Triples that stand near each other in the text are no independent evidence: so many stretches of it are resampled."""
MOST = 50_000
"""Triples."""
SURE = 0.05
"""A difference with a p-value below this is taken for real."""
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Triples:
    """Words of unseen text, one that stands near each, and one that was drawn."""

    words: Integers
    """(N,) in the order of the text."""
    near: Integers
    """(N,)"""
    drawn: Integers
    """(N,) as often as the words occur near others, the common more often."""

    def __len__(self) -> int:
        return len(self.words)


def triples(corpus: WordCorpus, first: int, *, kept: Floats, size: int, window: int, seed: int) -> Triples:
    """From the numbers from `first` on, among the `size` commonest words alone.

    Common words are thinned out, `kept` (V,) saying how likely each stays: that "the" stands near a word says little
    of it.

    The drawn word is the near one of another triple, drawn by lot: so it is as common as near words are, and telling
    the two apart takes more than knowing which words are frequent.
    """
    random = np.random.default_rng(seed)
    ids = corpus.read(first, corpus.num).astype(np.int64)
    ids = ids[(ids < 0) | (random.random(len(ids)) < kept[ids])]
    line = np.cumsum(ids < 0)
    at = np.arange(len(ids))
    other = at + random.integers(1, window + 1, len(ids)) * random.choice([-1, 1], len(ids))
    inside = (other >= 0) & (other < len(ids))
    at, other = at[inside], other[inside]
    words, near = ids[at], ids[other]
    usable = (line[at] == line[other]) & (words >= 0) & (near >= 0) & (words < size) & (near < size) & (words != near)
    words, near = words[usable], near[usable]
    drawn = near[random.permutation(len(near))]
    fair = (drawn != near) & (drawn != words)
    chosen = np.flatnonzero(fair)
    if len(chosen) > MOST:
        chosen = np.sort(random.choice(chosen, MOST, replace=False))
    return Triples(words[chosen], near[chosen], drawn[chosen])


@dataclass(frozen=True)
class Judged:
    """Triples as several kinds of vectors judged them, in blocks of the text."""

    num: Floats
    """(blocks,)"""
    right: dict[str, Floats]
    """(blocks,) how often the near word was more like the word, by the name of the vectors."""

    @classmethod
    def of(cls, triples: Triples, vectors: Mapping[str, WordVectors], counts: Integers) -> Judged:
        """By the cosines of the vectors, and by which of the two words is more frequent."""
        right = {name: _right(triples, each) for name, each in vectors.items()}
        common = counts[triples.near] - counts[triples.drawn]
        right["the commoner word"] = (common > 0) + 0.5 * (common == 0)
        starts = np.unique(np.linspace(0, len(triples), min(BLOCKS, len(triples)) + 1).astype(int))
        sums = {name: np.add.reduceat(each, starts[:-1]) for name, each in right.items()}
        return cls(np.diff(starts).astype(np.float64), sums)

    def evaluation(self, ours: str, *, seed: int) -> dict[str, Any]:
        """evaluation.json's scores."""
        return {
            "n": int(self.num.sum()),
            "metrics": {METRIC: self._score(ours, seed)},
            "baselines": {name: {METRIC: self._score(name, seed)} for name in self.right if name != ours},
            "left_out": {},
        }

    def comparison(self, ours: str, *, seed: int) -> dict[str, Any]:
        """The paired difference to the best other judge."""
        best = max((name for name in self.right if name != ours), key=lambda name: float(self.right[name].sum()))
        found = bootstrapped(self._share(ours), self._share(best), len(self.num), seed=seed)
        return {
            "against": best,
            "metric": METRIC,
            "difference": found.difference.as_json(),
            "p_value": found.p_value,
            "n": int(self.num.sum()),
        }

    def _score(self, name: str, seed: int) -> dict[str, float]:
        return bootstrap([Statistic(self._share(name), (0.0, 1.0))], len(self.num), seed=seed)[0].as_json()

    def _share(self, name: str) -> Weighted:
        right = self.right[name]
        return lambda weights: weights @ right / (weights @ self.num)


def _right(triples: Triples, vectors: WordVectors) -> Floats:
    directions = vectors.directions
    words = directions[triples.words]
    difference = (words * (directions[triples.near] - directions[triples.drawn])).sum(1)
    found: Floats = (difference > 0) + 0.5 * (difference == 0)
    return found


def verdict(scores: dict[str, Any], comparison: dict[str, Any], *, num_words: int) -> str:
    """One honest sentence on vectors of `num_words` words."""
    ours, rival = scores["metrics"][METRIC], comparison["against"]
    theirs = scores["baselines"][rival][METRIC]["value"]
    sentence = (
        f"Vectors of {num_words:,} words: in unseen text the word that stands near another is more like it than one "
        f"drawn by lot {ours['value']:.1%} of the time (95% interval {ours['low']:.1%} to {ours['high']:.1%})"
    )
    p_value = comparison["p_value"]
    p = "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"
    if p_value >= SURE:
        return f"{sentence}; {rival} may do as well: {theirs:.1%} differs by no more than chance would."
    if comparison["difference"]["value"] > 0:
        return f"{sentence}; {rival} gets {theirs:.1%}, so training earns its keep (p {p})."
    return f"{sentence}; {rival} does better ({theirs:.1%}, p {p}): more text, or more epochs, may help."
