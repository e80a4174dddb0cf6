"""What number belongs to an example?"""

from __future__ import annotations

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

    A model answers with (B, 1), an ensemble with (B, M, 1). Targets and predictions are in the user's units.
    """

    center: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

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
        self.register_buffer("center", torch.tensor(float(scaled.mean()), dtype=torch.float64))
        self.register_buffer("spread", torch.tensor(float(scaled.std()) or 1.0, dtype=torch.float64))
        self.register_buffer("low", torch.tensor(float(scaled.min()), dtype=torch.float64))
        self.register_buffer("high", torch.tensor(float(scaled.max()), dtype=torch.float64))

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        output = model(batch.inputs).float().squeeze(-1)
        wanted = self.standardise(batch.targets).float()
        error = (output - (wanted[:, None] if output.ndim == 2 else wanted)).square()
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
            batch = batch.to(device)
            predicted.append(self.decode(model(batch.inputs)).cpu())
            if batch.targets is not None:
                truth.append(batch.targets.double().cpu())
        return (
            torch.cat(predicted).numpy() if predicted else np.empty(0),
            torch.cat(truth).numpy() if truth else np.empty(0),
        )

    def standardise(self, targets: Tensor) -> Tensor:
        """Targets on the scale that is learned."""
        targets = targets.double()
        return ((torch.log1p(targets) if self.logarithmic else targets) - self.center) / self.spread

    def decode(self, output: Tensor) -> Any:
        """The model's output (B, 1) or (B, M, 1) in the user's units, (B,) float64.

        A logarithmic prediction is kept within what training rows showed: its exponential would run away.
        """
        value = output.double().squeeze(-1)
        value = (value.mean(1) if value.ndim == 2 else value) * self.spread + self.center
        return torch.expm1(value.clamp(self.low, self.high)) if self.logarithmic else value


def is_skewed(targets: NDArray[np.float64]) -> bool:
    """Whether `targets` (N,) are positive with a tail so long that their logarithm is the better scale."""
    if len(targets) < 3 or targets.min() < 0 or not targets.std():
        return False
    return float((((targets - targets.mean()) / targets.std()) ** 3).mean()) > SKEWED
