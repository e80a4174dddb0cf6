"""The inner loop of Word2Vec, compiled by Numba, free of the interpreter's lock: one stretch of text a call.

Around a target word the window holds m words, and n rows speak for the target: itself and the words drawn against it,
or the nodes on its path through a tree. All pairs of them are scored together, so that the work is three products of
small dense matrices that stay in the nearest cache:

    scores = A B'       A (m, width): rows of the window's words     B (n, width): rows of the target
    errors = rate * (labels - sigmoid(scores))
    A's rows += errors B,     B's rows += errors' A

Sums, not means: as many pairs move a row, so often it moves (Ji et al., "Parallelizing Word2Vec in shared and
distributed memory", 2016, found that sharing a window's negatives costs no accuracy). Everything random is a function
of the seed and of the target's place in the text, so that a text may be cut into stretches anywhere.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

STEEPEST, STEPS = 8.0, 1024
"""The sigmoid is tabulated on -STEEPEST to STEEPEST, scores beyond count as these, and is linear between its steps."""
SIGMOID = (1 / (1 + np.exp(-np.linspace(-STEEPEST, STEEPEST, STEPS + 1)))).astype(np.float32)
TINY = 1e-100
"""The logarithm of a product of probabilities is taken when it falls below, and in the end: logarithms are slow."""
LANES, ROWS, COLUMNS = 8, 2, 3
"""Rows are padded to whole vector registers; products are made in blocks of rows of A and of B."""

GOLDEN, FIRST_MIX, SECOND_MIX = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
R27, R30, R31, R32, LOW = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32), np.uint64(0xFFFFFFFF)
KEPT, WINDOW = np.uint64(1), np.uint64(2)
"""What a random number is for."""


class Stretch(NamedTuple):
    """Some text, with what stands around it."""

    ids: NDArray[np.int32]
    """Words by number, -1 at the end of each line."""
    first: int
    """The targets are ids[first:last]."""
    last: int
    origin: int
    """Place of ids[0] in the text."""
    seed: np.uint64


class Tables(NamedTuple):
    """What is known of each word; empty arrays stand for what is not used."""

    keep: NDArray[np.uint32]
    """(V,) a word stays when 32 random bits are not above this: subsampling."""
    alias: NDArray[np.uint32]
    """(V, 2) Walker's alias table of the words drawn against a target: a threshold and the other word."""
    path_starts: NDArray[np.int64]
    """(V + 1,) where the path of a word begins in `nodes` and `turns`: hierarchical softmax in place of drawn words."""
    nodes: NDArray[np.int32]
    turns: NDArray[np.float32]
    """1 where the path turns to the side that a high score speaks for, else 0."""
    row_starts: NDArray[np.int64]
    """(V + 1,) where the input rows of a word begin in `rows`, where it has several (itself and its subwords)."""
    rows: NDArray[np.int32]


class Settings(NamedTuple):
    """How pairs are made."""

    window: int
    negatives: int
    """Words drawn against a target; 0 with hierarchical softmax."""
    average: bool
    """Whether the window's words speak as one, by their mean (CBOW), or each for itself (skip-gram)."""
    rate: float
    """Learning rate at place 0."""
    slope: float
    """By which it falls with each place."""
    lowest: float


@njit(inline="always")
def _mixed(number):  # type: ignore[no-untyped-def]
    """64 random bits from any (Steele, Lea & Flood's SplitMix64, 2014)."""
    number = (number ^ (number >> R30)) * FIRST_MIX
    number = (number ^ (number >> R27)) * SECOND_MIX
    return number ^ (number >> R31)


@njit(inline="always")
def _below(bits, limit):  # type: ignore[no-untyped-def]
    """A number from 0 to limit - 1 from the upper half of random bits (Lemire 2019, without the rejection)."""
    return np.int64(((bits >> R32) * np.uint64(limit)) >> R32)


@njit(nogil=True, fastmath=True, cache=True)
def _scores(a, m, b, n, scores):  # type: ignore[no-untyped-def]
    """scores = A B' of m by n rows, whole blocks of them; what lies behind a row's width is zero on both sides."""
    for i in range(0, m, ROWS):
        for j in range(0, n, COLUMNS):
            s00 = s01 = s02 = s10 = s11 = s12 = np.float32(0)
            for k in range(a.shape[1]):
                x0, x1 = a[i, k], a[i + 1, k]
                y0, y1, y2 = b[j, k], b[j + 1, k], b[j + 2, k]
                s00 += x0 * y0
                s01 += x0 * y1
                s02 += x0 * y2
                s10 += x1 * y0
                s11 += x1 * y1
                s12 += x1 * y2
            scores[i, j], scores[i, j + 1], scores[i, j + 2] = s00, s01, s02
            scores[i + 1, j], scores[i + 1, j + 1], scores[i + 1, j + 2] = s10, s11, s12


@njit(nogil=True, fastmath=True, cache=True)
def _errors(scores, labels, m, n, padded, rate, sigmoid):  # type: ignore[no-untyped-def]
    """Scores to errors, in place; the loss of all pairs. Padding gets no error."""
    loss, product = 0.0, 1.0
    scale = np.float32(STEPS / (2 * STEEPEST))
    for i in range(m):
        for j in range(n):
            score = min(max(scores[i, j], np.float32(-STEEPEST)), np.float32(STEEPEST))
            place = (score + np.float32(STEEPEST)) * scale
            step: Any = min(np.int64(place), STEPS - 1)
            low = sigmoid[step]
            probability = low + (place - np.float32(step)) * (sigmoid[step + 1] - low)
            product *= np.float64(probability) if labels[j] > 0 else 1.0 - np.float64(probability)
            scores[i, j] = rate * (labels[j] - probability)
            if product < TINY:
                loss -= math.log(product)
                product = 1.0
        for j in range(n, padded):
            scores[i, j] = 0
    for j in range(padded):
        scores[m, j] = 0
    return loss - math.log(product)


@njit(nogil=True, fastmath=True, cache=True)
def _moves_of_a(errors, m, b, n, moves):  # type: ignore[no-untyped-def]
    """errors B, for m rows."""
    for i in range(m):
        for j in range(0, n, COLUMNS):
            e0, e1, e2 = errors[i, j], errors[i, j + 1], errors[i, j + 2]
            if j == 0:
                for k in range(b.shape[1]):
                    moves[i, k] = e0 * b[j, k] + e1 * b[j + 1, k] + e2 * b[j + 2, k]
            else:
                for k in range(b.shape[1]):
                    moves[i, k] += e0 * b[j, k] + e1 * b[j + 1, k] + e2 * b[j + 2, k]


@njit(nogil=True, fastmath=True, cache=True)
def _moves_of_b(errors, n, a, m, moves):  # type: ignore[no-untyped-def]
    """errors' A, for n rows."""
    for j in range(n):
        for i in range(0, m, ROWS):
            e0, e1 = errors[i, j], errors[i + 1, j]
            if i == 0:
                for k in range(a.shape[1]):
                    moves[j, k] = e0 * a[i, k] + e1 * a[i + 1, k]
            else:
                for k in range(a.shape[1]):
                    moves[j, k] += e0 * a[i, k] + e1 * a[i + 1, k]


@njit(nogil=True, fastmath=True, cache=True)
def _stay(stretch, keep, words, places):  # type: ignore[no-untyped-def]
    """The words that subsampling leaves, and the line ends, with their places in the stretch; how many there are."""
    num = 0
    for place in range(len(stretch.ids)):
        word = stretch.ids[place]
        bits = _mixed(stretch.seed + (np.uint64(stretch.origin + place) * np.uint64(4) + KEPT) * GOLDEN)
        if word < 0 or (bits & LOW) <= keep[word]:
            words[num], places[num] = word, place
            num += 1
    return num


@njit(nogil=True, fastmath=True, cache=True)
def _look_around(words, num_words, middle, reach, tables, bag, ends):  # type: ignore[no-untyped-def]
    """The input rows of the words around a target, one word's behind the other's, and where each one's end."""
    m, num = 0, 0
    for side in (-1, 1):
        other = middle + side
        last = min(max(middle + side * reach, 0), num_words - 1) + side
        while other != last and words[other] >= 0:
            word = np.int64(words[other])
            if len(tables.row_starts) > 0:
                for at in range(tables.row_starts[word], tables.row_starts[word + 1]):
                    bag[num] = tables.rows[at]
                    num += 1
            else:
                bag[num] = word
                num += 1
            ends[m] = num
            m += 1
            other += side
    return m


@njit(nogil=True, fastmath=True, cache=True)
def _draw(target, bits, negatives, tables, chosen, labels):  # type: ignore[no-untyped-def]
    """The rows that speak for a target, and what their scores should be; how many there are."""
    if len(tables.path_starts) > 0:
        start, end = tables.path_starts[target], tables.path_starts[target + 1]
        for at in range(start, end):
            chosen[at - start], labels[at - start] = tables.nodes[at], tables.turns[at]
        return end - start
    chosen[0], labels[0], n = target, 1, 1
    for _ in range(negatives):
        bits = _mixed(bits + GOLDEN)
        word = _below(bits, len(tables.alias))
        if (bits & LOW) > tables.alias[word, 0]:
            word = np.int64(tables.alias[word, 1])
        if word != target:
            chosen[n], labels[n] = word, 0
            n += 1
    return n


@njit(nogil=True, fastmath=True, cache=True)
def _gather(matrix, bag, ends, num, padded, out):  # type: ignore[no-untyped-def]
    """The mean of the rows of each bag, and zeros up to `padded` rows."""
    width, start = matrix.shape[1], 0
    for i in range(num):
        end, row = ends[i], bag[start]
        for k in range(width):
            out[i, k] = matrix[row, k]
        if end - start > 1:
            for r in range(start + 1, end):
                row = bag[r]
                for k in range(width):
                    out[i, k] += matrix[row, k]
            share = np.float32(1) / np.float32(end - start)
            for k in range(width):
                out[i, k] *= share
        start = end
    for i in range(num, padded):
        for k in range(width):
            out[i, k] = 0


@njit(nogil=True, fastmath=True, cache=True)
def _scatter(matrix, bag, ends, num, moves):  # type: ignore[no-untyped-def]
    """Move the rows of each bag by their share."""
    width, start = matrix.shape[1], 0
    for i in range(num):
        end = ends[i]
        share = np.float32(1) / np.float32(end - start)
        for r in range(start, end):
            row = bag[r]
            for k in range(width):
                matrix[row, k] += share * moves[i, k]
        start = end


@njit(nogil=True, fastmath=True, cache=True)
def train_stretch(stretch, tables, settings, inputs, outputs, sigmoid):  # type: ignore[no-untyped-def]
    """Learn from every target of a stretch, moving `inputs` (R, width) and `outputs` (N, width) in place.

    Returns the loss summed over all pairs of a word of a window (or its mean) and a target, in nats, and the number of
    these pairs.
    """
    window = settings.window
    stride = -(-inputs.shape[1] // LANES) * LANES
    most_rows, most_outputs = 2 * window, 1 + settings.negatives
    if len(tables.row_starts) > 0:
        most_rows *= np.max(tables.row_starts[1:] - tables.row_starts[:-1])
    if len(tables.path_starts) > 0:
        most_outputs = np.max(tables.path_starts[1:] - tables.path_starts[:-1])
    most_inputs, most_outputs = 2 * window + ROWS, most_outputs + COLUMNS
    a, b = np.zeros((most_inputs, stride), np.float32), np.zeros((most_outputs, stride), np.float32)
    a_moves, b_moves = np.zeros_like(a), np.zeros_like(b)
    scores, labels = np.zeros((most_inputs, most_outputs), np.float32), np.zeros(most_outputs, np.float32)
    bag, ends = np.zeros(most_rows, np.int64), np.zeros(most_inputs, np.int64)
    chosen, each = np.zeros(most_outputs, np.int64), np.arange(1, most_outputs + 1)
    words, places = np.empty(len(stretch.ids), np.int32), np.empty(len(stretch.ids), np.int64)
    num_words = _stay(stretch, tables.keep, words, places)
    loss, num_pairs = 0.0, 0
    for middle in range(num_words):
        place, target = places[middle], np.int64(words[middle])
        if target < 0 or place < stretch.first or place >= stretch.last:
            continue
        bits = _mixed(stretch.seed + (np.uint64(stretch.origin + place) * np.uint64(4) + WINDOW) * GOLDEN)
        m = _look_around(words, num_words, middle, 1 + _below(bits, window), tables, bag, ends)
        if m == 0:
            continue
        if settings.average:
            ends[0], m = ends[m - 1], 1
        n = _draw(target, bits, settings.negatives, tables, chosen, labels)
        padded = -(-n // COLUMNS) * COLUMNS
        rate = np.float32(max(settings.rate - settings.slope * (stretch.origin + place), settings.lowest))
        _gather(inputs, bag, ends, m, m + m % ROWS, a)
        _gather(outputs, chosen, each, n, padded, b)
        _scores(a, m, b, padded, scores)
        loss += _errors(scores, labels, m, n, padded, rate, sigmoid)
        num_pairs += m
        _moves_of_a(scores, m, b, padded, a_moves)
        _moves_of_b(scores, n, a, m, b_moves)
        _scatter(inputs, bag, ends, m, a_moves)
        _scatter(outputs, chosen, each, n, b_moves)
    return loss, num_pairs
