"""torchvision, timm and transformers as oracles, where they are installed: nothing in the package needs them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def torchvision() -> Iterator[ModuleType]:
    """torchvision beside a torch that its compiled operators do not fit: it only wants to know their signatures."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("torchvision")


@pytest.fixture(scope="session")
def timm(torchvision: ModuleType) -> ModuleType:
    """timm, which imports torchvision."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return importlib.import_module("timm")


@pytest.fixture(scope="session")
def transformers(request: pytest.FixtureRequest) -> ModuleType:
    """transformers, which imports torchvision where that is installed."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        request.getfixturevalue("torchvision")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("transformers")
        for name in ("BertConfig", "BertModel", "BertForMaskedLM", "GPT2LMHeadModel"):
            getattr(module, name)  # imported at first sight, warnings and all
    return module


@pytest.fixture
def randomised() -> Callable[[Callable[[], nn.Module]], nn.Module]:
    """A built module with random parameters, and normalisation layers that do something, in evaluation too."""

    def draw(build: Callable[[], nn.Module]) -> nn.Module:
        with torch.device("meta"):
            module = build()
        module.to_empty(device="cpu")
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.1)
                nn.init.normal_(layer.running_mean, std=0.1)
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
                nn.init.zeros_(layer.num_batches_tracked)
            elif isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.uniform_(layer.bias, -0.1, 0.1)
        return module

    return draw
