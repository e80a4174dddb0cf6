"""Two networks against each other: one makes pictures, the other, the critic, tells them from real ones.

Three losses, of scores D(x) that are logits:

"relativistic"   critic softplus(D(fake) - D(real)), generator softplus(D(real) - D(fake)), each fake paired with a real
                 one (Jolicoeur-Martineau, arXiv:1807.00734): dropping modes is no local optimum of it (Sun, Fang &
                 Schwing, arXiv:2011.04926), and with both penalties it converges (Huang et al., arXiv:2501.05441).
"non-saturating" critic softplus(-D(real)) + softplus(D(fake)), generator softplus(-D(fake)), as DCGAN has it.
"minimax"        the same critic; the generator minimises log(1 - sigmoid(D(fake))), the game of Goodfellow et al.
                 (arXiv:1406.2661), whose gradient fades where the critic is sure.

With a gradient penalty, gamma / 2 times the squared length of the critic's gradient is added at real (R1: Mescheder et
al., arXiv:1801.04406) and at made pictures (R2), on every batch or, at n times the weight, on every n-th
(Karras et al., arXiv:1912.04958, appendix B). What the critic sees may be augmented, real and made alike and with
gradients through it, so that a small data set lasts longer (Zhao et al., arXiv:2006.10738).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, NamedParameters, Phase, Stage, Step
from earnest.data.augment import AUGMENTATIONS
from earnest.tasks.generating import Generating, Judge

LAST_PENALTY = 0.1
"""The gradient penalty at the end of training, as a share of that at its beginning; it falls by a half cosine."""


class Adversarial(Generating):
    """The critic's turn and the generator's turn, on every batch.

    Args:
        judge: see `Generating`.
        gradient_penalty: gamma at the beginning.
        penalty_every: batches from one that pays it to the next.
        augment: names of augmentations for what the critic sees.
    """

    metric = "kernel_distance"

    def __init__(
        self,
        judge: Judge | None = None,
        *,
        gradient_penalty: float = 0.0,
        penalty_every: int = 1,
        augment: Sequence[str] = (),
        metric: str | None = None,
        higher_is_better: bool = False,
    ) -> None:
        super().__init__(judge, metric=metric, higher_is_better=higher_is_better)
        self.gradient_penalty = gradient_penalty
        self.penalty_every = penalty_every
        self.augment = tuple(augment)

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        phases = Phase("critic", _within("critic.")), Phase("generator", _within("generator."))
        return [Stage(epochs=recipe.epochs, phases=phases)]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        """The critic's or the generator's, by the phase; both in one where a plan is made, which asks for no phase."""
        if step.phase == "critic":
            return self._critic_loss(model, batch, step)
        if step.phase == "generator":
            return self._generator_loss(model, batch, step)
        critic, generator = self._critic_loss(model, batch, step), self._generator_loss(model, batch, step)
        return Loss(critic.total + generator.total, critic.weight)

    def _critic_loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        real, labels = _pictures(batch)
        with torch.no_grad():
            made = _made(model, real, labels)
        seen = self._seen(torch.cat([real, made]), batch, step).detach()
        penalised = self.gradient_penalty > 0 and step.index % self.penalty_every == 0
        scores = _scores(model, seen.requires_grad_(penalised), labels)
        of_real, of_made = scores.chunk(2)
        total = critic_loss(str(model.loss), of_real, of_made).sum()
        logs = {"lead": (of_real - of_made).sum()}
        if penalised:
            squares = gradient_squares(scores, seen).sum()
            logs["penalty"] = squares
            weight = self.penalty_every * penalty_at(self.gradient_penalty, step.progress)
            total = total + 0.5 * weight * squares
        return Loss(total, len(real), logs)

    def _generator_loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        real, labels = _pictures(batch)
        made = _made(model, real, labels)
        critic: nn.Module = model.critic  # type: ignore[assignment]
        if model.loss != "relativistic":
            scores = critic(self._seen(made, batch, step), labels)
            return Loss(generator_loss(str(model.loss), None, scores).sum(), len(real))
        of_real, of_made = critic(self._seen(torch.cat([real, made]), batch, step), _twice(labels)).chunk(2)
        return Loss(generator_loss("relativistic", of_real, of_made).sum(), len(real))

    def _seen(self, pictures: Tensor, batch: Batch, step: Step) -> Tensor:
        """Pictures as the critic is shown them."""
        for name in self.augment:
            pictures = AUGMENTATIONS[name](pictures, batch, step)
        return pictures


def critic_loss(kind: str, of_real: Tensor, of_made: Tensor) -> Tensor:
    """What the critic minimises, (B,), from its scores of real and of made pictures."""
    if kind == "relativistic":
        return F.softplus(of_made - of_real)
    return F.softplus(-of_real) + F.softplus(of_made)


def generator_loss(kind: str, of_real: Tensor | None, of_made: Tensor) -> Tensor:
    """What the generator minimises, (B,); only the relativistic loss asks for the scores of real pictures."""
    if kind == "relativistic":
        assert of_real is not None
        return F.softplus(of_real - of_made)
    return F.softplus(-of_made) if kind == "non-saturating" else -F.softplus(of_made)


def gradient_squares(scores: Tensor, pictures: Tensor) -> Tensor:
    """The squared length of each score's gradient in its picture, (B,), to be differentiated again."""
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def penalty_at(gamma: float, progress: float) -> float:
    """The gradient penalty's weight when so much of the training is behind."""
    return gamma * (LAST_PENALTY + (1 - LAST_PENALTY) * 0.5 * (1 + math.cos(math.pi * progress)))


def _scores(model: nn.Module, seen: Tensor, labels: Tensor | None) -> Tensor:
    """The critic's logits (2 B,) of real pictures, then of made ones.

    Unless it compares them it sees each kind by itself, as the generator's turn shows it made ones: in one batch, batch
    normalisation would tell the kinds apart by their difference, and teach the generator nothing.
    """
    critic: nn.Module = model.critic  # type: ignore[assignment]
    if model.loss == "relativistic":
        scores: Tensor = critic(seen, _twice(labels))
        return scores
    return torch.cat([critic(half, labels) for half in seen.chunk(2)])


def _made(model: nn.Module, real: Tensor, labels: Tensor | None) -> Tensor:
    """As many pictures as there are real ones, of the same classes."""
    latents = torch.randn(len(real), model.latent_width, device=real.device)  # type: ignore[call-overload]
    made: Tensor = model.sample(latents, labels if model.num_classes else None)  # type: ignore[operator]
    return made.to(real.dtype)


def _pictures(batch: Batch) -> tuple[Tensor, Tensor | None]:
    assert isinstance(batch.inputs, Tensor)
    return batch.inputs, batch.targets


def _twice(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else torch.cat([labels, labels])


def _within(prefix: str) -> Callable[[nn.Module], NamedParameters]:
    """Chooses the parameters below `prefix`."""
    return lambda model: [(name, p) for name, p in model.named_parameters() if name.startswith(prefix)]
