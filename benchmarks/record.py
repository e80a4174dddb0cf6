"""What every benchmark writes: its figures beside what was asked, and the machine and versions behind them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earnest.core import atomic

RESULTS = Path(__file__).parent / "results"
VERSIONS_OF = ("earnest", "torch", "numpy", "polars", "scikit-learn", "lightgbm", "pillow")


def record(name: str, figures: dict[str, Any], *, asked: str, note: str = "") -> Path:
    """Write results/NAME.json, replacing an older one, and say where.

    Args:
        name: the benchmark's, and the file's.
        figures: what was measured, as JSON.
        asked: the bar, in words: "at least 99.4% in 10 minutes".
        note: what a reader must know to judge the figures.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    atomic.write_json(
        path,
        {
            "benchmark": name,
            "asked": asked,
            "figures": figures,
            "note": note,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": commit(),
            "hardware": hardware(),
            "versions": versions(),
        },
    )
    print(f"wrote {path}")
    return path


def hardware() -> dict[str, Any]:
    """Processor, cores that this process may use, and memory in GiB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    return {
        "processor": processor(),
        "cores": cores,
        "memory_gib": None if memory is None else round(memory, 1),
        "system": platform.system(),
        "machine": platform.machine(),
    }


def processor() -> str:
    """The processor's model name, which Linux keeps in /proc/cpuinfo and other systems tell `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Python's version, and those of what the figures rest on, as far as it is installed."""
    found = {"python": platform.python_version()}
    for distribution in VERSIONS_OF:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[distribution] = "not installed"
    return found


def commit() -> str:
    """The commit measured, with "+changes" when the tree differs from it."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "../src"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
