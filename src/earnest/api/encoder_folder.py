"""A pretrained encoder as a run ships it, to be started from.

model/model.json            the network's facts
model/model.safetensors     its weights without a head, with a checksum
model/tokenizer-0.json      the vocabulary
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earnest import __version__
from earnest.api import model_folder
from earnest.api.parts import spec_of
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.tokenizers import Tokenizer
from earnest.models.bert import Bert
from earnest.training.checkpoints import read_tensors, write_tensors

TASK = "masked-language-model"


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder that has read much."""

    network: Bert
    """Its head has learned nothing."""
    name: str
    options: dict[str, Any]
    spec: InputSpec
    tokenizer: Tokenizer
    about: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(folder / "tokenizer-0.json", self.tokenizer.to_state())
        state = {name: tensor for name, tensor in self.network.state_dict().items() if not name.startswith("head.")}
        write_tensors(folder / "model.safetensors", state, {})
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
    def load(cls, folder: Path) -> PretrainedEncoder:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, of another version, or no pretrained encoder.
        """
        facts = model_folder.read_facts(folder)
        if facts.get("task") != TASK:
            raise RunError(f"{folder} is no pretrained encoder; `earnest fit TEXT --task {TASK}` makes one.")
        tensors, _ = read_tensors(folder / "model.safetensors")
        state = model_folder.read_json(folder / "tokenizer-0.json")
        try:
            part = facts["parts"][0]
            spec = spec_of(part["spec"])
            network: Bert = models[part["model"]].build(spec, 1, **part["options"])
            network.load_encoder(tensors)
            tokenizer = Tokenizer.from_state(state)
        except (KeyError, IndexError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: its files do not fit ({error}).") from error
        return cls(network, part["model"], part["options"], spec, tokenizer, facts["about"])
