"""The language model against transformers' GPT-2, and what a language model may know."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.transformer import Transformer, from_huggingface


def test_a_random_gpt2s_logits_are_theirs(transformers: ModuleType) -> None:
    config = transformers.GPT2Config(
        vocab_size=300, n_embd=48, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0, attn_implementation="eager"
    )
    theirs = transformers.GPT2LMHeadModel(config).eval()
    for name, parameter in theirs.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float("ln_" in name and "weight" in name), std=0.1)
    ours = Transformer(300, 300, width=48, depth=3, heads=4, max_length=64, modern=False).eval()
    ours.load_state_dict(from_huggingface(theirs.state_dict()))
    ids = torch.randint(300, (3, 40))
    with torch.inference_mode():
        found = ours.logits((ids, torch.full((3,), 40)))
        torch.testing.assert_close(found, theirs(ids).logits, rtol=0, atol=1e-5)


def test_gpt2s_parameters_are_as_many_as_theirs(transformers: ModuleType) -> None:
    with torch.device("meta"):
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config())
        ours = models["gpt2"].build(InputSpec("tokens", (1024,), (50257,)), 50257)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 124_439_808


def tiny(*, modern: bool = True) -> Transformer:
    network = Transformer(50, 50, width=32, depth=3, heads=4, max_length=40, modern=modern, dropout=0.0)
    return network.eval().double()


@pytest.mark.parametrize("modern", [False, True])
def test_the_past_knows_nothing_of_the_future(modern: bool) -> None:
    network = tiny(modern=modern)
    ids, lengths = torch.randint(1, 50, (4, 20)), torch.full((4,), 20)
    other = torch.cat([ids[:, :12], torch.randint(1, 50, (4, 8))], 1)
    with torch.inference_mode():
        before, after = network.logits((ids, lengths)), network.logits((other, lengths))
        short = network.logits((ids[:, :12], torch.full((4,), 12)))
    torch.testing.assert_close(after[:, :12], before[:, :12], rtol=0, atol=1e-12)
    torch.testing.assert_close(short, before[:, :12], rtol=0, atol=1e-12)
    assert not torch.allclose(after[:, 12:], before[:, 12:])


@pytest.mark.parametrize("modern", [False, True])
def test_a_stream_gives_what_the_whole_text_gives(modern: bool) -> None:
    network = tiny(modern=modern)
    ids = torch.randint(1, 50, (2, 20))
    with torch.inference_mode():
        expected = network.tokens((ids, torch.full((2,), 20)))
        states, found = None, []
        for piece in ids.split([7, 1, 1, 4, 7], dim=1):
            hidden, states = network.stream(piece, states)
            found.append(hidden)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=0, atol=1e-10)


def test_a_language_models_head_is_its_embedding() -> None:
    network = tiny()
    assert not [name for name in network.state_dict() if name.startswith("head.")]
    other = tiny()
    other.load_state_dict(network.state_dict())
    ids, lengths = torch.randint(1, 50, (2, 9)), torch.tensor([9, 4])
    assert torch.equal(other((ids, lengths)), network((ids, lengths)))
    with torch.no_grad():
        network.word.weight[7] *= 2
    assert torch.equal(network.head(torch.ones(32).double()), network.word.weight.sum(1))


def test_the_answer_to_a_text_is_that_to_its_last_token() -> None:
    network = tiny()
    ids, lengths = torch.randint(1, 50, (3, 9)), torch.tensor([9, 4, 1])
    logits = network.logits((ids, lengths))
    torch.testing.assert_close(network((ids, lengths)), logits[torch.arange(3), lengths - 1])
