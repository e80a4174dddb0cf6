"""Recurrent networks: their sizes by formula, their pools by definition, and that they remember."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.recurrent import Pooling, RecurrentNetwork
from earnest.nn.recurrent import CellName

GATES = {"elman": 1, "lstm": 4, "bilstm": 4, "gru": 3, "bigru": 3}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("depth", [1, 3])
def test_sizes_are_by_formula(name: str, depth: int) -> None:
    vocabulary, embedding, width, outputs = 50, 12, 20, 3
    network = models[name].build(
        InputSpec("tokens", (9,), (vocabulary,)), outputs, embedding_width=embedding, width=width, depth=depth
    )
    directions = 2 if name.startswith("bi") else 1
    expected = vocabulary * embedding + (directions * width + 1) * outputs
    for layer in range(depth):
        num_inputs = embedding if layer == 0 else directions * width
        expected += directions * GATES[name] * width * (num_inputs + width + 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_mingru_has_two_matrices_a_layer_and_a_norm() -> None:
    network = models["mingru"].build(InputSpec("tokens", (9,), (50,)), 3, embedding_width=12, width=20, depth=2)
    layers = 2 * (12 + 1) * 20 + 12 + 2 * (20 + 1) * 20 + 20
    assert sum(parameter.numel() for parameter in network.parameters()) == 50 * 12 + layers + 21 * 3


def texts(number: int = 6, longest: int = 9) -> tuple[Tensor, Tensor]:
    lengths = torch.randint(1, longest + 1, (number,))
    lengths[0] = longest
    return torch.randint(1, 50, (number, longest)) * (torch.arange(longest) < lengths[:, None]), lengths


@pytest.mark.parametrize("name", ["lstm", "bigru", "mingru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_text_is_pooled_over_its_own_tokens(name: str, pooling: Pooling) -> None:
    network = models[name].build(InputSpec("tokens", (9,), (50,)), 3, width=8, pooling=pooling)
    ids, lengths = texts()
    features = network.features((ids, lengths))
    half = 8 if name == "bigru" else network.num_features
    for row, length in enumerate(lengths.tolist()):
        hidden = network.tokens((ids[row : row + 1, :length], lengths[row : row + 1]))[0]
        expected = {
            "last": torch.cat([hidden[-1, :half], hidden[0, half:]]),
            "mean": hidden.mean(0),
            "max": hidden.max(0).values,
        }[pooling]
        torch.testing.assert_close(features[row], expected)


def test_word_vectors_are_taken_whole_or_for_some_words() -> None:
    network = models["lstm"].build(InputSpec("tokens", (9,), (50,)), 3, embedding_width=12)
    vectors = torch.randn(50, 12, dtype=torch.float64)
    network.set_embeddings(vectors)
    assert torch.equal(network.embedding.weight, vectors.float())
    some = torch.randn(2, 12)
    network.set_embeddings(some, torch.tensor([7, 3]))
    assert torch.equal(network.embedding.weight[[7, 3]], some)
    assert torch.equal(network.embedding.weight[4:7], vectors[4:7].float())
    for wrong in (torch.randn(50, 13), torch.randn(49, 12)):
        with pytest.raises(OptionError, match="set embedding_width"):
            network.set_embeddings(wrong)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    network = models["bilstm"].build(InputSpec("tokens", (9,), (50,)), 3, depth=2, dropout=0.3, weight_dropout=0.3)
    inputs = texts()
    assert torch.equal(network.eval()(inputs), network(inputs))
    assert not torch.equal(network.train()(inputs), network(inputs))


def test_a_text_that_goes_on_is_read_as_one() -> None:
    network = models["lstm"].build(InputSpec("tokens", (9,), (50,)), 3, depth=2).eval()
    ids = torch.randint(1, 50, (2, 9))
    first, states = network.stream(ids[:, :4])
    second, _ = network.stream(ids[:, 4:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), network.tokens((ids, torch.tensor([9, 9]))))


def learned_parity(cell: CellName, longest: int, *, steps: int, lr: float) -> float:
    """Accuracy on fresh texts at telling whether two words far apart, among others that say nothing, are the same.

    Whoever forgets the first of them, or learns nothing from it, is right half the time.
    """
    torch.manual_seed(0)
    network = RecurrentNetwork(7, 2, cell=cell, embedding_width=16, width=64, pooling="last")
    optimiser = torch.optim.Adam(network.parameters(), lr=lr)

    def some(number: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        lengths = torch.randint(longest // 2, longest + 1, (number,))
        middle = lengths // 2
        first = (torch.rand(number) * middle).long()
        second = middle + (torch.rand(number) * (lengths - middle)).long()
        words = torch.randint(1, 3, (number, 2))
        ids = torch.randint(3, 7, (number, longest)).scatter(1, torch.stack([first, second], 1), words)
        return (ids * (torch.arange(longest) < lengths[:, None]), lengths), (words[:, 0] == words[:, 1]).long()

    for _ in range(steps):
        inputs, answers = some(64)
        optimiser.zero_grad()
        F.cross_entropy(network(inputs), answers).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        inputs, answers = some(1000)
        return float((network.eval()(inputs).argmax(1) == answers).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "longest", "lr"), [("elman", 10, 3e-3), ("lstm", 20, 1e-2), ("gru", 20, 1e-2), ("mingru", 20, 1e-2)]
)
def test_what_was_read_first_decides_what_is_said_at_the_end(cell: CellName, longest: int, lr: float) -> None:
    assert learned_parity(cell, longest, steps=300, lr=lr) > 0.98
