"""A deep belief net in the loop: each machine learns what those below it say, then all of them the question."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, NamedParameters, Phase, Source, Stage, Step, Task
from earnest.nn.belief import BeliefNet
from earnest.nn.chains import Persistent
from earnest.tasks.contrast import Contrasting

LAYER = "layer "
"""A stage of pretraining is called this and its layer's number, from 1."""
PRETRAINING: dict[str, Any] = {
    "optimiser": "sgd",
    "lr": 0.1,
    "lr_rest": None,
    "momentum": 0.5,
    "weight_decay": 2e-4,
    "schedule": "linear",
    "warmup": 0.0,
    "layer_decay": 1.0,
    "unfreeze": 1.0,
    "ema": 0.0,
    "clip": None,
    "patience": 0,
}
"""What differs from the recipe while a machine learns: the settings of G. Hinton, "A practical guide to training
restricted Boltzmann machines", 2010, with the chains' momentum that Tieleman (2008) found best."""
LOOKED_AT = 16
"""Rows of a batch by whose reconstruction the loss is told: a sign of life, and no more (Hinton's guide, section 5)."""
COMPARED = 1000
"""Rows whose free energies are compared."""


class DeepBelief(Task):
    """Teaches `model.net` layer by layer, then asks `question` of the model; its chains are buffers.

    The model is one that has a `net` and a `head`, and says whether the net is `frozen` when the question is learned.
    """

    def __init__(self, question: Task, net: BeliefNet, seen: Tensor, *, num_chains: int) -> None:
        """`seen` (N, V) are rows that are learned from, with whose free energies other rows' are compared."""
        super().__init__()
        self.question = question
        self.metric = question.metric
        self.higher_is_better = question.higher_is_better
        self.contrasting = nn.ModuleList(
            Contrasting(machine, Persistent(num_chains, len(machine.hidden_bias))) for machine in net.machines
        )
        self.seen = seen[:COMPARED]

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        """`recipe.pretraining` of the epochs, evenly over the layers, then the others; at least one each."""
        each = max(1, round(recipe.pretraining * recipe.epochs / len(self.contrasting))) if recipe.pretraining else 0
        learned = [
            Stage(f"{LAYER}{number + 1}", each, (Phase(params=_Layer(number)),), PRETRAINING)
            for number in range(len(self.contrasting))
            if each
        ]
        rest = max(1, recipe.epochs - each * len(self.contrasting))
        return [*learned, Stage("head" if model.frozen else "fine-tuning", rest, (Phase(params=_taught),))]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        if not step.stage.startswith(LAYER):
            return self.question.loss(model, batch, step)
        number = _layer_of(step)
        machine = net_of(model).machines[number]
        contrasting = self.contrasting[number]
        assert isinstance(contrasting, Contrasting)
        with torch.no_grad(), torch.autocast(machine.weight.device.type, enabled=False):
            v = _inputs(model, batch, number)
            found = contrasting.find(machine, v)
            some = v[:LOOKED_AT]
            error = (some - machine.visible(machine.hidden(some))).square().mean() * len(v)
        gradients = [found.weight, *found.rest]
        climbed = torch.stack([(p * g).sum() for p, g in zip(machine.parameters(), gradients, strict=True)]).sum()
        return Loss(error - (climbed - climbed.detach()), float(len(batch)))

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """Scores of the question; of a layer, how much its free energy is higher on rows that it does not learn from.

        The gap grows as the machine learns its rows by heart (Hinton's guide, section 6).
        """
        if not step.stage.startswith(LAYER):
            return self.question.validate(model, source, step)
        number = _layer_of(step)
        machine = net_of(model).machines[number]
        energies: list[Tensor] = []
        for batch in source.batches(step.at(index=0)):
            energies.append(machine.free_energy(_inputs(model, batch.to(machine.weight.device), number)).double())
            if sum(map(len, energies)) >= COMPARED:
                break
        energy = float(torch.cat(energies).mean())
        learned = machine.free_energy(net_of(model).upward(self.seen.to(machine.weight), layers=number)).double()
        return {self.metric: float("nan"), "free_energy": energy, "free_energy_gap": energy - float(learned.mean())}

    def decode(self, output: Tensor) -> Any:
        return self.question.decode(output)


def net_of(model: nn.Module) -> BeliefNet:
    """The model's deep belief net."""
    assert isinstance(model.net, BeliefNet)
    return model.net


def _inputs(model: nn.Module, batch: Batch, number: int) -> Tensor:
    """What the machine of layer `number` sees of the batch."""
    assert isinstance(batch.inputs, Tensor)
    return net_of(model).upward(batch.inputs.flatten(1).float(), layers=number)


class _Layer:
    """The parameters of one machine of a stack."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, model: nn.Module) -> NamedParameters:
        return list(net_of(model).machines[self.number].named_parameters(f"net.layers.{self.number}"))


def _taught(model: nn.Module) -> NamedParameters:
    """What the question moves."""
    return [(name, p) for name, p in model.named_parameters() if name.startswith("head.") or not model.frozen]


def _layer_of(step: Step) -> int:
    """The place of the stage's layer, from 0."""
    return int(step.stage.removeprefix(LAYER)) - 1
