"""Steps up a Boltzmann machine's log-likelihood: momentum, weight cost, and the parameters' average."""

from __future__ import annotations

import copy

import torch

from earnest.nn.boltzmann import BoltzmannMachine
from earnest.tasks.contrast import Contrasting

AVERAGED_EVERY = 8
"""Steps between updates of the average, each of which is a pass over all parameters."""
LEAST_LOG_VARIANCE = -6.0
"""Of a real unit, in the data's units: below, one value would be as good as certain."""


class Ascent:
    """Climbs by contrasts. In float32 it makes one product of matrices an update, and copies nothing."""

    def __init__(
        self,
        machine: BoltzmannMachine,
        contrasting: Contrasting,
        *,
        weight_cost: float = 0.0,
        average: float = 0.0,
        low: bool = False,
    ) -> None:
        """`weight_cost` is the L2 penalty on weights; `average` the decay of a moving average, 0 for none.

        With `low`, contrasts are found in bfloat16, by a copy of the machine; what it learns stays in float32.
        """
        self.machine = machine
        self.seen = copy.deepcopy(machine).bfloat16() if low else machine
        self.contrasting = contrasting
        if low:
            contrasting.chains.bfloat16()
        self.weight_cost = weight_cost
        self.decay = average
        self.others = [p.detach() for p in machine.parameters() if p is not machine.weight]
        self.velocity = torch.zeros_like(machine.weight, requires_grad=False)
        self.velocities = [torch.zeros_like(other) for other in self.others]
        self.averages = [p.detach().clone() for p in machine.parameters()] if average else []
        self.num_steps = 0

    @torch.no_grad()
    def step(
        self, v: torch.Tensor, *, lr: float, momentum: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        """Climb once by the batch `v` (B, V)."""
        found = self.contrasting.find(self.seen, v.to(self.seen.weight.dtype), generator)
        rate = lr / len(v)
        weight, kept = self.machine.weight.detach(), 1 - lr * self.weight_cost
        moved, moved_by = (self.velocity, momentum) if momentum else (weight, kept)
        if self.seen is self.machine:
            moved.addmm_(found.hidden.t(), found.visible, beta=moved_by, alpha=rate)
        else:
            torch.add(moved.mul_(moved_by) if moved_by != 1 else moved, found.weight, alpha=rate, out=moved)
        if momentum:
            torch.add(self.velocity, weight, alpha=kept, out=weight)
        rest = [each.to(weight.dtype) for each in found.rest]
        if momentum:
            torch._foreach_mul_(self.velocities, momentum)
            torch._foreach_add_(self.velocities, rest, alpha=rate)
            torch._foreach_add_(self.others, self.velocities)
        else:
            torch._foreach_add_(self.others, rest, alpha=rate)
        if self.machine.log_variance is not None:
            self.machine.log_variance.clamp_(min=LEAST_LOG_VARIANCE)
        if self.seen is not self.machine:
            torch._foreach_copy_(list(self.seen.parameters()), list(self.machine.parameters()))
        self.num_steps += 1
        if self.averages and self.num_steps % AVERAGED_EVERY == 1:
            decay = min(self.decay**AVERAGED_EVERY, self.num_steps / (10 * AVERAGED_EVERY + self.num_steps))
            torch._foreach_lerp_(self.averages, [p.detach() for p in self.machine.parameters()], 1 - decay)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the averaged parameters, where an average was kept, in the machine."""
        for parameter, average in zip(self.machine.parameters(), self.averages, strict=False):
            parameter.copy_(average)
