"""Tagging: its loss, its scores against a definition of their own, its answers in the rows' order."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import Batch, InputSpec, Step
from earnest.data.ragged import Ragged
from earnest.data.tag_schemes import spans, write
from earnest.data.text_batches import TextBatches
from earnest.models.tagger import EncoderTagger
from earnest.nn.crf import LinearChainCRF
from earnest.tasks.tagging import Tagging, allowed, entity_counts, ratios

TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")


class Saying(nn.Module):
    """Scores each word by its id alone; with a CRF if told to."""

    def __init__(self, *, crf: bool) -> None:
        super().__init__()
        self.scores = nn.Embedding(30, len(TAGS))
        self.crf = LinearChainCRF(len(TAGS)) if crf else None

    def num_words(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return inputs[1]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self.scores(inputs[0])


def sentences(number: int = 17) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Random words and tags."""
    random = np.random.default_rng()
    lengths = random.integers(1, 9, number)
    return [random.integers(1, 30, n) for n in lengths], [random.integers(0, len(TAGS), n) for n in lengths]


def source(
    words: list[np.ndarray], tags: list[np.ndarray] | Ragged | None, rows: np.ndarray | None = None
) -> TextBatches:
    rows = np.arange(len(words)) if rows is None else rows
    targets = tags if tags is None or isinstance(tags, Ragged) else Ragged.of(tags)
    return TextBatches(Ragged.of(words), targets, rows, batch_size=4)


def by_definition(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities of IOB2 tags, well-formed or not: an I- that goes on from nothing begins one."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        goes_on = start is not None and tag == f"I-{tags[start][2:]}"
        if start is not None and not goes_on:
            found.add((tags[start][2:], start, i))
            start = None
        if tag != "O" and not goes_on:
            start = i
    return found


@pytest.mark.parametrize("crf", [False, True])
def test_the_loss_is_summed_over_sentences_and_weighs_tokens(crf: bool) -> None:
    words, tags = sentences()
    model, task = Saying(crf=crf), Tagging(TAGS)
    total, weight = 0.0, 0
    for batch in source(words, tags).batches(Step()):
        loss = task.loss(model, batch, Step())
        total, weight = total + loss.total.item(), weight + int(loss.weight)
    expected = 0.0
    for its, true in zip(words, tags, strict=True):
        scores = model.scores(torch.from_numpy(its))
        if crf:
            expected += model.crf.nll(scores[None], torch.from_numpy(true)[None], torch.tensor([len(true)])).item()
        else:
            expected += F.cross_entropy(scores, torch.from_numpy(true), reduction="sum").item()
    assert total == pytest.approx(expected, rel=1e-4)
    assert weight == sum(map(len, tags))


def test_further_columns_cost_their_cross_entropies_in_training_alone() -> None:
    words, tags = sentences()
    values = [np.random.default_rng().integers(0, 4, len(its)) for its in words]
    columns = np.stack([np.concatenate(tags), np.concatenate(values)], axis=1)
    both = Ragged(columns, Ragged.of(tags).offsets)
    spec = InputSpec("tokens", (9,), (30,))
    model = models["bilstm-crf-tiny"].build(spec, len(TAGS))
    model.learn_beside([4])
    alone, beside = Tagging(TAGS), Tagging(TAGS, beside=0.7)
    for one, other in zip(source(words, tags).batches(Step()), source(words, both).batches(Step()), strict=True):
        its, scores = beside.loss(model, other, Step()), model.beside[0](model.tokens(one.inputs))
        real = other.targets[..., 1] >= 0  # type: ignore[index]
        expected = F.cross_entropy(scores[real], other.targets[..., 1][real], reduction="sum")  # type: ignore[index]
        torch.testing.assert_close(its.total, alone.loss(model, one, Step()).total + 0.7 * expected)
        assert its.weight == alone.loss(model, one, Step()).weight
    model.eval()
    assert beside.validate(model, source(words, both), Step()) == alone.validate(model, source(words, tags), Step())
    truth = beside.predict(model, source(words, both), Step()).truth
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(truth, tags, strict=True))


@pytest.mark.parametrize("crf", [False, True])
def test_scores_are_those_of_the_definition(crf: bool) -> None:
    words, tags = sentences(40)
    model, task = Saying(crf=crf).eval(), Tagging(TAGS)
    scores = task.validate(model, source(words, tags), Step())
    predicted = task.predict(model, source(words, None), Step())
    right, found, true, hits = 0, 0, 0, 0
    for ours, theirs in zip(predicted.tags, tags, strict=True):
        its, those = by_definition([TAGS[t] for t in ours]), by_definition([TAGS[t] for t in theirs])
        right, found, true = right + len(its & those), found + len(its), true + len(those)
        hits += int((ours == theirs).sum())
    assert predicted.truth == []
    assert scores["precision"] == pytest.approx(right / found)
    assert scores["recall"] == pytest.approx(right / true)
    assert scores["f1"] == pytest.approx(2 * right / (found + true))
    assert scores["accuracy"] == pytest.approx(hits / sum(map(len, tags)))
    assert scores[task.metric] == scores["f1"]


@pytest.mark.parametrize("crf", [False, True])
def test_answers_come_in_the_order_of_the_rows_with_their_confidence(crf: bool) -> None:
    words, tags = sentences()
    model, task = Saying(crf=crf).eval(), Tagging(TAGS)
    rows = np.random.default_rng().permutation(len(words))[:11]
    predicted = task.predict(model, source(words, tags, rows), Step())
    for row, ours, sure, truth in zip(rows, predicted.tags, predicted.confidence, predicted.truth, strict=True):
        alone = task.predict(model, source([words[row]], None), Step())
        assert ours.tolist() == alone.tags[0].tolist()
        assert truth.tolist() == tags[row].tolist()
        np.testing.assert_allclose(sure, alone.confidence[0], rtol=1e-4)
        if not crf:
            best = model.scores(torch.from_numpy(words[row])).softmax(-1).max(-1).values
            np.testing.assert_allclose(sure, best.detach().numpy(), rtol=1e-5)
        assert (sure > 0).all()
        assert (sure <= 1 + 1e-6).all()


def test_a_perfect_answer_scores_perfectly_and_silence_nothing() -> None:
    words, _ = sentences()
    tags = [its % len(TAGS) for its in words]
    model, task = Saying(crf=False), Tagging(TAGS)
    with torch.no_grad():
        model.scores.weight.copy_(10 * F.one_hot(torch.arange(30) % len(TAGS), len(TAGS)).float())
    assert set(task.validate(model, source(words, tags), Step()).values()) == {1.0}
    with torch.no_grad():
        model.scores.weight.copy_(F.one_hot(torch.zeros(30).long(), len(TAGS)).float())
    scores = task.validate(model, source(words, tags), Step())
    assert scores["precision"] == scores["recall"] == scores["f1"] == 0.0


def test_parts_of_speech_are_scored_by_accuracy_alone() -> None:
    words, tags = sentences()
    task = Tagging(("NN", "VB", "DT", "JJ", "IN"))
    assert task.metric == "accuracy"
    assert set(task.validate(Saying(crf=True), source(words, tags), Step())) == {"accuracy"}


def test_tags_come_back_in_the_users_words() -> None:
    assert Tagging(TAGS).decode(torch.tensor([[1, 2, 0], [4, -100, -100]])) == [["B-X", "I-X", "O"], ["I-Y"]]


@pytest.mark.parametrize("scheme", ["IOB2", "IOB1", "BIOES", "BILOU"])
def test_what_is_allowed_is_what_a_writer_of_the_scheme_can_write(scheme: str) -> None:
    """Every short sequence is either kept by reading its spans and writing them again, or is not allowed."""
    letters = {"IOB2": "BI", "IOB1": "BI", "BIOES": "BIES", "BILOU": "BILU"}[scheme]
    tags = ["O", *(f"{letter}-{kind}" for kind in "XY" for letter in letters)]
    starts, follows, ends = allowed(tags, scheme)
    for sequence in product(range(len(tags)), repeat=3):
        names = [tags[number] for number in sequence]
        fits = bool(starts[sequence[0]] & follows[sequence[0], sequence[1]] & follows[sequence[1], sequence[2]])
        fits &= bool(ends[sequence[2]])
        written = write(spans(names), 3, scheme) == names
        assert fits if scheme == "IOB1" else fits == written


def test_counts_are_per_sentence_and_nothing_is_divided_by_nothing() -> None:
    counts = entity_counts([["B-X", "I-X"], ["O"]], [["B-X", "O"], ["O"]])
    assert counts.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert {name: its.tolist() for name, its in ratios(counts).items()} == {
        "precision": [0, 0],
        "recall": [0, 0],
        "f1": [0, 0],
    }


@pytest.mark.parametrize("crf", [False, True])
def test_an_encoder_of_pieces_answers_at_each_words_first_piece(crf: bool) -> None:
    encoder: Any = models["bilstm-tiny"].build(InputSpec("tokens", (9,), (30,)), 1)
    tagger = EncoderTagger(encoder, len(TAGS), crf=crf).eval()
    ids, lengths = torch.randint(1, 30, (2, 9)), torch.tensor([9, 6])
    first, num_words = torch.tensor([[1, 3, 4, 7], [1, 2, 0, 0]]), torch.tensor([4, 2])
    scores = tagger((ids, lengths, first, num_words))
    hidden = encoder.tokens((ids, lengths))
    for row, words in enumerate(num_words.tolist()):
        torch.testing.assert_close(scores[row, :words], tagger.head(hidden[row, first[row, :words]]))
    batch = Batch((ids, lengths, first, num_words), torch.tensor([[0, 1, 2, 3], [1, 2, -100, -100]]))
    loss = Tagging(TAGS).loss(tagger, batch, Step())
    assert int(loss.weight) == 6
    assert loss.total.isfinite()
