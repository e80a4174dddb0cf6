"""What a Boltzmann machine's probabilities sum to: counted where that can be done, and estimated elsewhere.

R. Salakhutdinov & I. Murray, "On the quantitative analysis of deep belief networks", ICML 2008: annealed importance
sampling from the base-rate model, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_COUNTED = 20
"""Units whose every state, a million, is gone through."""
COUNTED_AT_ONCE = 1 << 14
LEAST_RATE = 1e-3
"""The base-rate model holds nothing for impossible."""
COURSE = ((0.5, 0.035), (0.9, 0.275), (1.0, 0.69))
"""How far each share of the temperatures comes: those near the end, where most happens, lie closest (section 5.1)."""
DEVIATIONS = 3.0
"""Standard errors to either side (section 5.1)."""


class Machine(Protocol):
    """A restricted Boltzmann machine; see `earnest.nn.boltzmann`."""

    @property
    def weight(self) -> Tensor: ...
    @property
    def visible_bias(self) -> Tensor: ...
    @property
    def log_variance(self) -> Tensor | None: ...
    def hidden_inputs(self, v: Tensor) -> Tensor: ...
    def visible_inputs(self, h: Tensor) -> Tensor: ...
    def free_energy(self, v: Tensor) -> Tensor: ...
    def hidden_free_energy(self, h: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Partition:
    """log Z and what it is taken to lie between."""

    value: float
    low: float
    """Minus infinity where the estimate's error exceeds it."""
    high: float


@torch.no_grad()
def counted(machine: Machine) -> Partition:
    """log Z, exactly, for a machine with at most 20 hidden units, or as many binary visible ones."""
    num_hidden, num_visible = machine.weight.shape
    by_visible = machine.log_variance is None and num_visible < num_hidden
    num_units = num_visible if by_visible else num_hidden
    assert num_units <= MOST_COUNTED, f"a machine of {num_visible} and {num_hidden} units is too large to be counted"
    free_energy = machine.free_energy if by_visible else machine.hidden_free_energy
    parts = [torch.logsumexp(-free_energy(s.to(machine.weight)).double(), 0) for s in states(num_units)]
    value = float(torch.logsumexp(torch.stack(parts), 0))
    return Partition(value, value, value)


def states(num_units: int) -> Iterator[Tensor]:
    """All states (2^n, n) of binary units, some thousand at a time."""
    place = torch.arange(num_units)
    for start in range(0, 1 << num_units, COUNTED_AT_ONCE):
        numbers = torch.arange(start, min(start + COUNTED_AT_ONCE, 1 << num_units))
        yield (numbers[:, None] >> place) & 1


@torch.no_grad()
def estimated(
    machine: Machine,
    mean: Tensor,
    variance: Tensor | None = None,
    *,
    num_chains: int = 100,
    num_steps: int = 10_000,
    generator: torch.Generator | None = None,
    progress: Callable[[int], None] = lambda step: None,
) -> Partition:
    """log Z by annealed importance sampling, with three standard errors to either side.

    The chains start from units that know nothing of each other, with the data's means (and variances) (V,), and come
    to the machine in `num_steps` temperatures. Too few of them make the estimate too small, not just uncertain.
    """
    course = _Course(machine, mean, variance)
    betas = _betas(num_steps)
    v = course.first(num_chains, generator)
    inputs = machine.hidden_inputs(v)
    logs = torch.zeros(num_chains, dtype=torch.float64, device=v.device)
    for step, (before, beta) in enumerate(pairwise(betas)):
        logs += course.log_density(v, inputs, beta) - course.log_density(v, inputs, before)
        h = _drawn((inputs * beta).sigmoid(), generator)
        v = course.visible(h, beta, generator)
        inputs = machine.hidden_inputs(v)
        progress(step + 1)
    return _mean_of(logs.cpu(), course.log_partition)


class _Course:
    """The path from the base-rate model to the machine: densities multiplied, to the powers 1 - beta and beta."""

    def __init__(self, machine: Machine, mean: Tensor, variance: Tensor | None) -> None:
        self.machine = machine
        num_hidden = len(machine.weight)
        if machine.log_variance is None:
            self.base = mean.clamp(LEAST_RATE, 1 - LEAST_RATE).logit()
            visible = F.softplus(self.base).double().sum()
        else:
            assert variance is not None
            self.base, self.precision = mean, 1 / variance
            self.machine_precision = (-machine.log_variance).exp()
            visible = 0.5 * (math.log(2 * math.pi) + variance.double().log()).sum()
        self.log_partition = float(visible) + num_hidden * math.log(2)
        """Of the base-rate model, whose hidden units are free."""

    def first(self, number: int, generator: torch.Generator | None) -> Tensor:
        base = self.base.expand(number, -1)
        if self.machine.log_variance is None:
            return _drawn(base.sigmoid(), generator)
        return base + _noise(base, generator) / self.precision.sqrt()

    def visible(self, h: Tensor, beta: float, generator: torch.Generator | None) -> Tensor:
        inputs = self.machine.visible_inputs(h)
        if self.machine.log_variance is None:
            return _drawn(torch.lerp(self.base.expand_as(inputs), inputs, beta).sigmoid_(), generator)
        own, base = beta * self.machine_precision, (1 - beta) * self.precision
        mean = (inputs * own + self.base * base) / (own + base)
        return mean + _noise(mean, generator) / (own + base).sqrt()

    def log_density(self, v: Tensor, inputs: Tensor, beta: float) -> Tensor:
        """Of v (N, V), up to the constant that is wanted; `inputs` are its hidden units' log-odds. (N,), float64."""
        bias = self.machine.visible_bias
        if self.machine.log_variance is None:
            of_visible = v @ torch.lerp(self.base, bias, beta)
        else:
            own = (v - bias).square() @ self.machine_precision
            of_visible = -0.5 * torch.lerp((v - self.base).square() @ self.precision, own, beta)
        return (of_visible + F.softplus(inputs * beta).sum(1)).double()


def _betas(number: int) -> list[float]:
    """From 0 to 1 in `number` steps."""
    points, start = [0.0], 0.0
    for end, share in COURSE:
        steps = max(1, round(share * number))
        points += [start + (end - start) * (i + 1) / steps for i in range(steps)]
        start = end
    return points


def _mean_of(logs: Tensor, offset: float) -> Partition:
    """log of the mean of exp(logs), and of it less or more three standard errors."""
    largest = logs.max()
    weights = (logs - largest).exp()
    mean, error = float(weights.mean()), float(weights.std() / math.sqrt(len(weights)))
    shift = offset + float(largest)
    low, high = mean - DEVIATIONS * error, mean + DEVIATIONS * error
    return Partition(shift + math.log(mean), shift + math.log(low) if low > 0 else -math.inf, shift + math.log(high))


def _drawn(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.bernoulli(probabilities, generator=generator)


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


@torch.no_grad()
def pseudo_likelihood(machine: Machine, v: Tensor) -> float:
    """Mean over rows v (N, V) of ones and zeros of sum_i log p(v_i | all others of the row), every unit in turn."""
    inputs = machine.hidden_inputs(v)
    here = F.softplus(inputs).sum(1)
    total = v.new_zeros(len(v), dtype=torch.float64)
    for unit, (bias, weights) in enumerate(zip(machine.visible_bias, machine.weight.t(), strict=True)):
        turn = 1 - 2 * v[:, unit]
        there = F.softplus(torch.addr(inputs, turn, weights)).sum(1) + turn * bias
        total += F.logsigmoid(here - there).double()
    return float(total.mean())
