"""Masking: what may be chosen, how much, what becomes of it; and that the question can be learned."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import Batch, InputSpec, Step
from earnest.models.bert import MaskedLanguageModel
from earnest.tasks.masked_lm import MaskedLanguageModelling

VOCABULARY, MASK, SPECIAL = 40, 3, (1, 2)
"""Ids 0 to 3 are padding, the marks of a text's ends, and the mask."""


class Fixed:
    """A source of the same batches, in the same order."""

    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        yield from self._batches


def texts(rows: int, longest: int) -> tuple[Tensor, Tensor]:
    """Texts between the marks of their ends, of 2 tokens at least."""
    lengths = torch.randint(2, longest + 1, (rows,))
    places = torch.arange(longest)
    ids = torch.randint(4, VOCABULARY, (rows, longest)).masked_fill(places >= lengths[:, None], 0)
    ids[:, 0] = 1
    ids[torch.arange(rows), lengths - 1] = 2
    return ids, lengths


def task(**options: object) -> MaskedLanguageModelling:
    return MaskedLanguageModelling(VOCABULARY, mask_id=MASK, special_ids=SPECIAL, **options)


def encoder() -> MaskedLanguageModel:
    network = models["bert-modern-tiny"].build(InputSpec("tokens", (32,), (VOCABULARY,)), 2, dropout=0.0)
    return MaskedLanguageModel(network)


@pytest.mark.parametrize("replace", ["mixed", "mask"])
def test_only_real_ordinary_tokens_are_chosen(replace: str) -> None:
    ids, lengths = texts(300, 20)
    masked = task(replace=replace).mask(ids, lengths)
    assert not masked.chosen[ids < 4].any()
    assert torch.equal(masked.ids[~masked.chosen], ids[~masked.chosen])
    assert not torch.isin(masked.ids[masked.chosen], torch.tensor([0, *SPECIAL])).any()


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_of_each_text_the_share_is_chosen(share: float) -> None:
    ids, lengths = texts(300, 60)
    chosen = task(share=share).mask(ids, lengths).chosen.sum(1)
    ordinary = (ids >= 4).sum(1)
    expected = torch.minimum((ordinary * share).round().clamp(min=1), ordinary)
    assert torch.equal(chosen, expected.long())


def test_every_place_is_as_likely() -> None:
    """Binomial z-scores of each place's count stay within 5 sigma."""
    ids = torch.randint(4, VOCABULARY, (4000, 10))
    counts = task(share=0.3).mask(ids, torch.full((4000,), 10)).chosen.sum(0)
    z = (counts - 1200) / math.sqrt(4000 * 0.3 * 0.7)
    assert z.abs().max() < 5


def test_chosen_tokens_are_masked_replaced_or_left_as_berts() -> None:
    ids = torch.randint(4, VOCABULARY, (3000, 20))
    masked = task().mask(ids, torch.full((3000,), 20))
    now, then = masked.ids[masked.chosen], ids[masked.chosen]
    total = len(now)
    by_mask, same = (now == MASK).sum() / total, (now == then).sum() / total
    left = 0.1 + 0.1 / (VOCABULARY - 4)  # a random token is sometimes the one that it replaces
    assert abs(by_mask - 0.8) < 5 * math.sqrt(0.16 / total)
    assert abs(same - left) < 5 * math.sqrt(left * (1 - left) / total)
    replaced = now[(now != MASK) & (now != then)]
    counts = torch.bincount(replaced, minlength=VOCABULARY)[4:]
    expected = len(replaced) / len(counts)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    degrees = len(counts) - 1
    assert chi_square < degrees + 6 * math.sqrt(2 * degrees)


def test_all_chosen_tokens_can_be_masked() -> None:
    masked = task(replace="mask").mask(*texts(100, 20))
    assert (masked.ids[masked.chosen] == MASK).all()


def test_the_mask_is_a_function_of_the_random_state() -> None:
    ids, lengths = texts(50, 20)
    draws = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        draws.append(task().mask(ids, lengths))
    assert torch.equal(draws[0].ids, draws[1].ids)
    assert not torch.equal(draws[0].chosen, draws[2].chosen)


def test_the_loss_is_that_of_the_chosen_places() -> None:
    network, question = encoder().eval(), task()
    ids, lengths = texts(12, 20)
    torch.manual_seed(7)
    loss = question.loss(network, Batch((ids, lengths)), Step())
    torch.manual_seed(7)
    masked = question.mask(ids, lengths)
    logits = network((masked.ids, lengths)).double().log_softmax(-1)
    expected = -logits.gather(2, ids[..., None])[..., 0][masked.chosen].sum()
    torch.testing.assert_close(loss.total.double(), expected, rtol=1e-5, atol=1e-5)
    assert loss.weight == int(masked.chosen.sum())


def test_texts_without_ordinary_tokens_ask_nothing() -> None:
    network, question = encoder(), task()
    loss = question.loss(network, Batch((torch.tensor([[1, 2]]), torch.tensor([2]))), Step())
    loss.total.backward()
    assert loss.weight == 0
    assert loss.total.item() == 0


def test_validation_masks_the_same_each_time() -> None:
    network, question = encoder().eval(), task()
    source = Fixed([Batch(texts(12, 20)) for _ in range(3)])
    first = question.validate(network, source, Step())
    torch.manual_seed(99)
    assert question.validate(network, source, Step(epoch=3)) == first
    assert first["perplexity"] == pytest.approx(math.exp(first["loss"]))


def test_a_perfect_model_scores_perfectly() -> None:
    class Oracle(nn.Module):
        """Knows the texts by heart."""

        def __init__(self, ids: Tensor) -> None:
            super().__init__()
            self.ids = nn.Parameter(ids.float(), requires_grad=False)

        def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
            return nn.functional.one_hot(self.ids.long(), VOCABULARY).float() * 50

        def vocabulary(self, hidden: Tensor) -> Tensor:
            return hidden

    ids, lengths = texts(12, 20)
    scores = task().validate(Oracle(ids), Fixed([Batch((ids, lengths))]), Step())
    assert scores["accuracy"] == 1
    assert scores["loss"] < 1e-6


@pytest.mark.slow
def test_it_learns_that_the_second_half_repeats_the_first() -> None:
    """A missing token stands whole in the other half, most often: unigrams are of no use, attention is."""

    def batch(rows: int) -> Batch:
        half = torch.randint(4, VOCABULARY, (rows, 8))
        return Batch((torch.cat([half, half], 1), torch.full((rows,), 16)))

    network, question = encoder(), task()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(500):
        loss = question.loss(network, batch(64), Step())
        optimiser.zero_grad()
        (loss.total / loss.weight).backward()
        optimiser.step()
    scores = question.validate(network.eval(), Fixed([batch(200)]), Step())
    unigram = math.log(VOCABULARY - 4)
    assert scores["loss"] < 0.6 * unigram
