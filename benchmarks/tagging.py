"""Entity F1 of the taggers on public sets, beside published BiLSTM-CRFs.

    python benchmarks/tagging.py conll2000      # chunks of newspaper text
    python benchmarks/tagging.py wnut17         # rare names in posts
    python benchmarks/tagging.py wikigold       # names in Wikipedia; five folds of whole documents

Each set is fitted by a BiLSTM-CRF that learns from the sentences alone, and by one that starts from GloVe's vectors of
50 numbers; where sentences are few, by MiniLM too; --ladder adds a run of everything that `earnest fit` tries. A run
looks at the test part once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
EVERY = 20
"""Every twentieth training sentence of CoNLL-2000, which has no part to choose by, is set aside for that."""
NUM_FOLDS = 5
SEEDS = {"wnut17": (0, 1, 2)}
"""Where one seed would not do, and there are no folds."""
SINGLE = ("--model", "bilstm-crf")
VARIANTS: dict[str, Sequence[str]] = {"from scratch": (*SINGLE, "--from-scratch"), "on GloVe-50": SINGLE}
ENCODER = {"MiniLM, fine-tuned": ("--model", "minilm-l6")}
"""Where the sentences are too few for a network of words."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What was asked, and the figures that it rests on."""

    asked: str
    published: str
    least: float
    """F1."""
    variants: tuple[str, ...]
    """Any of which may reach it."""


BARS = {
    "conll2000": Bar(
        "F1 94.0 from scratch",
        "94.46, BiLSTM-CRF with word vectors, tags of parts of speech and spelling features "
        "(Huang, Xu & Yu 2015, arXiv:1508.01991)",
        0.94,
        ("from scratch",),
    ),
    "wnut17": Bar(
        "within 2 points of a published BiLSTM-CRF or BERT of the size used",
        "39.0 and 37.1, DistilBERT, which is three times as large as MiniLM, fine-tuned as transformers' documentation "
        "has it (on the Hugging Face hub, the cards of longmark/my_awesome_wnut_model and of "
        "maksim2000153/distilbert-base-uncased-finetuned-wnut_17-ner); 41.86, BLSTM and CNN under a CRF, Twitter's "
        "word vectors, gazetteers and a second task, first of the shared task (Aguilar et al. 2017, W17-4419)",
        0.37,
        (*VARIANTS, *ENCODER),
    ),
    "wikigold": Bar(
        "within 2 points of a published BiLSTM-CRF",
        "54.90, BiLSTM-CRF that learned from 1,142 sentences, another split than here (Liang et al. 2020, "
        "arXiv:2006.15509, fully supervised)",
        0.529,
        (*VARIANTS, *ENCODER),
    ),
}


def main() -> None:
    """Prepare the set, fit it each way, record the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=tuple(BARS))
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="0, or 0 1 2 for wnut17, which is small")
    parser.add_argument("--minutes", type=float, default=30, help="a budget for each run")
    parser.add_argument("--variants", nargs="+", choices=(*VARIANTS, *ENCODER), help="some of the ways only")
    parser.add_argument("--ladder", action="store_true", help="one more run with every rung")
    parser.add_argument("--runs", type=Path, default=None, help="keep the run folders here")
    options = parser.parse_args()
    seeds = options.seeds or SEEDS.get(options.name, (0,))
    variants = {**VARIANTS, **(ENCODER if options.name != "conll2000" else {})}
    variants = {name: flags for name, flags in variants.items() if name in (options.variants or variants)}
    variants |= {"whole ladder": ()} if options.ladder else {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = list(prepare(options.name, Path(scratch) / "data"))
        runs = options.runs or Path(scratch) / "runs"
        figures: dict[str, Any] = {"published": BARS[options.name].published, "seeds": seeds}
        for variant, flags in variants.items():
            name = f"{options.name}-{variant.replace(' ', '-')}"
            outs = {
                runs / f"{name}-{number}-seed-{seed}": (folder, seed)
                for number, folder in enumerate(folders)
                for seed in seeds
            }
            seconds = [fit(folder, out, seed, flags, options.minutes) for out, (folder, seed) in outs.items()]
            figures[variant] = figures_of(list(outs), seconds)
            print(variant, json.dumps(figures[variant]["f1"]))
    folds = f"{NUM_FOLDS} folds of whole documents"
    note = f"the mean over {folds if options.name == 'wikigold' else 'seeds'}"
    bar = BARS[options.name]
    figures["reached"] = max(figures[variant]["f1"] for variant in bar.variants if variant in figures) >= bar.least
    record(f"tagging_{options.name}", figures, asked=bar.asked, note=note)


def fit(data: Path, out: Path, seed: int, flags: Sequence[str], minutes: float) -> float:
    """Run the command; its seconds."""
    command = [sys.executable, "-m", "earnest.cli", "fit", str(data), "--out", str(out), "--overwrite", *flags]
    command += ["--seed", str(seed), "--minutes", str(minutes)]
    started = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - started


def figures_of(runs: Sequence[Path], seconds: Sequence[float]) -> dict[str, Any]:
    """The mean F1 of the shipped models on the test parts, and what each run said."""
    evaluations = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    return {
        "f1": fmean(one["test"]["metrics"]["f1"]["value"] for one in evaluations),
        "runs": [
            {
                "shipped": next(candidate["name"] for candidate in one["candidates"] if candidate["shipped"]),
                "test": one["test"]["metrics"],
                "others": {name: scores["f1"]["value"] for name, scores in one["test"]["baselines"].items()},
                "validation": {line["name"]: line["score"]["value"] for line in one["candidates"]},
                "candidate_seconds": {line["name"]: round(line["seconds"], 1) for line in one["candidates"]},
                "test_sentences": one["test"]["n"],
                "wall_seconds": round(spent, 1),
            }
            for one, spent in zip(evaluations, seconds, strict=True)
        ],
    }


def prepare(name: str, scratch: Path) -> Iterator[Path]:
    """Folders of train, dev and test files: one, or one a fold."""
    if name == "conll2000":
        with zipfile.ZipFile(DATA / "conll2000" / "conll2000.zip") as archive:
            train, test = (archive.read(f"conll2000/{part}.txt").decode().split("\n\n") for part in ("train", "test"))
        learned = [sentence for number, sentence in enumerate(train) if number % EVERY]
        yield write(scratch, learned, train[::EVERY], test)
    elif name == "wnut17":
        files = ("wnut17train.conll.gz", "emerging.dev.conll.gz", "emerging.test.annotated.gz")
        yield write(scratch, *([gzip.decompress((DATA / "ner-wnut17" / file).read_bytes()).decode()] for file in files))
    else:
        text = gzip.decompress((DATA / "ner-wikigold" / "wikigold.conll.txt.gz").read_bytes()).decode()
        documents = [one for one in re.split(r"^-DOCSTART-.*$", text, flags=re.MULTILINE) if one.strip()]
        for fold in range(NUM_FOLDS):
            others = [one for number, one in enumerate(documents) if number % NUM_FOLDS != fold]
            learned = [one for number, one in enumerate(others) if number % 10]
            yield write(scratch / f"fold-{fold}", learned, others[::10], documents[fold::NUM_FOLDS])


def write(folder: Path, train: Sequence[str], dev: Sequence[str], test: Sequence[str]) -> Path:
    """A folder whose files name their parts; blocks of sentences come with blank lines between them."""
    folder.mkdir(parents=True)
    for part, blocks in (("train", train), ("dev", dev), ("test", test)):
        (folder / f"{part}.conll").write_text("\n\n".join(block.strip("\n") for block in blocks) + "\n")
    return folder


if __name__ == "__main__":
    main()
