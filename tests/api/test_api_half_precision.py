"""Texts that are told in bfloat16: the classes are float32's, and where it is not close, all is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.api import half_precision
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data.ragged import Ragged
from earnest.data.text_batches import TextBatches
from earnest.tasks.classification import Classification

NUM_TEXTS, NUM_TOKENS, NUM_CLASSES = 400, 50, 3


@pytest.fixture(autouse=True)
def _has_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "may_have_fast_bf16", lambda device: True)


def texts() -> Ragged:
    return Ragged.of([np.random.randint(5, NUM_TOKENS, np.random.randint(2, 20)) for _ in range(NUM_TEXTS)])


def network(scale: float) -> nn.Module:
    """An encoder whose answers spread: the head's weights are `scale` times as large as they begin."""
    spec = InputSpec("tokens", (32,), (NUM_TOKENS,))
    model = models["bert-modern-tiny"].build(spec, NUM_CLASSES).eval()
    with torch.no_grad():
        nn.init.normal_(model.head.weight, std=scale)
    return model


def in_float32(model: nn.Module, ids: Ragged) -> NDArray[np.float64]:
    source = TextBatches(ids, None, np.arange(len(ids)), batch_size=64)
    answers = np.empty((len(ids), NUM_CLASSES))
    answers[source.order(Step())] = Classification(NUM_CLASSES).predict(model, source, Step())[0]
    return answers


def test_classes_are_those_of_float32_and_close_ones_are_told_in_it() -> None:
    ids, model = texts(), network(0.3)
    exact = in_float32(model, ids)
    found = half_precision.probabilities(model, Classification(NUM_CLASSES), ids)
    np.testing.assert_array_equal(found.argmax(1), exact.argmax(1))
    differences = np.abs(found - exact).max(1)
    assert 1e-5 < differences.max() <= 0.02
    odds = np.diff(np.sort(np.log(exact), axis=1))[:, -1]
    close = odds < half_precision.CLOSEST / 2
    assert differences[close].max(initial=0.0) < 1e-5
    assert (differences < 1e-5).sum() >= close.sum()


def test_answers_that_bfloat16_would_change_are_all_of_float32() -> None:
    """So large that float32's probabilities are 0 and 1, which alone would say that nothing differs."""
    ids, model = texts(), network(300.0)
    found = half_precision.probabilities(model, Classification(NUM_CLASSES), ids)
    np.testing.assert_allclose(found, in_float32(model, ids), atol=1e-3)


def test_few_texts_are_not_worth_it() -> None:
    ids, model = Ragged.of([np.array([5, 6, 7])] * (half_precision.FEWEST - 1)), network(0.3)
    np.testing.assert_allclose(
        half_precision.probabilities(model, Classification(NUM_CLASSES), ids), in_float32(model, ids), atol=1e-6
    )
