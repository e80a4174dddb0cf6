"""What is shipped: a folder of data from which predictions come, anywhere.

model/model.json            question, labels, preprocessing, and the parts whose average answers
model/model.safetensors     every array, with a checksum
model/trees-0.txt           LightGBM's own text, where trees are among the parts
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest import __version__
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data.batches import ArrayBatches
from earnest.data.encode import EncodedTable, TableEncoder
from earnest.data.preparation import Normalise
from earnest.evaluation.baselines import Linear, pixels
from earnest.evaluation.calibration import apply_temperature, logits_of
from earnest.evaluation.trees import TreeModel
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training.checkpoints import read_tensors, write_tensors

FORMAT = 1
Floats = NDArray[np.float64]
Inputs = NDArray[np.uint8] | EncodedTable
"""Decoded images (N, H, W, C), or an encoded table."""
PREDICTION_BATCH = 256


class Part(Protocol):
    """A fitted model that can be written as facts and tensors."""

    kind: ClassVar[str]

    def predict(self, inputs: Inputs) -> Floats:
        """Probabilities (N, C) or values (N,)."""

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Facts for model.json and tensors for model.safetensors."""


@dataclass(frozen=True)
class NetworkPart:
    """A network with its task, whose buffers know how to read its output."""

    model: nn.Module
    task: Classification | Regression
    name: str
    options: dict[str, Any]
    spec: InputSpec
    normalise: Normalise | None = None
    """For images."""
    kind: ClassVar[str] = "network"

    def predict(self, inputs: Inputs) -> Floats:
        device = next(self.model.parameters()).device
        arrays = (inputs,) if isinstance(inputs, np.ndarray) else (inputs.network_numbers(), inputs.codes)
        source = ArrayBatches(
            arrays, None, np.arange(len(arrays[0])), batch_size=PREDICTION_BATCH, transform=self.normalise
        )
        self.model.eval()
        self.task.to(device).eval()
        return self.task.predict(self.model, source, Step())[0].astype(np.float64)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {
            "model": self.name,
            "options": self.options,
            "spec": {"kind": self.spec.kind, "shape": self.spec.shape, "cardinalities": self.spec.cardinalities},
            "normalise": None if self.normalise is None else self.normalise.facts(),
            "views": self.task.views if isinstance(self.task, Classification) else 1,
            "logarithmic": isinstance(self.task, Regression) and self.task.logarithmic,
        }
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return facts, tensors | {f"task.{name}": tensor for name, tensor in self.task.state_dict().items()}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> NetworkPart:
        shape, cardinalities = tuple(facts["spec"]["shape"]), tuple(facts["spec"]["cardinalities"])
        spec = InputSpec(facts["spec"]["kind"], shape, cardinalities)
        model = models[facts["model"]].build(spec, num_classes or 1, **facts["options"])
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        task: Classification | Regression
        if num_classes is None:
            task = Regression(np.zeros(1))
            task.logarithmic = facts["logarithmic"]
        else:
            task = Classification(num_classes, views=facts["views"])
        task.load_state_dict({k.removeprefix("task."): v for k, v in tensors.items() if k.startswith("task.")})
        normalise = None if facts["normalise"] is None else Normalise(**facts["normalise"])
        return cls(model, task, facts["model"], facts["options"], spec, normalise)


@dataclass(frozen=True)
class LinearPart:
    """A linear model on pixels or on an encoded table."""

    linear: Linear
    cardinalities: tuple[int, ...] = ()
    """Codes of each category column, for tables."""
    kind: ClassVar[str] = "linear"

    def predict(self, inputs: Inputs) -> Floats:
        if isinstance(inputs, EncodedTable):
            return self.linear.predict(table_features(inputs, self.cardinalities))
        return self.linear.predict(pixels(inputs))

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {"name": self.linear.name, "cardinalities": self.cardinalities}
        return facts, {name: torch.from_numpy(array) for name, array in self.linear.arrays().items()}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> LinearPart:
        arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
        model = Linear(facts["name"], arrays["mean"], arrays["scale"], arrays["coef"], arrays["intercept"])
        return cls(model, tuple(facts["cardinalities"]))


def table_features(table: EncodedTable, cardinalities: Sequence[int]) -> NDArray[np.float32]:
    """What a linear model is given of a table, (N, F): scaled numbers, dense texts, and a column for every category."""
    columns = [table.network_numbers()]
    for codes, num_codes in zip(table.codes.T, cardinalities, strict=True):
        columns.append((codes[:, None] == np.arange(num_codes)).astype(np.float32))
    return np.concatenate(columns, axis=1)


@dataclass(frozen=True)
class TreesPart:
    """Gradient-boosted trees on an encoded table; their text is kept whole."""

    trees: TreeModel
    kind: ClassVar[str] = "trees"

    def predict(self, inputs: Inputs) -> Floats:
        assert isinstance(inputs, EncodedTable)
        return self.trees.predict(inputs.trees_numbers(), inputs.codes)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"text": self.trees.to_text()}, {}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> TreesPart:
        return cls(TreeModel.from_text(facts["text"]))


PARTS: dict[str, Any] = {part.kind: part for part in (NetworkPart, LinearPart, TreesPart)}


@dataclass(frozen=True)
class Shipped:
    """The parts whose average answers, and what they need of an input."""

    parts: tuple[Part, ...]
    size: tuple[int, int] | None = None
    """(height, width) that images are decoded to."""
    channels: int = 3
    encoder: TableEncoder | None = None
    """For tables."""

    def predict(self, inputs: Inputs) -> Floats:
        """The average of the parts' probabilities (N, C) or values (N,), not yet calibrated."""
        return np.mean([part.predict(inputs) for part in self.parts], axis=0)


@dataclass(frozen=True)
class ModelFolder:
    """A shipped model with the user's words about it."""

    shipped: Shipped
    task: str
    target: str
    labels: tuple[str, ...]
    column: str
    """The image column, for images."""
    temperature: float = 1.0
    about: dict[str, Any] = field(default_factory=dict)

    def predict(self, inputs: Inputs) -> Floats:
        """Calibrated probabilities (N, C), or values (N,)."""
        return self.calibrated(self.shipped.predict(inputs))

    def calibrated(self, answers: Floats) -> Floats:
        """What the shipped parts say, with their probabilities at the fitted temperature."""
        return apply_temperature(logits_of(answers), self.temperature) if self.task == "classification" else answers

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        parts = []
        for number, part in enumerate(self.shipped.parts):
            facts, its = part.pack()
            tensors |= {f"{number}.{name}": tensor for name, tensor in its.items()}
            if "text" in facts:
                facts["file"] = f"trees-{number}.txt"
                atomic.write_text(folder / facts["file"], facts.pop("text"))
            parts.append({"kind": part.kind, **facts})
        encoder = None
        if self.shipped.encoder is not None:
            encoder, arrays = self.shipped.encoder.to_state()
            tensors |= {f"encoder.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        write_tensors(folder / "model.safetensors", tensors or {"empty": torch.zeros(1)}, {})
        atomic.write_json(
            folder / "model.json",
            {
                "format": FORMAT,
                "earnest": __version__,
                "task": self.task,
                "target": self.target,
                "labels": self.labels,
                "temperature": self.temperature,
                "size": self.shipped.size,
                "channels": self.shipped.channels,
                "column": self.column,
                "encoder": encoder,
                "parts": parts,
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> ModelFolder:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, or of a newer version.
        """
        facts = _facts(folder)
        tensors, _ = read_tensors(folder / "model.safetensors")
        num_classes = len(facts["labels"]) if facts["task"] == "classification" else None
        try:
            parts = [_part(folder, number, part, tensors, num_classes) for number, part in enumerate(facts["parts"])]
            encoder = None
            if facts["encoder"] is not None:
                arrays = {name: tensor.numpy() for name, tensor in _with_prefix(tensors, "encoder.").items()}
                encoder = TableEncoder.from_state(facts["encoder"], arrays)
        except (KeyError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: model.json and model.safetensors do not fit ({error}).") from error
        size = None if facts["size"] is None else (facts["size"][0], facts["size"][1])
        shipped = Shipped(tuple(parts), size, facts["channels"], encoder)
        return cls(
            shipped,
            facts["task"],
            facts["target"],
            tuple(facts["labels"]),
            facts["column"],
            facts["temperature"],
            facts["about"],
        )


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"there is no model in {folder.parent}; a run ships one when it is finished.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged: it is not JSON ({error}).") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise RunError(f"{path} was not written by earnest: it states no format.")
    if facts["format"] > FORMAT:
        raise RunError(
            f"{folder} was written by a newer version of earnest (model format {facts['format']}, this one reads up to "
            f"{FORMAT}); update with `pip install -U earnest`."
        )
    return facts


def _part(
    folder: Path, number: int, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None
) -> Part:
    if "file" in facts:
        path = folder / Path(facts["file"]).name
        if not path.is_file():
            raise RunError(f"{path} is missing, so {folder} is not a whole model.")
        facts = {**facts, "text": path.read_text(encoding="utf-8")}
    part: Part = PARTS[facts["kind"]].unpack(facts, _with_prefix(tensors, f"{number}."), num_classes)
    return part


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def average(parts: Sequence[Shipped]) -> Shipped:
    """Several shipped models over the same inputs as one whose answer is their average."""
    first = parts[0]
    return Shipped(tuple(p for shipped in parts for p in shipped.parts), first.size, first.channels, first.encoder)
