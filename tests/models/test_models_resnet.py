"""Residual networks: the small ones by the paper's counts and by public weights, and what they refuse."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.resnet import PaddedShortcut, from_torchvision, resnet18, resnet_small

CIFAR10 = InputSpec("image", (3, 32, 32))
DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_small_networks_have_the_papers_size(depth: int, millions: float) -> None:
    """Table 6 of the paper, to its two digits."""
    with torch.device("meta"):
        network = resnet_small(CIFAR10, 10, depth=depth)
    number = sum(parameter.numel() for parameter in network.parameters())
    assert float(f"{number / 1e6:.2g}") == millions
    layers = sum(1 for module in network.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)))
    assert layers == depth


def test_a_depth_that_is_not_6n_plus_2_is_refused() -> None:
    with pytest.raises(OptionError, match="depth=21"):
        resnet_small(CIFAR10, 10, depth=21)


def test_images_that_are_too_small_are_refused_with_advice() -> None:
    with pytest.raises(OptionError, match=r"28 x 28.*at least 32 x 32.*'resnet-small'"):
        resnet18(InputSpec("image", (1, 28, 28)), 10)


def test_a_padded_shortcut_takes_every_other_pixel_and_adds_zeros() -> None:
    images = torch.randn(2, 3, 5, 6)
    found = PaddedShortcut(2, 4)(images)
    assert found.shape == (2, 7, 3, 3)
    for y in range(3):
        for x in range(3):
            assert torch.equal(found[:, 2:5, y, x], images[:, :, 2 * y, 2 * x])
    assert not found[:, [0, 1, 5, 6]].any()


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "weights-cifar10-resnet20").exists(), reason="the public ResNet-20 weights are not here"
)
def test_public_resnet20_weights_score_as_with_their_own_code() -> None:
    """81.03% on the JPEG-compressed test images was measured with the weights' own code."""
    network = models["resnet-small"].build(CIFAR10, 10)
    network.load_state_dict(published_resnet20())
    images, labels = cifar10_test()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    right = 0
    with torch.inference_mode():
        for batch, answers in zip(images.split(500), labels.split(500), strict=True):
            right += int((network.eval()((batch / 255 - mean) / std).argmax(1) == answers).sum())
    assert right / len(labels) == pytest.approx(0.8103, abs=0.002)


def published_resnet20() -> dict[str, Tensor]:
    """The state dict of github.com/akamaster/pytorch_resnet_cifar10, whose names are nearly torchvision's."""
    file = DATA / "weights-cifar10-resnet20" / "resnet20-12fca82f.th"
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    names = {name: name.removeprefix("module.").replace("linear.", "fc.") for name in state}
    return from_torchvision({names[name]: tensor for name, tensor in state.items()})


def cifar10_test() -> tuple[Tensor, Tensor]:
    """(10000, 3, 32, 32) pixels from 0 to 255, and their classes."""
    pixels, names = [], []
    with tarfile.open(DATA / "cifar10" / "cifar10_test_jpg.tar.xz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                pixels.append(np.asarray(Image.open(io.BytesIO(file.read()))))
                names.append(Path(member.name).stem.split("_")[1])
    classes = {name: index for index, name in enumerate(sorted(set(names)))}
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float(), torch.tensor([classes[n] for n in names])
