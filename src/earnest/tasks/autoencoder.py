"""Tell the input again from a code of few numbers: autoencoders, and variational ones, whose code is a distribution."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.seeds import derive
from earnest.core.words import Batch, Loss, Source, Step
from earnest.tasks.generating import Generating, Judge

ANNEALED = 0.1
"""Share of the training over which the KL term comes in (Bowman et al., arXiv:1511.06349): a code that costs before it
says anything is never used."""
NUM_IMPORTANCE = 50
"""Draws for each row's likelihood estimate."""


class Autoencoding(Generating):
    """Squared error of the reconstruction, summed over an example's numbers."""

    metric = "reconstruction_error"

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        x = _inputs(batch)
        return Loss(squared_error(x, model.reconstruct(x)).sum(), len(x))  # type: ignore[operator]

    @torch.no_grad()
    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """The mean squared error of an example, and what the judge says of samples."""
        errors = [squared_error(x, model.reconstruct(x)) for x in _all(model, source, step)]  # type: ignore[operator]
        return {"reconstruction_error": float(torch.cat(errors).mean()), **self.judged(model, source, step)}


class VariationalAutoencoding(Generating):
    """The negative of the evidence's lower bound: log p(x | z) less `kl_weight` times KL(q(z | x) || p(z)).

    Pixels that a Bernoulli tells are drawn from their intensities anew in every epoch (Burda, Grosse & Salakhutdinov,
    arXiv:1509.00519, section 5.1), so that bounds and estimates are of binary pictures. In validation they are drawn
    the same way every time.

    Args:
        judge: see `Generating`.
        kl_weight: beta; 1 makes it a bound.
    """

    metric = "elbo"
    higher_is_better = True

    def __init__(
        self,
        judge: Judge | None = None,
        *,
        kl_weight: float = 1.0,
        metric: str | None = None,
        higher_is_better: bool = False,
    ) -> None:
        super().__init__(judge, metric=metric, higher_is_better=higher_is_better)
        self.kl_weight = kl_weight

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        x = binarised(_inputs(batch)) if is_binary(model) else _inputs(batch)
        told, kl = bound_parts(model, x)
        weight = self.kl_weight * min(1.0, step.progress / ANNEALED)
        return Loss((weight * kl - told).sum(), len(x), {"kl": kl.sum(), "elbo": (told - kl).sum()})

    @torch.no_grad()
    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """The bound in nats an example, its KL part, and what the judge says of samples."""
        generator = torch.Generator().manual_seed(derive(step.seed, "binarise"))
        parts = []
        for x in _all(model, source, step):
            x = binarised(x, generator) if is_binary(model) else x
            parts.append(torch.stack(bound_parts(model, x)))
        told, kl = torch.cat(parts, 1).double().mean(1).tolist()
        return {"elbo": told - kl, "kl": kl, **self.judged(model, source, step)}


def is_binary(model: nn.Module) -> bool:
    """Whether the model tells pixels that are on or off."""
    return model.likelihood == "bernoulli"


def bound_parts(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x | z) for one z from q(z | x), and KL(q(z | x) || N(0, I)) in closed form; each (B,), in nats."""
    mean, log_variance = model.encode(x)  # type: ignore[operator]
    latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return model.log_likelihood(x, latent), kl  # type: ignore[operator]


@torch.no_grad()
def importance_weighted(model: nn.Module, x: Tensor, *, num: int = NUM_IMPORTANCE) -> Tensor:
    """An estimate of log p(x), (B,) nats, that is too low on average, and less so the larger `num` is.

    The logarithm of the mean of p(x, z) / q(z | x) over `num` draws from q (Burda, Grosse & Salakhutdinov,
    arXiv:1509.00519).
    """
    mean, log_variance = model.encode(x)  # type: ignore[operator]
    weights = []
    for _ in range(num):
        noise = torch.randn_like(mean)
        latent = mean + noise * (0.5 * log_variance).exp()
        log_prior = -0.5 * latent.square().sum(1)
        log_posterior = -0.5 * (noise.square() + log_variance).sum(1)  # both without log(2 pi) / 2 a number
        weights.append(model.log_likelihood(x, latent) + log_prior - log_posterior)  # type: ignore[operator]
    return torch.stack(weights).logsumexp(0) - math.log(num)


def binarised(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Pixels in -1..1 as -1 or 1, drawn with their intensity for a probability."""
    if generator is None:
        return torch.bernoulli((x + 1) / 2) * 2 - 1
    return torch.bernoulli((x.cpu() + 1) / 2, generator=generator).to(x.device) * 2 - 1


def squared_error(x: Tensor, told: Tensor) -> Tensor:
    """(B,): summed over an example's numbers."""
    return F.mse_loss(told, x, reduction="none").flatten(1).sum(1)


def _inputs(batch: Batch) -> Tensor:
    assert isinstance(batch.inputs, Tensor)
    return batch.inputs


def _all(model: nn.Module, source: Source, step: Step) -> list[Tensor]:
    """Every batch of the source, where the model is."""
    device = next(model.parameters()).device
    return [_inputs(batch).to(device) for batch in source.batches(step.at(index=0))]
