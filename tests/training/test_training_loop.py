"""One loop, no branch: a classifier, a two-phase GAN, an RBM and a self-play learner, each of which must learn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.core.words import Batch, Clock, Loss, Phase, Source, Stage, Step, Task
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training import update
from earnest.training.checkpoints import Checkpoints
from earnest.training.loop import Event, train
from earnest.training.state import Plan, TrainState


def run_to_end(state: TrainState, source: Source, recipe: Recipe, validation: Source | None = None) -> list[Event]:
    return list(train(state, source, validation, recipe, clock=WallClock()))


def spirals(seed: int, num: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved spirals: no linear model separates them."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, num)
    turn = generator.uniform(0.3, 2.2, num) * math.pi
    angle = turn + math.pi * label
    x = np.stack([turn * np.cos(angle), turn * np.sin(angle)], 1) / 4 + generator.normal(0, 0.03, (num, 2))
    return x.astype(np.float32), label


def classifier(seed: int = 0, **recipe: object) -> tuple[TrainState, ArrayBatches, ArrayBatches, Recipe]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.05), nn.Linear(64, 2))
    x, y = spirals(1)
    held_x, held_y = spirals(2)
    settings = {"epochs": 12, "batch_size": 32, "lr": 0.02, "ema": 0.98, **recipe}
    source = ArrayBatches((x,), y, np.arange(len(x)), batch_size=32, shuffle=True)
    validation = ArrayBatches((held_x,), held_y, np.arange(len(held_x)), batch_size=256)
    return TrainState(model, Classification(2), seed=seed), source, validation, Recipe(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "muon", "muon-adamw"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "linear", "constant"])
def test_a_classifier_learns_what_no_linear_model_can(optimiser: str, schedule: str) -> None:
    lr = {"sgd": 0.2, "muon": 0.2}.get(optimiser, 0.02)
    state, source, validation, recipe = classifier(optimiser=optimiser, schedule=schedule, lr=lr)
    events = run_to_end(state, source, recipe, validation)
    assert events[-1].kind == "finished"
    scores = [event.values["accuracy"] for event in events if event.kind == "epoch"]
    assert len(scores) == 12
    assert state.best == max(scores)
    assert state.best > 0.97


class Gan(Task):
    """Non-saturating GAN on a ring, the critic twice for each generator step."""

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        critic = Phase("critic", lambda m: m.critic.named_parameters())
        generator = Phase("generator", lambda m: m.generator.named_parameters(), every=2)
        return [Stage("adversarial", recipe.epochs, (critic, generator))]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        noise = torch.randn(len(batch), 4)
        fake = model.generator(noise)
        if step.phase == "generator":
            return Loss(nn.functional.softplus(-model.critic(fake)).sum(), len(batch))
        real = batch.inputs.clone().requires_grad_()
        judged = model.critic(real)
        total = nn.functional.softplus(-judged).sum() + nn.functional.softplus(model.critic(fake.detach())).sum()
        slope = torch.autograd.grad(judged.sum(), real, create_graph=True)[0]
        return Loss(total + 0.05 * slope.square().sum(), len(batch))


def perceptron(inputs: int, outputs: int) -> nn.Module:
    hidden = [nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


def test_a_two_phase_gan_learns_a_ring_and_each_phase_moves_only_its_own() -> None:
    torch.manual_seed(0)
    model = nn.Module()
    model.generator, model.critic = perceptron(4, 2), perceptron(2, 1)
    angle = np.random.default_rng(0).uniform(0, 2 * math.pi, 2048)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    source = ArrayBatches((ring,), None, np.arange(len(ring)), batch_size=128, shuffle=True)
    recipe = Recipe(epochs=60, lr=2e-3, momentum=0.0, beta2=0.9, schedule="linear", warmup=0.0, ema=0.98)
    state = TrainState(model, Gan(), seed=3)
    before = [parameter.detach().clone() for parameter in model.generator.parameters()]
    events = train(state, source, None, recipe, clock=WallClock())
    first = next(events)
    assert {"critic_loss", "generator_loss"} <= set(first.values)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))
    before = [parameter.detach().clone() for parameter in model.generator.parameters()]
    assert "generator_loss" not in next(events).values
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))
    for _ in events:
        pass
    with torch.no_grad():
        samples = model.generator(torch.randn(2000, 4))
    radius = samples.norm(dim=1)
    assert (radius - 1).abs().mean() < 0.15
    covered = torch.histc(torch.atan2(samples[:, 1], samples[:, 0]), 8, -math.pi, math.pi) / 2000
    assert covered.min() > 0.03


class Rbm(nn.Module):
    """A restricted Boltzmann machine on binary vectors."""

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(visible, hidden) * 0.05)
        self.b = nn.Parameter(torch.zeros(visible))
        self.c = nn.Parameter(torch.zeros(hidden))

    def free_energy(self, v: Tensor) -> Tensor:
        return -(v @ self.b) - nn.functional.softplus(v @ self.w + self.c).sum(-1)

    @torch.no_grad()
    def gibbs(self, v: Tensor) -> Tensor:
        h = torch.bernoulli(torch.sigmoid(v @ self.w + self.c))
        return torch.bernoulli(torch.sigmoid(h @ self.w.T + self.b))


class PersistentDivergence(Task):
    """Maximum likelihood with persistent chains, which are the task's own state."""

    def __init__(self, chains: int, visible: int) -> None:
        super().__init__()
        self.register_buffer("chains", torch.bernoulli(torch.full((chains, visible), 0.5)))

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        for _ in range(5):
            self.chains = model.gibbs(self.chains)
        gap = model.free_energy(batch.inputs).mean() - model.free_energy(self.chains).mean()
        return Loss(gap * len(batch), len(batch))


def exact_log_likelihood(model: Rbm, data: Tensor) -> float:
    """By enumerating every visible vector."""
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=model.b.numel())))
    with torch.no_grad():
        log_z = torch.logsumexp(-model.free_energy(every), 0)
        return float((-model.free_energy(data) - log_z).mean())


def bars(num: int, seed: int) -> np.ndarray:
    """3 x 3 pictures of one full row or column: six equally likely patterns."""
    generator = np.random.default_rng(seed)
    pictures = np.zeros((num, 3, 3), np.float32)
    for picture, which in zip(pictures, generator.integers(0, 6, num), strict=True):
        if which < 3:
            picture[which] = 1
        else:
            picture[:, which - 3] = 1
    return pictures.reshape(num, 9)


def test_an_rbm_reaches_a_likelihood_that_enumeration_confirms() -> None:
    torch.manual_seed(0)
    model, task = Rbm(9, 8), PersistentDivergence(200, 9)
    data = bars(600, 0)
    source = ArrayBatches((data,), None, np.arange(len(data)), batch_size=50, shuffle=True)
    recipe = Recipe(epochs=150, optimiser="sgd", lr=0.1, momentum=0.5, schedule="linear", warmup=0.0, spike=1e9)
    start = exact_log_likelihood(model, torch.from_numpy(data))
    run_to_end(TrainState(model, task, seed=0), source, recipe)
    end = exact_log_likelihood(model, torch.from_numpy(bars(600, 1)))
    assert start < -6  # Chance is 9 ln 2 = 6.24 nats.
    assert end > -2.3  # The best that any model can do is ln 6 = 1.79 nats.


LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def winner(board: list[int]) -> int:
    return next((board[a] for a, b, c in LINES if board[a] and board[a] == board[b] == board[c]), 0)


class SelfPlay:
    """Games of tic-tac-toe that the current value network plays against itself, as positions and their outcomes."""

    def __init__(self, games: int) -> None:
        self.games = games
        self.data: dict[str, Tensor] = {}

    def refresh(self, model: nn.Module, step: Step, clock: Clock) -> None:
        positions, outcomes = [], []
        for _ in range(self.games):
            board, seen, mover = [0] * 9, [], 1
            while not winner(board) and 0 in board:
                board[choose(model, board, mover, explore=0.3)] = mover
                seen.append([mover * cell for cell in board])
                mover = -mover
            for ply, position in enumerate(seen):
                positions.append(position)
                outcomes.append(winner(board) * (1 if ply % 2 == 0 else -1))
        self.data = {
            "x": torch.tensor(positions, dtype=torch.float32),
            "y": torch.tensor(outcomes, dtype=torch.float32),
        }

    def num_batches(self, world: int = 1) -> int:
        return len(self.data["x"]) // 16

    def batches(self, step: Step, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        order = torch.from_numpy(np.random.default_rng(step.seed + step.epoch).permutation(len(self.data["x"])))
        for start in range(step.index * 16, len(order) - 15, 16):
            rows = order[start : start + 16]
            yield Batch(self.data["x"][rows], self.data["y"][rows])

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.data)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.data = dict(state)


@torch.no_grad()
def choose(model: nn.Module, board: list[int], mover: int, *, explore: float) -> int:
    """The move after which the mover's position is valued most; sometimes any move."""
    moves = [place for place in range(9) if not board[place]]
    if explore and torch.rand(()) < explore:
        return moves[int(torch.randint(len(moves), ()))]
    after = torch.tensor([[mover * (mover if i == move else cell) for i, cell in enumerate(board)] for move in moves])
    return moves[int(model(after.float()).squeeze(1).argmax())]


class Outcome(Task):
    """How will the game end for whoever has just moved?"""

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        return Loss((model(batch.inputs).squeeze(1) - batch.targets).square().sum(), len(batch))


def value_network() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 1), nn.Tanh())


def losses_to_random(model: nn.Module, games: int = 200) -> float:
    lost = 0
    for game in range(games):
        board, mover, own = [0] * 9, 1, 1 if game % 2 else -1
        while not winner(board) and 0 in board:
            board[choose(model, board, mover, explore=0.0 if mover == own else 1.0)] = mover
            mover = -mover
        lost += winner(board) == -own
    return lost / games


def test_a_self_play_learner_makes_its_own_data_and_stops_losing() -> None:
    torch.manual_seed(0)
    model = value_network()
    torch.manual_seed(1)
    before = losses_to_random(model)
    recipe = Recipe(epochs=40, lr=2e-3, schedule="linear", warmup=0.0, spike=1e9)
    run_to_end(TrainState(model, Outcome(), seed=5), SelfPlay(100), recipe)
    torch.manual_seed(2)
    after = losses_to_random(model)
    assert before > 0.2
    assert after < 0.1


def digest(state: TrainState) -> dict[str, Tensor]:
    tensors, _ = state.pack()
    return {name: tensor.clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("kind", ["classifier", "gan", "rbm", "self-play"])
def test_resumed_again_and_again_it_ends_bit_equal(kind: str, tmp_path: object) -> None:
    """Cut at random steps, thrown away, rebuilt from the checkpoint: the same tensors to the last bit."""

    def fresh() -> tuple[TrainState, Source, Source | None, Recipe]:
        torch.manual_seed(7)
        if kind == "classifier":
            state, source, validation, recipe = classifier(epochs=3, optimiser="muon", lr=0.05)
            return state, source, validation, recipe
        if kind == "gan":
            model = nn.Module()
            model.generator, model.critic = nn.Linear(4, 2), nn.Linear(2, 1)
            data = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
            source = ArrayBatches((data,), None, np.arange(300), batch_size=16, shuffle=True)
            return TrainState(model, Gan(), seed=1), source, None, Recipe(epochs=3)
        if kind == "rbm":
            source = ArrayBatches((bars(300, 0),), None, np.arange(300), batch_size=16, shuffle=True)
            state = TrainState(Rbm(9, 4), PersistentDivergence(20, 9), seed=1)
            return state, source, None, Recipe(epochs=3, optimiser="sgd", momentum=0.5)
        return TrainState(value_network(), Outcome(), seed=1), SelfPlay(40), None, Recipe(epochs=3, ema=0.9)

    state, source, validation, recipe = fresh()
    run_to_end(state, source, recipe, validation)
    uncut = digest(state)
    generator = np.random.default_rng()
    store = Checkpoints(tmp_path)  # type: ignore[arg-type]
    cuts = 0
    while True:
        state, source, validation, recipe = fresh()
        saved = store.last()
        if saved is not None:
            state.unpack(*saved)
        until = state.position.step + int(generator.integers(1, 15))
        for event in train(state, source, validation, recipe, clock=WallClock()):
            if event.kind == "step" and event.number >= until:
                store.save(event.number, *state.pack())
                cuts += 1
                break
        else:
            break
    assert cuts > 2
    resumed = digest(state)
    assert resumed.keys() == uncut.keys()
    assert all(torch.equal(resumed[name], uncut[name]) for name in uncut)


def test_a_bad_step_is_skipped_and_told_and_leaves_no_trace() -> None:
    state, source, _, recipe = classifier(epochs=1)
    source.inputs[0][source.order(Step(seed=0))[70]] = np.nan
    before = {}
    for event in train(state, source, None, recipe, clock=WallClock()):
        if event.kind == "skipped":
            assert "nan" in event.values["why"]
            assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())
        if event.kind == "step":
            before = {name: value.clone() for name, value in state.model.state_dict().items()}
    assert state.skipped == 1


def test_a_spike_is_skipped() -> None:
    state, source, _, recipe = classifier(epochs=1, lr=1e-3, ema=0.0)
    state.model, source.batch_size = nn.Linear(2, 2), 8
    outliers = source.order(Step(seed=0))[[500, 501]]
    source.inputs[0][outliers] = [[1e6, 1e6], [-1e6, -1e6]]
    source.targets[outliers] = 0
    events = run_to_end(state, source, recipe)
    assert [event.step.index for event in events if event.kind == "skipped"] == [500 // 8]


def test_nothing_but_bad_steps_is_called_divergence() -> None:
    state, source, _, recipe = classifier(epochs=3)
    source.inputs[0][:] = np.inf
    with pytest.raises(update.Diverged, match="smaller learning rate"):
        run_to_end(state, source, recipe)


def test_micro_batches_make_the_same_update() -> None:
    """Without batch statistics and dropout, four micro-batches step as one batch does."""
    results = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()
        x, y = spirals(1)
        source = ArrayBatches((x.astype(np.float64),), y, np.arange(len(x)), batch_size=33, shuffle=True)
        state = TrainState(model, Classification(2), seed=0)
        run_to_end(state, source, Recipe(epochs=1, accumulate=parts, lr=0.05, optimiser="sgd"))
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


class Hungry(Classification):
    """Runs out of memory on more than eight examples at once."""

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        if len(batch) > 8:
            raise torch.OutOfMemoryError("no room for this batch")
        return super().loss(model, batch, step)


def test_out_of_memory_cuts_the_batch_and_keeps_its_effective_size() -> None:
    state, source, _, recipe = classifier(epochs=1)
    state.task = Hungry(2)
    events = run_to_end(state, source, recipe)
    assert [event.values["micro_batches"] for event in events if event.kind == "memory"] == [2, 4]
    assert sum(event.kind == "step" for event in events) == source.num_batches()
    assert state.sums["weight"] == source.num_batches() * 32


def test_early_stopping_waits_for_patience_and_no_longer() -> None:
    state, source, validation, recipe = classifier(epochs=40, lr=1e-9, patience=3, ema=0.0)
    for module in state.model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.0
    events = run_to_end(state, source, recipe, validation)
    assert sum(event.kind == "epoch" for event in events) == 4
    assert events[-1].kind == "finished"


class Ticking:
    """A clock that moves a tenth of a second each time it is asked."""

    def __init__(self, budget: float) -> None:
        self.remaining = budget

    def spent(self) -> float:
        return 0.0

    def left(self) -> float:
        self.remaining -= 0.1
        return self.remaining


def test_the_clock_ends_training_where_it_stands() -> None:
    state, source, validation, recipe = classifier(epochs=1000)
    events = list(train(state, source, validation, recipe, clock=Ticking(3.05)))
    assert events[-1].kind == "stopped"
    assert events[-1].values["why"] == "out of time"
    assert state.position.step == 31 - sum(event.kind == "epoch" for event in events)


def test_a_schedule_that_was_cut_short_grows_again_where_there_is_time() -> None:
    state, source, validation, recipe = classifier(epochs=12)
    state.course = (0.0, 0.0, 3.0)
    events = list(train(state, source, validation, recipe, clock=WallClock(1000.0)))
    assert [event.values["epochs"] for event in events if event.kind == "replanned"] == [12.0]
    assert sum(event.kind == "epoch" for event in events) == 12
    progress = [event.step.progress for event in events if event.kind == "step"]
    assert progress == sorted(progress)
    assert 0.9 < progress[-1] <= 1


def test_layers_further_down_learn_more_slowly() -> None:
    state, source, _, recipe = classifier(epochs=1, layer_decay=0.5, optimiser="sgd", lr=0.1)
    next(train(state, source, None, recipe, clock=WallClock()))
    rates = {
        name: group["peak_lr"]
        for group in state.optimisers["all"][0].param_groups
        for name, parameter in state.model.named_parameters()
        if any(parameter is other for other in group["params"])
    }
    assert rates == {
        "0.weight": 0.025,
        "0.bias": 0.025,
        "1.weight": 0.05,
        "1.bias": 0.05,
        "4.weight": 0.1,
        "4.bias": 0.1,
    }


def test_vectors_do_not_decay() -> None:
    state, source, _, recipe = classifier(epochs=1, weight_decay=0.1)
    next(train(state, source, None, recipe, clock=WallClock()))
    for group in state.optimisers["all"][0].param_groups:
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_channels_last_ends_where_contiguous_does_and_resumes_bit_equal(tmp_path: object) -> None:
    """Optimiser state comes back in its parameter's layout, which fused kernels take for granted."""
    x = np.random.default_rng(0).normal(size=(96, 3, 8, 8)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 2, 96)

    def fresh() -> TrainState:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 2))
        return TrainState(model, Classification(2), seed=0, plan=Plan(channels_last=True))

    source = ArrayBatches((x,), y, np.arange(96), batch_size=16, shuffle=True)
    state = fresh()
    run_to_end(state, source, Recipe(epochs=4))
    uncut = digest(state)
    store, state = Checkpoints(tmp_path), fresh()  # type: ignore[arg-type]
    for event in train(state, source, None, Recipe(epochs=4), clock=WallClock()):
        if event.number == 9:
            store.save(9, *state.pack())
            break
    state = fresh()
    saved = store.last()
    assert saved is not None
    state.unpack(*saved)
    run_to_end(state, source, Recipe(epochs=4))
    assert all(torch.equal(value, uncut[name]) for name, value in digest(state).items())
