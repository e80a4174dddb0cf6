"""Autoencoders: a code of few numbers from which the input is told again; plain, and variational.

G. Hinton & R. Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006;
D. Kingma & M. Welling, "Auto-encoding variational Bayes", arXiv:1312.6114. The networks here are convolutional for
pictures and perceptrons for vectors, narrow enough for a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.init import he_normal
from earnest.nn.pyramid import pyramid

AUTOENCODER_PAPER = (
    "Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 313, 2006"
)
VAE_PAPER = "Kingma & Welling, Auto-encoding variational Bayes, arXiv:1312.6114"
Likelihood = Literal["bernoulli", "gaussian"]
MOST_WIDENING = 4
"""Channels of the smallest maps, as a multiple of those of the largest."""


class Autoencoder(nn.Module):
    """An encoder, a code whose every number has zero mean and unit variance over the data, and a decoder.

    The code is normalised without gain and shift (batch statistics in training, running ones after), so that codes
    drawn from N(0, I) are of the right size: pictures made from those show what a plain autoencoder knows of the data's
    distribution, which is little.

    Args:
        encoder: inputs to (B, latent_width).
        decoder: (B, latent_width) to inputs.
    """

    num_classes = 0

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, latent_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(latent_width, affine=False)
        self.decoder = decoder
        self.latent_width = latent_width

    def features(self, x: Tensor) -> Tensor:
        """The code, (B, latent_width)."""
        code: Tensor = self.norm(self.encoder(x))
        return code

    def reconstruct(self, x: Tensor) -> Tensor:
        """`x` as its code tells it."""
        return self.sample(self.features(x))

    def sample(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures from codes; there are no classes."""
        made: Tensor = self.decoder(latent)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """As `reconstruct`."""
        return self.reconstruct(x)


class VAE(nn.Module):
    """A latent-variable model p(z) p(x | z) with z from N(0, I), and an encoder q(z | x) that makes it learnable.

    Args:
        encoder: inputs to (B, 2 * latent_width), means and logarithms of variances of q.
        decoder: (B, latent_width) to what describes p(x | z), of the inputs' shape.
        likelihood: "bernoulli": inputs are pixels of -1 and 1, the decoder gives logits. "gaussian": numbers around
            what the decoder gives, with one variance that is learned (Rybkin, Daniilidis & Levine, arXiv:2006.13202).
    """

    num_classes = 0

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, latent_width: int, likelihood: Likelihood = "bernoulli"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_width = latent_width
        self.likelihood = likelihood
        self.log_variance = nn.Parameter(torch.zeros(())) if likelihood == "gaussian" else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances of q(z | x), each (B, latent_width)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return mean, log_variance

    def features(self, x: Tensor) -> Tensor:
        """The means of q(z | x)."""
        return self.encode(x)[0]

    def log_likelihood(self, x: Tensor, latent: Tensor) -> Tensor:
        """log p(x | z) in nats, (B,)."""
        told = self.decoder(latent)
        if self.log_variance is None:
            return -F.binary_cross_entropy_with_logits(told, (x + 1) / 2, reduction="none").flatten(1).sum(1)
        squares = (x - told).square() / self.log_variance.exp()
        return -0.5 * (squares + self.log_variance + math.log(2 * math.pi)).flatten(1).sum(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`x` as the mean of its code tells it."""
        return self.sample(self.features(x))

    def sample(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures in -1..1, without the noise of p(x | z); there are no classes."""
        told: Tensor = self.decoder(latent)
        return torch.tanh(told / 2) if self.log_variance is None else told

    def forward(self, x: Tensor) -> Tensor:
        """As `reconstruct`."""
        return self.reconstruct(x)


def coders(spec: InputSpec, *, model: str, width: int, codes: int, latent_width: int) -> tuple[nn.Module, nn.Module]:
    """An encoder to `codes` numbers and a decoder from `latent_width`, of pictures or of vectors.

    Raises:
        OptionError: `spec` is of another kind, or its pictures cannot be halved down to a few pixels.
    """
    if spec.kind == "vector":
        (size,) = spec.shape
        encoder = [nn.Linear(size, 8 * width), nn.ReLU(), nn.Linear(8 * width, codes)]
        decoder = [nn.Linear(latent_width, 8 * width), nn.ReLU(), nn.Linear(8 * width, size)]
    else:
        channels, sides = pyramid(spec, model=model)
        widths = [width * min(2**level, MOST_WIDENING) for level in range(len(sides) - 1)]
        encoder = [*_halving(channels, widths), nn.Flatten(), nn.Linear(widths[-1] * sides[-1] ** 2, codes)]
        decoder = _doubling(latent_width, sides[-1], widths, channels)
    built = nn.Sequential(*encoder), nn.Sequential(*decoder)
    for network in built:
        he_normal(network)
    return built


def _halving(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for narrow, wide in pairwise((channels, *widths)):
        layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.ReLU()]
    return layers


def _doubling(latent_width: int, side: int, widths: Sequence[int], channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Linear(latent_width, widths[-1] * side**2),
        nn.ReLU(),
        nn.Unflatten(1, (widths[-1], side, side)),
    ]
    for wide, narrow in pairwise((*reversed(widths), channels)):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), nn.ReLU()]
    return layers[:-1]


def _likelihood(spec: InputSpec, likelihood: Likelihood | None) -> Likelihood:
    """Gray pictures are taken for pixels that are on or off, everything else for numbers."""
    return likelihood or ("bernoulli" if spec.kind == "image" and spec.shape[0] == 1 else "gaussian")


CODERS = {"family": "autoencoder", "input": (1, 28, 28), "num_outputs": 0, "kinds": ("noise",)}
"""What is known of all of them."""


@models.register(
    "autoencoder",
    title="Convolutional autoencoder",
    year=2006,
    paper=AUTOENCODER_PAPER,
    parameters=270_561,
    reference="3.00 squared error an MNIST digit with a code of 30, PCA 13.87 (the paper's, of pixels in 0..1)",
    reproduced="a linear one of the same width finds the subspace of PCA",
    tiny=False,
    **CODERS,
)
def autoencoder(spec: InputSpec, num_classes: int, *, width: int = 32, latent_width: int = 32) -> Autoencoder:
    encoder, decoder = coders(spec, model="autoencoder", width=width, codes=latent_width, latent_width=latent_width)
    return Autoencoder(encoder, decoder, latent_width=latent_width)


@models.register(
    "vae",
    title="Convolutional variational autoencoder",
    year=2013,
    paper=VAE_PAPER,
    parameters=370_945,
    reference="-86.8 nats on binarised MNIST with one stochastic layer of 50 (Burda et al. 2015)",
    reproduced="the bound and its importance-weighted estimate against the exact likelihood of a linear model",
    tiny=False,
    **CODERS,
)
def vae(
    spec: InputSpec,
    num_classes: int,
    *,
    width: int = 32,
    latent_width: int = 32,
    likelihood: Likelihood | None = None,
) -> VAE:
    encoder, decoder = coders(spec, model="vae", width=width, codes=2 * latent_width, latent_width=latent_width)
    return VAE(encoder, decoder, latent_width=latent_width, likelihood=_likelihood(spec, likelihood))


@models.register(
    "vae-tiny",
    title="Variational autoencoder, tiny",
    year=2013,
    paper=VAE_PAPER,
    parameters=6_273,
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **CODERS,
)
def vae_tiny(
    spec: InputSpec, num_classes: int, *, width: int = 4, latent_width: int = 4, likelihood: Likelihood | None = None
) -> VAE:
    encoder, decoder = coders(spec, model="vae-tiny", width=width, codes=2 * latent_width, latent_width=latent_width)
    return VAE(encoder, decoder, latent_width=latent_width, likelihood=_likelihood(spec, likelihood))
