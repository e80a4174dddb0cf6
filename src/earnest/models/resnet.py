"""Residual networks: for large images (18 to 152 layers) and for small ones (6n + 2 layers).

K. He, X. Zhang, S. Ren & J. Sun, "Deep residual learning for image recognition", arXiv:1512.03385.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.init import he_normal
from earnest.nn.inputs import image_shape

PAPER = "He, Zhang, Ren & Sun, Deep residual learning for image recognition, arXiv:1512.03385"
PREPROCESSING = {"size": 224, "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
"""What the published weights expect: pixels a side; (RGB - mean) / std, in units of 0 to 255."""


class Block(nn.Module):
    """Two 3 x 3 convolutions around which the input is added."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out))
        return (out + self.shortcut(x)).relu()


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between a 1 x 1 that narrows and a 1 x 1 that widens; the 3 x 3 strides ("v1.5")."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        out = self.bn3(self.conv3(out))
        return (out + self.shortcut(x)).relu()


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel, and channels of zeros: the paper's option A, which has no parameters."""

    def __init__(self, stride: int, extra_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra_channels = extra_channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.extra_channels // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra_channels - before))


class ResNet(nn.Module):
    """A stem, stages of blocks that each halve the map (but for the first), the mean over the map, a head.

    Args:
        block: `Block` or `Bottleneck`.
        depths: blocks in each stage.
        width: channels of the first stage; every further stage doubles them.
        small: the network for small images: a 3 x 3 stem that keeps the size, and shortcuts without parameters;
            otherwise a 7 x 7 stem and a pool that quarter it, and shortcuts that project (option B).
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        *,
        block: type[Block] | type[Bottleneck],
        depths: Sequence[int],
        width: int = 64,
        small: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if small:
            self.stem = nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),
            )
        self.stages = nn.Sequential()
        current = width
        for stage, depth in enumerate(depths):
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                wide = width * 2**stage
                shortcut = _shortcut(current, wide * block.expansion, stride, padded=small)
                blocks.append(block(current, wide, stride, shortcut))
                current = wide * block.expansion
            self.stages.append(blocks)
        self.num_features = current
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(current, num_outputs)
        he_normal(self)

    def features(self, x: Tensor) -> Tensor:
        return self.stages(self.stem(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


def _shortcut(channels: int, wide: int, stride: int, *, padded: bool) -> nn.Module:
    if stride == 1 and channels == wide:
        return nn.Identity()
    if padded:
        return PaddedShortcut(stride, wide - channels)
    return nn.Sequential(nn.Conv2d(channels, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide))


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict from torchvision's (and timm's, which has the same names) for the networks for large images."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^conv1\.", "stem.0.", name)
        name = re.sub(r"^bn1\.", "stem.1.", name)
        name = re.sub(r"^layer(\d)", lambda match: f"stages.{int(match[1]) - 1}", name)
        name = re.sub(r"^fc\.", "head.", name)
        renamed[name.replace(".downsample.", ".shortcut.")] = tensor
    return renamed


LARGE = {
    "family": "resnet",
    "year": 2015,
    "paper": PAPER,
    "input": (3, 224, 224),
    "reproduced": "parameters equal torchvision's, and outputs to 1e-5",
    "kinds": ("image",),
    "tiny": False,
    "preprocessing": PREPROCESSING,
    "layouts": {"torchvision": from_torchvision, "timm": from_torchvision},
}
"""What is known of all networks for large images."""


def _large(
    spec: InputSpec,
    num_outputs: int,
    model: str,
    block: type[Block] | type[Bottleneck],
    depths: Sequence[int],
    dropout: float,
) -> ResNet:
    channels, _, _ = image_shape(spec, model=model, smallest=32)
    return ResNet(channels, num_outputs, block=block, depths=depths, dropout=dropout)


@models.register(
    "resnet18",
    title="ResNet-18",
    parameters=11_689_512,
    reference="69.76% top-1, 89.08% top-5 on ImageNet (torchvision's weights)",
    **LARGE,
)
def resnet18(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    return _large(spec, num_outputs, "resnet18", Block, (2, 2, 2, 2), dropout)


@models.register(
    "resnet34",
    title="ResNet-34",
    parameters=21_797_672,
    reference="25.03% top-1 error on ImageNet with ten crops (the paper's, option A)",
    **LARGE,
)
def resnet34(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    return _large(spec, num_outputs, "resnet34", Block, (3, 4, 6, 3), dropout)


@models.register(
    "resnet50",
    title="ResNet-50",
    parameters=25_557_032,
    reference="76.13% top-1 on ImageNet, 80.86% with a later recipe (torchvision's weights)",
    **LARGE,
)
def resnet50(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    return _large(spec, num_outputs, "resnet50", Bottleneck, (3, 4, 6, 3), dropout)


@models.register(
    "resnet101",
    title="ResNet-101",
    parameters=44_549_160,
    reference="77.37% top-1 on ImageNet, 81.89% with a later recipe (torchvision's weights)",
    **LARGE,
)
def resnet101(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    return _large(spec, num_outputs, "resnet101", Bottleneck, (3, 4, 23, 3), dropout)


@models.register(
    "resnet152",
    title="ResNet-152",
    parameters=60_192_808,
    reference="78.31% top-1 on ImageNet, 82.28% with a later recipe (torchvision's weights)",
    **LARGE,
)
def resnet152(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    return _large(spec, num_outputs, "resnet152", Bottleneck, (3, 8, 36, 3), dropout)


@models.register(
    "resnet-small",
    family="resnet",
    title="ResNet-20 for small images",
    year=2015,
    paper=PAPER,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=269_722,
    reference="8.75% error on CIFAR-10; 6.97% with depth=56 (the paper's, section 4.2)",
    reproduced="public ResNet-20 weights score 81% on JPEG-compressed CIFAR-10, as with their own code",
    kinds=("image",),
    tiny=False,
)
def resnet_small(
    spec: InputSpec, num_outputs: int, *, depth: int = 20, width: int = 16, dropout: float = 0.0
) -> ResNet:
    """The network of section 4.2: `depth` = 6n + 2 layers, n blocks in each of three stages.

    Raises:
        OptionError: `depth` is not of this form, or the images are smaller than 8 x 8.
    """
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise OptionError(f"resnet-small has 6n + 2 layers (8, 14, 20, 32, 56, 110, ...), so depth={depth} cannot be.")
    channels, _, _ = image_shape(spec, model="resnet-small", smallest=8, instead="mlp")
    return ResNet(channels, num_outputs, block=Block, depths=(n, n, n), width=width, small=True, dropout=dropout)


@models.register(
    "resnet-tiny",
    family="resnet",
    title="ResNet-8 for small images, tiny",
    year=2015,
    paper=PAPER,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=19_218,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def resnet_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> ResNet:
    channels, _, _ = image_shape(spec, model="resnet-tiny", smallest=8, instead="mlp")
    return ResNet(channels, num_outputs, block=Block, depths=(1, 1, 1), width=8, small=True, dropout=dropout)
