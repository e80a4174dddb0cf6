"""Hugging Face's names of BERT's tensors, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

LAYER = {
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.up",
    "output.dense": "feed_forward.down",
    "output.LayerNorm": "feed_forward_norm",
}
OUTER = {
    "embeddings.word_embeddings": "embedding.word",
    "embeddings.position_embeddings": "embedding.position",
    "embeddings.token_type_embeddings": "embedding.segment",
    "embeddings.LayerNorm": "embedding.norm",
    "pooler.dense": "pooler",
    "classifier": "head",
}
PRETRAINING = {
    "cls.predictions.transform.dense.weight": "transform.weight",
    "cls.predictions.transform.dense.bias": "transform.bias",
    "cls.predictions.transform.LayerNorm.weight": "norm.weight",
    "cls.predictions.transform.LayerNorm.bias": "norm.bias",
    "cls.predictions.bias": "output.bias",
}
"""Hugging Face's names of a layer's parts, of the rest, and of what `MaskedLanguageModel` adds."""


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `Bert` from that of transformers' BertModel, or of a model that contains one.

    What pretraining alone uses is left out.
    """
    state = _plain(state)
    renamed = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        if match := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", stem):
            number, part = match.groups()
            if part == "attention.self.query":
                projections = [state[name.replace("query", one)] for one in ("query", "key", "value")]
                renamed[f"blocks.{number}.attention.qkv.{kind}"] = torch.cat(projections)
            elif part in LAYER:
                renamed[f"blocks.{number}.{LAYER[part]}.{kind}"] = tensor
        elif stem in OUTER:
            renamed[f"{OUTER[stem]}.{kind}"] = tensor
    return renamed


def masked_language_model_from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `MaskedLanguageModel` from that of transformers' BertForMaskedLM or BertForPreTraining."""
    plain = _plain(state)
    renamed = {f"encoder.{name}": tensor for name, tensor in from_huggingface(state).items()}
    without = ("encoder.pooler.", "encoder.head.")
    renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith(without)}
    return renamed | {ours: plain[theirs] for theirs, ours in PRETRAINING.items()}


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that models around BertModel give, and with today's names of a norm's parts."""
    plain = {}
    for name, tensor in state.items():
        name = name.removeprefix("bert.")
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        plain[name] = tensor
    return plain
