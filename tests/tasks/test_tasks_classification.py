"""Classification: its loss against float64 formulas, and its answers against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn

from earnest.core.words import Batch, Step
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import AUXILIARY_WEIGHT, Classification

NUM, CLASSES = 23, 4


class Saying(nn.Module):
    """Answers row i, whose input is i, with the i-th of the given outputs."""

    def __init__(self, *outputs: np.ndarray) -> None:
        super().__init__()
        self.outputs = nn.ParameterList(
            nn.Parameter(torch.from_numpy(output).float(), requires_grad=False) for output in outputs
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        rows = x.reshape(len(x), -1)[:, 0].long()
        answers = tuple(output[rows] for output in self.outputs)
        return answers if len(answers) > 1 else answers[0]


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng().normal(size=shape) * 3


def batch(targets: np.ndarray) -> Batch:
    return Batch(torch.arange(NUM)[:, None].float(), torch.from_numpy(targets))


def labels() -> np.ndarray:
    return np.random.default_rng().integers(0, CLASSES, NUM)


def source(targets: np.ndarray | None) -> ArrayBatches:
    return ArrayBatches((np.arange(NUM, dtype=np.float32)[:, None],), targets, np.arange(NUM), batch_size=5)


def cross_entropy(logits: np.ndarray, weights: np.ndarray) -> float:
    """Summed, in float64, for class weights (N, C)."""
    return float(-(weights * log_softmax(logits, axis=-1)).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_loss_is_the_summed_cross_entropy_with_smoothed_labels(smoothing: float) -> None:
    logits, truth = some(NUM, CLASSES), labels()
    loss = Classification(CLASSES, label_smoothing=smoothing).loss(Saying(logits), batch(truth), Step())
    weights = (1 - smoothing) * np.eye(CLASSES)[truth] + smoothing / CLASSES
    assert float(loss.total) == pytest.approx(cross_entropy(logits, weights), rel=1e-5)
    assert loss.weight == NUM


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_targets_are_class_weights(smoothing: float) -> None:
    logits = some(NUM, CLASSES)
    weights = softmax(some(NUM, CLASSES), axis=1)
    task = Classification(CLASSES, label_smoothing=smoothing)
    loss = task.loss(Saying(logits), batch(weights.astype(np.float32)), Step())
    smoothed = (1 - smoothing) * weights + smoothing / CLASSES
    assert float(loss.total) == pytest.approx(cross_entropy(logits, smoothed), rel=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_an_ensembles_members_each_learn_by_themselves(mixed: bool) -> None:
    logits, truth = some(NUM, 3, CLASSES), labels()
    weights = softmax(some(NUM, CLASSES), axis=1) if mixed else np.eye(CLASSES)[truth]
    targets = weights.astype(np.float32) if mixed else truth
    loss = Classification(CLASSES).loss(Saying(logits), batch(targets), Step())
    expected = np.mean([cross_entropy(logits[:, member], weights) for member in range(3)])
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)


def test_auxiliary_heads_count_for_less() -> None:
    main, first, second = (some(NUM, CLASSES) for _ in range(3))
    truth = labels()
    loss = Classification(CLASSES).loss(Saying(main, first, second), batch(truth), Step())
    hot = np.eye(CLASSES)[truth]
    auxiliary = cross_entropy(first, hot) + cross_entropy(second, hot)
    assert float(loss.total) == pytest.approx(cross_entropy(main, hot) + AUXILIARY_WEIGHT * auxiliary, rel=1e-5)


def test_half_precision_logits_lose_nothing_in_the_loss() -> None:
    logits, truth = some(NUM, CLASSES), labels()
    model = Saying(logits).bfloat16()
    loss = Classification(CLASSES).loss(model, batch(truth), Step())
    rounded = torch.from_numpy(logits).bfloat16().double().numpy()
    assert loss.total.dtype == torch.float32
    assert float(loss.total) == pytest.approx(cross_entropy(rounded, np.eye(CLASSES)[truth]), rel=1e-5)


def test_validation_is_scikit_learns() -> None:
    logits, truth = some(NUM, CLASSES), labels()
    probabilities = softmax(logits, axis=1)
    scores = Classification(CLASSES).validate(Saying(logits), source(truth), Step(index=3))
    assert scores["accuracy"] == accuracy_score(truth, probabilities.argmax(1))
    assert scores["log_loss"] == pytest.approx(log_loss(truth, probabilities, labels=range(CLASSES)), rel=1e-5)


def test_the_metric_asked_for_sees_truth_and_probabilities() -> None:
    logits, truth = some(NUM, CLASSES), labels()
    told: list[tuple[np.ndarray, np.ndarray]] = []

    def score(true: np.ndarray, probabilities: np.ndarray) -> float:
        told.append((true, probabilities))
        return 0.25

    task = Classification(CLASSES, metric="mine", score=score, higher_is_better=False)
    assert task.validate(Saying(logits), source(truth), Step())[task.metric] == 0.25
    np.testing.assert_array_equal(told[0][0], truth)
    np.testing.assert_allclose(told[0][1], softmax(logits, axis=1), atol=1e-6)
    assert not task.higher_is_better


def test_members_probabilities_are_averaged_not_their_logits() -> None:
    logits = some(NUM, 3, CLASSES)
    found, truth = Classification(CLASSES).predict(Saying(logits), source(None), Step())
    np.testing.assert_allclose(found, softmax(logits, axis=-1).mean(1), atol=1e-6)
    assert found.dtype == np.float64
    assert len(truth) == 0


class Lopsided(nn.Module):
    """Sees the left edge of a picture only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[:, 0, :, 0])
        return out


def test_with_two_views_a_picture_and_its_mirror_image_are_alike() -> None:
    model, pictures = Lopsided(), torch.randn(9, 1, 6, 5)
    both = Classification(CLASSES, views=2)
    once = Classification(CLASSES)
    one, mirrored = both.probabilities(model, Batch(pictures)), both.probabilities(model, Batch(pictures.flip(-1)))
    torch.testing.assert_close(one, mirrored)
    assert not torch.allclose(
        once.probabilities(model, Batch(pictures)), once.probabilities(model, Batch(pictures.flip(-1)))
    )
    mean = (model(pictures) + model(pictures.flip(-1))).double().detach().numpy() / 2
    np.testing.assert_allclose(one.detach().numpy(), softmax(mean, axis=1), atol=1e-6)


def test_six_views_are_the_mean_over_shifts_and_mirror_images() -> None:
    model, pictures = Lopsided(), torch.randn(4, 1, 6, 5)
    padded = np.pad(pictures.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    wanted = np.zeros((4, CLASSES))
    for weight, top in ((0.5, 1), (0.25, 0), (0.25, 2)):
        view = torch.from_numpy(padded[:, :, top : top + 6, top : top + 5].copy())
        wanted += weight * (model(view) + model(view.flip(-1))).double().detach().numpy() / 2
    answer = Classification(CLASSES, views=6).probabilities(model, Batch(pictures))
    np.testing.assert_allclose(answer.detach().numpy(), softmax(wanted, axis=1), atol=1e-5)


def test_a_perfect_output_scores_perfectly_and_a_constant_one_as_the_baseline() -> None:
    truth = labels()
    perfect = Classification(CLASSES).validate(Saying(np.eye(CLASSES)[truth] * 50), source(truth), Step())
    assert perfect == {"accuracy": 1.0, "log_loss": pytest.approx(0, abs=1e-9)}
    shares = np.bincount(truth, minlength=CLASSES) / NUM
    constant = Saying(np.tile(np.log(np.maximum(shares, 1e-30)), (NUM, 1)))
    scores = Classification(CLASSES).validate(constant, source(truth), Step())
    present = shares[shares > 0]
    assert scores["accuracy"] == pytest.approx(shares.max())
    assert scores["log_loss"] == pytest.approx(-(present * np.log(present)).sum(), rel=1e-4)


def test_the_most_probable_class_is_decoded() -> None:
    logits = some(NUM, CLASSES)
    assert Classification(CLASSES).decode(torch.from_numpy(logits)).tolist() == logits.argmax(1).tolist()
