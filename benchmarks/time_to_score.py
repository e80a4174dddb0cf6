"""Seconds from starting the command to a validation score, ours and fastai's one after the other, on the same folder.

    python benchmarks/make_cifar_folders.py ../peers/cifar --train 20000 --validation 4000 --test 2000
    python benchmarks/time_to_score.py ../peers/cifar --peer-python ../peers/fastai/bin/python

Both clocks start before the process does, so imports, reading and auditing count. Ours is read from the run's
log.jsonl, whose times are the moments of the events; the peer's from the lines it prints. Each process is stopped once
it is there. The system's file cache is warmed for both before the first run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from record import record

HERE = Path(__file__).parent


def main() -> None:
    """Alternate between the two, and record every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="has train/, val/ and test/, as make_cifar_folders.py makes them")
    parser.add_argument("--peer-python", type=Path, required=True, help="the Python of the environment with fastai")
    parser.add_argument("--score", type=float, default=0.528, help="validation accuracy to reach")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-options", default="", help='for fastai_cifar.py: "--batch-size 256 --lr 4e-3"')
    parser.add_argument("--name", default="time_to_score", help="of the results file")
    options = parser.parse_args()

    warm(options.folder, options.peer_python)
    peer = [str(options.peer_python), str(HERE / "fastai_cifar.py"), str(options.folder), *options.peer_options.split()]
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(options.repeats):
        ours.append(time_earnest(options.folder, options.score))
        print("earnest", ours[-1], flush=True)
        theirs.append(time_peer(peer, options.score))
        print("fastai", theirs[-1], flush=True)
    record(
        options.name,
        {"score": options.score, "earnest": ours, "fastai": theirs, "ratio of medians": ratio(ours, theirs)},
        asked=f"validation accuracy {options.score} on 20,000 CIFAR-10 JPEGs in folders 4 times as fast as fastai",
        note=f"fastai's options beside its defaults: {options.peer_options or 'none'}",
    )


def warm(folder: Path, peer_python: Path) -> None:
    """Read the images and both environments' libraries once, so that neither side waits for the disk."""
    for image in folder.rglob("*.jpg"):
        image.read_bytes()
    for python, modules in ((sys.executable, "torch, earnest.api"), (peer_python, "fastai.vision.learner")):
        subprocess.run([python, "-c", f"import {modules}"], check=True)


def time_earnest(folder: Path, score: float) -> dict[str, Any]:
    """Run `earnest fit FOLDER --from-scratch` until an epoch event of its log has the score."""
    command = [console_script(), "fit", str(folder), "--from-scratch", "--quiet"]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        start = time.time()
        process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                epochs = read_epochs(out / "log.jsonl", start)
                if epochs and epochs[-1]["accuracy"] >= score:
                    break
                time.sleep(0.2)
            epochs = read_epochs(out / "log.jsonl", start)
        finally:
            stop(process)
    return summary(epochs, score)


def time_peer(command: list[str], score: float) -> dict[str, Any]:
    """Run the peer's script until a line that it prints has the score."""
    start = time.time()
    epochs = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            values = json.loads(line)
            if "accuracy" not in values:
                continue
            epochs.append({"accuracy": values["accuracy"], "seconds": round(time.time() - start, 2)})
            if epochs[-1]["accuracy"] >= score:
                break
    finally:
        stop(process)
    return summary(epochs, score)


def read_epochs(log: Path, start: float) -> list[dict[str, Any]]:
    """Accuracy and seconds since `start` of the epoch events so far; a line still being written is passed over."""
    if not log.exists():
        return []
    lines = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    events = [event for event in map(json.loads, lines) if event["event"] == "epoch" and "accuracy" in event]
    return [
        {
            "accuracy": event["accuracy"],
            "seconds": round(datetime.fromisoformat(event["time"]).timestamp() - start, 2),
        }
        for event in events
    ]


def summary(epochs: list[dict[str, Any]], score: float) -> dict[str, Any]:
    """When the score was reached, or None, and every epoch until then."""
    reached = next((epoch["seconds"] for epoch in epochs if epoch["accuracy"] >= score), None)
    return {"seconds": reached, "epochs": epochs}


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float | None:
    """The peer's median seconds over ours; None unless every run reached the score."""
    seconds = [[run["seconds"] for run in runs] for runs in (theirs, ours)]
    if any(value is None for runs in seconds for value in runs):
        return None
    return round(statistics.median(seconds[0]) / statistics.median(seconds[1]), 2)


def stop(process: subprocess.Popen[Any]) -> None:
    """Ask the process to stop, and see that it did; one that failed by itself ends the benchmark."""
    if process.poll():
        sys.exit(f"{process.args} ended with exit code {process.returncode}")
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def console_script() -> str:
    """The `earnest` command beside the Python that runs this."""
    found = shutil.which("earnest", path=str(Path(sys.executable).parent))
    if found is None:
        sys.exit("earnest is not installed in this environment: pip install -e .")
    return found


if __name__ == "__main__":
    main()
