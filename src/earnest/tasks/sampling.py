"""Text from a language model: the next token is drawn from what the model holds likely, again and again.

Top-k: A. Fan, M. Lewis & Y. Dauphin, "Hierarchical neural story generation", arXiv:1805.04833; nucleus: A. Holtzman et
al., "The curious case of neural text degeneration", arXiv:1904.09751.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How bold to be.

    Raises:
        OptionError: a value makes no sense.
    """

    temperature: float = 1.0
    """What logits are divided by: below 1 more sure, above 1 more wild; 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw from so many likeliest tokens only."""
    top_p: float | None = None
    """Draw from the fewest likeliest tokens that have this much probability together ("nucleus")."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise OptionError(f"the temperature is {self.temperature}; it must be 0 or more.")
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"top-k is {self.top_k}; it must be 1 or more.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise OptionError(f"top-p is {self.top_p}; it must be above 0 and at most 1.")


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """What to draw the next token by, (..., V), of the model's logits (..., V).

    The temperature comes first, then top-k, then the nucleus of what is left. Of equally likely tokens at a cut, those
    with the smaller ids stay.
    """
    logits = logits.double()
    if sampling.temperature == 0:
        return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).double()
    ranked, order = (logits / sampling.temperature).softmax(-1).sort(stable=True, dim=-1, descending=True)
    if sampling.top_k is not None:
        ranked[..., sampling.top_k :] = 0
        ranked = ranked / ranked.sum(-1, keepdim=True)
    if sampling.top_p is not None:
        before = ranked.cumsum(-1) - ranked
        ranked = ranked.masked_fill(before >= sampling.top_p, 0)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    return torch.zeros_like(ranked).scatter(-1, order, ranked)


def draw(logits: Tensor, sampling: Sampling, *, generator: torch.Generator | None = None) -> Tensor:
    """Tokens (B,) drawn for logits (B, V)."""
    return torch.multinomial(probabilities(logits, sampling), 1, generator=generator)[:, 0]


@torch.inference_mode()
def generate(
    model: nn.Module,
    prompt: Sequence[int],
    *,
    num_tokens: int,
    sampling: Sampling | None = None,
    never: Sequence[int] = (0,),
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Tokens that follow `prompt`, one by one as they are drawn.

    A model has `head` and `stream(ids (B, T), states) -> (hidden (B, T, F), states)`, which keeps what it knows of the
    text, and is in evaluation mode. Beyond its `max_length`, where it has one, the older half of the text is forgotten.

    Args:
        prompt: token ids, one at least.
        num_tokens: to draw at most.
        never: tokens that are not drawn, such as padding.
        stop: a token that ends the text, which is not given.

    Raises:
        OptionError: the prompt is empty.
    """
    if not len(prompt):
        raise OptionError("the prompt is empty: give the text a beginning.")
    sampling = sampling or Sampling()
    text = list(prompt)
    new, states = text, None
    since = 0
    for _ in range(num_tokens):
        longest = getattr(model, "max_length", None)
        if longest is not None and len(text) - since > longest:
            since = len(text) - max(longest // 2, 1)
            new, states = text[since:], None
        logits, states = _next_logits(model, new, states)
        logits[:, list(never)] = -torch.inf
        token = int(draw(logits, sampling, generator=generator))
        if token == stop:
            return
        text.append(token)
        new = [token]
        yield token


def _next_logits(model: nn.Module, new: Sequence[int], states: Any) -> tuple[Tensor, Any]:
    """Logits (1, V) of what follows the tokens that `states` knows and the new ones; and the states with them."""
    ids = torch.tensor([list(new)], device=next(model.parameters()).device)
    hidden, states = model.stream(ids, states)  # type: ignore[operator]
    return model.head(hidden[:, -1]), states  # type: ignore[operator]
