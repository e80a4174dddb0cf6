"""Two networks against each other: losses and penalties against their definitions, and what they learn."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.run import WallClock
from earnest.core.words import Batch, InputSpec, Step
from earnest.data.augment import AUGMENTATIONS
from earnest.data.batches import ArrayBatches
from earnest.evaluation.generation import frechet_distance
from earnest.tasks.adversarial import Adversarial, critic_loss, generator_loss, gradient_squares, penalty_at
from earnest.tasks.generating import between, draw_latents, make
from earnest.training.loop import Event, train
from earnest.training.state import TrainState


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-x))


def test_losses_are_their_definitions() -> None:
    rng = default_rng()
    real, made = rng.normal(size=50) * 3, rng.normal(size=50) * 3
    a, b = torch.from_numpy(real), torch.from_numpy(made)
    expected = -log_sigmoid(real) - log_sigmoid(-made)  # -log D(x) - log(1 - D(G(z)))
    for kind in ("minimax", "non-saturating"):
        np.testing.assert_allclose(critic_loss(kind, a, b).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(critic_loss("relativistic", a, b).numpy(), -log_sigmoid(real - made), rtol=1e-10)
    np.testing.assert_allclose(generator_loss("relativistic", a, b).numpy(), -log_sigmoid(made - real), rtol=1e-10)
    np.testing.assert_allclose(generator_loss("non-saturating", None, b).numpy(), -log_sigmoid(made), rtol=1e-10)
    np.testing.assert_allclose(generator_loss("minimax", None, b).numpy(), log_sigmoid(-made), rtol=1e-10)


def test_the_minimax_generator_gets_no_gradient_from_a_sure_critic() -> None:
    sure = torch.full((4,), -20.0, requires_grad=True)
    (faded,) = torch.autograd.grad(generator_loss("minimax", None, sure).sum(), sure)
    (strong,) = torch.autograd.grad(generator_loss("non-saturating", None, sure).sum(), sure)
    assert faded.abs().max() < 1e-6
    assert strong.abs().min() > 0.9


def test_gradient_squares_are_those_of_a_quadratic_critic() -> None:
    rng = default_rng()
    matrix = rng.normal(size=(5, 5))
    matrix = matrix + matrix.T
    x = rng.normal(size=(7, 5))
    weight = torch.from_numpy(matrix).requires_grad_()
    pictures = torch.from_numpy(x).requires_grad_()
    scores = 0.5 * ((pictures @ weight) * pictures).sum(1)  # its gradient is A x
    squares = gradient_squares(scores, pictures)
    np.testing.assert_allclose(squares.detach().numpy(), ((x @ matrix) ** 2).sum(1), rtol=1e-10)
    (slope,) = torch.autograd.grad(squares.sum(), weight)
    # d/dA of sum |(A + A^T) x / 2|^2
    expected = sum(np.outer(v, matrix @ v) + np.outer(matrix @ v, v) for v in x)
    np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-8)


def test_the_penalty_falls_to_a_tenth() -> None:
    assert penalty_at(2.0, 0.0) == pytest.approx(2.0)
    assert penalty_at(2.0, 1.0) == pytest.approx(0.2)
    assert penalty_at(2.0, 0.5) == pytest.approx(1.1)


class Fixed(nn.Module):
    """A generator and a linear critic whose every number is known."""

    latent_width, num_classes, loss = 3, 0, "relativistic"

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(3, 4).double()
        self.linear = nn.Linear(4, 1).double()

    def sample(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generator(latent.double())

    def critic(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.linear(x)[:, 0]


def test_a_linear_critic_pays_for_its_weight_at_real_and_at_made_pictures() -> None:
    model, gamma = Fixed(), 0.7
    batch = Batch(torch.randn(6, 4, dtype=torch.float64))
    weighed, free = Adversarial(gradient_penalty=gamma), Adversarial()
    losses = []
    for task in (weighed, free):
        torch.manual_seed(3)
        losses.append(task.loss(model, batch, Step(phase="critic")))
    square = float(model.linear.weight.detach().square().sum())
    assert (losses[0].total - losses[1].total).item() == pytest.approx(gamma / 2 * square * 2 * 6)
    assert losses[0].logs["penalty"].item() == pytest.approx(square * 2 * 6)


def test_one_batch_pays_for_all() -> None:
    model, gamma = Fixed(), 0.7
    batch = Batch(torch.randn(6, 4, dtype=torch.float64))
    task, free = Adversarial(gradient_penalty=gamma, penalty_every=4), Adversarial()
    paid = []
    for index in range(9):
        losses = []
        for each in (task, free):
            torch.manual_seed(3)
            losses.append(each.loss(model, batch, Step(phase="critic", index=index)).total.item())
        paid.append(losses[0] - losses[1])
    square = float(model.linear.weight.detach().square().sum())
    assert paid == pytest.approx([4 * gamma / 2 * square * 2 * 6 * (index % 4 == 0) for index in range(9)])


@pytest.mark.parametrize("name", ["crop", "erase", "jitter", "affine", "random-flip"])
def test_gradients_go_through_what_alters_pictures(name: str) -> None:
    def altered(images: Tensor) -> Tensor:
        torch.manual_seed(5)
        return AUGMENTATIONS[name](images, Batch(images), Step())

    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(altered, (images,))


@pytest.mark.parametrize("loss", ["relativistic", "non-saturating", "minimax"])
def test_each_phase_moves_its_own_network(loss: str) -> None:
    model = models["gan-tiny"].build(InputSpec("vector", (2,)), 3, loss=loss)
    task = Adversarial(gradient_penalty=1.0)
    critic, generator = task.stages(model, Recipe())[0].phases
    names = {name for name, _ in model.named_parameters()}
    its = [{name for name, _ in phase.params(model)} for phase in (critic, generator)]
    assert its[0] | its[1] == names
    assert not its[0] & its[1]
    data, labels = default_rng(0).normal(size=(64, 2)).astype(np.float32), np.arange(64) % 3
    source = ArrayBatches((data,), labels, np.arange(64), batch_size=16, shuffle=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = TrainState(model, task)
    for _ in train(state, source, None, Recipe(epochs=1, batch_size=16, lr=1e-2), clock=WallClock()):
        pass
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())


def ring(num: int, seed: int) -> np.ndarray:
    """Eight Gaussians on a circle."""
    rng = default_rng(seed)
    angle = 2 * math.pi * rng.integers(8, size=num) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)
    return (centres + 0.03 * rng.normal(size=(num, 2))).astype(np.float32)


def events(state: TrainState, source: ArrayBatches, recipe: Recipe) -> Iterator[Event]:
    return train(state, source, None, recipe, clock=WallClock())


def a_game(epochs: int) -> tuple[TrainState, ArrayBatches, Recipe]:
    torch.manual_seed(0)
    data = ring(4096, 1)
    model = models["gan"].build(InputSpec("vector", (2,)), 0, hidden=(64, 64, 64), latent_width=4, loss="relativistic")
    recipe = Recipe(epochs=epochs, batch_size=128, lr=3e-3, momentum=0.0, beta2=0.9, schedule="cosine", ema=0.98)
    source = ArrayBatches((data,), None, np.arange(len(data)), batch_size=128, shuffle=True)
    return TrainState(model, Adversarial(gradient_penalty=1.0), seed=1), source, recipe


def test_a_ring_of_eight_is_covered() -> None:
    state, source, recipe = a_game(60)
    for _ in events(state, source, recipe):
        pass
    state.model.load_state_dict(state.weights())
    made = make(state.model, draw_latents(2000, 4, generator=torch.Generator().manual_seed(2))).numpy()
    angles = 2 * math.pi * np.arange(8) / 8
    distances = np.linalg.norm(made[:, None] - np.stack([np.cos(angles), np.sin(angles)], 1), axis=2)
    good = distances.min(1) < 0.15
    assert good.mean() > 0.5
    assert (np.bincount(distances.argmin(1)[good], minlength=8) > 40).all()


def test_dcgan_learns_digits() -> None:
    """Its loss alone would not tell: a critic that sees real and made ones in one batch normalises them apart."""
    torch.manual_seed(0)
    digits = np.kron(load_digits().images, np.ones((2, 2)))[:, None].astype(np.float32) / 8 - 1
    components = PCA(16, random_state=0).fit(digits.reshape(len(digits), -1))
    real = components.transform(digits.reshape(len(digits), -1))
    model = models["dcgan-tiny"].build(InputSpec("image", (1, 16, 16)), 0, width=16)
    latents = draw_latents(1000, model.latent_width, generator=torch.Generator().manual_seed(1))

    def distance() -> float:
        made = make(model.eval(), latents).flatten(1).numpy()
        return frechet_distance(real, components.transform(made))

    before = distance()
    source = ArrayBatches((digits,), None, np.arange(len(digits)), batch_size=64, shuffle=True)
    recipe = Recipe(epochs=8, batch_size=64, lr=2e-3, momentum=0.5, beta2=0.999, schedule="constant", warmup=0.0)
    for _ in events(TrainState(model, Adversarial(), seed=1), source, recipe):
        pass
    assert distance() < 0.3 * before


def test_stopped_and_resumed_it_ends_the_same() -> None:
    straight, source, recipe = a_game(2)
    for _ in events(straight, source, recipe):
        pass
    broken, source, recipe = a_game(2)
    for event in events(broken, source, recipe):
        if event.number == 45:
            tensors, facts = broken.pack()
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            break
    resumed, source, recipe = a_game(2)
    resumed.unpack(tensors, facts)
    for _ in events(resumed, source, recipe):
        pass
    for (name, a), b in zip(straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert all(torch.equal(straight.average[name], resumed.average[name]) for name in straight.average)


def test_truncated_noise_stays_near_and_ways_keep_their_length() -> None:
    generator = torch.Generator().manual_seed(1)
    assert draw_latents(500, 8, generator=generator, truncation=0.5).abs().max() <= 0.5
    start, end = torch.randn(2, 400)
    way = between(start, end, 7)
    torch.testing.assert_close(way[0], start)
    torch.testing.assert_close(way[-1], end)
    assert 0.9 < float(way[3].norm() / start.norm()) < 1.1
    torch.testing.assert_close(between(start, start, 3), start.expand(3, -1))
