"""Tiny Shakespeare by characters: an LSTM, minGRU and a Transformer, as long as each other, from scratch.

    python benchmarks/shakespeare.py                     # 15 minutes each; nothing else should run meanwhile
    python benchmarks/shakespeare.py --minutes 2 --models mingru

The held-out text is the last tenth, as in nanoGPT's char-level example, told as a whole, every character once with what
came before it. The first twentieth chooses the epoch, so that 85% are learned from, where nanoGPT learns from 90%. They
reach up to the held-out text, which goes on with a play that they begin. Published beside it (nanoGPT's README): its
Transformer of 10.7 million parameters comes to 1.4697 nats on a GPU, and to 1.88 with its settings for a CPU; both on
random windows of the held-out text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data")) / "tinyshakespeare" / "input.txt.gz"
MODELS = ("lstm", "mingru", "transformer-micro")
BAR = 1.60


def main() -> None:
    """Train each network, then record what each told the held-out text with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "shakespeare.txt"
        text.write_bytes(gzip.decompress(DATA.read_bytes()))
        told = {model: fit(text, model, options.minutes, options.seed) for model in options.models}
    nats = {model: figures["nats"]["value"] for model, figures in told.items()}
    print(json.dumps(nats, indent=2))
    record(
        "shakespeare",
        {"minutes_each": options.minutes, **told, "reached": nats.get("lstm", float("inf")) <= BAR},
        asked=f"a character LSTM in 15 minutes: at most {BAR:.2f} nats a character on held-out text",
        note="the last tenth of the text, whole; learned from the 85% before it, chosen by the first twentieth",
    )


def fit(text: Path, model: str, minutes: float, seed: int) -> dict[str, Any]:
    """The scores of one run by the command line."""
    run = text.with_name(model)
    command = [sys.executable, "-m", "earnest.cli", "fit", str(text), "--task", "language-model", "--model", model]
    command += ["--minutes", str(minutes), "--seed", str(seed), "--out", str(run)]
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    evaluation, facts = (json.loads((run / name).read_text()) for name in ("evaluation.json", "run.json"))
    plan = facts["plan"]
    return {
        **evaluation["test"]["metrics"],
        "characters": evaluation["test"]["n"],
        "validation_nats": evaluation["validation"]["metrics"]["nats"]["value"],
        "counting": {name: scores["nats"]["value"] for name, scores in evaluation["test"]["baselines"].items()},
        "parameters": plan["parameters"],
        "epochs": plan["epochs"],
        "steps": plan["steps"],
        "seconds": round(seconds, 1),
        "sample": evaluation["samples"][0],
    }


if __name__ == "__main__":
    main()
