"""DCGAN: strided convolutions and batch normalisation, the recipe that first made GANs train.

A. Radford, L. Metz & S. Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
networks", arXiv:1511.06434: no pooling and no hidden linear layers; batch normalisation everywhere but in the
generator's last layer and the critic's first; rectifiers in the generator, leaky ones in the critic; weights from
N(0, 0.02^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.gan import GAN, Critic, GanLoss
from earnest.nn.pyramid import pyramid

PAPER = (
    "Radford, Metz & Chintala, Unsupervised representation learning with deep convolutional generative adversarial "
    "networks, arXiv:1511.06434"
)
SLOPE = 0.2
"""Of the critic's leaky rectifiers."""


class Generator(nn.Module):
    """Noise to the smallest map, then transposed convolutions that double it."""

    def __init__(self, inputs: int, channels: int, sides: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(inputs, widths[-1], sides[-1], bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
        ]
        for wide, narrow in pairwise(reversed(widths)):
            layers += [
                nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        narrow_normal(self)

    def forward(self, noise: Tensor) -> Tensor:
        picture: Tensor = self.layers(noise[:, :, None, None])
        return picture


class CriticBody(nn.Module):
    """Strided convolutions that halve the picture down to its smallest map, whose numbers are the features.

    Without norms no picture's features rest on the others of its batch, so that each has a gradient of its own; the
    first weights then keep the variance (He et al. 2015).
    """

    def __init__(self, channels: int, widths: Sequence[int], *, norms: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for narrow, wide in pairwise(widths):
            layers.append(nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=not norms))
            layers += [nn.BatchNorm2d(wide), nn.LeakyReLU(SLOPE)] if norms else [nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers)
        narrow_normal(self)
        if not norms:
            for layer in layers:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, a=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x).flatten(1)
        return features


def narrow_normal(model: nn.Module) -> None:
    """The paper's section 4: weights from N(0, 0.02^2); gains of normalisations from N(1, 0.02^2), biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)):
            mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
            nn.init.normal_(module.weight, mean=mean, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def strided(
    spec: InputSpec,
    num_classes: int,
    *,
    model: str,
    width: int,
    latent_width: int,
    loss: GanLoss,
    critic_norms: bool = True,
) -> GAN:
    """Both networks; `width` channels in the largest hidden maps, twice as many in each that is half as large."""
    channels, sides = pyramid(spec, model=model)
    widths = [width * 2**level for level in range(len(sides) - 1)]
    generator = Generator(latent_width + num_classes, channels, sides, widths)
    critic = Critic(
        CriticBody(channels, widths, norms=critic_norms), widths[-1] * sides[-1] ** 2, num_classes, loss=loss
    )
    nn.init.normal_(critic.head.weight, std=0.02)
    return GAN(generator, critic, loss=loss, latent_width=latent_width, num_classes=num_classes)


DCGAN = {
    "family": "dcgan",
    "year": 2015,
    "paper": PAPER,
    "num_outputs": 0,
    "kinds": ("noise",),
}
"""What is known of all of them."""


@models.register(
    "dcgan",
    title="DCGAN",
    input=(3, 64, 64),
    parameters=6_342_340,
    reference="82.8% on CIFAR-10 by a linear classifier on its critic's features (the paper's, trained on ImageNet)",
    reproduced="the losses equal their definitions in float64",
    tiny=False,
    **DCGAN,
)
def dcgan(
    spec: InputSpec, num_classes: int, *, width: int = 64, latent_width: int = 100, loss: GanLoss = "non-saturating"
) -> GAN:
    return strided(spec, num_classes, model="dcgan", width=width, latent_width=latent_width, loss=loss)


@models.register(
    "dcgan-tiny",
    title="DCGAN, tiny",
    input=(1, 28, 28),
    parameters=11_498,
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **DCGAN,
)
def dcgan_tiny(
    spec: InputSpec, num_classes: int, *, width: int = 8, latent_width: int = 8, loss: GanLoss = "non-saturating"
) -> GAN:
    return strided(spec, num_classes, model="dcgan-tiny", width=width, latent_width=latent_width, loss=loss)
