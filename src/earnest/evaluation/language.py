"""How well a running text is told: bits per character, nats and perplexity, with intervals, baselines and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.evaluation.compare import bootstrapped
from earnest.evaluation.intervals import Floats, Statistic, Weighted, bootstrap

METRIC = "bits_per_character"
"""What models are compared by: it does not depend on how a text is cut into tokens."""
BLOCK, FEWEST_BLOCKS = 1000, 50
"""Tokens next to each other are no independent evidence: stretches of so many are resampled, shorter ones in a short
text, so that there are some."""
SURE = 0.05
"""A difference with a p-value below this is taken for real."""


@dataclass(frozen=True)
class Told:
    """A stretch of text as models told it, summed in blocks of consecutive tokens."""

    tokens: Floats
    """(blocks,)"""
    characters: Floats
    """(blocks,)"""
    nats: dict[str, Floats]
    """(blocks,), by the model's name."""

    @classmethod
    def of(cls, characters: NDArray[Any], nats: Mapping[str, Floats]) -> Told:
        """From each token's number of characters and -log p."""
        num = len(characters)
        starts = np.arange(0, num, max(1, min(BLOCK, num // FEWEST_BLOCKS)))
        sums = {name: np.add.reduceat(each, starts) for name, each in nats.items()}
        tokens = np.diff(np.append(starts, num)).astype(np.float64)
        return cls(tokens, np.add.reduceat(characters.astype(np.float64), starts), sums)

    @property
    def num_tokens(self) -> int:
        """In all."""
        return int(self.tokens.sum())

    def bits(self, name: str) -> float:
        """Bits per character of one model."""
        return float(self._bits(name)(np.ones((1, len(self.tokens))))[0])

    def scores(self, name: str, *, seed: int) -> dict[str, dict[str, float]]:
        """Every metric of one model with its 95% interval, as evaluation.json holds them."""
        nats = self.nats[name]

        def mean(weights: Floats) -> Floats:
            return weights @ nats / (weights @ self.tokens)

        everything: dict[str, Weighted] = {
            METRIC: self._bits(name),
            "nats": mean,
            "perplexity": lambda weights: np.exp(mean(weights)),
        }
        statistics = [Statistic(each, (0.0, np.inf)) for each in everything.values()]
        found = bootstrap(statistics, len(self.tokens), seed=seed)
        return {metric: interval.as_json() for metric, interval in zip(everything, found, strict=True)}

    def comparison(self, ours: str, *, seed: int) -> dict[str, Any]:
        """The paired difference to the best other model."""
        best = min((name for name in self.nats if name != ours), key=self.bits)
        found = bootstrapped(self._bits(ours), self._bits(best), len(self.tokens), seed=seed)
        return {
            "against": best,
            "metric": METRIC,
            "difference": found.difference.as_json(),
            "p_value": found.p_value,
            "n": self.num_tokens,
        }

    def evaluation(self, ours: str, *, seed: int) -> dict[str, Any]:
        """evaluation.json's scores on this stretch."""
        return {
            "n": self.num_tokens,
            "metrics": self.scores(ours, seed=seed),
            "baselines": {name: self.scores(name, seed=seed) for name in self.nats if name != ours},
            "left_out": {},
        }

    def _bits(self, name: str) -> Weighted:
        nats, characters = self.nats[name] / math.log(2), self.characters
        return lambda weights: weights @ nats / (weights @ characters)


def verdict(scores: dict[str, Any], comparison: dict[str, Any], *, unit: str) -> str:
    """One honest sentence on the scores of unseen text; `unit` is what a token is, such as "characters"."""
    bits, perplexity = scores["metrics"][METRIC], scores["metrics"]["perplexity"]["value"]
    sentence = (
        f"{bits['value']:.3f} bits per character on {scores['n']:,} unseen {unit} (95% interval {bits['low']:.3f} to "
        f"{bits['high']:.3f}), a perplexity of {perplexity:,.3g}"
    )
    rival, p_value = comparison["against"], comparison["p_value"]
    theirs = f"{scores['baselines'][rival][METRIC]['value']:.3f}"
    p = "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"
    if p_value >= SURE:
        return f"{sentence}; counting ({rival}) may do as well: its {theirs} differs by no more than chance would."
    if comparison["difference"]["value"] < 0:
        return f"{sentence}; counting ({rival}) gets {theirs}, so the network earns its keep (p {p})."
    return f"{sentence}; counting ({rival}) does better ({theirs}, p {p}): it needs more text, or more time."
