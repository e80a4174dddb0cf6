"""Kneser-Ney by arrays against the same by dictionaries, and as a probability."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.evaluation.ngrams import NGrams


class Plain:
    """The definition, one n-gram at a time."""

    def __init__(self, text: list[int], vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        grams = {n: Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for n in range(1, order + 1)}
        self.counts = {order: dict(grams[order])}
        for n in range(1, order):
            self.counts[n] = dict(Counter(gram[1:] for gram in grams[n + 1]))
        self.discounts = {}
        for n, counts in self.counts.items():
            once, twice = (sum(count == k for count in counts.values()) for k in (1, 2))
            self.discounts[n] = once / (once + 2 * twice) if once else 0.5
        self.after: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for counts in self.counts.values():
            for gram, count in counts.items():
                self.after[gram[:-1]].append(count)

    def probability(self, context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / self.vocabulary
        after = self.after.get(context, [])
        if not after:
            return lower
        discount = self.discounts[n]
        count = self.counts[n].get((*context, token), 0)
        return (max(count - discount, 0) + discount * len(after) * lower) / sum(after)


@pytest.mark.parametrize("order", range(1, 6))
def test_arrays_give_what_the_definition_gives(order: int) -> None:
    rng = default_rng()
    vocabulary = int(rng.integers(3, 8))
    text = rng.integers(0, vocabulary - 1, 300)  # one token is never seen
    new = rng.integers(0, vocabulary, 60)
    plain = Plain(text.tolist(), vocabulary, order)
    nats = NGrams(text, vocabulary, 5).nats(new, 7, order=order)
    whole = new.tolist()
    expected = [-math.log(plain.probability(tuple(whole[i - order + 1 : i]), whole[i])) for i in range(7, 60)]
    assert nats == pytest.approx(np.array(expected), rel=1e-12)


def test_what_may_follow_has_probability_one_in_all() -> None:
    rng = default_rng()
    text = rng.choice(6, 500, p=[0.4, 0.3, 0.15, 0.1, 0.05, 0]).astype(np.int32)
    model = NGrams(text, 6, 4)
    for order in (1, 2, 3, 4):
        context = rng.integers(0, 6, 5)
        each = [model.nats(np.append(context, token), 5, order=order)[0] for token in range(6)]
        assert sum(math.exp(-nats) for nats in each) == pytest.approx(1, abs=1e-12)


def test_what_repeats_is_told_better_by_those_who_look_further_back() -> None:
    period = default_rng().permutation(np.repeat(np.arange(5), 2))
    text = np.tile(period, 60)
    model = NGrams(text, 5, 6)
    mean = [float(model.nats(text[:40], 6, order=order).mean()) for order in (1, 2, 6)]
    assert mean[0] == pytest.approx(math.log(5), rel=0.02)
    assert mean[0] > mean[1] > mean[2]
    assert mean[2] < 0.1
