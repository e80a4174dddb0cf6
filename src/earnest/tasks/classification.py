"""Which of several classes does an example belong to?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, Source, Stage, Step, Task

Score = Callable[[NDArray[Any], NDArray[np.float64]], float]
"""A metric of (true classes (N,), probabilities (N, C)), or of (true values (N,), predicted ones)."""

AUXILIARY_WEIGHT = 0.3
"""Weight of an auxiliary head's loss (Szegedy et al. 2014, section 5)."""

Heads = tuple[Tensor, ...]
"""The logits of each of a model's heads, the main one's first."""


class Classification(Task):
    """Cross-entropy over classes. Targets are class numbers (B,) or, when mixed, class weights (B, C).

    A model answers with logits (B, C); an ensemble with (B, M, C), whose members each learn by themselves and whose
    probabilities are averaged; one with auxiliary heads, in training, with a tuple of logits, the main ones first.
    """

    higher_is_better = True

    def __init__(
        self,
        num_classes: int,
        *,
        metric: str = "accuracy",
        score: Score | None = None,
        higher_is_better: bool = True,
        label_smoothing: float = 0.0,
        views: int = 1,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.metric = metric
        self.score = score
        self.higher_is_better = higher_is_better
        self.label_smoothing = label_smoothing
        self.views = views

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        heads = heads_of(model(batch.inputs))
        total = cross_entropy(heads, batch.targets, label_smoothing=self.label_smoothing)
        return Loss(total, float(len(batch)))

    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        probabilities, truth = self.predict(model, source, step, views=1)
        chosen = probabilities[np.arange(len(truth)), truth]
        scores = {
            "accuracy": float((probabilities.argmax(1) == truth).mean()),
            "log_loss": float(-np.log(np.clip(chosen, 1e-15, 1)).mean()),
        }
        if self.score is not None:
            scores[self.metric] = self.score(truth, probabilities)
        return scores

    @torch.no_grad()
    def predict(
        self, model: nn.Module, source: Source, step: Step, *, views: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Probabilities (N, C) and true classes (N,) (empty where the source has no targets), in the source's order.

        `views` of each image are averaged, by default as many as the task states.
        """
        probabilities, truth = [], []
        device = next(model.parameters()).device
        for batch in source.batches(step.at(index=0)):
            batch = batch.to(device)
            output = self.probabilities(model, batch, views=views)
            probabilities.append(output.cpu())
            if batch.targets is not None:
                truth.append(batch.targets.cpu())
        return (
            torch.cat(probabilities).double().numpy() if probabilities else np.empty((0, self.num_classes)),
            torch.cat(truth).numpy() if truth else np.empty(0, np.int64),
        )

    def probabilities(self, model: nn.Module, batch: Batch, *, views: int | None = None) -> Tensor:
        """Class probabilities (B, C), float32."""
        views = self.views if views is None else views
        if views == 1 or not isinstance(batch.inputs, Tensor):
            logits = model(batch.inputs).float()
        else:
            logits = sum(weight * model(view).float() for weight, view in _views(batch.inputs, views))
        return class_probabilities(logits)

    def decode(self, output: Tensor) -> Any:
        """The most probable class's number for each example."""
        return output.argmax(-1)


def heads_of(output: Tensor | Heads) -> Heads:
    """A model's output as its heads' logits."""
    return output if isinstance(output, tuple) else (output,)


def class_probabilities(logits: Tensor) -> Tensor:
    """(B, C), float32, of logits (B, C) or (B, M, C), whose members are averaged."""
    probabilities = logits.float().softmax(-1)
    return probabilities.mean(1) if probabilities.ndim == 3 else probabilities


def cross_entropy(heads: Heads, targets: Tensor, *, label_smoothing: float) -> Tensor:
    """Summed over the batch and, auxiliary ones for less, over heads; averaged over an ensemble's members."""
    total = _cross_entropy(heads[0], targets, label_smoothing)
    for auxiliary in heads[1:]:
        total = total + AUXILIARY_WEIGHT * _cross_entropy(auxiliary, targets, label_smoothing)
    return total


def _cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    if logits.ndim == 2:
        return F.cross_entropy(logits.float(), targets, reduction="sum", label_smoothing=label_smoothing)
    members = logits.shape[1]
    repeated = targets.repeat_interleave(members, 0)
    flat = logits.flatten(0, 1).float()
    return F.cross_entropy(flat, repeated, reduction="sum", label_smoothing=label_smoothing) / members


def _views(images: Tensor, number: int) -> Iterator[tuple[float, Tensor]]:
    """Views of images (B, C, H, W) with their weights: 2, mirrored too; 6, shifted by a pixel both ways as well.

    The six are those of Jordan 2024, arXiv:2404.00498, section 3.5: the unshifted ones weigh half.
    """
    shifted = [(1.0, images)]
    if number == 6:
        height, width = images.shape[-2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        shifted = [(0.5, images), (0.25, padded[..., :height, :width]), (0.25, padded[..., 2:, 2:])]
    for weight, view in shifted:
        yield weight / 2, view
        yield weight / 2, view.flip(-1)
