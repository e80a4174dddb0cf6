"""Air-bench networks: small convolutional nets made to train in seconds to minutes.

A frozen whitening convolution decorrelates the pixels, so that the layers behind it need not learn to; then three
groups of convolution, pool, batch norm, GELU, convolution, batch norm, GELU; a global maximum; one linear layer.

K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, https://arxiv.org/abs/2404.00498. The networks here
are the same shape, narrower, and fitted to other image sizes; their batch norms keep a scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.inputs import image_shape

SMALLEST = 8
"""Pixels a side."""
LAST_MAP = 4
"""Pooling stops at about this many pixels a side, before the global maximum."""
NUM_GROUPS = 3
MOST_COMPONENTS = 12
"""Principal components of a patch that the whitening keeps: all of 2 x 2 pixels with three channels."""
MOST_IMAGES = 500
"""Images that the whitening looks at, evenly chosen: at 32 x 32 pixels, half a million patches."""


class Whitening(nn.Module):
    """A frozen convolution that projects patches on their principal components, scaled to unit variance.

    Every component comes with its negative, so that a rectifier behind it loses nothing. Until `fit` has seen images,
    it hands on the patches' own pixels.
    """

    kernel: Tensor

    def __init__(self, channels: int, size: int = 2, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        dimension = channels * size * size
        self.num_filters = 2 * min(dimension, MOST_COMPONENTS)
        pixels = torch.eye(dimension)[: self.num_filters // 2].reshape(-1, channels, size, size)
        self.register_buffer("kernel", torch.cat([pixels, -pixels]))
        self.bias = nn.Parameter(torch.zeros(self.num_filters))

    @torch.no_grad()
    def fit(self, images: Tensor, *, epsilon: float = 5e-4) -> None:
        """Set the kernel from the patches of `images` (N, C, H, W), as the network will be given them.

        `epsilon` is added to the variances; it keeps components that hardly vary from being blown up into noise.
        """
        images = images[:: -(-len(images) // MOST_IMAGES)].float()
        patches = F.unfold(images, self.kernel.shape[-1], stride=self.stride).transpose(1, 2).flatten(0, 1)
        variances, directions = torch.linalg.eigh(torch.cov(patches.T.double(), correction=0))
        scaled = directions / (variances.clamp_min(0) + epsilon).sqrt()
        largest = scaled.T.flip(0)[: self.num_filters // 2].reshape(-1, *self.kernel.shape[1:])
        self.kernel.copy_(torch.cat([largest, -largest]))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, self.bias, stride=self.stride)


class ConvGroup(nn.Module):
    """Convolution, pool, batch norm, GELU, convolution, batch norm, GELU."""

    def __init__(self, inputs: int, outputs: int, *, pool: bool) -> None:
        super().__init__()
        self.conv1 = dirac_conv(inputs, outputs)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = dirac_conv(outputs, outputs)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(self.pool(self.conv1(x))))
        return F.gelu(self.norm2(self.conv2(x)))


def dirac_conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution whose first filters start as the identity on its inputs (dirac initialisation)."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight.data[:inputs])
    return conv


class AirNet(nn.Module):
    """Three groups, of `width` channels each, behind the whitening.

    Args:
        spec: images of any number of channels, from 8 pixels a side up.
        num_outputs: logits.
        width: channels of the three groups.
        stride: of the whitening, a power of 2; by default 1, or what leaves about 32 pixels of larger images.
        dropout: before the head.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        width: Sequence[int] = (32, 128, 128),
        stride: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, *sides = image_shape(spec, model="airnet", smallest=SMALLEST)
        halvings = max(1, round(math.log2(min(sides) / LAST_MAP)))
        stride = stride or 2 ** max(0, halvings - NUM_GROUPS)
        num_pools = halvings - round(math.log2(stride))
        self.whitening = Whitening(channels, max(2, stride), stride)
        sizes = (self.whitening.num_filters, *width)
        self.groups = nn.Sequential(
            *(ConvGroup(sizes[i], sizes[i + 1], pool=i >= NUM_GROUPS - num_pools) for i in range(NUM_GROUPS))
        )
        self.num_features = width[-1]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.num_features, num_outputs)

    def whiten(self, images: Tensor) -> None:
        """Fit the first layer to some thousand training images (N, C, H, W), normalised; once, before training."""
        self.whitening.fit(images)

    def features(self, x: Tensor) -> Tensor:
        """(B, F) for images (B, C, H, W)."""
        features: Tensor = self.groups(F.gelu(self.whitening(x))).amax((2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_outputs)."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits


AIRNET = {
    "family": "airnet",
    "year": 2024,
    "paper": "Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498",
    "input": (3, 32, 32),
    "num_outputs": 10,
    "kinds": ("image",),
}
"""What is known of all of them."""


@models.register(
    "airnet",
    title="AirNet",
    parameters=497_826,
    reference="none at this width",
    reproduced=(
        "99.61% on MNIST and 93.55% on Fashion-MNIST with width=(32, 64, 128); 84.7% of 5,000 validation images of "
        "CIFAR-10 kept as JPEG after 4 epochs, 85.5% with mirror images averaged; one run each"
    ),
    tiny=False,
    **AIRNET,
)
def airnet(
    spec: InputSpec,
    num_outputs: int,
    *,
    width: Sequence[int] = (32, 128, 128),
    stride: int | None = None,
    dropout: float = 0.0,
) -> AirNet:
    return AirNet(spec, num_outputs, width=width, stride=stride, dropout=dropout)


@models.register(
    "airnet-wide",
    title="AirNet of the published width",
    parameters=1_972_514,
    reference="94.01% on CIFAR-10 after 8 epochs (airbench94, with 6 views of each test image)",
    reproduced="nothing yet",
    tiny=False,
    **AIRNET,
)
def airnet_wide(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> AirNet:
    return AirNet(spec, num_outputs, width=(64, 256, 256), dropout=dropout)


@models.register(
    "airnet-fast",
    title="AirNet on 2 x 2 patches that do not overlap",
    parameters=294_818,
    reference="none; for a useful network within seconds",
    reproduced="nothing yet",
    tiny=False,
    **AIRNET,
)
def airnet_fast(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> AirNet:
    return AirNet(spec, num_outputs, width=(32, 64, 128), stride=2, dropout=dropout)


@models.register(
    "airnet-tiny",
    title="AirNet, tiny",
    parameters=10_722,
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **AIRNET,
)
def airnet_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> AirNet:
    return AirNet(spec, num_outputs, width=(8, 16, 16), dropout=dropout)
