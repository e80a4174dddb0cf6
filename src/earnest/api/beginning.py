"""How every run begins: with what cannot be used, the data on record, and a look at it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import get_num_threads

from earnest import __version__
from earnest.api.question import Bench
from earnest.core import atomic
from earnest.core.errors import DataError, NeedsYes
from earnest.core.run import Run
from earnest.data.dataset import Dataset
from earnest.training import processes
from earnest.training.state import Plan

MOST_LEFT_OUT = 0.05
"""Above this share of rows left out, a person should look first."""


def tell_left_out(bench: Bench, dataset: Dataset) -> None:
    """Name what cannot be used, and ask before going on without a good part of the data."""
    num, total = len(dataset.left_out), len(dataset) + len(dataset.left_out)
    if not num:
        return
    shown = "; ".join(f"{item.where}: {item.reason}" for item in dataset.left_out[:3])
    shown += f"; and {num - 3:,} more" if num > 3 else ""
    share = num / total
    if share > MOST_LEFT_OUT and not bench.request.yes:
        raise NeedsYes(
            f"{num:,} of {total:,} rows or files ({share:.0%}) of {dataset.source} cannot be used: {shown}. "
            "Mend them, or go on without them with --yes."
        )
    bench.screen.say(f"left out: {num:,} of {total:,} rows or files: {shown}")


def begin(bench: Bench, source: str, data: dict[str, Any], noun: str, look: Callable[[], dict[str, Any]]) -> None:
    """Put the data on record, look at it, and tell what was found: from here on the run is one that can be resumed."""
    run, screen = bench.run, bench.screen
    _check_same_data(run, source, data["fingerprint"])
    run.accept()
    plan = run.facts().get("plan") or {"steps": 0, **asdict(Plan(bench.device, threads=get_num_threads()))}
    run.update(earnest=__version__, data=data, versions=_versions(), plan=plan)
    screen.say(f"{data['rows']:,} {noun}: {data['split']['how']}")
    findings = processes.of_first(found(run, look))
    run.write("audit.json", findings)
    run.log("audit", findings=len(findings["findings"]))
    for finding in findings["findings"][:3]:
        screen.say(f"found: {finding['title']}")


def found(run: Run, look: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What the audit finds, as plain JSON; None in a process that follows another, which is told."""
    if not run.writes:
        return None
    found: dict[str, Any] = run.read("audit.json") or atomic.plain(look())
    return found


def _check_same_data(run: Run, source: str, fingerprint: str) -> None:
    """A resumed run must find the data that it began with."""
    path = run.path / "checkpoints" / "data.json"
    if path.exists():
        before = run.read("checkpoints/data.json")["fingerprint"]
        if before != fingerprint:
            raise DataError(
                f"{source} has changed since this run began, so the run cannot go on honestly; put the data back, or "
                "start again with `earnest fit`."
            )
    run.write("checkpoints/data.json", {"fingerprint": fingerprint})


def _versions() -> dict[str, str]:
    import lightgbm
    import polars
    import sklearn
    import torch

    return {
        "earnest": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "polars": polars.__version__,
        "scikit-learn": sklearn.__version__,
        "lightgbm": lightgbm.__version__,
        "platform": platform.platform(),
    }
