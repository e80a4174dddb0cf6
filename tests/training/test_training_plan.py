"""Probing the machine: nothing is left changed, and nothing is taken that does not agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, Step
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training import plan as plans
from earnest.training.plan import Pace
from earnest.training.state import Plan, TrainState


class Net(nn.Module):
    """With everything that a forward pass could change: batch statistics, dropout, a count."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
        self.head = nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class Counting(Classification):
    def __init__(self) -> None:
        super().__init__(3)
        self.register_buffer("seen", torch.zeros(()))

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        self.seen += len(batch)
        return super().loss(model, batch, step)


def noisy(batch: Batch, step: Step) -> Batch:
    """An augmentation, which draws random numbers."""
    assert isinstance(batch.inputs, Tensor)
    return Batch(batch.inputs + torch.randn_like(batch.inputs), batch.targets, batch.rows)


def pictures() -> ArrayBatches:
    generator = np.random.default_rng()
    x = generator.normal(size=(40, 1, 8, 8)).astype(np.float32)
    return ArrayBatches((x,), generator.integers(0, 3, 40), np.arange(40), batch_size=16, shuffle=True, transform=noisy)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_a_probe_leaves_model_task_threads_and_random_numbers_as_they_were() -> None:
    model, task = Net(), Counting()
    before = {name: t.clone() for name, t in {**model.state_dict(), **task.state_dict()}.items()}
    random = torch.get_rng_state()
    pace = plans.probe(model, task, pictures(), Recipe(model="x"), device="cpu", seed=0)
    after = {**model.state_dict(), **task.state_dict()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == 2
    assert pace.seconds_per_step > 0
    assert 1 <= pace.plan.checkpoint_every_steps <= 1000
    assert Plan(**asdict(pace.plan)) == pace.plan


def paces(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Plan]:
    """Let `answer(plan)`, in seconds, stand for measuring; the plans tried."""
    tried: list[Plan] = []

    def pace(plan: Plan, *arguments: Any) -> Pace:
        tried.append(plan)
        return Pace(plan, answer(plan))

    monkeypatch.setattr(plans, "_pace", pace)
    monkeypatch.setattr(plans, "may_have_fast_bf16", lambda device: True)
    return tried


def chosen(model: nn.Module | None = None, task: Classification | None = None) -> Plan:
    return plans.probe(model or Net(), task or Counting(), pictures(), Recipe(), device="cpu", seed=0).plan


@pytest.mark.parametrize(("seconds", "taken"), [(0.5, True), (0.8, True), (0.9, False), (0.99, False), (1.2, False)])
def test_bf16_is_taken_only_where_it_saves_a_good_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, taken: bool
) -> None:
    paces(monkeypatch, lambda plan: seconds if plan.precision == "bf16" else 1.0)
    assert chosen().precision == ("bf16" if taken else "fp32")


class Cancelling(Net):
    """Features that stand on a pedestal which bfloat16 has no digits above, and that hardly move the loss.

    The loss says nothing of it: it is log 3 either way. The head's gradient is made of the features, and is noise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        raised = nn.functional.linear(x.flatten(1), torch.eye(64)) + 1024
        logits: Tensor = self.head(1e-3 * (raised.float() - 1024))
        return logits


class Loud(Counting):
    """A loss that differs in bfloat16, as one does that overflows or underflows."""

    factor = 1.03

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        loss = super().loss(model, batch, step)
        return Loss(loss.total * (self.factor if torch.is_autocast_enabled("cpu") else 1.0), loss.weight)


class Nothing(Loud):
    factor = float("nan")


@pytest.mark.parametrize(
    ("model", "task", "taken"),
    [(Net, Counting, True), (Cancelling, Counting, False), (Net, Loud, False), (Net, Nothing, False)],
)
def test_bf16_is_taken_only_where_loss_and_gradient_agree(
    monkeypatch: pytest.MonkeyPatch, model: type[Net], task: type[Counting], taken: bool
) -> None:
    paces(monkeypatch, lambda plan: 0.5 if plan.precision == "bf16" else 1.0)
    assert chosen(model(), task()).precision == ("bf16" if taken else "fp32")


def test_the_cancelling_model_would_have_passed_by_its_loss_alone() -> None:
    batch = next(pictures().batches(Step()))
    model, task = Cancelling(), Counting()
    plain = task.loss(model, batch, Step()).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        low = task.loss(model, batch, Step()).total.item()
    assert low == pytest.approx(plain, rel=plans.LOSS_AGREES / 4)


def test_comparing_leaves_the_model_as_it_was() -> None:
    model, task = Net(), Counting()
    before = {name: t.clone() for name, t in {**model.state_dict(), **task.state_dict()}.items()}
    batches = list(pictures().batches(Step()))
    assert plans.bf16_agrees(Plan(), model, task, batches, Recipe(), 0)
    after = {**model.state_dict(), **task.state_dict()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.usefixtures("_two_threads")
def test_what_pays_is_kept_while_the_next_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"channels_last": 0.5, "bf16": 0.8, "thread": 0.8}
    tried = paces(
        monkeypatch,
        lambda plan: (
            (cost["channels_last"] if plan.channels_last else 1)
            * (cost["bf16"] if plan.precision == "bf16" else 1)
            * (cost["thread"] if plan.threads == 1 else 1)
        ),
    )
    best = chosen()
    assert (best.channels_last, best.precision, best.threads) == (True, "bf16", 1)
    assert len(tried) == 4
    assert best.checkpoint_every_steps == round(plans.CHECKPOINT_SECONDS / 0.32)


def test_a_table_is_not_tried_in_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = paces(monkeypatch, lambda plan: 1.0)
    x = np.zeros((8, 5), np.float32)
    source = ArrayBatches((x,), np.zeros(8, np.int64), np.arange(8), batch_size=4, shuffle=True)
    plans.probe(nn.Linear(5, 3), Counting(), source, Recipe(), device="cpu", seed=0)
    assert not any(plan.channels_last for plan in tried)


@pytest.mark.usefixtures("_two_threads")
def test_a_plan_in_use_sets_the_threads_and_puts_them_back() -> None:
    with plans.used(Plan(threads=1)):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with plans.used(Plan()):
        assert torch.get_num_threads() == 2


def test_the_device_asked_for_is_taken_or_named_as_missing() -> None:
    assert plans.choose_device("cpu") == "cpu"
    assert plans.choose_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("cuda:99", "gpu", ""):
        with pytest.raises(OptionError, match=f"--device {wrong}"):
            plans.choose_device(wrong)


def test_bf16_trains_with_weights_in_float32() -> None:
    from earnest.core.run import WallClock
    from earnest.training.loop import train

    state = TrainState(Net(), Classification(3), plan=Plan(precision="bf16", channels_last=True))
    seen = []
    state.model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    source = pictures()
    for _ in train(state, source, source, Recipe(epochs=2), clock=WallClock()):
        pass
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}
