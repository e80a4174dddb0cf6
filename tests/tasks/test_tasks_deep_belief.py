"""A deep belief net in the loop: it learns without labels what helps with them, and resumes to the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.core.words import Batch, Step
from earnest.data.batches import ArrayBatches
from earnest.models.dbn import BeliefClassifier
from earnest.tasks.classification import Classification
from earnest.tasks.deep_belief import DeepBelief, net_of
from earnest.training.loop import train
from earnest.training.state import Plan, TrainState

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = (DIGITS / 16).astype(np.float32)
RECIPE = Recipe(epochs=9, batch_size=50, lr=2e-3, schedule="cosine", pretraining=0.6, ema=0.9)


def source(rows: slice, *, size: int = 50, learning: bool = False) -> ArrayBatches:
    some = np.arange(len(DIGITS))[rows]
    return ArrayBatches((DIGITS,), LABELS, some, batch_size=size, shuffle=learning)


def state(hidden: tuple[int, ...] = (32, 24), *, frozen: bool = False) -> TrainState:
    torch.manual_seed(7)
    model = BeliefClassifier(64, 10, hidden=hidden, frozen=frozen)
    seen = torch.from_numpy(DIGITS[:1000])
    first, *others = net_of(model).machines
    first.start_from(seen.mean(0))
    for machine in others:
        machine.start_from(torch.full_like(machine.visible_bias, 0.5))
    task = DeepBelief(Classification(10), net_of(model), seen, num_chains=50)
    return TrainState(model, task, seed=3, plan=Plan())


def trained(its: TrainState, *, steps: int | None = None, recipe: Recipe = RECIPE) -> list[Any]:
    """The events of training, up to so many steps."""
    events = []
    learned = source(slice(0, 1000), size=recipe.batch_size, learning=True)
    for event in train(its, learned, source(slice(1000, None)), recipe, clock=WallClock()):
        events.append(event)
        if event.kind == "step" and event.number == steps:
            break
    return events


def test_layers_come_first_and_then_the_question() -> None:
    its = state()
    stages = its.task.stages(its.model, RECIPE)
    assert [(stage.name, stage.epochs) for stage in stages] == [("layer 1", 3), ("layer 2", 3), ("fine-tuning", 3)]
    moved = [[name for name, _ in stage.phases[0].params(its.model)] for stage in stages]
    assert all(name.startswith("net.layers.0.") for name in moved[0])
    assert all(name.startswith("net.layers.1.") for name in moved[1])
    assert set(moved[2]) == {name for name, _ in its.model.named_parameters()}
    frozen = state(frozen=True)
    last = frozen.task.stages(frozen.model, RECIPE)[-1]
    assert [name for name, _ in last.phases[0].params(frozen.model)] == ["head.weight", "head.bias"]
    assert [stage.name for stage in its.task.stages(its.model, RECIPE.but(pretraining=0))] == ["fine-tuning"]


def test_the_loss_has_the_contrast_for_its_gradient() -> None:
    its = state()
    batch = Batch(torch.from_numpy(DIGITS[:50]))
    machine = net_of(its.model).machines[0]
    task: Any = its.task
    torch.manual_seed(1)
    saved = {name: buffer.clone() for name, buffer in task.contrasting[0].named_buffers()}
    expected = task.contrasting[0].find(machine, batch.inputs)
    task.contrasting[0].load_state_dict(saved)
    torch.manual_seed(1)
    loss = task.loss(its.model, batch, Step(stage="layer 1"))
    loss.total.backward()
    assert 0 < float(loss.total.detach()) / 50 < 1
    for parameter, gradient in zip(machine.parameters(), (expected.weight, *expected.rest), strict=True):
        torch.testing.assert_close(parameter.grad, -gradient)


def test_it_learns_digits() -> None:
    """Either layer's machine comes to know what the one below it says, and a few epochs of labels do the rest."""
    its = state((64, 64))
    recipe = RECIPE.but(epochs=30, batch_size=10, lr=5e-3, pretraining=0.5)
    epochs = [event for event in trained(its, recipe=recipe) if event.kind == "epoch"]
    for layer, share in (("layer 1", 0.8), ("layer 2", 0.9)):
        values = [event.values for event in epochs if event.step.stage == layer]
        assert all(math.isnan(one["accuracy"]) for one in values)
        assert values[-1]["train_loss"] < share * values[0]["train_loss"]
        assert abs(values[-1]["free_energy_gap"]) < 10
    assert its.best is not None
    assert its.best > 0.8


def test_stopped_in_the_middle_of_a_layer_it_ends_the_same() -> None:
    uncut = state()
    trained(uncut)
    for steps in (29, 70, 141):
        cut = state()
        trained(cut, steps=steps)
        tensors, facts = cut.pack()
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        resumed = state()
        resumed.unpack(tensors, facts)
        trained(resumed)
        theirs, ours = uncut.pack()[0], resumed.pack()[0]
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_a_frozen_machine_is_not_moved_by_labels() -> None:
    its = state((16,), frozen=True)
    stages = its.task.stages(its.model, RECIPE)
    before = None
    for event in trained(its):
        if event.kind == "epoch" and event.step.stage == stages[0].name:
            before = net_of(its.model).machines[0].weight.detach().clone()
    assert before is not None
    assert torch.equal(before, net_of(its.model).machines[0].weight.detach())
