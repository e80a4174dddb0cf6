"""What Word2Vec's kernel looks up of each word: how likely it stays, what is drawn against it, its path in a tree."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np
from numpy.typing import NDArray

from earnest.data.word_counts import kept_shares

Counts = NDArray[np.int64]
FULL = 2**32 - 1
POWER = 0.75
"""Words are drawn as often as their counts to this power say (Mikolov et al. 2013)."""


def keep_thresholds(counts: Counts, sample: float) -> NDArray[np.uint32]:
    """(V,) of 2^32: how likely each occurrence of a word stays; see `kept_shares`."""
    return (kept_shares(counts, sample) * FULL).astype(np.uint32)


def alias_table(weights: NDArray[np.float64]) -> NDArray[np.uint32]:
    """(V, 2) Walker's alias table: draw i evenly and 32 bits; it is i where they are not above [i, 0], else [i, 1].

    M. Vose, "A linear algorithm for generating random numbers with a given distribution", 1991.
    """
    num = len(weights)
    heights = (weights * (num / weights.sum())).tolist()
    table = np.empty((num, 2), np.uint32)
    table[:, 0], table[:, 1] = FULL, np.arange(num)
    small = [i for i in range(num) if heights[i] < 1]
    large = [i for i in range(num) if heights[i] >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        table[low] = int(heights[low] * FULL), high
        heights[high] -= 1 - heights[low]
        if heights[high] < 1:
            small.append(large.pop())
    return table


def noise_table(counts: Counts) -> NDArray[np.uint32]:
    """The alias table of the words that are drawn against a target."""
    return alias_table(counts.astype(np.float64) ** POWER)


def huffman_paths(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """(V + 1,) where each word's path from the root begins, the nodes on the paths, and 1 where they turn left.

    Frequent words have short paths (Huffman 1952); there are V - 1 nodes, the root the last.
    """
    num, order = len(counts), count()
    heap = [(int(weight), next(order), word) for word, weight in enumerate(counts)]
    heapq.heapify(heap)
    parent, left = np.zeros(2 * num - 1, np.int64), np.zeros(2 * num - 1, bool)
    for node in range(num, 2 * num - 1):
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        parent[first[2]] = parent[second[2]] = node
        left[second[2]] = True
        heapq.heappush(heap, (first[0] + second[0], next(order), node))
    starts = np.zeros(num + 1, np.int64)
    nodes: list[int] = []
    turns: list[bool] = []
    for word in range(num):
        place, path = word, []
        while place != 2 * num - 2:
            path.append((int(parent[place]) - num, bool(left[place])))
            place = int(parent[place])
        nodes += [node for node, _ in reversed(path)]
        turns += [turn for _, turn in reversed(path)]
        starts[word + 1] = len(nodes)
    return starts, np.array(nodes, np.int32), np.array(turns, np.float32)
