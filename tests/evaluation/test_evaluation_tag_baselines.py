"""What taggers have to beat: counted by definition, and a linear model held to PyTorch's own AdaGrad."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.random import default_rng
from torch import nn

from earnest.evaluation import tag_baselines
from earnest.evaluation.tag_baselines import CommonestTags, LinearTags, features

WORDS = ("Ada", "ada", "met", "in", "Rome", "1990", "U.S.", "東京", "😀")


def random_sentences(num: int) -> tuple[list[list[str]], list[list[int]]]:
    rng = default_rng()
    sentences = [[str(word) for word in rng.choice(WORDS, rng.integers(1, 9))] for _ in range(num)]
    return sentences, [rng.integers(0, 3, len(words)).tolist() for words in sentences]


def test_the_commonest_tag_of_each_word_is_counted() -> None:
    sentences, tags = random_sentences(60)
    pairs = [
        (word, tag) for words, its in zip(sentences, tags, strict=True) for word, tag in zip(words, its, strict=True)
    ]
    fitted = CommonestTags.fit(sentences, tags)
    for words, (found, sure) in zip(sentences, fitted.predict(sentences), strict=True):
        for word, tag, share in zip(words, found, sure, strict=True):
            counts = Counter(its for other, its in pairs if other == word)
            assert counts[tag] == max(counts.values())
            assert share == pytest.approx(counts[tag] / counts.total())
    ((unseen, _),) = fitted.predict([["never", "seen"]])
    overall = Counter(tag for _, tag in pairs)
    assert all(overall[tag] == max(overall.values()) for tag in unseen.tolist())
    assert fitted.predict([[]])[0][0].shape == (0,)


def test_features_are_of_the_word_and_its_neighbours_in_the_sentence_alone() -> None:
    sentences, _ = random_sentences(30)
    together = features(sentences)
    assert together.min() >= 0
    assert together.max() < tag_baselines.NUM_BUCKETS
    assert np.array_equal(together, np.concatenate([features([words]) for words in sentences]))
    words = ["a", "b", "c", "d", "e", "f", "g"]
    before = features([words])
    for place in range(7):
        changed = features([[*words[:place], "other", *words[place + 1 :]]])
        differs = (changed != before).any(1)
        assert differs.tolist() == [abs(place - other) <= 2 for other in range(7)]


def test_the_linear_model_is_adagrads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tag_baselines, "NUM_BUCKETS", 1 << 9)
    sentences, tags = random_sentences(150)
    seed = int(default_rng().integers(1 << 30))
    fitted = LinearTags.fit(sentences, tags, 3, seed=seed)
    inputs, targets = torch.from_numpy(features(sentences)), torch.tensor([tag for its in tags for tag in its])
    layer = nn.EmbeddingBag(1 << 9, 3, mode="sum", dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    optimiser = torch.optim.Adagrad(
        layer.parameters(), lr=tag_baselines.RATE, initial_accumulator_value=tag_baselines.START, eps=0
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(tag_baselines.EPOCHS):
        for rows in torch.randperm(len(inputs), generator=generator).split(tag_baselines.BATCH):
            optimiser.zero_grad()
            F.cross_entropy(layer(inputs[rows]), targets[rows], reduction="sum").backward()
            optimiser.step()
    np.testing.assert_allclose(fitted.weights, layer.weight.detach().numpy(), rtol=1e-3, atol=1e-4)
    expected = layer(inputs).softmax(1).max(1)
    found = fitted.predict(sentences)
    assert [tag for its, _ in found for tag in its] == expected.indices.tolist()
    np.testing.assert_allclose(np.concatenate([sure for _, sure in found]), expected.values.detach(), atol=1e-3)


def test_what_stands_beside_a_word_is_learned() -> None:
    rng = default_rng()
    sentences = [[str(word) for word in rng.choice(["in", "by", "Rome", "Ada"], 8)] for _ in range(300)]
    tags = [[0, *(int(before == "in") for before in words[:-1])] for words in sentences]
    fitted = LinearTags.fit(sentences[:250], tags[:250], 2, seed=0)
    found = fitted.predict(sentences[250:])
    right = [a == b for (its, _), truth in zip(found, tags[250:], strict=True) for a, b in zip(its, truth, strict=True)]
    assert np.mean(right) > 0.99
