"""Learning from few labels: every formula against float64 NumPy, no gradient through a pseudo-label, and it learns."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from earnest.core.words import Batch, Step
from earnest.data.unlabelled import PairedBatch
from earnest.tasks.semi_supervised import AdaMatch, SemiSupervised, SoftMatch

LABELLED, UNLABELLED, CLASSES = 6, 17, 5
Array = NDArray[np.float64]


class Saying(nn.Module):
    """Answers every row of a batch with the given logits, the first of them when it is asked for fewer."""

    def __init__(self, logits: Array) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(logits).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[: len(x)]


def paired(rows: int, truth: NDArray[np.int64], *shape: int) -> PairedBatch:
    targets = np.concatenate([truth, np.full(rows - len(truth), -1)])
    return PairedBatch(torch.randn(rows, *shape), torch.from_numpy(targets), torch.arange(rows))


def some_logits(generator: np.random.Generator) -> Array:
    return generator.normal(size=(LABELLED + 2 * UNLABELLED, CLASSES)) * 2


def parts(logits: Array) -> tuple[Array, Array, Array]:
    labelled, weak, strong = np.split(logits, [LABELLED, LABELLED + UNLABELLED])
    return labelled, weak, strong


def total_loss(logits: Array, truth: NDArray[np.int64], classes: NDArray[np.int64], weights: Array) -> float:
    """B times the loss: the mean over labelled rows plus the weighted mean over strong views."""
    labelled, _, strong = parts(logits)
    supervised = -log_softmax(labelled, axis=1)[np.arange(LABELLED), truth].mean()
    unlabelled = -(weights * log_softmax(strong, axis=1)[np.arange(UNLABELLED), classes]).mean()
    return float(LABELLED * (supervised + unlabelled))


def test_softmatch_is_its_equations_over_many_steps() -> None:
    generator = np.random.default_rng()
    momentum, deviations = generator.uniform(0.1, 0.5), generator.uniform(1, 3)
    task = SoftMatch(CLASSES, momentum=momentum, deviations=deviations)
    mean, variance, said = 1 / CLASSES, 1.0, np.full(CLASSES, 1 / CLASSES)
    doubted = 0
    for _ in range(5):
        logits, truth = some_logits(generator), generator.integers(0, CLASSES, LABELLED)
        loss = task.loss(Saying(logits), paired(len(logits), truth, 3), Step(progress=1.0))
        p = softmax(parts(logits)[1], axis=1)
        said = momentum * said + (1 - momentum) * p.mean(0)
        q = p / (CLASSES * said)
        confidence = (q / q.sum(1, keepdims=True)).max(1)
        mean = momentum * mean + (1 - momentum) * confidence.mean()
        variance = momentum * variance + (1 - momentum) * confidence.var(ddof=1)
        gaussian = np.exp(-(deviations**2) * (confidence - mean) ** 2 / (2 * variance))
        weights = np.where(confidence < mean, gaussian, 1.0)
        doubted += int((weights < 0.99).sum())
        assert loss.total.item() == pytest.approx(total_loss(logits, truth, p.argmax(1), weights), rel=1e-4)
        assert loss.weight == LABELLED
        assert loss.logs["believed"].item() / LABELLED == pytest.approx(weights.mean(), rel=1e-4)
    assert 0 < doubted < 5 * UNLABELLED


def test_adamatch_is_its_equations_over_many_steps() -> None:
    generator = np.random.default_rng()
    momentum, threshold = generator.uniform(0.3, 0.9), generator.uniform(0.8, 1.0)
    task = AdaMatch(CLASSES, momentum=momentum, threshold=threshold)
    of_labelled = of_unlabelled = np.full(CLASSES, 1 / CLASSES)
    used = 0.0
    for _ in range(5):
        logits, truth = some_logits(generator), generator.integers(0, CLASSES, LABELLED)
        loss = task.loss(Saying(logits), paired(len(logits), truth, 3), Step(progress=0.7))
        labelled, weak = (softmax(part, axis=1) for part in parts(logits)[:2])
        of_labelled = momentum * of_labelled + (1 - momentum) * labelled.mean(0)
        of_unlabelled = momentum * of_unlabelled + (1 - momentum) * weak.mean(0)
        q = weak * of_labelled / of_unlabelled
        q /= q.sum(1, keepdims=True)
        weights = (q.max(1) >= threshold * labelled.max(1).mean()).astype(float)
        assert loss.total.item() == pytest.approx(total_loss(logits, truth, q.argmax(1), weights), rel=1e-4)
        used += weights.mean()
    assert 0 < used < 5


@pytest.mark.parametrize("method", [SoftMatch, AdaMatch])
def test_the_unlabelled_weight_rises_by_a_half_cosine(method: type[SemiSupervised]) -> None:
    generator = np.random.default_rng()
    rise, largest = generator.uniform(0.2, 1), generator.uniform(0.5, 2)
    logits, truth = some_logits(generator), generator.integers(0, CLASSES, LABELLED)
    for progress in (*generator.uniform(0, 1, 5), 0.0, rise, 1.0):
        task = method(CLASSES, rise=rise, unlabelled_weight=largest)
        loss = task.loss(Saying(logits), paired(len(logits), truth, 3), Step(progress=progress))
        weight = largest * (0.5 - math.cos(min(math.pi, math.pi * progress / rise)) / 2)
        supervised, unlabelled = loss.logs["supervised_loss"], loss.logs["unlabelled_loss"]
        assert loss.total.item() == pytest.approx((supervised + weight * unlabelled).item(), rel=1e-5)


def normed() -> nn.Sequential:
    """A small network whose batch norm makes rows depend on each other."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, CLASSES))


def test_labelled_logits_lie_between_those_with_and_without_unlabelled_rows() -> None:
    generator = np.random.default_rng()
    model = normed()
    batch = paired(LABELLED + 2 * UNLABELLED, generator.integers(0, CLASSES, LABELLED), 4)
    together = copy.deepcopy(model)(batch.inputs)
    alone = copy.deepcopy(model)(batch.inputs[:LABELLED])
    (found,) = AdaMatch(CLASSES).outputs(model, batch, LABELLED)
    torch.testing.assert_close(found[LABELLED:], together[LABELLED:])
    share = (found[:LABELLED] - alone) / (together[:LABELLED] - alone)
    assert -1e-3 < share.min() < 0.3
    assert 0.7 < share.max() < 1 + 1e-3


def test_running_statistics_follow_the_pass_over_all_rows_only() -> None:
    model = normed()
    batch = paired(LABELLED + 2 * UNLABELLED, np.zeros(LABELLED, np.int64), 4)
    once = copy.deepcopy(model)
    once(batch.inputs)
    AdaMatch(CLASSES).loss(model, batch, Step(progress=1.0)).total.backward()
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, once.get_buffer(name), rtol=0, atol=0)


@pytest.mark.parametrize("method", [SoftMatch, AdaMatch])
def test_pseudo_labels_carry_no_gradient(method: type[SemiSupervised]) -> None:
    generator = np.random.default_rng()
    logits, truth = some_logits(generator), generator.integers(0, CLASSES, LABELLED)
    model = Saying(logits)
    task = method(CLASSES)
    task.loss(model, paired(len(logits), truth, 3), Step(progress=1.0)).total.backward()
    assert model.logits.grad is not None
    _, weak, strong = model.logits.grad.split([LABELLED, UNLABELLED, UNLABELLED])
    assert not weak.any()
    assert strong.any()
    assert not any(buffer.requires_grad for buffer in task.buffers())


@pytest.mark.parametrize("method", [SoftMatch, AdaMatch])
def test_the_running_averages_are_state(method: type[SemiSupervised]) -> None:
    """A task that takes back the state of another goes on as that one would."""
    generator = np.random.default_rng()
    batches = [(some_logits(generator), generator.integers(0, CLASSES, LABELLED)) for _ in range(4)]

    def go(task: SemiSupervised, some: list[tuple[Array, NDArray[np.int64]]]) -> list[float]:
        steps = Step(progress=1.0)
        return [task.loss(Saying(x), paired(len(x), y, 3), steps).total.item() for x, y in some]

    whole, first, second = method(CLASSES, momentum=0.5), method(CLASSES, momentum=0.5), method(CLASSES, momentum=0.5)
    torch.manual_seed(0)
    expected = go(whole, batches)
    torch.manual_seed(0)
    begun = go(first, batches[:2])
    second.load_state_dict(first.state_dict())
    assert begun + go(second, batches[2:]) == pytest.approx(expected, rel=1e-6)
    for mine, theirs in zip(second.buffers(), whole.buffers(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("method", [SoftMatch, AdaMatch])
def test_ensembles_and_auxiliary_heads_learn_too(method: type[SemiSupervised]) -> None:
    """Equal members, or an auxiliary head like the main one, change nothing but the loss's scale."""
    generator = np.random.default_rng()
    logits, truth = some_logits(generator), generator.integers(0, CLASSES, LABELLED)
    batch = paired(len(logits), truth, 3)
    plain = Saying(logits)

    class Members(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return plain(x)[:, None].expand(-1, 3, -1)

    class Auxiliary(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return plain(x), plain(x)

    expected, members, auxiliary = (
        method(CLASSES).loss(model, batch, Step(progress=1.0)).total.item() for model in (plain, Members(), Auxiliary())
    )
    assert members == pytest.approx(expected, rel=1e-5)
    assert auxiliary == pytest.approx(1.3 * expected, rel=1e-5)


def test_micro_batches_sum_to_the_whole_while_the_weights_are_the_same() -> None:
    """With a threshold that all pass, the parts of a batch give its gradient."""
    generator = np.random.default_rng()
    model = nn.Linear(4, CLASSES)
    targets = torch.from_numpy(np.concatenate([generator.integers(0, CLASSES, 6), np.full(36, -1)]))
    batch: Batch = PairedBatch(torch.randn(42, 4), targets)
    gradients = []
    for number in (1, 3):
        model.zero_grad()
        task = AdaMatch(CLASSES, threshold=0.0, momentum=1.0)
        for part in batch.split(number):
            task.loss(model, part, Step(progress=1.0)).total.backward()
        assert model.weight.grad is not None
        gradients.append(model.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
