"""Which token stood where a text was blotted out? The question that BERT learns language from.

Devlin et al., "BERT", arXiv:1810.04805, section 3.1; how much to blot out, 30%: A. Wettig et al., "Should you mask 15%
in masked language modeling?", arXiv:2202.08005.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.seeds import derive
from earnest.core.words import Batch, Loss, Source, Stage, Step, Task

VALIDATION_SEED = 0
"""Of the mask that every validation uses, so that scores differ by the model alone."""


class Masked(NamedTuple):
    """Texts with some tokens replaced."""

    ids: Tensor
    """(B, T) what the model sees."""
    chosen: Tensor
    """(B, T) where it is to tell what was there."""


class MaskedLanguageModelling(Task):
    """Cross-entropy over the tokens that were chosen, and only they go through the matrix of the vocabulary.

    A model gives `tokens((ids, lengths))`, (B, T, F), and `vocabulary(hidden)`, (M, F) to logits (M, V). The batch's
    inputs are the pair (B, T) ids and (B,) lengths; targets are not looked at.

    Args:
        vocabulary: number of tokens, V.
        mask_id: the token that stands for a missing one.
        special_ids: tokens that are never chosen and replace none, such as padding and the marks of a text's ends.
        share: of a text's other tokens, how many are chosen.
        replace: "mixed", as BERT's: 80% by the mask, 10% by a random token, 10% left; or all by the "mask".
    """

    higher_is_better = False

    ordinary: Tensor
    is_special: Tensor

    def __init__(
        self,
        vocabulary: int,
        *,
        mask_id: int,
        special_ids: Sequence[int],
        share: float = 0.3,
        replace: Literal["mixed", "mask"] = "mixed",
    ) -> None:
        super().__init__()
        self.mask_id = mask_id
        self.share = share
        self.replace = replace
        is_special = torch.zeros(vocabulary, dtype=torch.bool)
        is_special[[0, mask_id, *special_ids]] = True
        self.register_buffer("is_special", is_special, persistent=False)
        self.register_buffer("ordinary", (~is_special).nonzero()[:, 0], persistent=False)

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def mask(self, ids: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> Masked:
        """Choose and replace tokens of texts (B, T): of each, the share, rounded, but one at least.

        Without a `generator` the default one draws, which the loop seeds with the place of the step.
        """
        shape, device = ids.shape, ids.device
        real = torch.arange(shape[1], device=device) < lengths[:, None]
        eligible = real & ~self.is_special[ids]
        counts = (eligible.sum(1) * self.share).round().clamp(min=1)
        order = torch.rand(shape, device=device, generator=generator).masked_fill(~eligible, 2.0)
        chosen = eligible & (order.argsort(1).argsort(1) < counts[:, None])
        if self.replace == "mask":
            return Masked(ids.masked_fill(chosen, self.mask_id), chosen)
        fate = torch.rand(shape, device=device, generator=generator)
        others = self.ordinary[torch.randint(len(self.ordinary), shape, device=device, generator=generator)]
        masked = ids.masked_fill(chosen & (fate < 0.8), self.mask_id)
        return Masked(torch.where(chosen & (fate >= 0.9), others, masked), chosen)

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        total, right, weight = self._score(model, batch, None)
        return Loss(total, float(weight), {"accuracy": right})

    @torch.no_grad()
    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """The mean loss in nats and the share of tokens told right, under a mask that is always the same."""
        total, right, chosen = self.told(model, source, step).sum(0)
        loss = float(total / max(chosen, 1))
        return {"loss": loss, "accuracy": float(right / max(chosen, 1)), "perplexity": math.exp(min(loss, 700))}

    @torch.no_grad()
    def told(self, model: nn.Module, source: Source, step: Step) -> NDArray[np.float64]:
        """(batches, 3): the summed loss in nats, tokens told right and tokens chosen, under that same mask."""
        device = next(model.parameters()).device
        found = []
        for number, batch in enumerate(source.batches(step.at(index=0))):
            generator = torch.Generator().manual_seed(derive(VALIDATION_SEED, "mask", number))
            loss, right, chosen = self._score(model, batch, generator, device)
            found.append((float(loss), float(right), float(chosen)))
        return np.array(found)

    def decode(self, output: Tensor) -> Any:
        """The most probable token of each place."""
        return output.argmax(-1)

    def _score(
        self, model: nn.Module, batch: Batch, generator: torch.Generator | None, device: torch.device | None = None
    ) -> tuple[Tensor, Tensor, int]:
        """Summed loss, number told right, number chosen."""
        ids, lengths = batch.inputs
        masked = self.mask(ids, lengths, generator)
        wanted = ids[masked.chosen]
        inputs = (masked.ids, lengths) if device is None else (masked.ids.to(device), lengths.to(device))
        hidden = model.tokens(inputs)  # type: ignore[operator]
        logits = model.vocabulary(hidden[masked.chosen.to(hidden.device)]).float()  # type: ignore[operator]
        wanted = wanted.to(logits.device)
        return F.cross_entropy(logits, wanted, reduction="sum"), (logits.argmax(-1) == wanted).sum(), len(wanted)
