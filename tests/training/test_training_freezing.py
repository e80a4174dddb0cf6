"""What a recipe freezes stays as it is to the last bit, and costs no backward pass."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.core.words import Phase, Stage
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training import freezing
from earnest.training.checkpoints import Checkpoints
from earnest.training.loop import train
from earnest.training.state import TrainState

BLOCKS = ("stem", "blocks.0", "blocks.1", "top", "head")


class Net(nn.Module):
    """Five blocks, norms with statistics in three of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(1, 4, 3, nn.BatchNorm2d(4))
        instance_norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.blocks = nn.ModuleList([block(4, 4, 1, nn.BatchNorm2d(4)), block(4, 4, 1, instance_norm)])
        self.top = block(4, 6, 3, nn.GroupNorm(2, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.stem, *self.blocks, self.top):
            x = part["norm"](part["conv"](x)).relu()
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def block(channels: int, width: int, kernel_size: int, norm: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"conv": nn.Conv2d(channels, width, kernel_size), "norm": norm})


def fresh(seed: int = 0) -> TrainState:
    torch.manual_seed(seed)
    model = Net()
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5) if "var" in name else nn.init.normal_(buffer)
    return TrainState(model, Classification(3), seed=seed)


def pictures(num: int = 48) -> ArrayBatches:
    generator = np.random.default_rng(5)
    x = generator.normal(size=(num, 1, 9, 9)).astype(np.float32)
    return ArrayBatches((x,), generator.integers(0, 3, num), np.arange(num), batch_size=8, shuffle=True)


def trained(state: TrainState, **recipe: object) -> set[str]:
    """Train; the names of parameters and buffers that are not bit-equal to what they were."""
    before = copy.deepcopy(state.model.state_dict())
    settings = {"epochs": 2, "lr": 0.01, "warmup": 0.0, **recipe}
    for _ in train(state, pictures(), None, Recipe(**settings), clock=WallClock()):  # type: ignore[arg-type]
        pass
    return {name for name, value in state.model.state_dict().items() if not torch.equal(value, before[name])}


def parameters(state: TrainState) -> set[str]:
    return {name for name, _ in state.model.named_parameters()}


def test_frozen_norms_keep_their_statistics_while_every_parameter_learns() -> None:
    state = fresh()
    assert trained(state, freeze_norms=True) == parameters(state)
    assert any("running_mean" in name for name in trained(fresh(), freeze_norms=False))


def test_frozen_norms_go_by_their_statistics() -> None:
    """In training, too, an example's output does not depend on the others of its batch."""
    state = fresh()
    x = torch.randn(6, 1, 9, 9)
    freezing.set_training(state.model, Recipe(freeze_norms=True))
    assert state.model.training
    torch.testing.assert_close(state.model(x)[:2], state.model(x[:2]))
    freezing.set_training(state.model, Recipe())
    assert not torch.allclose(state.model(x)[:2], state.model(x[:2]))


@pytest.mark.parametrize(("share", "num"), [(0.01, 1), (0.2, 1), (0.4, 2), (0.6, 3), (0.8, 4), (1.0, 5)])
def test_the_blocks_next_to_the_head_move_and_no_other(share: float, num: int) -> None:
    state = fresh()
    moved = trained(state, unfreeze=share, freeze_norms=True, ema=0.9)
    assert {freezing.block_of(name) for name in moved} == set(BLOCKS[-num:])
    assert moved == {name for name in parameters(state) if freezing.block_of(name) in BLOCKS[-num:]}
    assert all(parameter.requires_grad for parameter in state.model.parameters())


@pytest.mark.parametrize(("share", "upper"), [(0.4, ["top"]), (1.0, ["stem", "blocks.0", "blocks.1", "top"])])
def test_nothing_below_what_moves_is_recorded_for_a_backward_pass(share: float, upper: list[str]) -> None:
    state = fresh()
    recorded: set[str] = set()
    for name, module in state.model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda module, x, out, name=name: recorded.add(name) if out.requires_grad else None
            )
    trained(state, unfreeze=share, epochs=1)
    assert recorded == {f"{block}.conv" for block in upper}


class HeadThenMore(Classification):
    """A stage for the head, then one for the upper three blocks."""

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        deeper = Stage("deeper", 1, (Phase(overrides={"unfreeze": 0.6}),), {"lr": 0.001})
        return [Stage("head", 1, overrides={"unfreeze": 0.2, "freeze_norms": True}), deeper]


def test_depth_goes_by_stages_and_phases_and_a_resume_anywhere_ends_bit_equal(tmp_path: Path) -> None:
    recipe = Recipe(lr=0.01, ema=0.9)

    def begun() -> TrainState:
        state = fresh()
        state.task = HeadThenMore(3)
        return state

    uncut, moved = begun(), {}
    before = copy.deepcopy(uncut.model.state_dict())
    for event in train(uncut, pictures(), None, recipe, clock=WallClock()):
        if event.kind == "epoch":
            now = uncut.model.state_dict()
            moved[event.step.stage] = {
                freezing.block_of(name) for name in parameters(uncut) if not torch.equal(now[name], before[name])
            }
    assert moved == {"head": {"head"}, "deeper": {"blocks.1", "top", "head"}}
    for cut in range(1, 2 * pictures().num_batches()):
        store, state = Checkpoints(tmp_path / str(cut)), begun()
        for event in train(state, pictures(), None, recipe, clock=WallClock()):
            if event.kind == "step" and event.number == cut:
                store.save(cut, *state.pack())
                break
        state, saved = begun(), store.last()
        assert saved is not None
        state.unpack(*saved)
        for _ in train(state, pictures(), None, recipe, clock=WallClock()):
            pass
        resumed = state.model.state_dict()
        assert all(torch.equal(resumed[name], value) for name, value in uncut.model.state_dict().items())
