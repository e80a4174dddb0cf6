"""LeNet-5, as it was published, and as it is commonly built today.

Y. LeCun, L. Bottou, Y. Bengio & P. Haffner, "Gradient-based learning applied to document recognition", Proceedings of
the IEEE 86 (11), 1998, pp. 2278-2324, section II.B.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.inputs import image_shape

PAPER = (
    "LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, "
    "Proceedings of the IEEE 86 (11), 1998"
)
SMALLEST = 12
C3_INPUTS = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Table I of the paper: the maps of S2 that each of the 16 maps of C3 sees."""


class SparseConv(nn.Module):
    """A 5 x 5 convolution whose output maps each see only some of the input maps."""

    outputs: Tensor
    inputs: Tensor

    def __init__(self, seen: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        pairs = [(output, source) for output, sources in enumerate(seen) for source in sources]
        self.shape = (len(seen), 1 + max(source for _, source in pairs), 5, 5)
        self.fan_in = [25 * len(seen[output]) for output, _ in pairs]
        """How many numbers flow into the map that each connection leads to."""
        self.register_buffer("outputs", torch.tensor([output for output, _ in pairs]), persistent=False)
        self.register_buffer("inputs", torch.tensor([source for _, source in pairs]), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(pairs), 5, 5))
        self.bias = nn.Parameter(torch.empty(len(seen)))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(self.shape).index_put((self.outputs, self.inputs), self.weight)
        return F.conv2d(x, dense, self.bias)


class Subsampling(nn.Module):
    """The sum over 2 x 2 pixels, times a coefficient and plus a bias that each map learns."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * F.avg_pool2d(x, 2) * self.weight + self.bias


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's fixed code of +1 and -1.

    The paper draws the codes as little pictures of the characters, and says that random ones would do: these are
    random. As logits of a cross-entropy, they give the paper's discriminative criterion (its equation 9, whose constant
    rubbish class is left out).
    """

    codes: Tensor

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randint(0, 2, (num_outputs, num_features)) * 2.0 - 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None] - self.codes).square().sum(2)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x / 3), which is 1 at 1 and -1 at -1 (the paper's appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class LeNet5(nn.Module):
    """C1, S2, C3, S4, C5, F6, output; `widths` are the maps of C1 and C3 and the units of C5 and F6.

    Images with a side under 32 get a border of two pixels, as MNIST's in the paper. C5 sees the whole of S4.

    Args:
        original: sparse C3, learned subsampling, the scaled tanh and radial-basis outputs, as published; otherwise
            the common variant with a dense C3, average pooling, tanh and a linear head.
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        *,
        model: str,
        widths: tuple[int, int, int, int] = (6, 16, 120, 84),
        original: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape(spec, model=model, smallest=SMALLEST)
        c1, c3, c5, f6 = widths
        self.border = 2 if min(height, width) < 32 else 0
        side = [((size + 2 * self.border - 4) // 2 - 4) // 2 for size in (height, width)]
        squash: type[nn.Module] = ScaledTanh if original else nn.Tanh
        self.body = nn.Sequential(
            nn.Conv2d(channels, c1, 5),
            squash(),
            nn.Sequential(Subsampling(c1), squash()) if original else nn.AvgPool2d(2),
            SparseConv(C3_INPUTS) if original else nn.Conv2d(c1, c3, 5),
            squash(),
            nn.Sequential(Subsampling(c3), squash()) if original else nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(c3 * side[0] * side[1], c5),
            squash(),
            nn.Linear(c5, f6),
            squash(),
        )
        self.num_features = f6
        self.dropout = nn.Dropout(dropout)
        self.head = RadialBasis(f6, num_outputs) if original else nn.Linear(f6, num_outputs)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Weights uniform within 2.4 / fan-in, as the paper's appendix A; biases 0; subsampling starts as the mean."""
        for module in self.modules():
            if isinstance(module, SparseConv):
                module.weight.uniform_(-2.4, 2.4).div_(module.weight.new_tensor(module.fan_in)[:, None, None])
                module.bias.zero_()
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = 2.4 / math.prod(module.weight.shape[1:])
                module.weight.uniform_(-bound, bound)
                assert module.bias is not None
                module.bias.zero_()
            elif isinstance(module, Subsampling):
                module.weight.fill_(0.25)
                module.bias.zero_()

    def features(self, x: Tensor) -> Tensor:
        return self.body(F.pad(x, [self.border] * 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


@models.register(
    "lenet5",
    family="lenet",
    title="LeNet-5, common variant",
    year=1998,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=61_706,
    reference="0.95% error on MNIST, 0.8% with distortions (the paper's, for its own variant)",
    reproduced="the parameter count",
    kinds=("image",),
    tiny=False,
)
def lenet5(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> LeNet5:
    return LeNet5(spec, num_outputs, model="lenet5", dropout=dropout)


@models.register(
    "lenet5-original",
    family="lenet",
    title="LeNet-5 as published",
    year=1998,
    paper=PAPER,
    input=(1, 32, 32),
    num_outputs=10,
    parameters=60_000,
    reference="0.95% error on MNIST, 0.8% with distortions",
    reproduced="the parameter count of every layer in the paper",
    kinds=("image",),
    tiny=False,
)
def lenet5_original(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> LeNet5:
    return LeNet5(spec, num_outputs, model="lenet5-original", original=True, dropout=dropout)


@models.register(
    "lenet-tiny",
    family="lenet",
    title="LeNet-5, tiny",
    year=1998,
    paper=PAPER,
    input=(1, 28, 28),
    num_outputs=10,
    parameters=4_570,
    reference="none; for tests and first tries",
    reproduced="",
    kinds=("image",),
    tiny=True,
)
def lenet_tiny(spec: InputSpec, num_outputs: int, *, dropout: float = 0.0) -> LeNet5:
    return LeNet5(spec, num_outputs, model="lenet-tiny", widths=(4, 8, 16, 16), dropout=dropout)
