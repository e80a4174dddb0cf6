"""What a run on words ships.

model/model.json            how the vectors came about
model/model.safetensors     the vectors, and those of subwords where there are any, with a checksum
model/words.txt             the words and how often each occurred, a line each, in the order of the vectors
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from earnest import __version__
from earnest.api import model_folder
from earnest.api.word_recipes import TASK
from earnest.core import atomic
from earnest.core.errors import RunError
from earnest.data.word_counts import Vocabulary
from earnest.data.word_vectors import WordVectors
from earnest.training.array_files import write_matrices
from earnest.training.checkpoints import read_tensors

WORDS = "words.txt"


def save_vectors(folder: Path, vectors: WordVectors, vocabulary: Vocabulary, about: dict[str, Any]) -> None:
    """Write the folder; model.json comes last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"vectors": torch.from_numpy(vectors.array)}
    if vectors.subwords is not None:
        tensors["subwords"] = torch.from_numpy(vectors.subwords)
    write_matrices(folder / "model.safetensors", tensors, {})
    vocabulary.write(folder / WORDS)
    atomic.write_json(
        folder / "model.json",
        {
            "format": model_folder.FORMAT,
            "earnest": __version__,
            "task": TASK,
            "target": None,
            "labels": [],
            "lowercase": vectors.lowercase,
            "about": about,
        },
    )


def load_vectors(folder: Path) -> WordVectors:
    """Read a folder that `save_vectors` wrote.

    Raises:
        RunError: it is missing, damaged, of another version, or holds no word vectors.
    """
    facts = model_folder.read_facts(folder)
    if facts.get("task") != TASK:
        raise RunError(f"{folder} holds no word vectors but a model for {facts.get('task')}.")
    tensors, _ = read_tensors(folder / "model.safetensors")
    vocabulary = Vocabulary.read(folder / WORDS)
    if "vectors" not in tensors or len(tensors["vectors"]) != len(vocabulary):
        raise RunError(f"{folder} is damaged: {WORDS} and model.safetensors do not fit.")
    parts = tensors.get("subwords")
    return WordVectors(
        vocabulary.words,
        tensors["vectors"].numpy(),
        counts=vocabulary.counts,
        subwords=None if parts is None else parts.numpy(),
        lowercase=bool(facts.get("lowercase")),
    )
