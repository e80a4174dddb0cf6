"""A language model as a run ships it, and the text that comes from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from earnest.api.token_network import TokenNetwork
from earnest.core.errors import OptionError, RunError
from earnest.core.seeds import derive
from earnest.core.words import InputSpec
from earnest.tasks.sampling import Sampling, generate

TASK = "language-model"
HALF_A_CHARACTER = "\ufffd"
"""What tokens decode to as long as bytes of their last character are missing."""
MOST_BYTES = 4
"""Of a character in UTF-8; so many tokens hold one, or none ever."""
MOST_NAMED = 5


@dataclass(frozen=True)
class LanguageModel(TokenNetwork):
    """A shipped network that goes on with a text."""

    task: ClassVar[str] = TASK

    def generate(self, prompt: str | None = None, *, num_tokens: int = 500, seed: int = 0, **sampling: Any) -> str:
        """What may follow `prompt`, or begin a line without one; `sampling` is that of `Sampling`, by its names.

        Raises:
            OptionError: the prompt is empty or holds characters that the model does not know, or a value is off.
        """
        return "".join(self.stream(prompt, num_tokens=num_tokens, seed=seed, **sampling))

    def stream(
        self, prompt: str | None = None, *, num_tokens: int = 500, seed: int = 0, **sampling: Any
    ) -> Iterator[str]:
        """As `generate`, piece by piece as it is made; the prompt is checked before the first is asked for.

        Raises:
            OptionError: as `generate`.
        """
        if num_tokens < 1:
            raise OptionError(f"--tokens is {num_tokens}; give a whole number from 1 up.")
        ids, how = self._ids(self._opening() if prompt is None else prompt), Sampling(**sampling)
        random = torch.Generator().manual_seed(derive(seed, "generate"))
        self.network.eval()
        never = self.tokenizer.special_ids
        return self._decoded(
            generate(self.network, ids, num_tokens=num_tokens, sampling=how, never=never, generator=random)
        )

    @staticmethod
    def num_outputs(spec: InputSpec) -> int:
        return spec.cardinalities[0]

    @staticmethod
    def take(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        network.load_state_dict(tensors)

    @staticmethod
    def mistaken(folder: Path, task: str) -> RunError:
        return RunError(f"{folder} is no language model but one for {task}: ask it with `predict`.")

    def _opening(self) -> str:
        """What a text goes on from that nobody has begun: the end of a line, or the commonest token."""
        commonest = len(self.tokenizer.special_ids)
        return "\n" if self.tokenizer.knows("\n") else self.tokenizer.decode([commonest])

    def _ids(self, prompt: str) -> list[int]:
        """The prompt's tokens."""
        strange = [character for character in dict.fromkeys(prompt) if not self.tokenizer.knows(character)]
        if strange:
            shown = ", ".join(map(repr, strange[:MOST_NAMED])) + (" and others" if len(strange) > MOST_NAMED else "")
            raise OptionError(f"the text that this model learned from has no {shown}; leave that out of the prompt.")
        if not prompt:
            raise OptionError("the prompt is empty: give the text a beginning, or leave --prompt out.")
        return [int(token) for token in self.tokenizer.encode([prompt], bare=True).ids[0]]

    def _decoded(self, tokens: Iterator[int]) -> Iterator[str]:
        """Text as soon as its characters are whole."""
        pending: list[int] = []
        for token in tokens:
            pending.append(token)
            piece = self.tokenizer.decode(pending)
            if not piece.endswith(HALF_A_CHARACTER) or len(pending) == MOST_BYTES:
                yield piece
                pending = []
        if pending:
            yield self.tokenizer.decode(pending)
