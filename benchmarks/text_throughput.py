"""Texts classified a second: `earnest predict` on a table of reviews, and transformers' pipeline on the same, in turns.

    python benchmarks/text_throughput.py --peer-python ../peers/transformers/bin/python

Both sides have the same model: MiniLM with its pooler, and a linear head fitted to what that makes of some training
reviews. Ours is shipped to a model folder and answers for a table, reading and writing of columns included; the peer
gets its weights under transformers' names and the texts in memory. Their classes have to be the same, and their
probabilities to agree.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import safetensors.torch
from torch import Tensor

import minilm
from earnest.api.model_folder import ModelFolder, Shipped
from earnest.api.parts import NetworkPart
from earnest.api.predict import load
from earnest.api.reading import features
from earnest.models.bert_names import LAYER, OUTER
from earnest.tasks.classification import Classification
from earnest.training.linear_head import fit_linear_head
from record import record

THEIRS = {"pipeline": (), "pipeline, tuned": ("--batch-size", "32", "--sorted")}
"""Options of transformers_pipeline.py."""
ASKED, SAME = 2.0, 0.01
"""How much faster, and the largest difference of a probability: ours are of bfloat16 where the processor has it."""
CLASSES = ("negative", "positive")
SEED = 0


def main() -> None:
    """Take turns, compare the answers, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, required=True, help="of the environment with transformers")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--note", default="", help="what else a reader must know")
    options = parser.parse_args()
    asked = minilm.rows("imdb", "test", options.rows, seed=SEED)
    seconds: dict[str, list[float]] = {name: [] for name in ("earnest", *THEIRS)}
    furthest, other_classes = dict.fromkeys(THEIRS, 0.0), dict.fromkeys(THEIRS, 0)
    peer: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        table, job = Path(scratch) / "reviews.csv", Path(scratch) / "job.json"
        pl.DataFrame({"text": asked.texts}).write_csv(table)
        part = classifier(options.max_length)
        shipped = Shipped((part,), texts=("text",))
        ModelFolder(shipped, "classification", "sentiment", CLASSES).save(Path(scratch) / "ours")
        write_theirs(part, Path(scratch) / "theirs")
        theirs = {"model": str(Path(scratch) / "theirs"), "texts": asked.texts, "max_length": options.max_length}
        job.write_text(json.dumps(theirs))
        predictor = load(Path(scratch) / "ours")
        for _ in range(options.repeats):
            started = time.perf_counter()
            frame = predictor.predict(table)
            seconds["earnest"].append(time.perf_counter() - started)
            answers = frame.select(f"p({name})" for name in CLASSES).to_numpy()
            for name, its in THEIRS.items():
                peer = minilm.run_peer(options.peer_python, "transformers_pipeline.py", job, *its)
                seconds[name].append(peer.pop("seconds"))
                theirs_told = np.array(peer.pop("probabilities"))
                furthest[name] = max(furthest[name], float(np.abs(theirs_told - answers).max()))
                other_classes[name] += int((theirs_told.argmax(1) != answers.argmax(1)).sum())
            print({name: round(turns[-1], 2) for name, turns in seconds.items()}, furthest, flush=True)
    medians = {name: statistics.median(turns) for name, turns in seconds.items()}
    ratios = {name: round(medians[name] / medians["earnest"], 2) for name in THEIRS}
    record(
        "text_throughput",
        {
            "rows": len(asked.texts),
            "max_length": options.max_length,
            "rows a second": {name: round(len(asked.texts) / median, 1) for name, median in medians.items()},
            "seconds": {name: [round(turn, 2) for turn in turns] for name, turns in seconds.items()},
            "times as fast": ratios,
            "largest difference of a probability": furthest,
            "rows of another class": other_classes,
            "accuracy": float((answers.argmax(1) == np.array(asked.labels)).mean()),
            "reached": ratios["pipeline"] >= ASKED
            and max(furthest.values()) <= SAME
            and not any(other_classes.values()),
            "peer": peer,
        },
        asked="twice the rows a second of transformers' text-classification pipeline on IMDB, with equal answers",
        note="; ".join(filter(None, ("the pipeline at its defaults takes a text at a time", options.note))),
    )


def classifier(max_length: int, *, num_rows: int = 500) -> NetworkPart:
    """MiniLM whose head tells bad reviews from good ones."""
    learned = minilm.rows("imdb", "train", num_rows, seed=SEED)
    network = minilm.network(len(CLASSES), max_length=max_length, seed=SEED)
    tokenizer = minilm.tokenizer()
    seen = features(network, tokenizer.encode(learned.texts, max_length=max_length).ids, device="cpu", cache=False)
    fit_linear_head(seen, np.array(learned.labels), num_classes=len(CLASSES), seed=SEED).install(network.head)
    spec = minilm.spec(max_length)
    task = Classification(len(CLASSES))
    return NetworkPart(network, task, minilm.ARCHITECTURE, minilm.OPTIONS, spec, tokenizer=tokenizer)


def write_theirs(part: NetworkPart, folder: Path) -> None:
    """The model as transformers reads it."""
    shutil.copytree(minilm.folder(), folder, ignore=shutil.ignore_patterns("model.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    names = dict(enumerate(CLASSES))
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": names,
        "label2id": {label: number for number, label in names.items()},
    }
    (folder / "config.json").write_text(json.dumps(config))
    tensors = to_huggingface(part.model.state_dict())
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def to_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names as those of transformers' BertForSequenceClassification."""
    inner, outer = ({ours: theirs for theirs, ours in names.items()} for names in (LAYER, OUTER))
    renamed = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", stem):
            layer, part = f"bert.encoder.layer.{match[1]}", match[2]
            if part == "attention.qkv":
                for projection, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    renamed[f"{layer}.attention.self.{projection}.{kind}"] = rows.clone()
            else:
                renamed[f"{layer}.{inner[part]}.{kind}"] = tensor
        else:
            renamed[f"{'' if stem == 'head' else 'bert.'}{outer[stem]}.{kind}"] = tensor
    return renamed


if __name__ == "__main__":
    main()
