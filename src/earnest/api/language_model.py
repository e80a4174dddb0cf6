"""What a run on running text ships, and the text that comes from it.

model/model.json            the network's facts
model/model.safetensors     its weights, with a checksum
model/tokenizer-0.json      the tokens that it knows
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from earnest import __version__
from earnest.api import model_folder
from earnest.api.parts import spec_of
from earnest.core import atomic
from earnest.core.errors import OptionError, RunError
from earnest.core.registry import models
from earnest.core.seeds import derive
from earnest.core.words import InputSpec
from earnest.data.tokenizers import Tokenizer
from earnest.tasks.sampling import Sampling, generate
from earnest.training.checkpoints import read_tensors, write_tensors

TASK = "language-model"
HALF_A_CHARACTER = "\ufffd"
"""What tokens decode to as long as bytes of their last character are missing."""
MOST_BYTES = 4
"""Of a character in UTF-8; so many tokens hold one, or none ever."""
MOST_NAMED = 5


@dataclass(frozen=True)
class LanguageModel:
    """A shipped network that goes on with a text."""

    network: nn.Module
    name: str
    options: dict[str, Any]
    spec: InputSpec
    tokenizer: Tokenizer
    about: dict[str, Any] = field(default_factory=dict)

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

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(folder / "tokenizer-0.json", self.tokenizer.to_state())
        write_tensors(folder / "model.safetensors", dict(self.network.state_dict()), {})
        part = {"kind": TASK, "model": self.name, "options": self.options, "spec": asdict(self.spec)}
        atomic.write_json(
            folder / "model.json",
            {
                "format": model_folder.FORMAT,
                "earnest": __version__,
                "task": TASK,
                "target": None,
                "labels": [],
                "parts": [{**part, "tokenizer": "tokenizer-0.json"}],
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> LanguageModel:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, of another version, or no language model.
        """
        facts = model_folder.read_facts(folder)
        if facts.get("task") != TASK:
            raise RunError(f"{folder} is no language model but one for {facts.get('task')}: ask it with `predict`.")
        tensors, _ = read_tensors(folder / "model.safetensors")
        state = model_folder.read_json(folder / "tokenizer-0.json")
        try:
            part = facts["parts"][0]
            spec = spec_of(part["spec"])
            network: nn.Module = models[part["model"]].build(spec, spec.cardinalities[0], **part["options"])
            network.load_state_dict(tensors)
            tokenizer = Tokenizer.from_state(state)
        except (KeyError, IndexError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: its files do not fit ({error}).") from error
        network.eval()
        return cls(network, part["model"], part["options"], spec, tokenizer, facts["about"])

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
