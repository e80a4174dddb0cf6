"""Optimisers and the update around them, against plain formulas in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import Batch, InputSpec, Loss, Phase, Step, Task
from earnest.models.bert import MaskedLanguageModel
from earnest.training import optimisers, update
from earnest.training.muon import Muon
from earnest.training.state import TrainState


class Net(nn.Module):
    """A filter, a norm, a matrix and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.hidden = nn.Linear(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(self.norm(self.conv(x)).amax((2, 3))).relu())
        return out


class Squares(Task):
    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        return Loss((model(batch.inputs) - batch.targets).square().sum(), len(batch))


def batch(num: int = 7) -> Batch:
    return Batch(torch.randn(num, 2, 5, 5, dtype=torch.float64), torch.randn(num, 3, dtype=torch.float64))


def stepped(recipe: Recipe, batches: list[Batch], model: nn.Module) -> TrainState:
    """A state that took a step on each batch, at a constant rate."""
    state = TrainState(model, Squares())
    state.optimisers = {"all": optimisers.build(model.named_parameters(), recipe)}
    if recipe.ema:
        state.average = {name: p.detach().clone() for name, p in model.named_parameters()}
    for one in batches:
        assert not update.take(state, one, recipe, Phase(), Step(), lambda: None)
        state.position.step += 1
    return state


def gradients(model: nn.Module, one: Batch) -> dict[str, Tensor]:
    """Of the mean loss, by plain autograd."""
    parameters = dict(model.named_parameters())
    loss = Squares().loss(model, one, Step()).total / len(one)
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def assert_equal(model: nn.Module, expected: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-6, atol=1e-9, msg=name)


def constant(**fields: Any) -> Recipe:
    return Recipe(schedule="constant", warmup=0, spike=1e9, **fields)


@torch.no_grad()
def adamw_by_hand(model: nn.Module, batches: list[Batch], *, lr: float, decay: float) -> dict[str, Tensor]:
    """Loshchilov & Hutter 2019, algorithm 2, with decay on matrices and filters only."""
    model = copy.deepcopy(model)
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    for number, one in enumerate(batches, 1):
        with torch.enable_grad():
            found = gradients(model, one)
        for name, parameter in model.named_parameters():
            first[name] = 0.9 * first.get(name, 0) + 0.1 * found[name]
            second[name] = 0.99 * second.get(name, 0) + 0.01 * found[name] ** 2
            step = (first[name] / (1 - 0.9**number)) / ((second[name] / (1 - 0.99**number)).sqrt() + 1e-8)
            parameter.sub_(lr * (step + (decay if parameter.ndim >= 2 else 0) * parameter))
    return {name: p.detach() for name, p in model.named_parameters()}


def test_adamw_is_the_papers() -> None:
    model, batches = Net().double(), [batch() for _ in range(6)]
    expected = adamw_by_hand(model, batches, lr=0.01, decay=0.3)
    stepped(constant(optimiser="adamw", lr=0.01, weight_decay=0.3, beta2=0.99), batches, model)
    assert_equal(model, expected)


def test_the_fused_adamw_is_used_and_equals_the_plain_one_in_float32() -> None:
    model = Net()
    (made,) = optimisers.build(model.named_parameters(), Recipe(lr=0.01, weight_decay=0.1))
    assert made.defaults["fused"]
    other = copy.deepcopy(model)
    decays = [p for p in other.parameters() if p.ndim >= 2]
    rest = [p for p in other.parameters() if p.ndim < 2]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=0.01, foreach=False, fused=False)
    for _ in range(5):
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        made.step()
        plain.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_sgd_is_nesterovs() -> None:
    model, batches = Net().double(), [batch() for _ in range(5)]
    other = copy.deepcopy(model)
    velocity: dict[str, Any] = {}
    for one in batches:
        found = gradients(other, one)
        with torch.no_grad():
            for name, parameter in other.named_parameters():
                gradient = found[name] + (0.2 if parameter.ndim >= 2 else 0) * parameter
                velocity[name] = 0.8 * velocity.get(name, 0) + gradient
                parameter.sub_(0.05 * (gradient + 0.8 * velocity[name]))
    stepped(constant(optimiser="sgd", lr=0.05, momentum=0.8, weight_decay=0.2), batches, model)
    assert_equal(model, {name: p.detach() for name, p in other.named_parameters()})


def test_muon_moves_filters_and_matrices_and_sgd_the_head_and_the_vectors() -> None:
    model = Net()
    muon, sgd = optimisers.build(model.named_parameters(), Recipe(optimiser="muon", lr=0.3, lr_rest=0.02))
    assert isinstance(muon, Muon)
    assert isinstance(sgd, torch.optim.SGD)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moved = [{names[id(p)] for group in one.param_groups for p in group["params"]} for one in (muon, sgd)]
    assert moved[0] == {"conv.weight", "hidden.weight"}
    assert moved[1] == set(names.values()) - moved[0]
    assert {group["peak_lr"] for group in muon.param_groups} == {0.3}
    assert {group["peak_lr"] for group in sgd.param_groups} == {0.02}


def test_muon_moves_a_transformers_blocks_and_adamw_what_is_around_them() -> None:
    bert = models["bert-modern-tiny"].build(InputSpec("tokens", (16,), (300,)), 1)
    model = MaskedLanguageModel(bert)
    recipe = Recipe(optimiser="muon-adamw", lr=0.3, lr_rest=0.02, beta2=0.98)
    muon, adamw = optimisers.build(model.named_parameters(), recipe)
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    assert {group["betas"] for group in adamw.param_groups} == {(0.9, 0.98)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moved = [{names[id(p)] for group in one.param_groups for p in group["params"]} for one in (muon, adamw)]
    assert moved[0] | moved[1] == set(names.values())
    assert not moved[0] & moved[1]
    assert len(moved[0]) == 2 * 4
    assert all(name.startswith("encoder.blocks.") for name in moved[0])
    assert {"encoder.embedding.word.weight", "transform.weight", "encoder.norm.weight"} <= moved[1]
    assert {group["peak_lr"] for group in muon.param_groups} == {0.3}
    assert {group["peak_lr"] for group in adamw.param_groups} == {0.02}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon", "muon-adamw"])
def test_only_matrices_and_filters_decay_and_depth_is_the_models(optimiser: str) -> None:
    model = Net()
    recipe = Recipe(optimiser=optimiser, lr=1.0, weight_decay=0.1, layer_decay=0.5)  # type: ignore[arg-type]
    depth = {"conv": 3, "norm": 2, "hidden": 1, "head": 0}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = [group for made in optimisers.build(model.named_parameters(), recipe) for group in made.param_groups]
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim >= 2 else 0)
            assert group["peak_lr"] == 0.5 ** depth[names[id(parameter)].split(".")[0]]


def test_frozen_parameters_are_no_optimisers() -> None:
    model = Net()
    model.conv.requires_grad_(False)
    (made,) = optimisers.build(model.named_parameters(), Recipe(lr=0.1))
    assert sum(len(group["params"]) for group in made.param_groups) == 6


def test_clipping_scales_the_whole_gradient_to_its_limit() -> None:
    model, one = Net().double(), batch()
    found = gradients(model, one)
    norm = math.sqrt(sum(float(g.square().sum()) for g in found.values()))
    limit = norm * float(np.random.default_rng().uniform(0.1, 0.9))
    expected = {name: p.detach() - 0.1 * found[name] * limit / norm for name, p in model.named_parameters()}
    state = stepped(constant(optimiser="sgd", lr=0.1, momentum=0, clip=limit), [one], model)
    assert_equal(model, expected)
    assert state.latest["gradient_norm"] == pytest.approx(norm)


def test_a_gradient_under_the_limit_is_left_alone() -> None:
    model, one = Net().double(), batch()
    found = gradients(model, one)
    expected = {name: p.detach() - 0.1 * found[name] for name, p in model.named_parameters()}
    stepped(constant(optimiser="sgd", lr=0.1, momentum=0, clip=1e6), [one], model)
    assert_equal(model, expected)


def test_the_average_follows_its_recursion() -> None:
    """decay_t = min(decay, (1 + t) / (10 + t)), then a weighted mean of what was and what is."""
    model, batches = Net().double(), [batch() for _ in range(30)]
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    other = copy.deepcopy(model)
    for number in range(len(batches)):
        decay = min(0.6, (1 + number) / (10 + number))
        now = stepped(constant(optimiser="sgd", lr=0.05, momentum=0), [batches[number]], other).model
        for name, parameter in now.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    state = stepped(constant(optimiser="sgd", lr=0.05, momentum=0, ema=0.6), batches, model)
    for name, value in expected.items():
        torch.testing.assert_close(state.average[name], value, rtol=1e-9, atol=1e-12)
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    with state.averaged():
        assert_equal(model, expected)
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters())


def test_a_phase_moves_the_average_of_its_own_parameters_only() -> None:
    model = Net().double()
    state = TrainState(model, Squares())
    phase = Phase("head", lambda m: m.head.named_parameters())
    recipe = constant(optimiser="sgd", lr=0.1, ema=0.9)
    state.optimisers = {"head": optimisers.build(phase.params(model), recipe)}
    state.average = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    update.take(state, batch(), recipe, phase, Step(), lambda: None)
    assert all(bool(state.average[name].any()) == name.startswith("head.") for name in state.average)


class Noisy(Squares):
    """Replaces a buffer of its own, as persistent chains do, and gives no finite loss."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("chains", torch.zeros(3))

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        self.chains = self.chains + 1
        return Loss(super().loss(model, batch, step).total * math.nan, len(batch))


def test_a_bad_step_leaves_no_trace_on_a_tasks_own_state() -> None:
    model = Net().double()
    state = TrainState(model, Noisy())
    recipe = constant()
    state.optimisers = {"all": optimisers.build(model.named_parameters(), recipe)}
    (trouble,) = update.take(state, batch(), recipe, Phase(), Step(), lambda: None)
    assert trouble.kind == "skipped"
    assert not state.task.get_buffer("chains").any()


class Scaled(Squares):
    """A loss whose scale is set from outside."""

    scale = 1.0

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        return Loss(super().loss(model, batch, step).total * self.scale, len(batch))


def test_a_lasting_change_of_scale_is_accepted_before_training_gives_up() -> None:
    model, task = Net().double(), Scaled()
    state = TrainState(model, task)
    recipe = Recipe(schedule="constant", warmup=0, lr=1e-6)
    state.optimisers = {"all": optimisers.build(model.named_parameters(), recipe)}

    def took() -> bool:
        return not update.take(state, batch(), recipe, Phase(), Step(), lambda: None)

    assert all(took() for _ in range(60))
    task.scale = 1000.0
    taken = [took() for _ in range(40)]
    assert not any(taken[: update.LASTING])
    assert all(taken[update.LASTING :])


def test_a_spike_does_not_hide_the_next() -> None:
    model, task = Net().double(), Scaled()
    state = TrainState(model, task)
    recipe = Recipe(schedule="constant", warmup=0, lr=1e-6)
    state.optimisers = {"all": optimisers.build(model.named_parameters(), recipe)}
    skipped = []
    for number in range(60):
        task.scale = 1e4 if number in (30, 31, 45) else 1.0
        if update.take(state, batch(), recipe, Phase(), Step(), lambda: None):
            skipped.append(number)
    assert skipped == [30, 31, 45]


def test_each_phase_has_spikes_of_its_own() -> None:
    model, task = Net().double(), Scaled()
    state = TrainState(model, task)
    recipe = Recipe(schedule="constant", warmup=0, lr=1e-6)
    phases = [Phase("small"), Phase("large")]
    state.optimisers = {phase.name: optimisers.build(model.named_parameters(), recipe) for phase in phases}
    for _ in range(30):
        for phase, scale in zip(phases, (1.0, 1e4), strict=True):
            task.scale = scale
            assert not update.take(state, batch(), recipe, phase, Step(), lambda: None)
