"""Muon, for matrices and for convolution filters: momentum whose every update is made (nearly) orthogonal.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. Filters (O, I, H, W) are moved as matrices of O rows, and may be brought
back to a fixed norm before every update, both as in the author's airbench record for CIFAR-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of a quintic a x + b x^3 + c x^5 that sends every singular value in (0, 1] to about 1 when repeated; its slope at 0
is as steep as can be, at the price of ending somewhere in .7 to 1.2."""


class Muon(torch.optim.Optimizer):
    """Moves tensors of two dimensions and more; give vectors and the output layer to another optimiser.

    Args:
        params: parameters, or groups of them.
        lr: learning rate, that is (nearly) the spectral norm of an update.
        momentum: of the running sum of gradients.
        nesterov: whether to look one step ahead.
        weight_decay: decoupled; a weight shrinks by `lr * weight_decay` of itself.
        num_iterations: Newton-Schulz iterations.
        renormalise: bring convolution filters back to norm sqrt(O) before each update. It is right where a
            normalisation layer follows, which makes the filters' scale meaningless; `weight_decay` then does nothing.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 0.02,
        *,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        num_iterations: int = 3,
        renormalise: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "num_iterations": num_iterations,
            "renormalise": renormalise,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            assert all(parameter.ndim >= 2 for parameter in group["params"]), "Muon moves matrices and filters only"

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; gives the closure's loss, if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean: Tensor = state["momentum"].mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(mean, alpha=group["momentum"]) if group["nesterov"] else mean
        if group["renormalise"] and parameter.ndim > 2:
            parameter.mul_(math.sqrt(len(parameter)) / parameter.norm().clamp_min(1e-7))
        elif group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        matrix = direction.reshape(len(direction), -1)
        update = orthogonalised(matrix, num_iterations=group["num_iterations"])
        stretch = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * stretch)


def orthogonalised(matrix: Tensor, *, num_iterations: int = 5) -> Tensor:
    """About U V' for the matrix U S V', by Newton-Schulz iterations: singular vectors kept, singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(num_iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
