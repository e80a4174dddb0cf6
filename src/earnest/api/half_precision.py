"""What an encoder answers for texts, in bfloat16 where the processor multiplies it: sooner, and with the same classes.

bfloat16 has three digits, so that a probability may be off by some thousandths. It is used only where it is close to
float32 on a sample of the texts, and rows whose two likeliest classes are nearly as likely are told again in float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.core.words import Step
from earnest.data.ragged import Ragged
from earnest.data.text_batches import TextBatches
from earnest.evaluation.calibration import logits_of
from earnest.tasks.classification import Classification
from earnest.training.plan import may_have_fast_bf16

Floats = NDArray[np.float64]
TEXTS_AT_A_TIME = 16
"""Texts come sorted by length: the fewer at a time, the less is padding, and what attention scores fits a cache."""
SAMPLED, FEWEST = 32, 128
"""Texts that are told both ways first, and how many there must be for that to pay."""
APART = 0.1
"""bfloat16 is used where no log-odds of the sample differ by more: .5 would be .475 or .525."""
CLOSE, CLOSEST = 4.0, 0.02
"""Two classes whose log-odds are below so many times what the sample's differ by at most, and this at least, could
change places when both are off by twice as much as in the sample: such rows are told again."""


def probabilities(model: nn.Module, task: Classification, ids: Ragged) -> Floats:
    """(N, C) of texts in tokens."""
    every = np.arange(len(ids))
    device = next(model.parameters()).device.type
    if len(ids) < FEWEST or not may_have_fast_bf16(device):
        return _told(model, task, ids, every)
    sample = every[:: -(-len(ids) // SAMPLED)]
    exact, low = (_outputs(model, ids, sample, low=low) for low in (False, True))
    apart = float(np.ptp(low - exact, axis=1).max())
    if apart > APART:
        return _told(model, task, ids, every)
    answers = _told(model, task, ids, every, low=True)
    second, first = np.partition(logits_of(answers), -2, axis=1)[:, -2:].T
    close = every[first - second < max(CLOSE * apart, CLOSEST)]
    answers[close] = _told(model, task, ids, close)
    return answers


def _told(model: nn.Module, task: Classification, ids: Ragged, rows: NDArray[np.int64], *, low: bool = False) -> Floats:
    """(rows, C), in their order, which is that of their numbers."""
    source = TextBatches(ids, None, rows, batch_size=TEXTS_AT_A_TIME)
    with _precision(model, low=low):
        answers = task.predict(model, source, Step())[0]
    return answers[np.argsort(source.order(Step()))].astype(np.float64)


@torch.no_grad()
def _outputs(model: nn.Module, ids: Ragged, rows: NDArray[np.int64], *, low: bool) -> Floats:
    """(rows, C) log-odds, longest texts first: probabilities of 0 and 1 would not tell how far apart these are."""
    device = next(model.parameters()).device
    source = TextBatches(ids, None, rows, batch_size=TEXTS_AT_A_TIME)
    with _precision(model, low=low):
        outputs = [model(batch.to(device).inputs).double().cpu() for batch in source.batches(Step())]
    return torch.cat(outputs).numpy()


def _precision(model: nn.Module, *, low: bool) -> AbstractContextManager[object]:
    device = next(model.parameters()).device.type
    return torch.autocast(device, torch.bfloat16) if low else nullcontext()
