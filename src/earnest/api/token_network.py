"""A network of tokens with its tokenizer, as a run on running text ships it.

model/model.json            the network's facts
model/model.safetensors     its weights, with a checksum
model/tokenizer-0.json      the tokens that it knows
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from earnest import __version__
from earnest.api import model_folder
from earnest.api.parts import spec_of
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.tokenizers import Tokenizer
from earnest.training.checkpoints import read_tensors, write_tensors


@dataclass(frozen=True)
class TokenNetwork(ABC):
    """What language models and pretrained encoders have in common."""

    network: nn.Module
    name: str
    options: dict[str, Any]
    spec: InputSpec
    tokenizer: Tokenizer
    about: dict[str, Any] = field(default_factory=dict)
    task: ClassVar[str]

    def tensors(self) -> dict[str, Tensor]:
        """What is kept of the network."""
        return dict(self.network.state_dict())

    @staticmethod
    @abstractmethod
    def num_outputs(spec: InputSpec) -> int:
        """Of the network's head."""

    @staticmethod
    @abstractmethod
    def take(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Give a network what `tensors` kept of one."""

    @staticmethod
    @abstractmethod
    def mistaken(folder: Path, task: str) -> RunError:
        """The folder is a model for another task."""

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(folder / "tokenizer-0.json", self.tokenizer.to_state())
        write_tensors(folder / "model.safetensors", self.tensors(), {})
        part = {"kind": self.task, "model": self.name, "options": self.options, "spec": asdict(self.spec)}
        atomic.write_json(
            folder / "model.json",
            {
                "format": model_folder.FORMAT,
                "earnest": __version__,
                "task": self.task,
                "target": None,
                "labels": [],
                "parts": [{**part, "tokenizer": "tokenizer-0.json"}],
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, of another version, or a model for another task.
            DataError: its tokenizer belongs to other weights.
        """
        facts = model_folder.read_facts(folder)
        if facts.get("task") != cls.task:
            raise cls.mistaken(folder, str(facts.get("task")))
        tensors, _ = read_tensors(folder / "model.safetensors")
        state = model_folder.read_json(folder / "tokenizer-0.json")
        try:
            part = facts["parts"][0]
            spec = spec_of(part["spec"])
            network: nn.Module = models[part["model"]].build(spec, cls.num_outputs(spec), **part["options"])
            cls.take(network, tensors)
            tokenizer = Tokenizer.from_state(state)
        except (KeyError, IndexError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: its files do not fit ({error}).") from error
        tokenizer.check_fits(spec.cardinalities[0], vocabulary=folder / part["tokenizer"], weights=part["model"])
        return cls(network.eval(), part["model"], part["options"], spec, tokenizer, facts["about"])
