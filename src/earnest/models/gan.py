"""The generative adversarial network: what every one of them is made of, and the first, of multilayer perceptrons.

I. Goodfellow, J. Pouget-Abadie, M. Mirza, B. Xu, D. Warde-Farley, S. Ozair, A. Courville & Y. Bengio, "Generative
adversarial nets", arXiv:1406.2661. Classes come in as one more input of the generator (Mirza & Osindero,
arXiv:1411.1784) and as a direction in the critic's features (Miyato & Koyama, arXiv:1802.05637).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.perceptron import num_numbers
from earnest.nn.init import he_normal

PAPER = "Goodfellow et al., Generative adversarial nets, arXiv:1406.2661"
GanLoss = Literal["relativistic", "non-saturating", "minimax"]
"""See `earnest.tasks.adversarial`."""


class Critic(nn.Module):
    """Says how real a picture looks: a body that finds features, and a direction in them.

    With classes, each class adds a direction of its own (a projection critic). A relativistic loss, which compares
    scores, leaves no use for a bias.
    """

    def __init__(self, body: nn.Module, num_features: int, num_classes: int, *, loss: GanLoss) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(num_features, 1, bias=loss != "relativistic")
        self.classes = nn.Embedding(num_classes, num_features) if num_classes else None
        nn.init.normal_(self.head.weight, std=num_features**-0.5)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, std=num_features**-0.5)

    def features(self, x: Tensor) -> Tensor:
        """(B, F) for pictures (B, C, H, W) or vectors (B, N)."""
        features: Tensor = self.body(x)
        return features

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B,): above 0 where it takes the picture for a real one."""
        features = self.features(x)
        score: Tensor = self.head(features)[:, 0]
        if self.classes is not None:
            score = score + (self.classes(labels) * features).sum(1)
        return score


class GAN(nn.Module):
    """A generator and the critic that it is set against.

    Args:
        generator: from (B, latent_width + num_classes), noise beside a one-hot class, to pictures in -1..1.
        critic: the judge; its features are what the model says of a picture.
        loss: what both are trained by.
        latent_width: numbers of noise that a picture is made from.
        num_classes: 0 where pictures have none.
    """

    def __init__(
        self, generator: nn.Module, critic: Critic, *, loss: GanLoss, latent_width: int, num_classes: int = 0
    ) -> None:
        super().__init__()
        self.generator = generator
        self.critic = critic
        self.loss = loss
        self.latent_width = latent_width
        self.num_classes = num_classes

    def sample(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W), or vectors, from noise (B, latent_width) and, with classes, labels (B,)."""
        if self.num_classes:
            assert labels is not None, "a model of classes is told which to make"
            latent = torch.cat([latent, F.one_hot(labels, self.num_classes).to(latent.dtype)], 1)
        made: Tensor = self.generator(latent)
        return made

    def features(self, x: Tensor) -> Tensor:
        """What the critic sees in pictures: (B, F)."""
        return self.critic.features(x)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """As `sample`."""
        return self.sample(latent, labels)


class Layers(nn.Module):
    """Linear layers with leaky rectifiers behind all but the last; the output has `shape`."""

    def __init__(self, sizes: Sequence[int], shape: tuple[int, ...], *, last: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = last or nn.Identity()
        self.shape = shape
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for index, layer in enumerate(self.layers):
            x = layer(x if index == 0 else F.leaky_relu(x, 0.2))
        answer: Tensor = self.last(x)
        return answer.view(len(x), *self.shape)


def perceptrons(
    spec: InputSpec, num_classes: int, *, model: str, hidden: Sequence[int], latent_width: int, loss: GanLoss
) -> GAN:
    """A generator and a critic with the same hidden layers; pictures end in a tanh, vectors in nothing."""
    size = num_numbers(spec, model=model)
    last = nn.Tanh() if spec.kind == "image" else None
    generator = Layers((latent_width + num_classes, *hidden, size), spec.shape, last=last)
    body = Layers((size, *hidden), (hidden[-1],), last=nn.LeakyReLU(0.2))
    critic = Critic(body, hidden[-1], num_classes, loss=loss)
    return GAN(generator, critic, loss=loss, latent_width=latent_width, num_classes=num_classes)


GAN_2014 = {
    "family": "gan",
    "year": 2014,
    "paper": PAPER,
    "input": (1, 28, 28),
    "num_outputs": 0,
    "kinds": ("noise",),
}
"""What is known of all of them."""


@models.register(
    "gan",
    title="GAN of perceptrons, minimax loss",
    parameters=4_888_385,
    reference="225 +- 2 nats on MNIST by a Parzen window (the paper's, a measure that is no longer trusted)",
    reproduced="the losses equal their definitions in float64",
    tiny=False,
    **GAN_2014,
)
def gan(
    spec: InputSpec,
    num_classes: int,
    *,
    hidden: Sequence[int] = (1200, 1200),
    latent_width: int = 100,
    loss: GanLoss = "minimax",
) -> GAN:
    return perceptrons(spec, num_classes, model="gan", hidden=hidden, latent_width=latent_width, loss=loss)


@models.register(
    "gan-tiny",
    title="GAN of perceptrons, tiny",
    parameters=26_592,
    reference="none; for tests and first tries",
    reproduced="",
    tiny=True,
    **GAN_2014,
)
def gan_tiny(
    spec: InputSpec,
    num_classes: int,
    *,
    hidden: Sequence[int] = (16, 16),
    latent_width: int = 8,
    loss: GanLoss = "relativistic",
) -> GAN:
    return perceptrons(spec, num_classes, model="gan-tiny", hidden=hidden, latent_width=latent_width, loss=loss)
