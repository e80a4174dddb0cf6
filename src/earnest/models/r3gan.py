"""R3GAN: a generator and a critic of residual blocks without normalisation, and a loss that needs no tricks.

N. Huang, A. Gokaslan, V. Kuleshov & J. Tompkin, "The GAN is dead; long live the GAN! A modern GAN baseline",
arXiv:2501.05441. As there: leaky rectifiers, 1 x 1 - 3 x 3 - 1 x 1 bottlenecks that begin as the identity, bilinear
scaling between maps, a learned 4 x 4 basis at the generator's beginning and the critic's end, no mean of a batch
anywhere. Here the networks are narrow enough for a CPU, the 3 x 3 convolution is a plain one, and a picture may be any
that halves down to 4, 5, 6 or 7 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.dcgan import strided
from earnest.models.gan import GAN, Critic, GanLoss
from earnest.nn.pyramid import pyramid

PAPER = "Huang et al., The GAN is dead; long live the GAN! A modern GAN baseline, arXiv:2501.05441"
SLOPE = 0.2
"""Of the leaky rectifiers."""
MOST_WIDENING = 4
"""Channels of the smallest maps, as a multiple of those of the largest."""


class Block(nn.Module):
    """x plus what a bottleneck makes of it: nothing at first, as its last layer starts at zero.

    `num_blocks` is the number of blocks in the network: the others start so much smaller that the sum of all stays of
    the same size (Zhang, Dauphin & Ma, "Fixup initialization", arXiv:1901.09321).
    """

    def __init__(self, channels: int, num_blocks: int) -> None:
        super().__init__()
        inner = channels // 2
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1)
        self.expand = nn.Conv2d(inner, channels, 1, bias=False)
        scale = num_blocks**-0.25
        for conv in (self.reduce, self.mix):
            leaky_normal(conv, scale)
        nn.init.zeros_(self.expand.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.reduce(x), SLOPE)
        change: Tensor = self.expand(F.leaky_relu(self.mix(inner), SLOPE))
        return x + change


class Scale(nn.Module):
    """Maps of twice or half the side, by bilinear interpolation, with other channels."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.change = nn.Conv2d(inputs, outputs, 1, bias=False)
        leaky_normal(self.change, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        if self.factor < 1:  # fewer pixels first: the convolution is cheaper there
            pooled: Tensor = self.change(F.avg_pool2d(x, 2))
            return pooled
        return F.interpolate(self.change(x), scale_factor=2, mode="bilinear", align_corners=False)


class Generator(nn.Module):
    """From noise to pictures: a learned basis of the smallest map, then blocks and doublings."""

    def __init__(self, inputs: int, channels: int, sides: Sequence[int], widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        num_blocks = blocks * (len(sides) - 1)
        self.mix = nn.Linear(inputs, widths[-1], bias=False)
        self.basis = nn.Parameter(torch.randn(widths[-1], sides[-1], sides[-1]))
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(reversed(widths)):
            layers += [Block(wide, num_blocks) for _ in range(blocks)]
            layers.append(Scale(wide, narrow, 2.0))
        self.layers = nn.Sequential(*layers)
        self.paint = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.normal_(self.mix.weight, std=inputs**-0.5)
        leaky_normal(self.paint, 0.5)

    def forward(self, noise: Tensor) -> Tensor:
        seed = self.mix(noise)[:, :, None, None] * self.basis
        picture: Tensor = self.paint(F.leaky_relu(self.layers(seed), SLOPE))
        return picture


class CriticBody(nn.Module):
    """From pictures to features: the generator's mirror image."""

    def __init__(self, channels: int, sides: Sequence[int], widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        num_blocks = blocks * (len(sides) - 1)
        self.look = nn.Conv2d(channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers.append(Scale(narrow, wide, 0.5))
            layers += [Block(wide, num_blocks) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Conv2d(widths[-1], widths[-1], sides[-1], groups=widths[-1], bias=False)
        leaky_normal(self.look, 1.0)
        leaky_normal(self.basis, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.layers(F.leaky_relu(self.look(x), SLOPE))
        features: Tensor = self.basis(maps).flatten(1)
        return features


def leaky_normal(conv: nn.Conv2d, scale: float) -> None:
    """Weights that keep a leaky rectifier's variance, times `scale`; the bias is 0."""
    fan_in = conv.weight[0].numel()
    nn.init.normal_(conv.weight, std=scale * math.sqrt(2 / (1 + SLOPE**2) / fan_in))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def residual(
    spec: InputSpec, num_classes: int, *, model: str, width: int, blocks: int, latent_width: int, loss: GanLoss
) -> GAN:
    """Both networks, with `width` channels in the largest maps and `blocks` blocks for each of the smaller ones."""
    channels, sides = pyramid(spec, model=model)
    widths = [width * min(2**level, MOST_WIDENING) for level in range(len(sides))]
    generator = Generator(latent_width + num_classes, channels, sides, widths, blocks)
    critic = Critic(CriticBody(channels, sides, widths, blocks), widths[-1], num_classes, loss=loss)
    return GAN(generator, critic, loss=loss, latent_width=latent_width, num_classes=num_classes)


R3GAN = {
    "family": "r3gan",
    "year": 2024,
    "paper": PAPER,
    "num_outputs": 0,
    "kinds": ("noise",),
}
"""What is known of all of them."""


@models.register(
    "r3gan",
    title="R3GAN, narrow",
    input=(1, 28, 28),
    parameters=175_457,
    reference="FID 1.96 on CIFAR-10, all 1,000 modes of stacked MNIST (the paper's, with far larger networks)",
    reproduced="the loss and both gradient penalties equal their definitions in float64",
    tiny=False,
    **R3GAN,
)
def r3gan(
    spec: InputSpec,
    num_classes: int,
    *,
    width: int = 32,
    blocks: int = 1,
    latent_width: int = 64,
    loss: GanLoss = "relativistic",
) -> GAN:
    return residual(spec, num_classes, model="r3gan", width=width, blocks=blocks, latent_width=latent_width, loss=loss)


@models.register(
    "r3gan-strided",
    title="R3GAN's game between DCGAN's networks",
    input=(1, 28, 28),
    parameters=383_585,
    reference="none: the networks are DCGAN's, the critic's without norms, and the game is R3GAN's",
    reproduced="the loss and both gradient penalties equal their definitions in float64",
    tiny=False,
    **R3GAN,
)
def r3gan_strided(
    spec: InputSpec, num_classes: int, *, width: int = 32, latent_width: int = 100, loss: GanLoss = "relativistic"
) -> GAN:
    return strided(
        spec,
        num_classes,
        model="r3gan-strided",
        width=width,
        latent_width=latent_width,
        loss=loss,
        critic_norms=False,
    )


@models.register(
    "r3gan-tiny",
    title="R3GAN, tiny",
    input=(1, 28, 28),
    parameters=13_273,
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **R3GAN,
)
def r3gan_tiny(
    spec: InputSpec,
    num_classes: int,
    *,
    width: int = 8,
    blocks: int = 1,
    latent_width: int = 8,
    loss: GanLoss = "relativistic",
) -> GAN:
    return residual(
        spec, num_classes, model="r3gan-tiny", width=width, blocks=blocks, latent_width=latent_width, loss=loss
    )
