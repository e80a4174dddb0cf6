"""The next token: what is asked, how it is scored, and that it can be learned."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from earnest.core.words import Batch, Step
from earnest.models.transformer import Transformer
from earnest.tasks.language_model import LanguageModelling, following
from earnest.tasks.sampling import Sampling, generate

VOCABULARY = 11


class Fixed:
    """A source of the same batches, in the same order."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        yield from self._batches


class Uniform(nn.Module):
    """Knows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, VOCABULARY)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return torch.zeros(*inputs[0].shape, 3)


def texts(rows: int = 9, longest: int = 14) -> Batch:
    lengths = torch.cat([torch.tensor([longest]), torch.randint(1, longest + 1, (rows - 1,))])
    real = torch.arange(longest) < lengths[:, None]
    return Batch((torch.randint(1, VOCABULARY, (rows, longest)) * real, lengths))


def test_what_follows_is_the_next_token_of_the_same_text() -> None:
    ids = torch.tensor([[4, 5, 6, 0], [7, 0, 0, 0], [1, 2, 3, 4]])
    expected = [[5, 6, -100, -100], [-100] * 4, [2, 3, 4, -100]]
    assert following(ids, torch.tensor([3, 1, 4])).tolist() == expected


def test_who_knows_nothing_scores_as_a_die() -> None:
    batch = texts()
    ids, lengths = batch.inputs
    characters = torch.randint(1, 6, (VOCABULARY,)).tolist()
    question = LanguageModelling(characters=characters)
    scores = question.validate(Uniform(), Fixed([batch]), Step())
    asked = [token for row, length in zip(ids.tolist(), lengths.tolist(), strict=True) for token in row[1:length]]
    assert scores["loss"] == pytest.approx(math.log(VOCABULARY))
    assert scores["perplexity"] == pytest.approx(VOCABULARY)
    assert scores["bits_per_token"] == pytest.approx(math.log2(VOCABULARY))
    per_character = len(asked) * math.log2(VOCABULARY) / sum(characters[token] for token in asked)
    assert scores["bits_per_character"] == pytest.approx(per_character)
    assert "bits_per_character" not in LanguageModelling().validate(Uniform(), Fixed([batch]), Step())


def test_the_loss_weighs_tokens_and_not_texts() -> None:
    network = Transformer(VOCABULARY, VOCABULARY, width=16, depth=1, heads=2, max_length=14, dropout=0.0)
    batch = texts()
    ids, lengths = batch.inputs
    loss = LanguageModelling().loss(network, batch, Step())
    logits = network.logits(batch.inputs).log_softmax(-1)
    expected = sum(
        -logits[row, place, ids[row, place + 1]] for row in range(len(ids)) for place in range(int(lengths[row]) - 1)
    )
    torch.testing.assert_close(loss.total, expected)
    assert loss.weight == int((lengths - 1).sum())


def test_targets_that_are_given_are_what_is_asked() -> None:
    """Windows of running text: what follows the last token is in the next window."""
    network = Transformer(VOCABULARY, VOCABULARY, width=16, depth=1, heads=2, max_length=14, dropout=0.0)
    running = torch.randint(1, VOCABULARY, (3, 15))
    lengths = torch.full((3,), 14)
    loss = LanguageModelling().loss(network, Batch((running[:, :-1], lengths), running[:, 1:]), Step())
    logits = network.logits((running[:, :-1], lengths))
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), running[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(loss.total, expected)
    assert loss.weight == 3 * 14


@pytest.mark.slow
def test_it_learns_a_rule_and_goes_on_with_it() -> None:
    """Each token is the sum of the two before it, modulo ten, plus one: nothing is left to chance after two."""

    def batch(rows: int) -> Batch:
        ids = torch.randint(1, VOCABULARY, (rows, 16))
        for place in range(2, 16):
            ids[:, place] = (ids[:, place - 1] + ids[:, place - 2] - 2) % 10 + 1
        return Batch((ids, torch.full((rows,), 16)))

    network = Transformer(VOCABULARY, VOCABULARY, width=64, depth=2, heads=4, max_length=16, dropout=0.0)
    question = LanguageModelling()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=600)  # else it may end in a spike
    for _ in range(600):
        loss = question.loss(network, batch(64), Step())
        optimiser.zero_grad()
        (loss.total / loss.weight).backward()
        optimiser.step()
        schedule.step()
    network.eval()
    least = math.log(10) / 15
    assert question.validate(network, Fixed([batch(100)]), Step())["loss"] < least + 0.1
    ids = batch(1).inputs[0][0].tolist()
    assert list(generate(network, ids[:4], num_tokens=8, sampling=Sampling(temperature=0))) == ids[4:12]
