"""Test accuracy within a budget of minutes, by the command as a user types it.

    python benchmarks/accuracy.py mnist            # 60,000 digits, 10 minutes, asked 99.4%
    python benchmarks/accuracy.py fashion-mnist    # 10 minutes, asked 93.0%
    python benchmarks/accuracy.py cifar10          # 50,000 JPEGs in folders, 15 minutes, asked 88%, and < 2 GiB
    python benchmarks/accuracy.py hymenoptera      # 244 photos, their "val" folder as the test, 3 minutes, asked 93%

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
from pathlib import Path

from make_cifar_folders import unpack
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))


@dataclass(frozen=True)
class Asked:
    """One line of the table."""

    minutes: float
    accuracy: float


ASKED = {
    "mnist": Asked(10, 0.994),
    "fashion-mnist": Asked(10, 0.930),
    "cifar10": Asked(15, 0.88),
    "hymenoptera": Asked(3, 0.93),
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
        data = prepare(options.name, Path(scratch))
        run = options.run or Path(scratch) / "run"
        environment = {**os.environ, "EARNEST_CACHE": str(Path(scratch) / "cache")}
        command = [sys.executable, "-m", "earnest.cli", "fit", str(data), "--minutes", str(minutes)]
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
        f"accuracy_{options.name}",
        figures,
        asked=f"test accuracy of at least {asked.accuracy:.1%} within {asked.minutes:g} minutes, everything included",
        note="one run from nothing: cold cache, reading, audit, baselines, evaluation and report included",
    )


def prepare(name: str, scratch: Path) -> Path:
    """The data as a user would have it."""
    if name == "cifar10":
        folder = scratch / "cifar10"
        for part, end in (("train", 50_000), ("test", 10_000)):
            unpack(DATA / "cifar10" / f"cifar10_{part}_jpg.tar.xz", folder, {part: end})
        return folder
    if name == "hymenoptera":
        with tarfile.open(DATA / "hymenoptera" / "hymenoptera_256.tar") as archive:
            archive.extractall(scratch / "hymenoptera", filter="data")
        (scratch / "hymenoptera" / "val").rename(scratch / "hymenoptera" / "test")
        return scratch / "hymenoptera"
    return DATA / name / f"{name}.npz"


if __name__ == "__main__":
    main()
