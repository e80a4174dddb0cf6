"""Classification from few labelled and many unlabelled examples.

Each unlabelled example comes in two views. What the model says of the *weak* one, a pseudo-label, is what it learns to
say of the *strong* one; no gradient flows through the pseudo-label (Sohn et al. 2020, arXiv:2001.07685). The methods
here differ in which pseudo-labels they believe, and how much. A batch is what `earnest.data.unlabelled` makes: rows in
the order [labelled, weak views, strong views], and -1 for the targets of the last two.

Neither method is sure to beat learning from the labels alone, least of all on text: fit that model too, and compare.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.words import Batch, Loss, Step
from earnest.tasks.classification import Classification, Heads, class_probabilities, cross_entropy, heads_of

TINY = 1e-6
"""Keeps the ratio of two class distributions finite."""


class SemiSupervised(Classification):
    """Cross-entropy on the labelled rows, and on the strong views weighted cross-entropy against pseudo-labels.

    With B labelled and U unlabelled examples, y and x those labelled, p_i = softmax(f(weak_i)), pseudo-labels c_i and
    their weights w_i:

        loss = 1/B sum_b H(y_b, f(x_b)) + lambda(t) 1/U sum_i w_i H(c_i, f(strong_i))

    Running averages of what the model says are buffers. They see one process's rows, like a batch norm's statistics,
    and move once a micro-batch: neither is quite what a single, whole batch would give.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        unlabelled_weight: float = 1.0,
        rise: float = 0.5,
        momentum: float = 0.99,
        **options: Any,
    ) -> None:
        """`options` are those of `Classification`.

        Args:
            num_classes: C.
            unlabelled_weight: the largest lambda.
            rise: share of training over which lambda rises from 0 to that, by a half cosine. SoftMatch's authors have
                0; a network that starts from nothing then learns its own first mistakes.
            momentum: how much of a running average stays at each step. Both papers have 0.999, for far more steps.
            options: see `Classification`.
        """
        super().__init__(num_classes, **options)
        self.unlabelled_weight = unlabelled_weight
        self.rise = rise
        self.momentum = momentum

    @abstractmethod
    def pseudo_labels(self, labelled: Tensor, weak: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (U,) and weights (U,), for probabilities of labelled rows (B, C) and of weak views (U, C)."""

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        num_labelled = int((batch.targets >= 0).sum())
        num_unlabelled = (len(batch) - num_labelled) // 2
        heads = self.outputs(model, batch, num_labelled)
        sizes = [num_labelled, num_unlabelled, num_unlabelled]
        labelled, weak, strong = zip(*(head.split(sizes) for head in heads), strict=True)
        with torch.no_grad():
            classes, weights = self.pseudo_labels(class_probabilities(labelled[0]), class_probabilities(weak[0]))
            weighted = weights[:, None] * F.one_hot(classes, self.num_classes)
        supervised = cross_entropy(labelled, batch.targets[:num_labelled], label_smoothing=self.label_smoothing)
        share = num_labelled / num_unlabelled
        unsupervised = share * cross_entropy(strong, weighted, label_smoothing=0.0)
        logs = {"supervised_loss": supervised, "unlabelled_loss": unsupervised, "believed": share * weights.sum()}
        return Loss(supervised + self._lambda(step) * unsupervised, float(num_labelled), logs)

    def outputs(self, model: nn.Module, batch: Batch, num_labelled: int) -> Heads:
        """The logits of all rows, of each head: one pass, so that batch norms see all of them together."""
        return heads_of(model(batch.inputs))

    def _lambda(self, step: Step) -> float:
        """The weight of the unlabelled rows' loss: 1/2 - cos(min(pi, pi t / rise)) / 2 of its largest."""
        if step.progress >= self.rise:
            return self.unlabelled_weight
        return self.unlabelled_weight * (1 - math.cos(math.pi * step.progress / self.rise)) / 2

    def _move(self, average: Tensor, value: Tensor) -> None:
        """Move a running average, in place."""
        average.lerp_(value.to(average.dtype), 1 - self.momentum)


class SoftMatch(SemiSupervised):
    """Every pseudo-label counts, those of less than usual confidence for less (Chen et al. 2023, arXiv:2301.10921).

    The weight is a Gaussian of the confidence, truncated at its mean (section 3.1):

        w_i = exp(-k^2 (max q_i - mu)^2 / (2 sigma^2))  if max q_i < mu, else 1

    mu and sigma^2 are running averages (momentum m) of the batch's mean and unbiased variance of max q_i, from 1/C and
    1 on; k = 2 is in the authors' code, not in the equations. q is p under *uniform alignment* (section 3.2), which
    lifts the classes that the model seldom says, and counts for weights only; the pseudo-label is argmax p_i:

        q_i = normalise(p_i * (1/C) / p_mean),   p_mean the running average of p, from 1/C on
    """

    mean: Tensor
    variance: Tensor
    said: Tensor

    def __init__(self, num_classes: int, *, deviations: float = 2.0, **options: Any) -> None:
        """`deviations` is k; `options` are those of `SemiSupervised`."""
        super().__init__(num_classes, **options)
        self.deviations = deviations
        self.register_buffer("mean", torch.tensor(1 / num_classes))
        self.register_buffer("variance", torch.tensor(1.0))
        self.register_buffer("said", torch.full((num_classes,), 1 / num_classes))

    def pseudo_labels(self, labelled: Tensor, weak: Tensor) -> tuple[Tensor, Tensor]:
        """See `SemiSupervised.pseudo_labels`."""
        self._move(self.said, weak.mean(0))
        uniform = torch.full_like(self.said, 1 / self.num_classes)
        confidence = aligned(weak, uniform, self.said).amax(1)
        if len(confidence) > 1:
            self._move(self.mean, confidence.mean())
            self._move(self.variance, confidence.var())
        below = (self.mean - confidence).clamp(min=0)
        return weak.argmax(1), torch.exp(-((self.deviations * below) ** 2) / (2 * self.variance))


class AdaMatch(SemiSupervised):
    """Pseudo-labels almost as confident as labelled rows count (Berthelot et al. 2021, arXiv:2106.04732, algorithm 1).

    *Random logit interpolation*: labelled rows pass through the model with the unlabelled ones (z') and without them
    (z''), which differs where there are batch norms; their running statistics follow the first pass only. Then
    z = u z' + (1 - u) z'', u uniform for each number.

    *Distribution alignment*: q_i = normalise(p_i * p_labelled / p_unlabelled), with running averages of what the model
    says of labelled rows and of weak views, from 1/C on. The pseudo-label is argmax q_i, as in the authors' code.

    *Relative threshold*: w_i = 1 if max q_i >= tau 1/B sum_b max softmax(z_b), else 0.

    Labelled rows come in the weak view only.
    """

    said_of_labelled: Tensor
    said_of_unlabelled: Tensor

    def __init__(self, num_classes: int, *, threshold: float = 0.9, **options: Any) -> None:
        """`threshold` is tau; `options` are those of `SemiSupervised`."""
        super().__init__(num_classes, **options)
        self.threshold = threshold
        self.register_buffer("said_of_labelled", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("said_of_unlabelled", torch.full((num_classes,), 1 / num_classes))

    def outputs(self, model: nn.Module, batch: Batch, num_labelled: int) -> Heads:
        """See `SemiSupervised.outputs`; the logits of labelled rows are interpolated."""
        together = heads_of(model(batch.inputs))
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        inputs = batch.map(lambda x: x[:num_labelled]).inputs
        alone = heads_of(torch.func.functional_call(model, buffers, (inputs,)))
        return tuple(
            torch.cat([torch.lerp(b, a[:num_labelled], torch.rand_like(b)), a[num_labelled:]])
            for a, b in zip(together, alone, strict=True)
        )

    def pseudo_labels(self, labelled: Tensor, weak: Tensor) -> tuple[Tensor, Tensor]:
        """See `SemiSupervised.pseudo_labels`."""
        self._move(self.said_of_labelled, labelled.mean(0))
        self._move(self.said_of_unlabelled, weak.mean(0))
        confidence, classes = aligned(weak, self.said_of_labelled, self.said_of_unlabelled).max(1)
        threshold = self.threshold * labelled.amax(1).mean()
        return classes, (confidence >= threshold).float()


def aligned(probabilities: Tensor, wanted: Tensor, said: Tensor) -> Tensor:
    """Probabilities (N, C) with each class lifted by how much more it is wanted (C,) than said (C,)."""
    lifted = probabilities * ((wanted + TINY) / (said + TINY))
    return lifted / lifted.sum(1, keepdim=True)
