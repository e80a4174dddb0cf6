"""Word2Vec as a network: its scores by hand, its loss against the paper's formula, and what it refuses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.word2vec import Word2Vec


@pytest.mark.parametrize("average", [False, True])
def test_scores_are_products_of_means_of_rows_and_targets(average: bool) -> None:
    network = Word2Vec(20, 9, width=5, average=average)
    torch.nn.init.normal_(network.outputs)
    bags = [torch.tensor([1, 12, 13]), torch.tensor([2])]
    chosen = torch.tensor([4, 0, 8])
    vectors = [network.inputs[[1, 12, 13]].mean(0), network.inputs[2]]
    if average:
        vectors = [network.inputs[[1, 12, 13, 2]].mean(0)]
    expected = torch.stack([torch.stack([v @ network.outputs[j] for j in (4, 0, 8)]) for v in vectors])
    torch.testing.assert_close(network(bags, chosen), expected)
    labels = torch.tensor([1.0, 0, 0])
    negative_sampling = -(F.logsigmoid(expected[:, 0]).sum() + F.logsigmoid(-expected[:, 1:]).sum())
    torch.testing.assert_close(network.loss(bags, chosen, labels), negative_sampling)


@pytest.mark.parametrize("name", ["skip-gram", "cbow"])
def test_options_make_its_size_and_bad_ones_are_named(name: str) -> None:
    spec = InputSpec("tokens", (5,), (100,))
    network = models[name].build(spec, 99, width=8, subwords=True, buckets=50)
    assert network.inputs.shape == (150, 8)
    assert network.outputs.shape == (99, 8)
    assert network.average == (name == "cbow")
    assert network.inputs.abs().max() <= 0.5 / 8
    assert not network.outputs.any()
    for options in ({"width": 0}, {"negatives": -1}, {"sample": "much"}):
        with pytest.raises(OptionError, match=f"option {next(iter(options))} is"):
            models[name].build(spec, 100, **options)
    with pytest.raises(OptionError, match="reads running text"):
        models[name].build(InputSpec("image", (3, 8, 8)), 10)
