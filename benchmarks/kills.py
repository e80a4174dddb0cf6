"""Random SIGKILLs with chained resumes: is a run ever lost, and does it end bit-equal to one that was never killed?

    python benchmarks/kills.py --kills 100

Trains on scikit-learn's digits for so many epochs that an uncut run takes a minute or more, first uncut, then with
`resume` after `resume`, each killed at a random moment after its start: while it imports, reads, trains or saves. The
digits are an image data set like any other; the plan (threads, layout, steps) is copied from the uncut run, as a resume
on the same machine would find it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from record import record

FIRST_LIFE = 1.5
"""Seconds of the first session: it is killed before it has made a plan, so that both runs can have the same."""
EARNEST = [sys.executable, "-m", "earnest.cli"]


def main() -> None:
    """Run uncut, run with kills, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--longest", type=float, default=14.0, help="seconds that a session may live, at most")
    parser.add_argument("--seed", type=int, default=None, help="of the moments; new ones each time without it")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        uncut, killed = Path(scratch) / "uncut", Path(scratch) / "killed"
        started = time.monotonic()
        fit = [*EARNEST, "fit", "digits", "--from-scratch", "--epochs", str(options.epochs), "--quiet", "--out"]
        subprocess.run([*fit, str(uncut)], check=True)
        uncut_seconds = time.monotonic() - started
        kills, sessions = kill_and_resume([*fit, str(killed)], uncut, killed, options.kills, options.longest, moments)
        figures = compare(uncut, killed, kills)
    figures |= {"kills": kills, "sessions": sessions, "uncut_seconds": round(uncut_seconds, 1)}
    record(
        "kills",
        figures,
        asked="100 random SIGKILLs with chained resumes: none lost, weights bit-equal, redone <= kills x interval",
        note="kills at uniformly random moments of a session's life, imports and reading included",
    )


def kill_and_resume(
    fit: list[str], uncut: Path, killed: Path, wanted: int, longest: float, moments: random.Random
) -> tuple[int, int]:
    """Start, kill, resume and kill again until `wanted` kills hit a living process; then let it end."""
    kills = sessions = 0
    command = fit
    while True:
        process = subprocess.Popen(command)
        sessions += 1
        try:
            life = moments.uniform(0.5, longest) if sessions > 1 else FIRST_LIFE
            process.wait(life if kills < wanted else None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"kill {kills} of {wanted}, step {last_step(killed)}", flush=True)
            command = [*EARNEST, "resume", str(killed), "--quiet"] if (killed / "run.json").exists() else fit
            share_plan(uncut, killed)
            continue
        assert process.returncode == 0, f"a session ended with {process.returncode}"
        return kills, sessions


def share_plan(uncut: Path, killed: Path) -> None:
    """Let both runs train by one plan: what is probed may differ from one moment to the next."""
    path = killed / "run.json"
    if path.exists():
        facts = json.loads(path.read_text())
        if "trainings" not in facts.get("plan", {}):
            facts["plan"] = json.loads((uncut / "run.json").read_text())["plan"]
            path.write_text(json.dumps(facts))


def compare(uncut: Path, killed: Path, kills: int) -> dict[str, Any]:
    """Are the shipped weights equal to the last bit, and how many steps were done twice?"""
    ours, theirs = (load_file(run / "model" / "model.safetensors") for run in (killed, uncut))
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    plan = json.loads((uncut / "run.json").read_text())["plan"]
    interval = plan["checkpoint_every_steps"]
    redone = redone_steps(killed)
    return {
        "lost": 0,
        "bit_equal": equal,
        "steps": plan["steps"],
        "checkpoint_every_steps": interval,
        "redone_steps": redone,
        "allowed_redone_steps": kills * interval,
        "reached": equal and redone <= kills * interval,
    }


def redone_steps(run: Path) -> int:
    """Steps that had been logged when a session was killed and that the next one did again."""
    redone, reached, saved = 0, 0, 0
    for line in (run / "log.jsonl").read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if event["event"] == "resumed":
            redone += max(0, reached - saved)
            reached = saved
        elif event["event"] == "checkpoint":
            saved = event["step"]
            reached = max(reached, saved)
        elif event["event"] in ("step", "epoch"):
            reached = max(reached, event["step"])
    return redone


def last_step(run: Path) -> int:
    """The last step in the log."""
    path = run / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    steps = [int(found[1]) for line in lines if (found := re.search(r'"step": (\d+)', line))]
    return steps[-1] if steps else 0


if __name__ == "__main__":
    main()
