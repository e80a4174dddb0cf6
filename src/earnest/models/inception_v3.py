"""Inception-v3: large convolutions factorised into small and one-dimensional ones, with batch normalisation.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens & Z. Wojna, "Rethinking the Inception architecture for computer vision",
arXiv:1512.00567. The layout follows the weights that Google released, as torchvision has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.googlenet import Concat
from earnest.nn.conv import ConvNorm
from earnest.nn.init import he_normal
from earnest.nn.inputs import image_shape

PAPER = "Szegedy et al., Rethinking the Inception architecture for computer vision, arXiv:1512.00567"

conv = partial(ConvNorm, eps=1e-3)
conv3x3 = partial(conv, kernel_size=3, padding=1)
wide = partial(conv, kernel_size=(1, 7), padding=(0, 3))
tall = partial(conv, kernel_size=(7, 1), padding=(3, 0))


def pooled(channels: int, width: int) -> nn.Sequential:
    """The branch that averages neighbours and projects."""
    return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), conv(channels, width, 1))


def block_a(channels: int, divide: int, pool_width: int) -> Concat:
    """Figure 5: a 5 x 5 beside two 3 x 3."""
    w48, w64, w96, wpool = (width // divide for width in (48, 64, 96, pool_width))
    return Concat(
        branch1x1=conv(channels, w64, 1),
        branch5x5=nn.Sequential(conv(channels, w48, 1), conv(w48, w64, 5, padding=2)),
        branch3x3dbl=nn.Sequential(conv(channels, w64, 1), conv3x3(w64, w96), conv3x3(w96, w96)),
        branch_pool=pooled(channels, wpool),
    )


def block_b(channels: int, divide: int) -> Concat:
    """Figure 10: halves the map, 35 to 17."""
    w64, w96, w384 = (width // divide for width in (64, 96, 384))
    return Concat(
        branch3x3=conv(channels, w384, 3, stride=2),
        branch3x3dbl=nn.Sequential(conv(channels, w64, 1), conv3x3(w64, w96), conv(w96, w96, 3, stride=2)),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def block_c(channels: int, divide: int, seven_width: int) -> Concat:
    """Figure 6: 7 x 7 convolutions as 1 x 7 and 7 x 1."""
    w192, seven = 192 // divide, seven_width // divide
    return Concat(
        branch1x1=conv(channels, w192, 1),
        branch7x7=nn.Sequential(conv(channels, seven, 1), wide(seven, seven), tall(seven, w192)),
        branch7x7dbl=nn.Sequential(
            conv(channels, seven, 1), tall(seven, seven), wide(seven, seven), tall(seven, seven), wide(seven, w192)
        ),
        branch_pool=pooled(channels, w192),
    )


def block_d(channels: int, divide: int) -> Concat:
    """Halves the map, 17 to 8."""
    w192, w320 = 192 // divide, 320 // divide
    return Concat(
        branch3x3=nn.Sequential(conv(channels, w192, 1), conv(w192, w320, 3, stride=2)),
        branch7x7x3=nn.Sequential(
            conv(channels, w192, 1), wide(w192, w192), tall(w192, w192), conv(w192, w192, 3, stride=2)
        ),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def block_e(channels: int, divide: int) -> Concat:
    """Figure 7: 3 x 3 convolutions spread into 1 x 3 and 3 x 1 side by side."""
    w192, w320, w384, w448 = (width // divide for width in (192, 320, 384, 448))

    def spread() -> Concat:
        return Concat(a=conv(w384, w384, (1, 3), padding=(0, 1)), b=conv(w384, w384, (3, 1), padding=(1, 0)))

    return Concat(
        branch1x1=conv(channels, w320, 1),
        branch3x3=nn.Sequential(conv(channels, w384, 1), spread()),
        branch3x3dbl=nn.Sequential(conv(channels, w448, 1), conv3x3(w448, w384), spread()),
        branch_pool=pooled(channels, w192),
    )


class AuxiliaryHead(nn.Module):
    """The classifier on the last 17 x 17 map, which brings gradients to the layers below it in training."""

    def __init__(self, channels: int, num_outputs: int) -> None:
        super().__init__()
        self.conv0 = conv(channels, 128, 1)
        self.conv1 = conv(128, 768, 5)
        self.fc = nn.Linear(768, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        return self.fc(x.mean((2, 3)))


class InceptionV3(nn.Module):
    """A stem, blocks on maps of 35, 17 and 8 pixels (for images of 299), the mean over the map, a head.

    Args:
        aux: have the auxiliary head. Then, in training only, the output is the pair (logits, auxiliary logits), of
            which the second is usually weighed by 0.4.
        small: for small images: a stem of one 3 x 3 convolution that keeps the size.
        pool_widths: the pool branch's width in each block A; the last is 64.
        seven_widths: the width of the 7 x 7 branches in each block C.
        num_spread: the number of blocks E.
        divide: every width is divided by this.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        *,
        aux: bool = False,
        small: bool = False,
        pool_widths: Sequence[int] = (32, 64, 64),
        seven_widths: Sequence[int] = (128, 160, 160, 192),
        num_spread: int = 2,
        divide: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        w32, w64, w80, w192, w768 = (width // divide for width in (32, 64, 80, 192, 768))
        if small:
            self.stem = nn.Sequential(conv3x3(channels, w192))
        else:
            self.stem = nn.Sequential(
                conv(channels, w32, 3, stride=2),
                conv(w32, w32, 3),
                conv3x3(w32, w64),
                nn.MaxPool2d(3, stride=2),
                conv(w64, w80, 1),
                conv(w80, w192, 3),
            )
        widths = [w192, *((224 + pool_width) // divide for pool_width in pool_widths)]
        self.mixed_5 = nn.Sequential(
            nn.MaxPool2d(3, stride=2),
            *(block_a(width, divide, pool_width) for width, pool_width in zip(widths, pool_widths, strict=False)),
        )
        self.mixed_6 = nn.Sequential(
            block_b(widths[-1], divide), *(block_c(w768, divide, seven_width) for seven_width in seven_widths)
        )
        self.num_features = 2048 // divide
        widths = [1280 // divide] + [self.num_features] * (num_spread - 1)
        self.mixed_7 = nn.Sequential(block_d(w768, divide), *(block_e(width, divide) for width in widths))
        self.aux = AuxiliaryHead(w768, num_outputs) if aux else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_outputs)
        he_normal(self)

    def features(self, x: Tensor) -> Tensor:
        return self.mixed_7(self._inner(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        inner = self._inner(x)
        logits = self.head(self.dropout(self.mixed_7(inner).mean((2, 3))))
        if self.training and self.aux is not None:
            return logits, self.aux(inner)
        return logits

    def _inner(self, x: Tensor) -> Tensor:
        return self.mixed_6(self.mixed_5(self.stem(x)))


STEM = {"conv2d_1a_3x3": 0, "conv2d_2a_3x3": 1, "conv2d_2b_3x3": 2, "conv2d_3b_1x1": 4, "conv2d_4a_3x3": 5}


def from_torchvision(state: Mapping[str, Tensor], *, aux: bool = False) -> dict[str, Tensor]:
    """A state dict from torchvision's; `aux` keeps its auxiliary head.

    torchvision numbers layers within a branch from 1 (`branch7x7_2`), those side by side by letters (`_2a`, `_2b`), and
    blocks of equal maps by letters (`Mixed_5b`; 5a is a pool).
    """
    renamed = {}
    for name, tensor in state.items():
        name = name.lower()
        if name.startswith("auxlogits.") and not aux:
            continue
        name = re.sub(r"^(conv2d_\w+)", lambda match: f"stem.{STEM[match[1]]}", name)
        name = re.sub(r"^mixed_(\d)([a-e])", lambda match: f"mixed_{match[1]}.{'abcde'.index(match[2])}", name)
        name = re.sub(r"(branch\w+)_(\d)", lambda match: f"{match[1]}.{int(match[2]) - 1}", name)
        name = re.sub(r"(branch[\w]+\.\d)([ab])\.", r"\1.\2.", name)
        name = name.replace("branch_pool.", "branch_pool.1.").replace("auxlogits.", "aux.")
        renamed[re.sub(r"^fc\.", "head.", name)] = tensor
    return renamed


@models.register(
    "inception-v3",
    family="inception-v3",
    title="Inception-v3",
    year=2015,
    paper=PAPER,
    input=(3, 299, 299),
    parameters=23_834_568,
    reference="77.29% top-1, 93.45% top-5 on ImageNet (torchvision's weights)",
    reproduced="parameters equal torchvision's, with and without the auxiliary head, and outputs to 1e-5",
    kinds=("image",),
    tiny=False,
    preprocessing={"size": 299, "mean": (127.5, 127.5, 127.5), "std": (127.5, 127.5, 127.5)},
    layouts={"torchvision": from_torchvision},
)
def inception_v3(spec: InputSpec, num_outputs: int, *, aux: bool = False, dropout: float = 0.5) -> InceptionV3:
    """The auxiliary head needs images of 299 pixels a side, the rest 75."""
    channels, _, _ = image_shape(spec, model="inception-v3", smallest=299 if aux else 75)
    return InceptionV3(channels, num_outputs, aux=aux, dropout=dropout)


@models.register(
    "inception-v3-tiny",
    family="inception-v3",
    title="Inception-v3, tiny",
    year=2015,
    paper=PAPER,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=39_420,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def inception_v3_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> InceptionV3:
    channels, _, _ = image_shape(spec, model="inception-v3-tiny", smallest=15)
    return InceptionV3(
        channels,
        num_outputs,
        small=True,
        pool_widths=(64,),
        seven_widths=(128,),
        num_spread=1,
        divide=16,
        dropout=dropout,
    )
