"""Sampling: the distributions that are promised, and generation that remembers rightly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.transformer import Transformer
from earnest.tasks.sampling import Sampling, draw, generate, probabilities


def test_temperature_sharpens_and_flattens() -> None:
    logits = torch.randn(5, 9, dtype=torch.float64)
    for temperature in (0.3, 1.0, 4.0):
        expected = (logits / temperature).softmax(-1)
        torch.testing.assert_close(probabilities(logits, Sampling(temperature)), expected)
    assert torch.equal(probabilities(logits, Sampling(0)).argmax(-1), logits.argmax(-1))
    assert (probabilities(logits, Sampling(0)).max(-1).values == 1).all()


def test_top_k_keeps_the_k_likeliest() -> None:
    logits = torch.randn(6, 20)
    found = probabilities(logits, Sampling(top_k=4))
    for row, logit in zip(found, logits.double(), strict=True):
        kept = logit.topk(4).indices
        expected = torch.zeros(20, dtype=torch.float64)
        expected[kept] = logit[kept].softmax(-1)
        torch.testing.assert_close(row, expected)


def test_top_k_of_equals_keeps_k() -> None:
    assert probabilities(torch.zeros(7), Sampling(top_k=3)).tolist() == pytest.approx([1 / 3] * 3 + [0] * 4)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 1.0])
def test_the_nucleus_is_the_smallest_that_holds_the_share(top_p: float) -> None:
    for logits in torch.randn(8, 15, dtype=torch.float64) * 2:
        whole = logits.softmax(-1)
        found = probabilities(logits, Sampling(top_p=top_p))
        kept = found > 0
        assert float(whole[kept].sum()) >= top_p - 1e-12
        assert float(whole[kept].sum() - whole[kept].min()) < top_p
        assert whole[kept].min() >= whole[~kept].max() if (~kept).any() else True
        torch.testing.assert_close(found[kept], whole[kept] / whole[kept].sum())


def test_the_nucleus_is_of_what_top_k_left() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    found = probabilities(logits, Sampling(top_k=2, top_p=0.5))
    assert found.tolist() == pytest.approx([1, 0, 0, 0], abs=1e-6)  # 0.4 / 0.7 is more than half


@pytest.mark.parametrize("sampling", [Sampling(0.7), Sampling(top_k=5), Sampling(top_p=0.8), Sampling(2.0, 6, 0.9)])
def test_draws_follow_the_probabilities(sampling: Sampling) -> None:
    """Chi-square of 20,000 draws, which exceeds its mean by six of its standard deviations hardly ever."""
    logits = torch.randn(12)
    expected = probabilities(logits, sampling) * 20_000
    counts = torch.bincount(draw(logits.expand(20_000, 12), sampling), minlength=12)
    likely = expected > 0
    assert counts[~likely].sum() == 0
    chi_square = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
    degrees = int(likely.sum()) - 1
    assert chi_square < degrees + 6 * math.sqrt(2 * degrees) + 6


def test_a_generator_decides_the_draws() -> None:
    logits = torch.randn(50, 30)
    draws = [draw(logits, Sampling(), generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.2}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Sampling(**wrong)


def language_model(max_length: int = 64) -> Transformer:
    return Transformer(20, 20, width=32, depth=2, heads=2, max_length=max_length, dropout=0.0).eval().double()


def greedily(network: Transformer, prompt: list[int], number: int) -> list[int]:
    """The likeliest tokens, with the whole text read anew for each."""
    text = list(prompt)
    for _ in range(number):
        logits = network((torch.tensor([text]), torch.tensor([len(text)])))[0]
        logits[0] = -torch.inf
        text.append(int(logits.argmax()))
    return text[len(prompt) :]


def test_generation_remembers_what_reading_anew_would_tell() -> None:
    network, prompt = language_model(), torch.randint(1, 20, (5,)).tolist()
    found = list(generate(network, prompt, num_tokens=20, sampling=Sampling(0)))
    assert found == greedily(network, prompt, 20)


def test_generation_goes_on_beyond_the_models_length() -> None:
    """The older half is forgotten whenever the text has grown too long."""
    network, prompt = language_model(max_length=8), torch.randint(1, 20, (3,)).tolist()
    found = list(generate(network, prompt, num_tokens=6, sampling=Sampling(0)))
    whole = greedily(network, prompt, 6)
    assert found == whole[:6]  # text of 8 tokens is read for the sixth
    longer = list(generate(network, prompt, num_tokens=7, sampling=Sampling(0)))
    text = prompt + found
    assert longer[:6] == found
    assert longer[6] == greedily(network, text[-4:], 1)[0]


def test_a_recurrent_network_is_asked_the_same_way() -> None:
    entry = models["gru-tiny"]
    network = entry.build(InputSpec("tokens", (30,), (20,)), 20).eval()
    text = torch.randint(1, 20, (4,)).tolist()
    found = list(generate(network, text, num_tokens=5, sampling=Sampling(0)))
    for token in found:
        hidden = network.tokens((torch.tensor([text]), torch.tensor([len(text)])))
        logits: Tensor = network.head(hidden[:, -1])[0]
        assert token == int(logits[1:].argmax()) + 1
        text.append(token)


def test_it_stops_where_it_is_told_and_never_says_what_it_must_not() -> None:
    network = language_model()
    first = list(generate(network, [3, 4], num_tokens=200, sampling=Sampling(3.0), never=(0, 7, 8)))
    assert not {0, 7, 8} & set(first)
    greedy = list(generate(network, [3, 4], num_tokens=10, sampling=Sampling(0)))
    stopped = list(generate(network, [3, 4], num_tokens=10, sampling=Sampling(0), stop=greedy[-1]))
    assert stopped == greedy[: greedy.index(greedy[-1])]


def test_tokens_stream_one_by_one() -> None:
    stream = generate(language_model(), [5], num_tokens=10_000_000)
    assert 0 < next(stream) < 20
    stream.close()


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(OptionError, match="prompt is empty"):
        next(generate(language_model(), [], num_tokens=3))
