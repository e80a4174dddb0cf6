"""Adult census income: ROC AUC on its own test file, paired with scikit-learn's HistGradientBoosting on the same rows.

    python benchmarks/adult.py

The files have no header, which is added here. The peer gets the same training rows, at its defaults, with its own
handling of categories and missing values.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from earnest.evaluation.compare import paired
from earnest.evaluation.metrics import find_metric
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data")) / "adult"


def main() -> None:
    """Fit both, compare on the test rows, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    header = names()
    with tempfile.TemporaryDirectory() as scratch:
        train, test = (with_header(DATA / f"adult-{part}.csv.gz", Path(scratch), header) for part in ("train", "test"))
        run = Path(scratch) / "run"
        command = [sys.executable, "-m", "earnest.cli", "fit", str(train), "--target", "income", "--test", str(test)]
        command += ["--metric", "roc_auc", "--minutes", str(options.minutes), "--seed", str(options.seed)]
        started = time.monotonic()
        subprocess.run([*command, "--out", str(run)], check=True)
        seconds = time.monotonic() - started
        evaluation = json.loads((run / "evaluation.json").read_text())
        said = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
        peer, peer_seconds = histogram_boosting(train, test)
    ours = said.select(r"^p\(.*\)$").to_numpy()
    truth = (said["truth"].str.strip_chars(". ") == ">50K").to_numpy().astype(np.int64)
    metric = find_metric("roc_auc", "classification")
    theirs = np.stack([1 - peer, peer], axis=1)[said["row"].to_numpy() - said["row"].min()]
    found = paired(metric, truth, ours, theirs, seed=0)
    figures = {
        "n": len(truth),
        "earnest": {"roc_auc": metric(truth, ours), "seconds": round(seconds, 1), "verdict": evaluation["verdict"]},
        "candidates": evaluation["candidates"],
        "HistGradientBoosting": {"roc_auc": metric(truth, theirs), "seconds": round(peer_seconds, 1)},
        "difference": found.difference.as_json(),
        "p_value": found.p_value,
        "reached": found.difference.high >= 0,
    }
    record(
        "adult",
        figures,
        asked="paired difference in test AUC to scikit-learn's HistGradientBoosting: not worse",
        note="DeLong's test on the test file's rows; the peer at its defaults, categories as categories",
    )


def names() -> list[str]:
    """Column names from adult.names, which lists them in order; the label comes last."""
    text = (DATA / "adult.names").read_text(encoding="latin-1")
    return [*re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE), "income"]


def with_header(path: Path, folder: Path, header: list[str]) -> Path:
    """The same file, unzipped, with a first line of names."""
    out = folder / path.name.removesuffix(".gz")
    with gzip.open(path, "rt") as file:
        out.write_text(",".join(header) + "\n" + file.read())
    return out


def histogram_boosting(train: Path, test: Path) -> tuple[np.ndarray, float]:
    """Probabilities of >50K for the test rows, and seconds for fitting and predicting."""
    frames = [pl.read_csv(path, infer_schema=False).select(pl.all().str.strip_chars(" .")) for path in (train, test)]
    frames = [frame.with_columns(pl.all().replace("?", None)).drop_nulls("income") for frame in frames]
    inputs = [column for column in frames[0].columns if column != "income"]
    words = {
        name for name in inputs if frames[0][name].cast(pl.Float64, strict=False).null_count() > len(frames[0]) / 2
    }
    columns = []
    for frame in frames:
        coded = frame.select(
            pl.col(name).cast(pl.Enum(frames[0][name].drop_nulls().unique().sort())).to_physical()
            if name in words
            else pl.col(name)
            for name in inputs
        )
        columns.append(coded.cast(pl.Float64).to_numpy())
    categories = [name in words for name in inputs]
    started = time.monotonic()
    model = HistGradientBoostingClassifier(categorical_features=categories, random_state=0)
    model.fit(columns[0], (frames[0]["income"] == ">50K").to_numpy())
    return model.predict_proba(columns[1])[:, 1], time.monotonic() - started


if __name__ == "__main__":
    main()
