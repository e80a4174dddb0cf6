"""The zoo against torchvision: equal parameter counts, and equal outputs from its state dicts."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from earnest.core.registry import models
from earnest.core.words import InputSpec

Randomised = Callable[[Callable[[], nn.Module]], nn.Module]

THEIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "alexnet": ("alexnet", {}),
    "googlenet": ("googlenet", {"init_weights": False, "aux_logits": True}),
    "inception-v3": ("inception_v3", {"init_weights": False, "aux_logits": True}),
    "resnet18": ("resnet18", {}),
    "resnet34": ("resnet34", {}),
    "resnet50": ("resnet50", {}),
    "resnet101": ("resnet101", {}),
    "resnet152": ("resnet152", {}),
}
OTHER_SIZE = {"alexnet": (97, 131), "googlenet": (65, 97), "inception-v3": (99, 131)}
FAST = ("alexnet", "googlenet", "inception-v3", "resnet18", "resnet50")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in THEIRS]
)
def test_a_state_dict_of_torchvision_gives_the_same_outputs(
    name: str, torchvision: ModuleType, randomised: Randomised
) -> None:
    their_name, options = THEIRS[name]
    theirs = randomised(lambda: getattr(torchvision.models, their_name)(num_classes=17, **options))
    entry = models[name]
    shape = entry.about["input"]
    with torch.device("meta"):
        ours = entry.build(InputSpec("image", shape), 17)
    ours.load_state_dict(entry.about["layouts"]["torchvision"](theirs.state_dict()), assign=True)
    for size in (shape[1:], OTHER_SIZE.get(name, (65, 97))):
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = theirs.eval()(images)
            found = ours.eval()(images)
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("name", "number"), [("googlenet", 13_004_888), ("inception-v3", 27_161_264)])
def test_auxiliary_heads_of_torchvision_give_the_same_outputs(
    name: str, number: int, torchvision: ModuleType, randomised: Randomised
) -> None:
    their_name, options = THEIRS[name]
    theirs = randomised(lambda: getattr(torchvision.models, their_name)(**options))
    entry = models[name]
    spec = InputSpec("image", entry.about["input"])
    with torch.device("meta"):
        ours = entry.build(spec, 1000, aux=True, dropout=0.0)
    ours.load_state_dict(entry.about["layouts"]["torchvision"](theirs.state_dict(), aux=True), assign=True)
    assert sum(parameter.numel() for parameter in ours.parameters()) == number
    images = torch.randn(1, *spec.shape)
    for network in (theirs, ours):
        network.train()
        for layer in network.modules():
            if isinstance(layer, (nn.Dropout, nn.BatchNorm2d)):
                layer.eval()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    if name == "googlenet":
        expected = (expected.logits, expected.aux_logits1, expected.aux_logits2)
    for ours_out, theirs_out in zip(found, expected, strict=True):
        assert (ours_out - theirs_out).abs().max() < 1e-5 * theirs_out.abs().max()


@pytest.mark.parametrize("name", THEIRS)
def test_the_parameter_count_is_torchvisions(name: str, torchvision: ModuleType) -> None:
    their_name, options = THEIRS[name]
    with torch.device("meta"):
        theirs = getattr(torchvision.models, their_name)(**dict.fromkeys(options, False))
    assert sum(parameter.numel() for parameter in theirs.parameters()) == models[name].about["parameters"]
