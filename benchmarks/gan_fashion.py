"""Fashion-MNIST: the default generator and DCGAN, as long as each other, judged by one classifier's features.

    python benchmarks/gan_fashion.py                     # 45 minutes; nothing else should run meanwhile
    python benchmarks/gan_fashion.py --minutes 2 --models dcgan

They train at the same time, each on a core of its own. Each is one run of the command line on the official training
part, of which 1,714 pictures choose the epoch; both make pictures of all classes in turn. 10,000 of each are laid
beside the 10,000 test pictures, in the features of a classifier that is trained here on the training part. The curve
is each run's own, by the classifier that its run trained. Floor: 10,000 training pictures.
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
from typing import Any

import numpy as np

import earnest
from earnest.evaluation.generation import compare
from judges import SEED, Classifier, figures, train_classifier
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data")) / "fashion-mnist" / "fashion-mnist.npz"
MODELS = ("r3gan-strided", "dcgan")
TOLD = ("epoch", "time", "kernel_distance", "precision", "recall", "diversity", "distinct")


def main() -> None:
    """Train each, then judge all alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num", type=int, default=10_000, help="pictures to judge by")
    parser.add_argument("--judge-epochs", type=int, default=6)
    parser.add_argument("--runs", type=Path, default=None, help="keep the run folders here")
    options = parser.parse_args()
    with np.load(DATA) as arrays:
        x, y, test, test_y = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, test = x[..., None], test[..., None]
    judge = train_classifier((x, y.astype(np.int64)), (test, test_y.astype(np.int64)), epochs=options.judge_epochs)
    print(f"the judge: {judge.facts()}", flush=True)
    real = test[: options.num]
    told: dict[str, Any] = {"training pictures": {"figures": figures(judge, real, x[: options.num])}}
    seen = {}
    with tempfile.TemporaryDirectory() as scratch:
        runs = {model: (options.runs or Path(scratch)) / model for model in options.models}
        commands = [command(model, run, options.minutes, options.seed) for model, run in runs.items()]
        seconds = side_by_side(commands)
        for (model, run), took in zip(runs.items(), seconds, strict=True):
            told[model] = {"seconds": took, **told_by(model, run)}
            made = earnest.generate_pictures(run, num=options.num, seed=SEED)
            seen[model] = judge.see(made)
            told[model]["figures"] = figures(judge, real, made)
            print(model, json.dumps(told[model]["figures"]["kernel_distance"]), flush=True)
    comparison = difference(judge, real, seen)
    record(
        "gan_fashion",
        {
            "minutes_each": options.minutes,
            "judge": judge.facts(),
            **told,
            "comparison": comparison,
            "reached": comparison is not None and comparison["difference"]["high"] < 0,
        },
        asked="Fashion-MNIST, 45 minutes: a kernel distance below DCGAN's in equal time, by more than the interval",
        note="distances are in the features of the classifier under `judge`, not Inception's: they are no FID or KID",
    )


def command(model: str, run: Path, minutes: float, seed: int) -> list[str]:
    """One run of the command line."""
    fit = [sys.executable, "-m", "earnest.cli", "fit", str(DATA), "--task", "generate", "--model", model]
    return [*fit, "--minutes", str(minutes), "--seed", str(seed), "--out", str(run)]


def side_by_side(commands: list[list[str]]) -> list[float]:
    """Run them at the same time, each on a core of its own; how many seconds each took."""
    cores = sorted(os.sched_getaffinity(0))
    if len(commands) > len(cores):
        raise SystemExit(f"{len(commands)} models need as many cores, and here are {len(cores)}; name fewer.")
    started = time.monotonic()
    running = {}
    for line, core in zip(commands, cores, strict=False):
        process = subprocess.Popen(line, env={**os.environ, "OMP_NUM_THREADS": "1"})
        os.sched_setaffinity(process.pid, {core})
        running[process.pid] = process
    seconds = {}
    while len(seconds) < len(running):
        pid, status = os.wait()
        seconds[pid] = round(time.monotonic() - started, 1)
        if status:
            for process in running.values():
                process.kill()
            raise SystemExit(f"{' '.join(map(str, running[pid].args))} failed.")
    return [seconds[pid] for pid in running]


def told_by(model: str, run: Path) -> dict[str, Any]:
    """How large a run's network is, how it trained, its curve."""
    evaluation, facts = (json.loads((run / name).read_text()) for name in ("evaluation.json", "run.json"))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch" and line["training"].startswith(model)]
    return {
        "parameters": facts["plan"]["trainings"][model]["parameters"],
        "steps": max((line["step"] for line in epochs), default=0),
        "collapses": evaluation["collapses"],
        "copying": evaluation["copying"],
        "curve": [{name: line[name] for name in TOLD} for line in epochs],
        "judge_of_the_curve": evaluation["extractor"],
    }


def difference(judge: Classifier, real: np.ndarray, seen: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Ours less the other's, paired by blocks; None where one alone was trained."""
    if not set(MODELS) <= set(seen):
        return None
    ours, theirs = MODELS
    return compare(judge.see(real), seen[ours], seen[theirs], against=theirs, seed=SEED)


if __name__ == "__main__":
    main()
