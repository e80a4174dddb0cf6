"""The fitted models that are shipped: a network, a linear model, trees, each as facts and tensors, never as code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.api import half_precision
from earnest.api.language_recipes import ENCODERS
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data.batches import ArrayBatches, RowBatches
from earnest.data.encode import EncodedTable
from earnest.data.preparation import Normalise, OnPictures
from earnest.data.text_batches import TextBatches
from earnest.data.tokenizers import Tokenizer
from earnest.evaluation.baselines import Linear, pixels
from earnest.evaluation.design import Design
from earnest.evaluation.trees import TreeModel
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression

Floats = NDArray[np.float64]
PREDICTION_BATCH = 256
"""Rows at a time."""


@dataclass(frozen=True)
class Inputs:
    """Rows as parts take them: decoded, encoded, not yet normalised."""

    pictures: tuple[NDArray[np.uint8], ...] = ()
    """(N, H, W, C), for each column of pictures."""
    table: EncodedTable | None = None
    """All other columns."""
    texts: Sequence[str] = ()
    """(N,) what the text columns hold, joined, for networks that read."""

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What a network is given, in the order of its `InputSpec`: pictures, then numbers and codes."""
        table = () if self.table is None else (self.table.network_numbers(), self.table.codes)
        return (*self.pictures, *table)


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
    normalise: tuple[Normalise, ...] = ()
    """For each column of pictures."""
    tokenizer: Tokenizer | None = None
    """For texts."""
    kind: ClassVar[str] = "network"

    def predict(self, inputs: Inputs) -> Floats:
        self.model.eval()
        self.task.to(next(self.model.parameters()).device).eval()
        encodes = models[self.name].about.get("family") in ENCODERS
        if encodes and self.tokenizer is not None and isinstance(self.task, Classification):
            ids = self.tokenizer.encode(inputs.texts, max_length=self.spec.shape[0]).ids
            return half_precision.probabilities(self.model, self.task, ids)
        source = self._source(inputs)
        answers = self.task.predict(self.model, source, Step())[0].astype(np.float64)
        placed = np.empty_like(answers)
        placed[source.order(Step())] = answers
        return placed

    def _source(self, inputs: Inputs) -> RowBatches:
        """All rows, in whatever order is quickest."""
        if self.tokenizer is not None:
            ids = self.tokenizer.encode(inputs.texts, max_length=self.spec.shape[0]).ids
            return TextBatches(ids, None, np.arange(len(ids)), batch_size=half_precision.TEXTS_AT_A_TIME)
        arrays, transform = inputs.arrays(), OnPictures(self.normalise)
        return ArrayBatches(arrays, None, np.arange(len(arrays[0])), batch_size=PREDICTION_BATCH, transform=transform)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {
            "model": self.name,
            "options": self.options,
            "spec": asdict(self.spec),
            "normalise": [normalise.facts() for normalise in self.normalise],
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_state(),
            "views": self.task.views if isinstance(self.task, Classification) else 1,
            "logarithmic": isinstance(self.task, Regression) and self.task.logarithmic,
        }
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return facts, tensors | {f"task.{name}": tensor for name, tensor in self.task.state_dict().items()}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> NetworkPart:
        spec = spec_of(facts["spec"])
        model = models[facts["model"]].build(spec, num_classes or 1, **facts["options"])
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        task: Classification | Regression
        if num_classes is None:
            task = Regression(np.zeros(1))
            task.logarithmic = facts["logarithmic"]
        else:
            task = Classification(num_classes, views=facts["views"])
        task.load_state_dict({k.removeprefix("task."): v for k, v in tensors.items() if k.startswith("task.")})
        normalise = tuple(Normalise(**each) for each in facts["normalise"])
        tokenizer = None if facts["tokenizer"] is None else Tokenizer.from_state(facts["tokenizer"])
        return cls(model, task, facts["model"], facts["options"], spec, normalise, tokenizer)


def spec_of(facts: dict[str, Any]) -> InputSpec:
    """The spec that `asdict` made plain."""
    parts = tuple(spec_of(part) for part in facts["parts"])
    return InputSpec(facts["kind"], tuple(facts["shape"]), tuple(facts["cardinalities"]), parts)


@dataclass(frozen=True)
class LinearPart:
    """A linear model on pixels or on an encoded table."""

    linear: Linear
    cardinalities: tuple[int, ...] = ()
    """Codes of each category column, for tables."""
    kind: ClassVar[str] = "linear"

    def predict(self, inputs: Inputs) -> Floats:
        if inputs.table is not None:
            return self.linear.predict(table_features(inputs.table, self.cardinalities))
        return self.linear.predict(pixels(inputs.pictures[0]))

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {"name": self.linear.name, "cardinalities": self.cardinalities}
        return facts, {name: torch.from_numpy(array) for name, array in self.linear.arrays().items()}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> LinearPart:
        arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
        model = Linear(facts["name"], arrays["mean"], arrays["scale"], arrays["coef"], arrays["intercept"])
        return cls(model, tuple(facts["cardinalities"]))


def table_features(table: EncodedTable, cardinalities: Sequence[int]) -> Design:
    """What a linear model is given of a table: scaled numbers, pictures, a column a category, texts as TF-IDF."""
    columns = [table.scaled] if table.pictures is None else [table.scaled, table.pictures]
    for codes, num_codes in zip(table.codes.T, cardinalities, strict=True):
        columns.append((codes[:, None] == np.arange(num_codes)).astype(np.float32))
    design = Design.of(np.concatenate(columns, axis=1))
    return design if table.text_sparse is None else Design(design.dense, table.text_sparse)


@dataclass(frozen=True)
class TreesPart:
    """Gradient-boosted trees on an encoded table; their text is kept whole."""

    trees: TreeModel
    kind: ClassVar[str] = "trees"

    def predict(self, inputs: Inputs) -> Floats:
        assert inputs.table is not None
        return self.trees.predict(inputs.table.trees_numbers(), inputs.table.codes)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"text": self.trees.to_text()}, {}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor], num_classes: int | None) -> TreesPart:
        return cls(TreeModel.from_text(facts["text"]))


PARTS: dict[str, Any] = {part.kind: part for part in (NetworkPart, LinearPart, TreesPart)}
