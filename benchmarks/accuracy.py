"""Test accuracy within a budget of minutes, by the command as a user types it.

    python benchmarks/accuracy.py mnist            # 60,000 digits, 10 minutes, asked 99.4%
    python benchmarks/accuracy.py fashion-mnist    # 10 minutes, asked 93.0%
    python benchmarks/accuracy.py cifar10          # 50,000 JPEGs in folders, 15 minutes, asked 88%, and < 2 GiB
    python benchmarks/accuracy.py hymenoptera      # 244 photos, their "val" folder as the test, 3 minutes, asked 93%
    python benchmarks/accuracy.py ag-news          # 1,000 rows of its test file, 4,000 held out, 5 minutes, asked 88%
    python benchmarks/accuracy.py sst2             # 67,349 phrases, 15 minutes, asked 90%
    python benchmarks/accuracy.py sst2-scratch     # the same from nothing, asked 82%
    python benchmarks/accuracy.py imdb             # 10,000 reviews, 35 minutes, asked 90%

The test part is sealed: it is looked at once, after everything is chosen on rows held out of the training part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from make_cifar_folders import unpack
from record import record

PARTS = ("train", "test")
DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))


@dataclass(frozen=True)
class Asked:
    """One line of the table."""

    minutes: float
    accuracy: float
    options: tuple[str, ...] = ()
    """Of `earnest fit`."""


ASKED = {
    "mnist": Asked(10, 0.994),
    "fashion-mnist": Asked(10, 0.930),
    "cifar10": Asked(15, 0.88),
    "hymenoptera": Asked(3, 0.93),
    "ag-news": Asked(5, 0.88, ("--target", "label")),
    "sst2": Asked(15, 0.90, ("--target", "label", "--split", "part")),
    "sst2-scratch": Asked(15, 0.82, ("--target", "label", "--split", "part", "--from-scratch")),
    "imdb": Asked(35, 0.90, ("--target", "label")),
}


def main() -> None:
    """Prepare the data, run the command, record what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ASKED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="a smaller budget than was asked for")
    parser.add_argument("--run", type=Path, default=None, help="keep the run folder here")
    options = parser.parse_args()
    asked = ASKED[options.name]
    minutes = options.minutes or asked.minutes
    with tempfile.TemporaryDirectory() as scratch:
        data, test = prepare(options.name, Path(scratch), seed=options.seed)
        run = options.run or Path(scratch) / "run"
        environment = {**os.environ, "EARNEST_CACHE": str(Path(scratch) / "cache")}
        command = [sys.executable, "-m", "earnest.cli", "fit", str(data), "--minutes", str(minutes), *asked.options]
        command += ["--test", str(test)] if test is not None else []
        started = time.monotonic()
        subprocess.run([*command, "--out", str(run), "--seed", str(options.seed)], check=True, env=environment)
        seconds = time.monotonic() - started
        evaluation = json.loads((run / "evaluation.json").read_text())
        facts = json.loads((run / "run.json").read_text())
    score = evaluation["test"]["metrics"]["accuracy"]["value"]
    figures = {
        "test": {"n": evaluation["test"]["n"], "accuracy": evaluation["test"]["metrics"]["accuracy"]},
        "validation": {"n": evaluation["validation"]["n"], "accuracy": evaluation["validation"]["metrics"]["accuracy"]},
        "baselines": {name: scores["accuracy"] for name, scores in evaluation["test"]["baselines"].items()},
        "candidates": evaluation["candidates"],
        "wall_seconds": round(seconds, 1),
        "budget_seconds": 60 * minutes,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "looks_at_test": len(facts["test_looks"]),
        "plan": facts["plan"],
        "seed": options.seed,
        "reached": score >= asked.accuracy and seconds <= 60 * minutes,
    }
    record(
        f"accuracy_{options.name}" + (f"_seed{options.seed}" if options.seed else ""),
        figures,
        asked=f"test accuracy of at least {asked.accuracy:.1%} within {asked.minutes:g} minutes, everything included",
        note="one run from nothing: cold cache, reading, audit, baselines, evaluation and report included",
    )


def prepare(name: str, scratch: Path, *, seed: int) -> tuple[Path, Path | None]:
    """The data as a user would have it, and its test part where that is a file of its own."""
    if name == "cifar10":
        folder = scratch / "cifar10"
        for part, end in (("train", 50_000), ("test", 10_000)):
            unpack(DATA / "cifar10" / f"cifar10_{part}_jpg.tar.xz", folder, {part: end})
        return folder, None
    if name == "hymenoptera":
        with tarfile.open(DATA / "hymenoptera" / "hymenoptera_256.tar") as archive:
            archive.extractall(scratch / "hymenoptera", filter="data")
        (scratch / "hymenoptera" / "val").rename(scratch / "hymenoptera" / "test")
        return scratch / "hymenoptera", None
    if name == "ag-news":
        rows = pl.read_csv(
            DATA / "ag-news-test" / "test.csv.gz", has_header=False, new_columns=["label", "title", "text"]
        )
        rows = rows.sample(5000, shuffle=True, seed=seed)
        return written(rows[:1000], scratch / "ag-news.csv"), written(rows[1000:], scratch / "ag-news-test.csv")
    if name.startswith("sst2"):
        files = {"train": "train", "validation": "dev", "test": "test"}
        frames = {part: DATA / "sst2" / f"{file}.tsv.gz" for part, file in files.items()}
        read = partial(pl.read_csv, separator="\t", quote_char=None)
        rows = pl.concat(read(file).with_columns(part=pl.lit(part)) for part, file in frames.items())
        return written(rows, scratch / "sst2.csv"), None
    if name == "imdb":
        train, test = (pl.read_parquet(DATA / "imdb" / f"{part}.parquet", columns=["text", "label"]) for part in PARTS)
        return written(train, scratch / "imdb.csv"), written(test, scratch / "imdb-test.csv")
    return DATA / name / f"{name}.npz", None


def written(rows: pl.DataFrame, file: Path) -> Path:
    """The rows as a CSV file."""
    rows.write_csv(file)
    return file


if __name__ == "__main__":
    main()
