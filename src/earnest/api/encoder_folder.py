"""A pretrained encoder as a run ships it, to be started from: its weights without a head, and its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor, nn

from earnest.api.token_network import TokenNetwork
from earnest.core.errors import RunError
from earnest.core.words import InputSpec
from earnest.models.bert import Bert

TASK = "masked-language-model"


@dataclass(frozen=True)
class PretrainedEncoder(TokenNetwork):
    """An encoder that has read much; its head has learned nothing."""

    network: Bert
    task: ClassVar[str] = TASK

    @classmethod
    def of_run(cls, run: Path) -> Self:
        """The encoder that a run shipped, by the run's folder or the model's.

        Raises:
            RunError, DataError: as `load`.
        """
        return cls.load(run if (run / "model.json").exists() else run / "model")

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in super().tensors().items() if not name.startswith("head.")}

    @staticmethod
    def num_outputs(spec: InputSpec) -> int:
        return 1

    @staticmethod
    def take(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        assert isinstance(network, Bert)
        network.load_encoder(tensors)

    @staticmethod
    def mistaken(folder: Path, task: str) -> RunError:
        return RunError(f"{folder} is no pretrained encoder; `earnest fit TEXT --task {TASK}` makes one.")
