"""The convolution that most image models are made of."""

from __future__ import annotations

from torch import Tensor, nn


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: pixels, one number or (height, width).
        norm: False leaves the normalisation out and gives the convolution biases, as before 2015.
        eps: added to the variance by the normalisation.
        activation: a module, or None for none; ReLU unless told otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        groups: int = 1,
        norm: bool = True,
        eps: float = 1e-5,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, groups=groups, bias=not norm
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=eps) if norm else nn.Identity()
        self.activation = activation() if activation is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))
