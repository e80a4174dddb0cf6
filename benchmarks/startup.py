"""How long `earnest --help` takes, as a share of `python -c "import torch"`, in turns.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from record import record


def seconds(command: list[str]) -> float:
    """Wall seconds of a command whose output is thrown away."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Alternate and record the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11)
    options = parser.parse_args()
    earnest = shutil.which("earnest", path=str(Path(sys.executable).parent))
    assert earnest is not None, "earnest is not installed in this environment"
    commands = [[earnest, "--help"], [sys.executable, "-c", "import torch"]]
    for command in commands:
        seconds(command)
    pairs = [[seconds(command) for command in commands] for _ in range(options.pairs)]
    ratio = statistics.median(ours / torch for ours, torch in pairs)
    record(
        "startup",
        {
            "ratio": ratio,
            "help_seconds": statistics.median(pair[0] for pair in pairs),
            "import_torch_seconds": statistics.median(pair[1] for pair in pairs),
            "reached": ratio < 0.15,
        },
        asked="`earnest --help` under .15 of the time of `python -c 'import torch'`",
        note=f"median of {options.pairs} ratios, in turns, files cached",
    )


if __name__ == "__main__":
    main()
