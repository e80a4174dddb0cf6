"""The ladder of transfer, rung by rung: what each one scored on rows that its fit had not seen, and its seconds.

    python benchmarks/transfer.py orl            # 40 people's faces, gray, 7 photos of each to learn from and 3 to test
    python benchmarks/transfer.py hymenoptera    # 244 photos of ants and bees, of ImageNet's own kind

Rungs are chosen by the cross-fitted score alone; the test part is looked at once, when all is chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from accuracy import prepare
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
TO_LEARN_FROM = 7
"""Of ten photos of each person."""


def main() -> None:
    """Prepare the data, run the command, record the rungs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("orl", "hymenoptera"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="a budget for the whole run")
    parser.add_argument("--run", type=Path, default=None, help="keep the run folder here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = faces(Path(scratch)) if options.name == "orl" else prepare(options.name, Path(scratch))
        run = options.run or Path(scratch) / "run"
        command = [
            sys.executable,
            "-m",
            "earnest.cli",
            "fit",
            str(data),
            "--out",
            str(run),
            "--seed",
            str(options.seed),
        ]
        if options.minutes:
            command += ["--minutes", str(options.minutes)]
        started = time.monotonic()
        subprocess.run(command, check=True, env={**os.environ, "EARNEST_CACHE": str(Path(scratch) / "cache")})
        seconds = time.monotonic() - started
        evaluation = json.loads((run / "evaluation.json").read_text())
        events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        facts = json.loads((run / "run.json").read_text())
    told = [event for event in events if event["event"] in ("rung", "tried")]
    figures = {
        "rungs": [{name: value for name, value in event.items() if name != "time"} for event in told],
        "shipped": next(candidate["name"] for candidate in evaluation["candidates"] if candidate["shipped"]),
        "rows": {"learned from": evaluation["validation"]["n"], "test": evaluation["test"]["n"]},
        "cross_fitted": {"accuracy": evaluation["validation"]["metrics"]["accuracy"]},
        "test": {
            "accuracy": evaluation["test"]["metrics"]["accuracy"],
            "others": {name: scores["accuracy"] for name, scores in evaluation["test"]["baselines"].items()},
        },
        "comparison_on_test": evaluation["comparison"],
        "looks_at_test": len(facts["test_looks"]),
        "wall_seconds": round(seconds, 1),
        "seed": options.seed,
    }
    record(
        f"transfer_{options.name}",
        figures,
        asked="each rung with its score and seconds; the ladder stops where the next rung stops paying",
        note='one run from nothing with a cold cache; "tried" is a rung that was left after its first fold',
    )


def faces(scratch: Path) -> Path:
    """The ORL faces as a folder a person, in train/ and test/, the photos in their own order."""
    with np.load(DATA / "orl-faces" / "orl_faces.npz") as arrays:
        images, subjects = arrays["images"], arrays["subject"]
    for subject in np.unique(subjects):
        for number, image in enumerate(images[subjects == subject]):
            part = "train" if number < TO_LEARN_FROM else "test"
            place = scratch / "orl" / part / f"person-{subject:02}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{number:02}.png")
    return scratch / "orl"


if __name__ == "__main__":
    main()
