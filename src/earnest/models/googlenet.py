"""GoogLeNet, the first Inception network: with batch normalisation as torchvision has it, and as published.

C. Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.conv import ConvNorm
from earnest.nn.init import he_normal
from earnest.nn.inputs import image_shape

PAPER = "Szegedy et al., Going deeper with convolutions, arXiv:1409.4842"
Conv = Callable[..., ConvNorm]

WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper: channels of 1 x 1; reduction and 3 x 3; reduction and 5 x 5; the pool's projection."""


class Concat(nn.Module):
    """Every branch sees the same input; their channels are put side by side."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def inception(conv: Conv, channels: int, widths: Sequence[int], *, large_kernel: int) -> Concat:
    """One Inception block; `widths` as in `WIDTHS`."""
    one, reduced3, three, reduced5, five, projected = widths
    return Concat(
        branch1=conv(channels, one, 1),
        branch2=nn.Sequential(conv(channels, reduced3, 1), conv(reduced3, three, 3, padding=1)),
        branch3=nn.Sequential(
            conv(channels, reduced5, 1), conv(reduced5, five, large_kernel, padding=large_kernel // 2)
        ),
        branch4=nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(channels, projected, 1)),
    )


class AuxiliaryHead(nn.Module):
    """A classifier on an inner map, which brings gradients to the layers below it in training.

    Its pool adapts to the map; on the paper's 14 x 14 it gives the paper's 4 x 4.
    """

    def __init__(self, conv: Conv, channels: int, num_outputs: int, *, divide: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = conv(channels, 128 // divide, 1)
        self.fc1 = nn.Linear(128 // divide * 16, 1024 // divide)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024 // divide, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(self.conv(self.pool(x)).flatten(1)).relu()
        return self.fc2(self.dropout(x))


class GoogLeNet(nn.Module):
    """A stem, nine Inception blocks, the mean over the map, a head.

    Args:
        aux: have auxiliary heads on blocks 4a and 4d. Then, in training only, the output is the triple (logits, those
            on 4a, those on 4d), of which the paper's loss weighs the latter two by 0.3.
        original: as published: biases and response normalisation in place of batch normalisation, a 5 x 5 branch that
            is one, and a 3 x 3 fourth pool; otherwise as torchvision's, whose 5 x 5 branch is a 3 x 3.
        divide: every width is divided by this.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        *,
        aux: bool = False,
        original: bool = False,
        divide: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        conv: Conv = partial(ConvNorm, norm=not original, eps=1e-3)
        self.conv1 = conv(channels, 64 // divide, 7, stride=2, padding=3)
        self.conv2 = conv(64 // divide, 64 // divide, 1)
        self.conv3 = conv(64 // divide, 192 // divide, 3, padding=1)
        self.norm = nn.LocalResponseNorm(5) if original else nn.Identity()
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.pool5 = nn.MaxPool2d(3 if original else 2, stride=2, ceil_mode=True)
        self.blocks = nn.ModuleDict()
        current = 192 // divide
        channels_after = {}
        for name, standard in WIDTHS.items():
            widths = [width // divide for width in standard]
            self.blocks[name] = inception(conv, current, widths, large_kernel=5 if original else 3)
            one, _, three, _, five, projected = widths
            current = channels_after[name] = one + three + five + projected
        self.aux1 = AuxiliaryHead(conv, channels_after["4a"], num_outputs, divide=divide) if aux else None
        self.aux2 = AuxiliaryHead(conv, channels_after["4d"], num_outputs, divide=divide) if aux else None
        self.num_features = current
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(current, num_outputs)
        he_normal(self)

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """What each Inception block makes of the image."""
        x = self.norm(self.pool(self.conv1(x)))
        x = self.pool(self.norm(self.conv3(self.conv2(x))))
        maps = {}
        for name, block in self.blocks.items():
            if name == "4a":
                x = self.pool(x)
            elif name == "5a":
                x = self.pool5(x)
            x = maps[name] = block(x)
        return maps

    def features(self, x: Tensor) -> Tensor:
        return self.maps(x)["5b"].mean((2, 3))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        maps = self.maps(x)
        logits = self.head(self.dropout(maps["5b"].mean((2, 3))))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(maps["4a"]), self.aux2(maps["4d"])
        return logits


def from_torchvision(state: Mapping[str, Tensor], *, aux: bool = False) -> dict[str, Tensor]:
    """A state dict from torchvision's; `aux` keeps its auxiliary heads."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("aux") and not aux:
            continue
        name = re.sub(r"^inception(\d[a-e])\.", r"blocks.\1.", name)
        renamed[re.sub(r"^fc\.", "head.", name)] = tensor
    return renamed


@models.register(
    "googlenet",
    family="googlenet",
    title="GoogLeNet (Inception v1) with batch normalisation",
    year=2014,
    paper=PAPER,
    input=(3, 224, 224),
    parameters=6_624_904,
    reference="69.78% top-1, 89.53% top-5 on ImageNet (torchvision's weights)",
    reproduced="parameters equal torchvision's, with and without auxiliary heads, and outputs to 1e-5",
    kinds=("image",),
    tiny=False,
    preprocessing={"size": 224, "mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    layouts={"torchvision": from_torchvision},
)
def googlenet(spec: InputSpec, num_outputs: int, *, aux: bool = False, dropout: float = 0.2) -> GoogLeNet:
    channels, _, _ = image_shape(spec, model="googlenet", smallest=32)
    return GoogLeNet(channels, num_outputs, aux=aux, dropout=dropout)


@models.register(
    "googlenet-original",
    family="googlenet",
    title="GoogLeNet as published",
    year=2014,
    paper=PAPER,
    input=(3, 224, 224),
    parameters=6_998_552,
    reference="6.67% top-5 error on ImageNet, seven networks and 144 crops; 10.07% for one and one (the paper's)",
    reproduced="the parameter count, with and without auxiliary heads",
    kinds=("image",),
    tiny=False,
)
def googlenet_original(spec: InputSpec, num_outputs: int, *, aux: bool = False, dropout: float = 0.4) -> GoogLeNet:
    channels, _, _ = image_shape(spec, model="googlenet-original", smallest=32)
    return GoogLeNet(channels, num_outputs, aux=aux, original=True, dropout=dropout)


@models.register(
    "googlenet-tiny",
    family="googlenet",
    title="GoogLeNet, tiny",
    year=2014,
    paper=PAPER,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=23_859,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def googlenet_tiny(spec: InputSpec, num_outputs: int, *, aux: bool = False, dropout: float = 0.0) -> GoogLeNet:
    channels, _, _ = image_shape(spec, model="googlenet-tiny", smallest=16)
    return GoogLeNet(channels, num_outputs, aux=aux, divide=16, dropout=dropout)
