"""What is shipped: a folder of data from which predictions come, anywhere.

model/model.json            question, labels, preprocessing, and the parts whose average answers
model/model.safetensors     every array, with a checksum
model/trees-0.txt           LightGBM's own text, where trees are among the parts
model/tokenizer-0.json      the vocabulary of a network that reads texts
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from earnest import __version__
from earnest.api.parts import PARTS, Floats, Inputs, Part
from earnest.api.sight import Sight
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.data.dataset import Column
from earnest.data.encode import TableEncoder
from earnest.data.images import Channels
from earnest.data.text import joined
from earnest.evaluation.calibration import apply_temperature, logits_of
from earnest.evaluation.pooling import pooled
from earnest.training.checkpoints import read_tensors, write_tensors

FORMAT = 2


@dataclass(frozen=True)
class PictureColumn:
    """What becomes of a column of pictures."""

    name: str
    size: tuple[int, int]
    """(height, width) that they are decoded to."""
    channels: Channels
    sight: Sight | None = None
    """What a pretrained network sees in them, where that joins the table in their place."""


@dataclass(frozen=True)
class Shipped:
    """The parts that answer together, and what they need of a row."""

    parts: tuple[Part, ...]
    pictures: tuple[PictureColumn, ...] = ()
    encoder: TableEncoder | None = None
    """For all columns that are no pictures; None where no part takes them encoded."""
    texts: tuple[str, ...] = ()
    """Columns that networks read, joined in this order."""
    weights: tuple[float, ...] = ()
    """Of the parts in a logarithmic pool; where there are none, their average answers."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that a table must have."""
        why = "what the model was trained on"
        pictures = tuple(Column(one.name, "image", why) for one in self.pictures)
        if self.encoder is not None:
            return (*pictures, *self.encoder.columns)
        return (*pictures, *(Column(name, "text", why) for name in self.texts))

    def inputs(self, frame: pl.DataFrame | None, pictures: Sequence[NDArray[np.uint8]] = ()) -> Inputs:
        """Rows as the parts take them, from a table and the pictures (N, H, W, C) decoded for each picture column.

        Raises:
            DataError: the table lacks columns, which are named.
        """
        table = None
        if self.encoder is not None:
            assert frame is not None
            table = self.encoder.transform(frame)
        seen = [one.sight(array) for one, array in zip(self.pictures, pictures, strict=True) if one.sight]
        if seen:
            assert table is not None
            return Inputs(table=replace(table, pictures=np.concatenate(seen, axis=1)))
        texts: list[str] = []
        if self.texts:
            assert frame is not None
            texts = joined(frame, self.texts)
        return Inputs(tuple(pictures), table, texts)

    def predict(self, inputs: Inputs) -> Floats:
        """The parts' probabilities (N, C) or values (N,) as one, not yet calibrated."""
        answers = [part.predict(inputs) for part in self.parts]
        return pooled(answers, np.array(self.weights)) if self.weights else np.mean(answers, axis=0)


def average(parts: Sequence[Shipped]) -> Shipped:
    """Several shipped models over the same columns as one whose answer is their average."""
    return Shipped(
        tuple(part for shipped in parts for part in shipped.parts),
        next((shipped.pictures for shipped in parts if shipped.pictures), ()),
        next((shipped.encoder for shipped in parts if shipped.encoder is not None), None),
        next((shipped.texts for shipped in parts if shipped.texts), ()),
    )


@dataclass(frozen=True)
class ModelFolder:
    """A shipped model with the user's words about it."""

    shipped: Shipped
    task: str
    target: str
    labels: tuple[str, ...]
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
            if facts.get("tokenizer") is not None:
                name = f"tokenizer-{number}.json"
                atomic.write_json(folder / name, facts["tokenizer"])
                facts["tokenizer"] = name
            parts.append({"kind": part.kind, **facts})
        pictures = []
        for number, one in enumerate(self.shipped.pictures):
            sight, its = (None, {}) if one.sight is None else one.sight.pack()
            tensors |= {f"picture.{number}.{name}": tensor for name, tensor in its.items()}
            pictures.append({"name": one.name, "size": one.size, "channels": one.channels, "sight": sight})
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
                "pictures": pictures,
                "encoder": encoder,
                "texts": self.shipped.texts,
                "weights": self.shipped.weights,
                "parts": parts,
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> ModelFolder:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, or of another version.
        """
        facts = read_facts(folder)
        tensors, _ = read_tensors(folder / "model.safetensors")
        num_classes = len(facts["labels"]) if facts["task"] == "classification" else None
        try:
            parts = [_part(folder, number, part, tensors, num_classes) for number, part in enumerate(facts["parts"])]
            pictures = [_picture_column(number, one, tensors) for number, one in enumerate(facts["pictures"])]
            encoder = None
            if facts["encoder"] is not None:
                arrays = {name: tensor.numpy() for name, tensor in _with_prefix(tensors, "encoder.").items()}
                encoder = TableEncoder.from_state(facts["encoder"], arrays)
        except (KeyError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: model.json and model.safetensors do not fit ({error}).") from error
        weights = tuple(facts.get("weights", ()))
        shipped = Shipped(tuple(parts), tuple(pictures), encoder, tuple(facts["texts"]), weights)
        labels, temperature = tuple(facts["labels"]), facts["temperature"]
        return cls(shipped, facts["task"], facts["target"], labels, temperature, facts["about"])


def read_facts(folder: Path) -> dict[str, Any]:
    """What model.json says, if this version can go by it.

    Raises:
        RunError: it is missing, damaged, or of another version.
    """
    path = folder / "model.json"
    if not path.exists():
        raise RunError(f"there is no model in {folder.parent}; a run ships one when it is finished.")
    facts: dict[str, Any] = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise RunError(f"{path} was not written by earnest: it states no format.")
    if facts["format"] > FORMAT:
        raise RunError(
            f"{folder} was written by a newer version of earnest (model format {facts['format']}, this one reads "
            f"{FORMAT}); update with `pip install -U earnest`."
        )
    if facts["format"] < FORMAT:
        raise RunError(
            f"{folder} was written by an older version of earnest (model format {facts['format']}, this one reads "
            f"{FORMAT}); fit it again."
        )
    return facts


def read_json(path: Path) -> Any:
    """A file of the model.

    Raises:
        RunError: it is missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing, so {path.parent} is not a whole model.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged: it is not JSON ({error}).") from error


def _part(
    folder: Path, number: int, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None
) -> Part:
    if "file" in facts:
        path = folder / Path(facts["file"]).name
        if not path.is_file():
            raise RunError(f"{path} is missing, so {folder} is not a whole model.")
        facts = {**facts, "text": path.read_text(encoding="utf-8")}
    if facts.get("tokenizer") is not None:
        facts = {**facts, "tokenizer": read_json(folder / Path(facts["tokenizer"]).name)}
    part: Part = PARTS[facts["kind"]].unpack(facts, _with_prefix(tensors, f"{number}."), num_classes)
    return part


def _picture_column(number: int, facts: dict[str, Any], tensors: dict[str, Tensor]) -> PictureColumn:
    height, width = facts["size"]
    sight = None
    if facts["sight"] is not None:
        sight = Sight.unpack(facts["sight"], _with_prefix(tensors, f"picture.{number}."))
    return PictureColumn(facts["name"], (height, width), facts["channels"], sight)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
