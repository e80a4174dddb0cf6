"""What a tagger has to beat: each word's commonest tag, and a linear model on words, spellings and neighbours."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from earnest.data.words import shape

Sentences = Sequence[Sequence[str]]
Floats = NDArray[np.float64]

NUM_BUCKETS = 1 << 18
"""Rows of the linear model's weights, which features share by a hash (Weinberger et al. 2009)."""
EPOCHS, BATCH, RATE = 5, 512, 0.1
START = 0.1
"""What the squares of gradients begin with, so that one that is nothing but rounding moves nothing."""
LONGEST_AFFIX = 4
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Spreads numbers over all bits (Knuth's multiplicative hashing)."""


@dataclass(frozen=True)
class CommonestTags:
    """The tag that a word mostly has in training; a word not seen there gets the commonest tag of all."""

    words: tuple[str, ...]
    tags: NDArray[np.int64]
    """(1 + words,) the first for words not seen."""
    shares: Floats
    """(1 + words,) how often the word's tag is this one."""

    @classmethod
    def fit(cls, sentences: Sentences, tags: Sequence[Sequence[int]]) -> CommonestTags:
        """Count; of tags that are equally common the first wins."""
        of_word: defaultdict[str, Counter[int]] = defaultdict(Counter)
        of_all: Counter[int] = Counter()
        for words, its in zip(sentences, tags, strict=True):
            for word, tag in zip(words, its, strict=True):
                of_word[word][int(tag)] += 1
                of_all[int(tag)] += 1
        counts = [of_all, *of_word.values()]
        chosen = [min(count, key=lambda tag: (-count[tag], tag)) for count in counts]
        shares = [count[tag] / count.total() for count, tag in zip(counts, chosen, strict=True)]
        return cls(tuple(of_word), np.array(chosen, np.int64), np.array(shares))

    def predict(self, sentences: Sentences) -> list[tuple[NDArray[np.int64], Floats]]:
        """Tags and how sure they are, for each sentence."""
        place = {word: number for number, word in enumerate(self.words, start=1)}
        numbers = [np.array([place.get(word, 0) for word in words], np.int64) for words in sentences]
        return [(self.tags[its], self.shares[its]) for its in numbers]


@dataclass(frozen=True)
class LinearTags:
    """Multinomial logistic regression on hashed features of a word and its neighbours; each word by itself."""

    weights: NDArray[np.float32]
    """(`NUM_BUCKETS`, tags)"""

    @classmethod
    def fit(cls, sentences: Sentences, tags: Sequence[Sequence[int]], num_tags: int, *, seed: int) -> LinearTags:
        """Five passes of AdaGrad (Duchi et al. 2011), which suits features of which few are ever there."""
        inputs = torch.from_numpy(features(sentences))
        targets = torch.from_numpy(np.concatenate([np.asarray(its, np.int64) for its in tags]))
        weights, squares = torch.zeros(NUM_BUCKETS, num_tags), torch.full((NUM_BUCKETS, num_tags), START)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
                there, which = inputs[rows].unique(return_inverse=True)
                wrong = F.embedding_bag(inputs[rows], weights, mode="sum").softmax(1)
                wrong[torch.arange(len(rows)), targets[rows]] -= 1
                gradient = torch.zeros(len(there), num_tags)
                gradient.index_add_(0, which.flatten(), wrong.repeat_interleave(which.shape[1], 0))
                squares[there] += gradient**2
                weights[there] -= RATE * gradient / squares[there].sqrt()
        return cls(weights.numpy())

    def predict(self, sentences: Sentences) -> list[tuple[NDArray[np.int64], Floats]]:
        """Tags and their probabilities, for each sentence."""
        return [answer for start in range(0, len(sentences), 1000) for answer in self._some(sentences[start:][:1000])]

    def _some(self, sentences: Sentences) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        weights = torch.from_numpy(self.weights)
        scores = F.embedding_bag(torch.from_numpy(features(sentences)), weights, mode="sum")
        confidence, tags = scores.double().softmax(1).max(1)
        ends = np.cumsum([len(words) for words in sentences])[:-1]
        yield from zip(np.split(tags.numpy(), ends), np.split(confidence.numpy(), ends), strict=True)


def features(sentences: Sentences) -> NDArray[np.int64]:
    """Each word's features as rows of the weights, (words of all sentences, features).

    The word as it is written, in lower case, its shape, beginnings and endings; its neighbours up to two places away;
    and pairs of it with the ones beside it.
    """
    place: dict[str, int] = {}
    numbers: list[int] = []
    at: list[int] = []
    for words in sentences:
        numbers += [0, 0]  # beyond a sentence's ends
        at += range(len(numbers), len(numbers) + len(words))
        numbers += [place.setdefault(word, len(place) + 1) for word in words]
    form = np.array([*numbers, 0, 0], np.int64)
    spelled = np.array([_spelled(None), *map(_spelled, place)], np.uint64)
    here = np.array(at, np.int64)
    around = {offset: spelled[form[here + offset]] for offset in (-2, -1, 0, 1, 2)}
    lower, shaped, suffix = 1, 2, 3
    columns = [around[0][:, kind] for kind in range(spelled.shape[1])]
    for offset, kinds in ((-2, [lower]), (-1, [lower, shaped, suffix]), (1, [lower, shaped, suffix]), (2, [lower])):
        columns += [around[offset][:, kind] + np.uint64(offset + 10) for kind in kinds]
    columns += [around[-1][:, lower] * np.uint64(3) + around[0][:, lower]]
    columns += [around[0][:, lower] * np.uint64(5) + around[1][:, lower]]
    columns += [around[-1][:, lower] * np.uint64(7) + around[1][:, lower]]
    columns += [np.full(len(here), 1, np.uint64)]
    salted = np.stack(columns, axis=1) + np.arange(len(columns), dtype=np.uint64) * np.uint64(0x1000003)
    return ((salted * _MULTIPLIER) >> np.uint64(65 - NUM_BUCKETS.bit_length())).astype(np.int64)


def _spelled(word: str | None) -> list[int]:
    """Hashes of a word, its lower case, its shape, and its endings and beginnings; None is no word."""
    if word is None:
        return [0] * (3 + 2 * LONGEST_AFFIX)
    small = word.lower()
    endings = [small[-length:] for length in range(3, 0, -1)] + [small[-LONGEST_AFFIX:]]
    beginnings = [small[:length] for length in range(1, LONGEST_AFFIX + 1)]
    texts = (word, small, str(shape(word)), *endings, *beginnings)
    return [zlib.crc32(text.encode("utf-8", "replace")) + 1 for text in texts]
