"""What all models that make pictures have in common: noise that pictures come from, and a judge of what comes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from earnest.core.seeds import derive
from earnest.core.words import Source, Step, Task

Judge = Callable[[Tensor, Step], dict[str, float]]
"""Samples (N, ...) on the CPU and where training is -> scores, the one that selects among them."""


def draw_latents(num: int, width: int, *, generator: torch.Generator, truncation: float | None = None) -> Tensor:
    """Noise from N(0, I), (num, width), on the CPU.

    Args:
        num: rows.
        width: numbers in each.
        generator: a seeded one, so that the same pictures come again.
        truncation: draw numbers further from 0 than this again: fewer odd pictures, and less variety (Brock, Donahue &
            Simonyan, arXiv:1809.11096, section 3.1).
    """
    latents = torch.randn(num, width, generator=generator)
    if truncation is not None:
        while (far := latents.abs() > truncation).any():
            latents[far] = torch.randn(int(far.sum()), generator=generator)
    return latents


def between(start: Tensor, end: Tensor, num: int) -> Tensor:
    """`num` points from `start` (width,) to `end`, both included, along the arc that keeps to noise's usual length."""
    share = torch.linspace(0, 1, num)[:, None]
    cosine = torch.dot(start, end) / (start.norm() * end.norm()).clamp_min(1e-12)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if angle < 1e-4:
        return torch.lerp(start, end, share)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


@torch.no_grad()
def make(model: nn.Module, latents: Tensor, labels: Tensor | None = None, *, batch_size: int = 250) -> Tensor:
    """What `model` makes of noise and, where it has classes, labels; on the CPU."""
    device = next(model.parameters()).device
    made = []
    for start in range(0, len(latents), batch_size):
        rows = slice(start, start + batch_size)
        classes = labels[rows].to(device) if labels is not None and model.num_classes else None
        made.append(model.sample(latents[rows].to(device), classes).float().cpu())  # type: ignore[operator]
    return torch.cat(made)


class Generating(Task):
    """A task whose model has `sample(latent, labels)`, `latent_width` and `num_classes`.

    What it makes is shown to a judge after every epoch: as many samples as the validation part has rows, of the same
    classes, always from the same noise.

    Args:
        judge: says how good samples are; None where nobody asks.
        metric: which of the scores selects, if it is not the task's own.
        higher_is_better: of that one.
    """

    def __init__(
        self, judge: Judge | None = None, *, metric: str | None = None, higher_is_better: bool = False
    ) -> None:
        super().__init__()
        self.judge = judge
        if metric is not None:
            self.metric, self.higher_is_better = metric, higher_is_better

    @torch.no_grad()
    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        return self.judged(model, source, step)

    def judged(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """What the judge says; nothing without one."""
        if self.judge is None:
            return {}
        batches = list(source.batches(step.at(index=0)))
        labels = None
        if model.num_classes:
            labels = torch.cat([batch.targets for batch in batches if batch.targets is not None])
        generator = torch.Generator().manual_seed(derive(step.seed, "latents"))
        width: int = model.latent_width  # type: ignore[assignment]
        latents = draw_latents(sum(map(len, batches)), width, generator=generator)
        return self.judge(make(model, latents, labels), step)
