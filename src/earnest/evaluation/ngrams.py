"""What counting alone can tell of the next token: interpolated Kneser-Ney, the baseline of language models.

R. Kneser & H. Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995; the interpolated form is S. Chen &
J. Goodman's, "An empirical study of smoothing techniques for language modeling", 1999, with one discount an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.evaluation.intervals import Floats

Ids = NDArray[np.int64]
UNSEEN = -1


@dataclass(frozen=True)
class _Counts:
    """How often each n-gram of one order was seen, and what each context gives away to n-grams that were not."""

    grams: Floats
    """(G,) counts."""
    totals: Floats
    """(C,) sums of them, for each context."""
    kinds: Floats
    """(C,) n-grams that begin with each context."""
    discount: float

    @classmethod
    def of(cls, grams: NDArray[Any], contexts: Ids, num_contexts: int) -> _Counts:
        once, twice = int((grams == 1).sum()), int((grams == 2).sum())
        totals = np.bincount(contexts, grams, num_contexts).astype(np.float64)
        kinds = np.bincount(contexts, grams > 0, num_contexts).astype(np.float64)
        return cls(grams.astype(np.float64), totals, kinds, once / (once + 2 * twice) if once else 0.5)

    def probability(self, grams: Ids, contexts: Ids, lower: Floats) -> Floats:
        """Of n-grams in their contexts, either of which may be unseen, from the next lower order's."""
        known = contexts != UNSEEN
        known[known] = self.totals[contexts[known]] > 0
        counts = np.where(grams[known] == UNSEEN, 0.0, self.grams[grams[known]])
        totals = self.totals[contexts[known]]
        spread = self.discount * self.kinds[contexts[known]] * lower[known]
        found = lower.copy()
        found[known] = (np.maximum(counts - self.discount, 0) + spread) / totals
        return found


class NGrams:
    """Models of all orders up to `order`, counted in one go.

    Args:
        ids: (N,) tokens to count, one text of at least `order`.
        vocabulary: tokens that may occur; one that never did is given its share.
    """

    def __init__(self, ids: NDArray[Any], vocabulary: int, order: int) -> None:
        self.vocabulary = vocabulary
        self.order = order
        self._keys: list[Ids] = []
        """Of each order, the keys of n-grams that were seen, ascending; its place is an n-gram's number."""
        self._seen: list[_Counts] = []
        self._continued: list[_Counts] = []
        ids = np.asarray(ids, np.int64)
        shorter, num_shorter = np.zeros(len(ids), np.int64), 1  # the numbers of the (n - 1)-grams, in order
        contexts, num_contexts = shorter[:0], 0
        for n in range(1, order + 1):
            before = shorter[: len(ids) - n + 1]
            keys, first, numbers, counts = np.unique(
                before * vocabulary + ids[n - 1 :], return_index=True, return_inverse=True, return_counts=True
            )
            if n > 1:
                continuations = np.bincount(shorter[first + 1], minlength=num_shorter)
                self._continued.append(_Counts.of(continuations, contexts, num_contexts))
            contexts, num_contexts = before[first], num_shorter
            self._keys.append(keys)
            self._seen.append(_Counts.of(counts, contexts, num_contexts))
            shorter, num_shorter = numbers, len(keys)

    def nats(self, ids: NDArray[Any], start: int, *, order: int) -> Floats:
        """-log p of each of the tokens from `start` on, given those before it, by the model of this order."""
        assert 1 <= order <= self.order
        first = max(start - order + 1, 0)
        ids = np.asarray(ids[first:], np.int64)
        probability = np.full(len(ids), 1 / self.vocabulary)
        shorter = np.zeros(len(ids) + 1, np.int64)  # numbers of the (n - 1)-grams that end before each token, or UNSEEN
        for n in range(1, order + 1):
            contexts = shorter[:-1]
            grams = self._number(n, contexts, ids)
            table = self._seen[n - 1] if n == order else self._continued[n - 1]
            probability = table.probability(grams, contexts, probability)
            shorter = np.concatenate([[UNSEEN], grams])
        return -np.log(probability[start - first :])

    def _number(self, n: int, contexts: Ids, ids: Ids) -> Ids:
        """The numbers of the n-grams that these tokens end, or UNSEEN."""
        known, wanted = self._keys[n - 1], contexts * self.vocabulary + ids
        places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where((contexts != UNSEEN) & (known[places] == wanted), places, UNSEEN)
