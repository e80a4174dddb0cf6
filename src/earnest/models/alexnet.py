"""AlexNet, as it won ImageNet 2012 on two GPUs, and its one-tower successor of 2014.

A. Krizhevsky, I. Sutskever & G. Hinton, "ImageNet classification with deep convolutional neural networks", NIPS 2012.
A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.init import he_normal
from earnest.nn.inputs import image_shape

PAPER_2012 = (
    "Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012"
)
PAPER_2014 = "Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997"


class AlexNet(nn.Module):
    """Five convolutions, three of them pooled, and two hidden layers.

    Args:
        widths: channels of the five convolutions.
        stem: kernel size, stride and padding of the first one.
        hidden: units of each hidden layer; the second one's are the features.
        pooled: side of the map that the hidden layers see, by adaptive average pooling.
        original: the network of 2012: the second, fourth and fifth convolution see half of the channels each (the
            half on their own GPU), responses are normalised after the first two, and the paper's initialisation.
        dropout: after each hidden layer.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        *,
        widths: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256),
        stem: tuple[int, int, int] = (11, 4, 2),
        hidden: int = 4096,
        pooled: int = 6,
        original: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = widths
        groups = 2 if original else 1
        norm = [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)] if original else []  # torch divides alpha by 5
        kernel, stride, padding = stem
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, c1, kernel, stride=stride, padding=padding), nn.ReLU(), *norm, nn.MaxPool2d(3, 2),
            nn.Conv2d(c1, c2, 5, padding=2, groups=groups), nn.ReLU(), *norm, nn.MaxPool2d(3, 2),
            nn.Conv2d(c2, c3, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c3, c4, 3, padding=1, groups=groups), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d(pooled), nn.Flatten(),
        )  # fmt: skip
        self.fc6 = nn.Linear(c5 * pooled * pooled, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.num_features = hidden
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_outputs)
        if original:
            self.initialise_as_published()
        else:
            he_normal(self)

    def initialise_as_published(self) -> None:
        """Weights from N(0, 0.01^2); biases 1 in convolutions 2, 4, 5 and the hidden layers, else 0 (section 5)."""
        layers = [module for module in self.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        _, conv2, _, conv4, conv5, fc6, fc7, _ = layers
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, 1.0 if layer in (conv2, conv4, conv5, fc6, fc7) else 0.0)

    def features(self, x: Tensor) -> Tensor:
        x = self.fc6(self.convolutions(x)).relu()
        return self.fc7(self.dropout(x)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The one-tower network's state dict from torchvision's."""
    parts = {"features": "convolutions", "classifier.1": "fc6", "classifier.4": "fc7", "classifier.6": "head"}
    renamed = {}
    for name, tensor in state.items():
        theirs = next(part for part in parts if name.startswith(part))
        renamed[parts[theirs] + name.removeprefix(theirs)] = tensor
    return renamed


@models.register(
    "alexnet",
    family="alexnet",
    title="AlexNet, one tower",
    year=2014,
    paper=PAPER_2014,
    input=(3, 224, 224),
    parameters=61_100_840,
    reference="56.52% top-1, 79.07% top-5 on ImageNet (torchvision's weights)",
    reproduced="parameters equal torchvision's, and outputs to 1e-5",
    kinds=("image",),
    tiny=False,
    layouts={"torchvision": from_torchvision},
)
def alexnet(spec: InputSpec, num_outputs: int, *, dropout: float = 0.5) -> AlexNet:
    channels, _, _ = image_shape(spec, model="alexnet", smallest=63)
    return AlexNet(channels, num_outputs, dropout=dropout)


@models.register(
    "alexnet-original",
    family="alexnet",
    title="AlexNet, two towers, as published",
    year=2012,
    paper=PAPER_2012,
    input=(3, 224, 224),
    parameters=60_965_224,
    reference="18.2% top-5 error on ImageNet for one network, 15.3% for seven (the paper's)",
    reproduced="the parameter count",
    kinds=("image",),
    tiny=False,
)
def alexnet_original(spec: InputSpec, num_outputs: int, *, dropout: float = 0.5) -> AlexNet:
    channels, _, _ = image_shape(spec, model="alexnet-original", smallest=63)
    return AlexNet(channels, num_outputs, widths=(96, 256, 384, 384, 256), original=True, dropout=dropout)


@models.register(
    "alexnet-tiny",
    family="alexnet",
    title="AlexNet, tiny",
    year=2014,
    paper=PAPER_2014,
    input=(3, 32, 32),
    num_outputs=10,
    parameters=12_870,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def alexnet_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> AlexNet:
    channels, _, _ = image_shape(spec, model="alexnet-tiny", smallest=15)
    return AlexNet(
        channels, num_outputs, widths=(8, 12, 16, 16, 16), stem=(5, 1, 2), hidden=32, pooled=2, dropout=dropout
    )
