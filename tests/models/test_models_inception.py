"""GoogLeNet and Inception-v3 beyond what torchvision has: the published variant, auxiliary heads, image sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec

IMAGENET = InputSpec("image", (3, 224, 224))


def test_googlenet_as_published_has_its_parameters_with_auxiliary_heads_too() -> None:
    with torch.device("meta"):
        network = models["googlenet-original"].build(IMAGENET, 1000, aux=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_378_280
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_auxiliary_logits_come_in_training_only_and_reach_the_first_layer() -> None:
    network = models["googlenet-tiny"].build(InputSpec("image", (3, 64, 64)), 5, aux=True)
    images = torch.randn(4, 3, 64, 64)
    assert network.eval()(images).shape == (4, 5)
    logits, first, second = network.train()(images)
    assert logits.shape == first.shape == second.shape == (4, 5)
    for output in (first, second):
        network.zero_grad()
        output.square().sum().backward(retain_graph=True)
        assert network.conv1.conv.weight.grad.abs().max() > 0
        assert network.head.weight.grad is None


def test_inception_v3s_auxiliary_head_needs_large_images() -> None:
    build = models["inception-v3"].build
    with torch.device("meta"):
        build(InputSpec("image", (3, 75, 75)), 10)
        with pytest.raises(OptionError, match="at least 299 x 299"):
            build(InputSpec("image", (3, 298, 299)), 10, aux=True)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("alexnet", 63),
        ("alexnet-original", 63),
        ("googlenet", 32),
        ("googlenet-original", 32),
        ("inception-v3", 75),
        ("efficientnet-lite0", 32),
        ("resnet18", 32),
        ("resnet-small", 8),
    ],
)
def test_the_smallest_size_is_as_stated(name: str, smallest: int) -> None:
    with torch.device("meta"):
        spec = InputSpec("image", (4, smallest, smallest))
        network = models[name].build(spec, 3).eval()
        assert network(torch.empty(1, *spec.shape)).shape == (1, 3)
        with pytest.raises(OptionError, match=f"at least {smallest} x {smallest}"):
            models[name].build(InputSpec("image", (4, smallest, smallest - 1)), 3)
