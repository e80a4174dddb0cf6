"""What comes next? Every token of a text is told from those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, Source, Stage, Step, Task

IGNORED = -100
"""The target of a place that asks nothing: padding, or what a text ends with."""


class LanguageModelling(Task):
    """Cross-entropy of the token that follows each, over all of a batch's tokens.

    A model gives `tokens((ids, lengths))`, (B, T, F), each of them from tokens up to it alone, and `head`, which takes
    them to logits (B, T, V): a Transformer decoder and a recurrent network alike. The batch's inputs are the pair
    (B, T) ids and (B,) lengths; its targets are what follows each token, (B, T) with -100 where nothing is asked, or
    None: then it is the next one of the same row.

    Args:
        characters: characters of each token of the vocabulary, (V,), for a score in bits per character; None where
            that is not known.
    """

    higher_is_better = False

    characters: Tensor

    def __init__(self, *, characters: Sequence[int] | None = None) -> None:
        super().__init__()
        self.register_buffer("characters", torch.tensor(list(characters or ())), persistent=False)

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> Loss:
        total, wanted = self._score(model, batch)
        return Loss(total, float(len(wanted)))

    @torch.no_grad()
    def validate(self, model: nn.Module, source: Source, step: Step) -> dict[str, float]:
        """The mean loss in nats a token, perplexity, bits a token, and bits a character where that is known."""
        device = next(model.parameters()).device
        total, tokens, characters = 0.0, 0, 0
        for batch in source.batches(step.at(index=0)):
            loss, wanted = self._score(model, batch.to(device))
            total, tokens = total + float(loss), tokens + len(wanted)
            if len(self.characters):
                characters += int(self.characters[wanted].sum())
        loss_per_token = total / max(tokens, 1)
        scores = {
            "loss": loss_per_token,
            "perplexity": math.exp(min(loss_per_token, 700)),
            "bits_per_token": loss_per_token / math.log(2),
        }
        if characters:
            scores["bits_per_character"] = total / math.log(2) / characters
        return scores

    @torch.no_grad()
    def nats(self, model: nn.Module, source: Source, step: Step) -> NDArray[np.float64]:
        """-log p of every token that the source asks for, one behind the other."""
        device = next(model.parameters()).device
        told = [self._score(model, batch.to(device), "none")[0].cpu() for batch in source.batches(step.at(index=0))]
        return torch.cat(told).double().numpy()

    def decode(self, output: Tensor) -> Any:
        """The most probable token after each."""
        return output.argmax(-1)

    def _score(
        self, model: nn.Module, batch: Batch, reduction: Literal["sum", "none"] = "sum"
    ) -> tuple[Tensor, Tensor]:
        """The loss, summed or of each, and the tokens that were to be told, (N,)."""
        ids, lengths = batch.inputs
        targets = following(ids, lengths) if batch.targets is None else batch.targets
        asked = targets != IGNORED
        hidden = model.tokens((ids, lengths))  # type: ignore[operator]
        logits = model.head(hidden[asked])  # type: ignore[operator]
        wanted = targets[asked]
        return F.cross_entropy(logits.float(), wanted, reduction=reduction), wanted


def following(ids: Tensor, lengths: Tensor) -> Tensor:
    """What follows each token in its row, (B, T): the next one, and -100 from the row's last on."""
    targets = torch.full_like(ids, IGNORED)
    targets[:, :-1] = ids[:, 1:]
    places = torch.arange(ids.shape[1], device=ids.device)
    return targets.masked_fill(places >= lengths[:, None] - 1, IGNORED)
