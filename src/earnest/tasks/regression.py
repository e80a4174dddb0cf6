"""What number belongs to an example?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, Source, Stage, Step, Task
from earnest.tasks.classification import Score

SKEWED = 2.0
"""Skewness above which a positive target is learned on a logarithmic scale."""


class Regression(Task):
    """Squared error on a standardised target; a skewed positive target is learned as its logarithm.

    A model answers with (B, 1), an ensemble with (B, M, 1). Targets and predictions are in the user's units. The way to
    the learned scale and back is taken in float64, and so on the CPU: there are devices without (Apple's MPS).
    """

    scale: Tensor
    """(4, 2) float32: the targets' centre, spread, least and largest value, each the sum of its two numbers."""

    def __init__(
        self,
        targets: NDArray[np.float64],
        *,
        metric: str = "rmse",
        score: Score | None = None,
        higher_is_better: bool = False,
    ) -> None:
        """`targets` are the training rows', (N,): the scale is learned from them."""
        super().__init__()
        self.metric = metric
        self.score = score
        self.higher_is_better = higher_is_better
        self.logarithmic = is_skewed(targets)
        scaled = np.log1p(targets) if self.logarithmic else targets
        numbers = [scaled.mean(), scaled.std() or 1.0, scaled.min(), scaled.max()]
        self.register_buffer("scale", torch.stack([_in_two(float(number)) for number in numbers]))

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def encode(self, batch: Batch) -> Batch:
        assert batch.targets is not None
        return replace(batch, targets=self.standardise(batch.targets).float())

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        output = model(batch.inputs).float().squeeze(-1)
        wanted = batch.targets[:, None] if output.ndim == 2 else batch.targets
        error = (output - wanted).square()
        return Loss(error.mean(1).sum() if error.ndim == 2 else error.sum(), float(len(batch)))

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        predicted, truth = self.predict(model, source, step)
        error = predicted - truth
        variation = float(((truth - truth.mean()) ** 2).sum())
        scores = {
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
            "r2": 1 - float((error**2).sum()) / variation if variation else 0.0,
        }
        if self.score is not None:
            scores[self.metric] = self.score(truth, predicted)
        return scores

    @torch.no_grad()
    def predict(self, model: nn.Module, source: Source, step: Step) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predictions and true values, both (N,), in the user's units and the source's order."""
        predicted, truth = [], []
        device = next(model.parameters()).device
        for batch in source.batches(step.at(index=0)):
            if batch.targets is not None:
                truth.append(batch.targets.cpu().double())
            inputs = Batch(batch.inputs).to(device).inputs
            predicted.append(self.decode(model(inputs)))
        return (
            torch.cat(predicted).numpy() if predicted else np.empty(0),
            torch.cat(truth).numpy() if truth else np.empty(0),
        )

    def standardise(self, targets: Tensor) -> Tensor:
        """Targets on the scale that is learned, float64."""
        center, spread, _, _ = self._numbers()
        targets = targets.cpu().double()
        return ((torch.log1p(targets) if self.logarithmic else targets) - center) / spread

    def decode(self, output: Tensor) -> Any:
        """The model's output (B, 1) or (B, M, 1) in the user's units, (B,) float64 on the CPU.

        A logarithmic prediction is kept within what training rows showed: its exponential would run away.
        """
        center, spread, low, high = self._numbers()
        value = output.cpu().double().squeeze(-1)
        value = (value.mean(1) if value.ndim == 2 else value) * spread + center
        return torch.expm1(value.clamp(low, high)) if self.logarithmic else value

    def _numbers(self) -> list[float]:
        """Centre, spread, least and largest value on the learned scale."""
        numbers: list[float] = self.scale.cpu().double().sum(1).tolist()
        return numbers


def _in_two(number: float) -> Tensor:
    """Two float32 whose sum is `number` to 48 bits, (2,)."""
    first = torch.tensor(number, dtype=torch.float64).float()
    return torch.stack([first, torch.tensor(number - float(first), dtype=torch.float32)])


def is_skewed(targets: NDArray[np.float64]) -> bool:
    """Whether `targets` (N,) are positive with a tail so long that their logarithm is the better scale."""
    if len(targets) < 3 or targets.min() < 0 or not targets.std():
        return False
    return float((((targets - targets.mean()) / targets.std()) ** 3).mean()) > SKEWED
