"""Everything that training changes: what a checkpoint holds, and nothing that can be worked out again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.words import Phase, Task


@dataclass(frozen=True, slots=True)
class Plan:
    """What was probed or decided on this machine, frozen before the first step so that a resume repeats it."""

    device: str = "cpu"
    precision: str = "fp32"
    """"fp32", or "bf16": autocast to bfloat16."""
    channels_last: bool = False
    threads: int | None = None
    checkpoint_every_steps: int = 100


@dataclass(slots=True)
class Position:
    """The next batch to take."""

    stage: int = 0
    epoch: int = 0
    index: int = 0
    step: int = 0
    """Batches taken so far, over all stages."""


@dataclass
class TrainState:
    """The state of one training: `train` advances it, `earnest.training.checkpoints` keeps it."""

    model: nn.Module
    task: Task
    seed: int = 0
    plan: Plan = field(default_factory=Plan)
    position: Position = field(default_factory=Position)
    optimisers: dict[str, list[torch.optim.Optimizer]] = field(default_factory=dict)
    """By phase, for the stage at hand."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """Moving average of the model's parameters, by name; empty when the recipe wants none."""
    micro_batches: int = 1
    """Parts a batch is cut into; doubled when memory runs out."""
    course: tuple[float, ...] = ()
    """Where the stage's schedule was last planned, how far it was then, and where it ends: (epoch, progress, epoch)."""
    best: float | None = None
    best_step: int = 0
    stale_epochs: int = 0
    """Epochs since the best validation score."""
    skipped: int = 0
    """Bad steps so far."""
    skipped_in_a_row: int = 0
    norms: dict[str, list[float]] = field(default_factory=dict)
    """By phase, the latest gradient norms, by which a spike is known."""
    sums: dict[str, float] = field(default_factory=dict)
    """The epoch's losses so far, and the weight to divide them by."""
    source: dict[str, Tensor] = field(default_factory=dict)
    """What the source made for this epoch."""
    latest: dict[str, float] = field(default_factory=dict)
    """How the latest update went; told, not kept."""
    _parameters: dict[str, tuple[list[nn.Parameter], list[nn.Parameter]]] = field(default_factory=dict)
    """What `parameters_of` found for the stage at hand."""
    _waiting: dict[str, list[dict[int, dict[str, Any]]]] = field(default_factory=dict)
    """Optimiser states from a checkpoint, until the stage has built the optimisers they belong to."""

    def parameters_of(self, phase: Phase) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that a phase of the stage at hand moves, and those that it keeps as they are."""
        if phase.name not in self._parameters:
            moved = [parameter for _, parameter in phase.params(self.model)]
            its = {id(parameter) for parameter in moved}
            kept = [p for p in self.model.parameters() if p.requires_grad and id(p) not in its]
            self._parameters[phase.name] = (moved, kept)
        return self._parameters[phase.name]

    def next_stage(self) -> None:
        """Stand before the first batch of the next stage, with optimisers and schedule to be made anew.

        Where an average was kept, it is what the model goes on with.
        """
        _copy(dict(self.model.named_parameters()), self.average)
        self.position = Position(stage=self.position.stage + 1, step=self.position.step)
        self.optimisers, self.average, self.course, self.norms, self.stale_epochs = {}, {}, (), {}, 0
        self._parameters = {}

    def add(self, phase: str, sums: dict[str, float]) -> None:
        """Add an update's losses and weight to the epoch's, under its phase's name where there are several."""
        for name, value in sums.items():
            name = name if phase == "all" else f"{phase}_{name}"
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """The epoch's losses so far, each a mean over its phase's examples."""
        phases = [name.removesuffix("weight") for name in self.sums if name.endswith("weight")]
        return {
            name: value / (self.sums[f"{phase}weight"] or float("nan"))
            for phase in phases
            for name, value in self.sums.items()
            if name.startswith(phase) and not name.endswith("weight")
        }

    def remember(self, score: float) -> bool:
        """Take note of a validation score; whether it is the best so far."""
        better = self.best is None or (score > self.best if self.task.higher_is_better else score < self.best)
        if math.isfinite(score) and better:
            self.best, self.best_step, self.stale_epochs = score, self.position.step, 0
            return True
        self.stale_epochs += 1
        return False

    @torch.no_grad()
    def move_average(self, decay: float, moved: Sequence[nn.Parameter]) -> None:
        """Move the average of the parameters just `moved`, if one is kept, towards them.

        A young average forgets its start: the decay grows to its value (Tarvainen & Valpola 2017, arXiv:1703.01780).
        """
        if not self.average:
            return
        decay = min(decay, (1 + self.position.step) / (10 + self.position.step))
        wanted = {id(parameter) for parameter in moved}
        pairs = [(self.average[name], p) for name, p in self.model.named_parameters() if id(p) in wanted]
        if pairs:
            averages, parameters = zip(*pairs, strict=True)
            torch._foreach_lerp_(averages, parameters, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, where there are any."""
        parameters = dict(self.model.named_parameters())
        own = {name: parameters[name].detach().clone() for name in self.average}
        _copy(parameters, self.average)
        try:
            yield
        finally:
            _copy(parameters, own)

    def weights(self) -> dict[str, Tensor]:
        """The model's state as it would be shipped: averaged where an average is kept; copies."""
        with self.averaged():
            return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it as named tensors and plain facts."""
        tensors = {
            f"{part}/{name}": tensor
            for part, values in (
                ("model", self.model.state_dict()),
                ("task", self.task.state_dict()),
                ("average", self.average),
                ("source", self.source),
            )
            for name, tensor in values.items()
        }
        scalars: dict[str, Any] = {}
        for phase, optimisers in self.optimisers.items():
            for number, optimiser in enumerate(optimisers):
                for parameter, values in optimiser.state_dict()["state"].items():
                    for key, value in values.items():
                        place = f"optimiser/{phase}/{number}/{parameter}/{key}"
                        (tensors if isinstance(value, Tensor) else scalars)[place] = value
        facts = {
            "position": asdict(self.position),
            "scalars": scalars,
            "phases": {phase: len(optimisers) for phase, optimisers in self.optimisers.items()},
            **{name: getattr(self, name) for name in _PLAIN},
        }
        return tensors, facts

    def unpack(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Become what `pack` gave."""
        parts: dict[str, dict[str, Any]] = {"model": {}, "task": {}, "average": {}, "source": {}, "optimiser": {}}
        for place, value in {**tensors, **facts["scalars"]}.items():
            part, name = place.split("/", 1)
            parts[part][name] = value
        self.model.load_state_dict(parts["model"])
        self.task.load_state_dict(parts["task"])
        parameters = dict(self.model.named_parameters())
        self.average = {name: torch.empty_like(parameters[name]).copy_(v) for name, v in parts["average"].items()}
        self.average = {name: tensor.detach() for name, tensor in self.average.items()}
        self.source = parts["source"]
        self.position = Position(**facts["position"])
        for name in _PLAIN:
            setattr(self, name, facts[name])
        self.course = tuple(facts["course"])
        self._waiting = {phase: [{} for _ in range(number)] for phase, number in facts["phases"].items()}
        for place, value in parts["optimiser"].items():
            phase, number, parameter, key = place.rsplit("/", 3)
            self._waiting[phase][int(number)].setdefault(int(parameter), {})[key] = value

    def restore_optimisers(self) -> None:
        """Give freshly built optimisers the state of the checkpoint, each tensor in its parameter's memory layout."""
        for phase, saved in self._waiting.items():
            for optimiser, values in zip(self.optimisers[phase], saved, strict=True):
                parameters = [p for group in optimiser.param_groups for p in group["params"]]
                for number, parts in values.items():
                    for key, value in parts.items():
                        if isinstance(value, Tensor) and value.ndim and value.shape == parameters[number].shape:
                            parts[key] = torch.empty_like(parameters[number]).copy_(value).detach()
                optimiser.load_state_dict({"state": values, "param_groups": optimiser.state_dict()["param_groups"]})
        self._waiting = {}


_PLAIN = (
    "micro_batches",
    "course",
    "best",
    "best_step",
    "stale_epochs",
    "skipped",
    "skipped_in_a_row",
    "norms",
    "sums",
)


@torch.no_grad()
def _copy(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
