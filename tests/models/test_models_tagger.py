"""Taggers: characters by definition, what training hides, and a tag that hangs on what was read long before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import Batch, InputSpec, Step
from earnest.models.tagger import UNKNOWN, CharacterCNN
from earnest.nn.crf import PADDING
from earnest.tasks.tagging import Tagging


def test_a_words_characters_are_convolved_and_the_largest_answers_taken() -> None:
    network = CharacterCNN(20, width=6, num_filters=5)
    lengths = torch.tensor([[4, 1, 0], [2, 3, 1]])
    characters = torch.randint(1, 20, (2, 3, 4)) * (torch.arange(4) < lengths[..., None])
    features = network(characters)
    kernel, bias = network.conv.weight, network.conv.bias
    for row in range(2):
        for word, length in enumerate(lengths[row].tolist()):
            embedded = network.embedding.weight[characters[row, word, :length]]
            around = torch.cat([torch.zeros(1, 6), embedded, torch.zeros(1, 6)])
            answers = [bias + sum(kernel[:, :, k] @ around[i + k] for k in range(3)) for i in range(length)]
            expected = torch.stack(answers).max(0).values if length else torch.zeros(5)
            torch.testing.assert_close(features[row, word], expected)


@pytest.mark.parametrize("others", [(), (20,), (20, 5)])
def test_sizes_are_by_formula(others: tuple[int, ...]) -> None:
    network = models["bilstm-crf"].build(InputSpec("tokens", (9,), (50, *others)), 7)
    num_inputs = 100 + 30 * (len(others) > 0) + 8 * (len(others) > 1)
    expected = 50 * 100 + 2 * 4 * 200 * (num_inputs + 200 + 2) + 401 * 7 + 7 * 7 + 2 * 7
    if others:
        expected += 20 * 30 + (30 * 3 + 1) * 30
    if len(others) > 1:
        expected += 5 * 8
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_training_shows_some_words_as_unknown_and_evaluation_none() -> None:
    network = models["bilstm-crf"].build(InputSpec("tokens", (9,), (50,)), 7, dropout=0.0, word_dropout=0.3)
    shown: list[Tensor] = []
    network.words.register_forward_hook(lambda module, inputs, output: shown.append(inputs[0]))
    ids = torch.randint(2, 50, (200, 9)) * (torch.arange(9) < 6)
    network.train()((ids, torch.full((200,), 6)))
    network.eval()((ids, torch.full((200,), 6)))
    hidden = shown[0] != ids
    assert (shown[0][hidden] == UNKNOWN).all()
    assert float(hidden[:, :6].float().mean()) == pytest.approx(0.3, abs=0.06)
    assert not hidden[:, 6:].any()
    assert torch.equal(shown[1], ids)


def test_without_a_crf_each_word_is_tagged_by_itself() -> None:
    network = models["bilstm-crf-tiny"].build(InputSpec("tokens", (9,), (50,)), 7, crf=False)
    assert network.crf is None
    scores = network((torch.randint(1, 50, (2, 9)), torch.tensor([9, 4])))
    batch = Batch((), rows=None)
    assert torch.equal(Tagging([str(tag) for tag in range(7)]).choose(network, scores, batch), scores.argmax(-1))


DELAY, KINDS, LONGEST = 10, 3, 24


def delayed(number: int) -> Batch:
    """Ten words after a word that names a tag comes that tag; otherwise the tag before stays, or moves on."""
    random = torch.rand(number, LONGEST)
    ids = torch.where(random < 0.4, torch.randint(2, 2 + KINDS, random.shape), 2 + KINDS)
    ids[random > 0.9] = 3 + KINDS
    tags = [torch.zeros(number, dtype=torch.long)] * DELAY
    for said in ids.T[: LONGEST - DELAY]:
        moved = (tags[-1] + (said == 3 + KINDS)) % KINDS
        tags.append(torch.where(said < 2 + KINDS, said - 2, moved))
    lengths = torch.randint(LONGEST - 4, LONGEST + 1, (number,))
    real = torch.arange(LONGEST) < lengths[:, None]
    return Batch((ids * real, lengths), torch.stack(tags, 1).masked_fill(~real, PADDING))


@pytest.mark.slow
def test_it_learns_tags_that_hang_on_a_word_long_before_and_on_the_tag_before() -> None:
    torch.manual_seed(0)
    spec = InputSpec("tokens", (LONGEST,), (4 + KINDS,))
    network = models["bilstm-crf"].build(spec, KINDS, embedding_width=16, width=64, dropout=0.0, word_dropout=0.0)
    task = Tagging([str(tag) for tag in range(KINDS)])
    steps = 1000
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 - 2 * step / steps))
    for _ in range(steps):
        loss = task.loss(network.train(), delayed(32), Step())
        optimiser.zero_grad()
        (loss.total / loss.weight).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    batch = delayed(300)
    with torch.no_grad():
        chosen = task.choose(network.eval(), network(batch.inputs), batch)
    after = (batch.targets != PADDING) & (torch.arange(LONGEST) >= DELAY)
    assert float((chosen == batch.targets)[after].float().mean()) > 0.95
