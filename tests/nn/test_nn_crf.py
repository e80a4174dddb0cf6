"""The conditional random field against enumeration of every sequence of tags, and against a known process."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor, nn

from earnest.nn.crf import PADDING, LinearChainCRF

TAGS, LONGEST = 3, 4
CLOSE = {"rtol": 0.0, "atol": 1e-10}


def some() -> tuple[LinearChainCRF, Tensor, Tensor, Tensor]:
    """A field, emissions, tags and lengths: every length from 1 to the longest."""
    crf = LinearChainCRF(TAGS).double()
    for parameter in crf.parameters():
        nn.init.normal_(parameter)
    lengths = torch.randint(1, LONGEST + 1, (8,))
    lengths[:LONGEST] = torch.arange(1, LONGEST + 1)
    tags = torch.randint(TAGS, (8, LONGEST))
    tags[torch.arange(LONGEST) >= lengths[:, None]] = PADDING
    return crf, torch.randn(8, LONGEST, TAGS, dtype=torch.float64), tags, lengths


def score(crf: LinearChainCRF, emissions: Tensor, tags: tuple[int, ...]) -> Tensor:
    """Of one sequence, term by term."""
    total = crf.start[tags[0]] + crf.end[tags[-1]]
    for t, tag in enumerate(tags):
        total = total + emissions[t, tag]
    for tag, following in pairwise(tags):
        total = total + crf.transitions[tag, following]
    return total


def all_scores(crf: LinearChainCRF, emissions: Tensor, length: int) -> dict[tuple[int, ...], Tensor]:
    """Of every sequence of this length."""
    return {tags: score(crf, emissions, tags) for tags in product(range(TAGS), repeat=length)}


def test_the_likelihood_and_its_gradients_are_those_of_all_sequences_enumerated() -> None:
    crf, emissions, tags, lengths = some()
    emissions.requires_grad_()
    expected = []
    for row, length in enumerate(lengths.tolist()):
        every = all_scores(crf, emissions[row], length)
        its_own = every[tuple(tags[row, :length].tolist())]
        expected.append(torch.logsumexp(torch.stack(list(every.values())), 0) - its_own)
    nll = crf.nll(emissions, tags, lengths)
    torch.testing.assert_close(nll, torch.stack(expected), **CLOSE)
    weights = torch.randn(8, dtype=torch.float64)
    wanted = [emissions, *crf.parameters()]
    ours = torch.autograd.grad((nll * weights).sum(), wanted)
    theirs = torch.autograd.grad((torch.stack(expected) * weights).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    crf, emissions, _, _ = some()
    sequences = torch.tensor(list(product(range(TAGS), repeat=4)))
    number = len(sequences)
    nll = crf.nll(emissions[:1, :4].expand(number, 4, TAGS), sequences, torch.full((number,), 4))
    assert float((-nll.detach()).exp().sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("constrained", [False, True])
def test_decoding_finds_the_best_of_all_sequences(constrained: bool) -> None:
    crf, emissions, _, lengths = some()
    if constrained:  # 1 may only follow 0 or 1, starts nothing, and 2 ends nothing
        follow = torch.ones(TAGS, TAGS, dtype=torch.bool)
        follow[2, 1] = False
        crf.constrain(torch.tensor([1, 0, 1]).bool(), follow, torch.tensor([1, 1, 0]).bool())
    decoded = crf.decode(emissions, lengths)
    for row, length in enumerate(lengths.tolist()):
        every = all_scores(crf, emissions[row], length)
        allowed = [
            tags
            for tags in every
            if not constrained or (tags[0] != 1 and tags[-1] != 2 and (2, 1) not in pairwise(tags))
        ]
        assert tuple(decoded[row, :length].tolist()) == max(allowed, key=lambda tags: every[tags].item())
    assert (decoded[torch.arange(LONGEST) >= lengths[:, None]] == PADDING).all()


def test_marginals_are_shares_of_all_sequences() -> None:
    crf, emissions, _, lengths = some()
    marginals = crf.float().marginals(emissions, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = torch.zeros(LONGEST, TAGS)
        every = all_scores(crf, emissions[row].float(), length)
        total = torch.logsumexp(torch.stack(list(every.values())), 0)
        for tags, its in every.items():
            expected[torch.arange(length), list(tags)] += (its - total).exp().detach()
        torch.testing.assert_close(marginals[row], expected, rtol=0.0, atol=1e-5)


def test_padding_changes_nothing() -> None:
    crf, emissions, tags, lengths = some()
    garbage = emissions.clone()
    garbage[torch.arange(LONGEST) >= lengths[:, None]] = 1e6
    assert torch.equal(crf.nll(garbage, tags, lengths), crf.nll(emissions, tags, lengths))
    assert torch.equal(crf.decode(garbage, lengths), crf.decode(emissions, lengths))


def test_large_scores_stay_finite() -> None:
    crf, emissions, tags, lengths = some()
    nll = crf.nll((emissions * 1e4).float(), tags, lengths)
    assert nll.isfinite().all()
    assert (nll > -1e-2).all()
    with torch.no_grad():
        crf.transitions[0] = -1e3
    nll = crf.nll((emissions * 1e4).bfloat16(), tags, lengths)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert crf.transitions.grad.isfinite().all()


def test_it_learns_to_decode_as_well_as_the_process_that_made_the_data() -> None:
    """Words that two tags share can only be told apart by their neighbours: here by a chain that is known."""
    generator = torch.Generator().manual_seed(0)
    follows = torch.tensor([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]])
    says = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.5, 0.0, 0.0, 0.5]])
    tags = torch.randint(3, (400, 1), generator=generator)
    for _ in range(11):
        tags = torch.cat([tags, torch.multinomial(follows[tags[:, -1]], 1, generator=generator)], 1)
    words = torch.multinomial(says[tags.flatten()], 1, generator=generator).view_as(tags)
    lengths = torch.randint(6, 13, (400,), generator=generator)

    truth = LinearChainCRF(3)
    with torch.no_grad():
        truth.transitions.copy_(follows.log())
        truth.start.zero_()
        truth.end.zero_()
    emission, crf = nn.Embedding(4, 3), LinearChainCRF(3)
    optimiser = torch.optim.Adam([*emission.parameters(), *crf.parameters()], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        crf.nll(emission(words[:200]), tags[:200], lengths[:200]).mean().backward()
        optimiser.step()

    real = torch.arange(12) < lengths[200:, None]

    def accuracy(field: LinearChainCRF, emissions: Tensor) -> float:
        return float((field.decode(emissions, lengths[200:]) == tags[200:])[real].float().mean())

    best = accuracy(truth, says.clamp_min(1e-9).log().T[words[200:]])
    ignoring_neighbours = float((emission(words[200:]).argmax(-1) == tags[200:])[real].float().mean())
    learned = accuracy(crf, emission(words[200:]))
    assert best > 0.9
    assert learned > best - 0.01
    assert learned > ignoring_neighbours + 0.1
