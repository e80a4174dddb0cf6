"""What the benchmarks beside transformers share: MiniLM as a classifier on both sides, rows, and the peer's process."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from earnest.core import weights
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.tokenizers import Tokenizer
from earnest.models.bert import Bert
from earnest.models.bert_names import from_huggingface

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
ARCHITECTURE = "minilm-l6"
OPTIONS = {"pooling": "cls"}
"""A layer with tanh on the first token, which is what transformers' classifier has: the two networks are the same."""
MOST_CHARACTERS = 1000
"""Of a review: about 220 tokens, so that nearly none is too long, where each side would leave out another part."""


@dataclass(frozen=True)
class Rows:
    """Texts and their classes."""

    texts: list[str]
    labels: list[int]

    @property
    def num_classes(self) -> int:
        return max(self.labels) + 1


def rows(name: str, part: str, num: int, *, seed: int) -> Rows:
    """Some rows of "sst2" (phrases) or "imdb" (reviews), drawn from the part "train" or "test"."""
    if name == "sst2":
        frame = pl.read_csv(DATA / "sst2" / f"{part}.tsv.gz", separator="\t", quote_char=None)
        frame = frame.rename({"sentence": "text"})
    else:
        frame = pl.read_parquet(DATA / "imdb" / f"{part}.parquet", columns=["text", "label"])
        frame = frame.with_columns(pl.col("text").str.head(MOST_CHARACTERS))
    drawn = frame.sample(min(num, len(frame)), shuffle=True, seed=seed)
    return Rows(drawn["text"].to_list(), drawn["label"].cast(pl.Int64).to_list())


def folder() -> Path:
    """Where the weights are, in transformers' form: config.json, model.safetensors and the tokenizer's files."""
    return weights.path(ARCHITECTURE, offline=True, announce=print).parent


def tokenizer() -> Tokenizer:
    """The one that the weights were trained with."""
    return Tokenizer.load(weights.tokenizer_path(ARCHITECTURE, offline=True, announce=print))


def spec(max_length: int) -> InputSpec:
    """What the network is told: texts of so many tokens at most."""
    return InputSpec("tokens", (max_length,), (tokenizer().vocab_size,))


def network(num_classes: int, *, max_length: int, seed: int) -> Bert:
    """MiniLM with its pooler and a new head."""
    torch.manual_seed(seed)
    bert: Bert = models[ARCHITECTURE].build(spec(max_length), num_classes, **OPTIONS)
    bert.load_encoder(from_huggingface(weights.load_state_dict(ARCHITECTURE, offline=True, announce=print)))
    return bert


def run_peer(python: Path, script: str, job: Path, *options: str) -> dict[str, Any]:
    """The last line that a script of this folder prints, as JSON. It has all files, and is kept from asking the hub."""
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [str(python), str(Path(__file__).parent / script), str(job), *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=offline).stdout
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer
