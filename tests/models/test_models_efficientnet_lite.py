"""EfficientNet-Lite against timm's, and TensorFlow's weights on real photographs."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from earnest.core import weights
from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.efficientnet_lite import SameConv, from_official, from_timm, round_width

PHOTOS = Path(os.environ.get("EARNEST_DATA", "../shared/data")) / "imagenet-sample-1000" / "imagenet_sample_224.tar"
NAMES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_of_timm_gives_the_same_outputs(
    name: str, timm: ModuleType, randomised: Callable[[Callable[[], nn.Module]], nn.Module]
) -> None:
    theirs = randomised(lambda: timm.create_model("tf_" + name.replace("-", "_"), num_classes=17))
    shape = models[name].about["input"]
    with torch.device("meta"):
        ours = models[name].build(InputSpec("image", shape), 17)
    ours.load_state_dict(from_timm(theirs.state_dict()), assign=True)
    for size in (shape[1:], (97, 130)):
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            expected = theirs.eval()(images)
            found = ours.eval()(images)
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", NAMES)
def test_the_parameter_count_is_timms(name: str, timm: ModuleType) -> None:
    with torch.device("meta"):
        theirs = timm.create_model("tf_" + name.replace("-", "_"))
    assert sum(parameter.numel() for parameter in theirs.parameters()) == models[name].about["parameters"]


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("size", [7, 8])
def test_padding_is_tensorflows(kernel_size: int, size: int) -> None:
    """As the definition has it: ceil(n / 2) outputs, window i starting at 2i minus half the padding, rounded down."""
    layer = SameConv(1, 1, kernel_size, stride=2, activation=None).eval()
    image = torch.randn(1, 1, size, size)
    kernel = layer.conv.weight[0, 0]
    num_outputs = -(-size // 2)
    before = max((num_outputs - 1) * 2 + kernel_size - size, 0) // 2
    expected = torch.zeros(num_outputs, num_outputs)
    for i in range(num_outputs):
        for j in range(num_outputs):
            for u in range(kernel_size):
                for v in range(kernel_size):
                    y, x = 2 * i - before + u, 2 * j - before + v
                    if 0 <= y < size and 0 <= x < size:
                        expected[i, j] += image[0, 0, y, x] * kernel[u, v]
    found = layer(image)[0, 0] * (1 + 1e-3) ** 0.5  # undo the fresh normalisation
    torch.testing.assert_close(found, expected)


def test_widths_are_multiples_of_8_and_never_shrink_by_more_than_a_tenth() -> None:
    for width in range(8, 400):
        rounded = round_width(width)
        assert rounded % 8 == 0
        assert 0.9 * width <= rounded <= max(width + 8, 8)
    assert [round_width(1.1 * width) for width in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    about = models["efficientnet-lite0"].about
    try:
        state = weights.load_state_dict(about["weights"], offline=True, announce=print)
    except OptionError as error:
        pytest.skip(str(error))
    network = models["efficientnet-lite0"].build(InputSpec("image", about["input"]), 1000)
    network.load_state_dict(from_official(state))
    return network.eval()


@pytest.mark.skipif(not PHOTOS.exists(), reason="the ImageNet sample is not here")
@pytest.mark.parametrize(
    ("every", "top1", "top5"), [(40, 0.7, 0.85), pytest.param(1, 0.865, 0.965, marks=pytest.mark.slow)]
)
def test_tensorflows_weights_know_imagenet(lite0: nn.Module, every: int, top1: float, top5: float) -> None:
    """87.2% and 97.0% of all 1,000 training photographs were measured with the weights' own code."""
    about = models["efficientnet-lite0"].about["preprocessing"]
    images, classes = photos(every)
    scaled = (images - torch.tensor(about["mean"]).view(3, 1, 1)) / torch.tensor(about["std"]).view(3, 1, 1)
    with torch.inference_mode():
        best = torch.cat([lite0(batch).topk(5).indices for batch in scaled.split(50)])
    hits = best == classes[:, None]
    assert hits[:, 0].float().mean() >= top1
    assert hits.any(1).float().mean() >= top5


def photos(every: int) -> tuple[Tensor, Tensor]:
    """Every n-th photograph (N, 3, 224, 224) from 0 to 255, and its class."""
    pixels, classes = [], []
    with tarfile.open(PHOTOS) as tar:
        members = sorted((m for m in tar.getmembers() if m.name.endswith(".jpg")), key=lambda m: m.name)
        for member in members[::every]:
            file = tar.extractfile(member)
            assert file is not None
            pixels.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
            classes.append(int(Path(member.name).name.split("_")[0]))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float(), torch.tensor(classes)
