"""The words that everyone speaks: what a batch, a step, a loss, a task and a source of batches are.

A *model* maps tensors to tensors. A *task* says what the question is. A *source* yields batches. One loop
(`earnest.training.loop.train`) joins them, and knows nothing of what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...]
NamedParameters = Iterable[tuple[str, nn.Parameter]]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What goes into a model, which is all that a model's builder is told about data.

    kind "image": `shape` is (channels, height, width); the model gets (B, C, H, W) floats.
    kind "vector": `shape` is (features,); the model gets (B, F) floats.
    kind "table": `shape` is (number columns,), `cardinalities` one entry a category column, counting the code 0 that
        stands for missing or unseen; the model gets the pair (B, N) floats and (B, K) int64 codes.
    kind "tokens": `shape` is (most tokens,), `cardinalities` is (vocabulary size,); the model gets the pair (B, T)
        int64 ids and (B,) int64 lengths of at least 1, T the longest of the batch; ids past a length are padding, 0.
        For a tagger `cardinalities` may go on: with those of characters it gets (B, T, W) int64 characters of words
        too, 0 past a word's end; with those of shapes also (B, T) int64 codes of how words are written.
    kind "columns": columns of several kinds, whose specs are `parts`, images first; `shape` is empty. The model gets
        the tensors of all parts in one tuple, in their order: one of an image, the pair of a table.
    """

    kind: Literal["image", "vector", "table", "tokens", "columns"]
    shape: tuple[int, ...]
    cardinalities: tuple[int, ...] = ()
    parts: tuple[InputSpec, ...] = ()


@dataclass(slots=True)
class Batch:
    """Some examples: tensors whose first dimension is the example, and the ids of their rows."""

    inputs: Inputs
    targets: Tensor | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        first = self.inputs if isinstance(self.inputs, Tensor) else self.inputs[0]
        return len(first)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `change` applied to every tensor of it."""
        inputs = change(self.inputs) if isinstance(self.inputs, Tensor) else tuple(change(x) for x in self.inputs)
        return replace(
            self,
            inputs=inputs,
            targets=None if self.targets is None else change(self.targets),
            rows=None if self.rows is None else change(self.rows),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`."""
        return self.map(lambda x: x.to(device, non_blocking=True))

    def split(self, parts: int) -> list[Batch]:
        """The batch cut into at most `parts` micro-batches of nearly equal size, in order."""
        size = -(-len(self) // parts)
        return [self.map(lambda x, i=i: x[i : i + size]) for i in range(0, len(self), size)]  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Step:
    """Where training is: everything random is a function of this place and the seed."""

    stage: str = "fit"
    phase: str = "all"
    epoch: int = 0
    index: int = 0
    """Position in the epoch, in batches."""
    progress: float = 0.0
    """How much of the stage's schedule is behind, from 0 to 1."""
    seed: int = 0

    def at(self, **changes: Any) -> Step:
        """The same place with some of it changed."""
        return replace(self, **changes)


@dataclass(slots=True)
class Loss:
    """A sum over examples and what to divide it by.

    Kept apart so that accumulated micro-batches and several processes give the mean over *all* examples, also when
    counts differ between them.
    """

    total: Tensor
    weight: Tensor | float
    logs: dict[str, Tensor] = field(default_factory=dict)
    """Further sums over the same examples, shown as means."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of update in a step: which parameters move, how often, and with which settings."""

    name: str = "all"
    params: Callable[[nn.Module], NamedParameters] = lambda model: model.named_parameters()
    """The parameters that this phase moves; the loop freezes every other one meanwhile."""
    every: int = 1
    """Take this phase on every n-th batch (a GAN's n_critic is `every` on the generator)."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Recipe fields that differ in this phase, such as `{"lr": 1e-4}`."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with a schedule of its own: a DBN's layer, the head before the body."""

    name: str = "fit"
    epochs: int = 1
    phases: tuple[Phase, ...] = (Phase(),)
    overrides: dict[str, Any] = field(default_factory=dict)
    """Recipe fields that differ in this stage."""


class Clock(Protocol):
    """Time spent and time left, summed over every session of a run."""

    def spent(self) -> float:
        """Seconds so far."""

    def left(self) -> float:
        """Seconds until the deadline; infinity when there is none."""


class Source(Protocol):
    """Yields batches, in an order that is a pure function of (seed, stage, epoch, position)."""

    def refresh(self, model: nn.Module, step: Step, clock: Clock) -> None:
        """Make the epoch's data with the current model (self-play, pseudo-labels); nothing for fixed data."""

    def num_batches(self, world: int = 1) -> int:
        """Batches an epoch for each of `world` processes."""

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The epoch's batches from `step.index` on."""

    def state_dict(self) -> dict[str, Tensor]:
        """What `refresh` made, so that a resumed epoch sees the same data."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""


class Task(nn.Module):
    """What the question is. Its own state (chains, running thresholds) is buffers, saved with the model."""

    metric: str = "loss"
    """The name in `validate`'s answer that selects the best model."""
    higher_is_better: bool = False

    def stages(self, model: nn.Module, recipe: Any) -> list[Stage]:
        """The stretches of training, in order; one, unless the task says otherwise."""
        return [Stage(epochs=recipe.epochs)]

    def encode(self, batch: Batch) -> Batch:
        """The batch as `loss` takes it, made on the CPU, where there is float64; as it is, unless the task differs."""
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        """The loss to minimise on `batch`, which `encode` made."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """Scores on `source`; `self.metric` is among them."""
        raise NotImplementedError(f"{type(self).__name__} has no validation")

    def decode(self, output: Tensor) -> Any:
        """The model's output in the user's words."""
        raise NotImplementedError(f"{type(self).__name__} cannot decode")
