"""Builds fake run folders, as `fit` leaves them: what the page, the card and the terminal are drawn from."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image

from earnest.core.run import Run

HOSTILE = '<script>document.title="owned"</script>'

VERSIONS = {"python": "3.13.1", "torch": "2.13.0", "numpy": "2.4.6", "polars": "2.1.0"}


def score(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half * 0.8}


def class_scores(accuracy: float, half: float) -> dict[str, dict[str, float]]:
    return {
        "accuracy": score(accuracy, half),
        "balanced_accuracy": score(accuracy - 0.0031, half * 1.1),
        "f1_macro": score(accuracy - 0.0027, half * 1.1),
        "log_loss": score(3.1 * (1.003 - accuracy), half * 3),
        "roc_auc": score(1 - (1 - accuracy) / 9, half / 9),
    }


def picture(rng: Generator) -> str:
    """A blurred blot, as a data URI."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    blots = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) * 12) for a, b in rng.uniform(-0.6, 0.6, (7, 2)))
    file = io.BytesIO()
    Image.fromarray((255 * blots / blots.max()).astype(np.uint8)).save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def confusion(rng: Generator, num_classes: int, num_rows: int, accuracy: float) -> np.ndarray:
    truth = rng.integers(num_classes, size=num_rows)
    wrong = rng.random(num_rows) > accuracy
    shift = rng.integers(1, min(4, num_classes), size=num_rows) if num_classes > 2 else np.ones(num_rows, dtype=int)
    counts = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(counts, (truth, np.where(wrong, (truth + shift) % num_classes, truth)), 1)
    return counts


def per_class(labels: Sequence[str], counts: np.ndarray) -> list[dict[str, Any]]:
    right = counts.diagonal()
    precision = right / np.maximum(counts.sum(0), 1)
    recall = right / np.maximum(counts.sum(1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    columns = zip(labels, counts.sum(1), precision, recall, f1, strict=True)
    return [dict(zip(("label", "n", "precision", "recall", "f1"), row, strict=True)) for row in columns]


def bins(rng: Generator, bend: float) -> list[dict[str, Any]]:
    edges = np.linspace(0.3, 1, 9)
    return [
        {
            "low": low,
            "high": high,
            "confidence": (low + high) / 2,
            "accuracy": float(np.clip((low + high) / 2 + bend * rng.normal(-0.7, 0.6), 0, 1)),
            "n": int(3 + 300 * low**9),
        }
        for low, high in itertools.pairwise(edges)
    ]


def audit(columns: list[dict[str, str]], rows: int) -> dict[str, Any]:
    return {
        "rows": rows,
        "columns": columns,
        "left_out": [
            {"where": "3/IMG_0421.png", "reason": "the file is empty (0 bytes)"},
            {"where": "7/scan 88.png", "reason": "truncated: 1,204 of 3,377 bytes"},
        ],
        "left_out_count": 2,
        "notes": ["read as Latin-1; say --encoding if that is wrong"],
        "findings": [
            {
                "check": "label_conflicts",
                "severity": "high",
                "title": "4 identical pairs carry different labels",
                "detail": "The same content appears under two labels, so at least one of each pair is wrong.",
                "fix": "Look at the pairs below and correct or remove the wrong one.",
                "count": 8,
                "rows": list(range(8)),
                "names": [f"9/IMG_{i:04}.png" for i in range(8)],
            },
            {
                "check": "duplicates",
                "severity": "medium",
                "title": "14 rows are exact duplicates of others",
                "detail": "Duplicates never cross the split here; in the training part they count double.",
                "fix": "Remove them if they are copies and not repeated measurements.",
                "count": 14,
                "rows": list(range(20, 34)),
                "names": [f"1/IMG_{i:04}.png" for i in range(14)],
            },
            {
                "check": "imbalance",
                "severity": "info",
                "title": "Classes are nearly balanced: 174 to 183 rows each",
                "detail": "No class is rare enough to be overlooked.",
                "fix": "",
                "count": 0,
                "rows": [],
                "names": [],
            },
        ],
    }


def log_training(
    run: Run,
    rng: Generator,
    *,
    epochs: int,
    metric: str,
    training: str = "resnet-small",
    stages: Sequence[str] = ("fit",),
) -> None:
    run.log("started")
    step = 0
    for stage in stages:
        for epoch in range(epochs):
            for _ in range(4):
                step += 1
                run.log(
                    "step",
                    training=training,
                    stage=stage,
                    epoch=epoch,
                    step=step,
                    loss=2.2 * 0.9**step,
                    lr=1e-3,
                    grad_norm=1.0,
                )
            loss = 2.1 * 0.75 ** (step / 4) + 0.05
            values = {"train_loss": loss * 0.8, metric: 0.98 - 0.3 * loss / 2}
            if metric == "accuracy":
                values["log_loss"] = loss * (1 + 0.1 * rng.random())
            run.log("epoch", training=training, stage=stage, epoch=epoch, step=step, seconds=3.2, **values)
            run.log("checkpoint", step=step)


PLAN = {
    "device": "cpu",
    "precision": "float32",
    "threads": 2,
    "channels_last": True,
    "checkpoint_every_steps": 50,
    "epochs": 20,
    "steps": 720,
    "batch_size": 64,
    "parameters": 272_474,
    "model": "resnet-small",
    "seconds_per_step": 0.0812,
}


def start(path: Path, request: dict[str, Any]) -> Run:
    run = Run.create(path, {"verb": "fit", "seed": 0, "minutes": None, **request})
    run.update(
        earnest="0.1.0",
        versions=VERSIONS,
        plan={**PLAN, "trainings": {"resnet-small": PLAN}},
    )
    (run.path / "recipe.toml").write_text('lr = 0.002\noptimiser = "adamw"\nweight_decay = 0.05\n', encoding="utf-8")
    return run


def finish(run: Run, *, rows: int, seconds: float) -> Run:
    run.look_at_test("evaluation of what is shipped")
    run.log("finished")
    run.update(
        status="finished",
        seconds=seconds,
        data={
            "fingerprint": "9f2c7a51e0b44d1c8f3a6e2d95b7c0aa41d2e6f38b1c7e5d4a9f0b2c3d4e5f60",
            "rows": rows,
            "split": {
                "how": "64/16/20 at random, stratified by label; 14 duplicates kept on one side",
                "train": int(rows * 0.64),
                "validation": int(rows * 0.16),
                "test": int(rows * 0.2),
            },
        },
    )
    return run


def classification(path: Path, labels: Sequence[str], *, seed: int, num_test: int = 360) -> Run:
    """A finished run on images."""
    rng = default_rng(seed)
    counts = confusion(rng, len(labels), num_test, 0.975)
    accuracy = float(counts.trace() / counts.sum())
    run = start(path, {"data": "photos", "target": "label"})
    log_training(run, rng, epochs=20, metric="accuracy")
    run.write(
        "evaluation.json",
        {
            "task": "classification",
            "target": "label",
            "labels": list(labels),
            "metric": "accuracy",
            "validation": {
                "n": 288,
                "metrics": class_scores(0.981, 0.014),
                "baselines": {
                    "majority class": class_scores(0.104, 0.03),
                    "linear on pixels": class_scores(0.955, 0.021),
                },
            },
            "test": {
                "n": num_test,
                "metrics": class_scores(accuracy, 0.0152),
                "baselines": {
                    "majority class": class_scores(0.103, 0.031),
                    "linear on pixels": class_scores(0.953, 0.022),
                },
            },
            "verdict": f"It answers {accuracy:.1%} of unseen rows correctly, clearly more than the best baseline.",
            "comparison": {
                "against": "linear on pixels",
                "metric": "accuracy",
                "difference": {"value": 0.0222, "low": 0.0041, "high": 0.0403},
                "p_value": 0.0133,
                "n": num_test,
            },
            "candidates": [
                {
                    "name": name,
                    "metric": "accuracy",
                    "score": score(value, half),
                    "seconds": seconds,
                    "shipped": name == "resnet-small from scratch",
                    "note": note,
                }
                for name, value, half, seconds, note in (
                    ("linear on pixels", 0.955, 0.021, 0.8, ""),
                    ("frozen features + linear", 0.968, 0.018, 6.4, "EfficientNet-Lite0 at 224 pixels"),
                    ("resnet-small from scratch", 0.981, 0.014, 64.2, "best on validation"),
                )
            ],
            "calibration": {
                "temperature": 1.31,
                "ece_before": 0.0312,
                "ece_after": 0.0118,
                "bins": bins(rng, 0.05),
                "bins_before": bins(rng, 0.15),
            },
            "confusion": {"labels": list(labels), "counts": counts},
            "per_class": per_class(labels, counts),
            "residuals": None,
            "mistakes": [
                {
                    "row": row,
                    "name": f"{labels[row % len(labels)]}/IMG_{row:04}.png",
                    "truth": labels[row % len(labels)],
                    "prediction": labels[(row + 1) % len(labels)],
                    "confidence": 0.998 - row / 40,
                    "image": picture(rng),
                    "values": {},
                }
                for row in range(12)
            ],
            "left_out_count": 2,
            "test_looks": 1,
            "seconds": 96.4,
        },
    )
    columns = [
        {"name": "image", "kind": "image", "role": "input", "reason": "files that Pillow can read"},
        {"name": "label", "kind": "category", "role": "target", "reason": "the folder that each file lies in"},
    ]
    run.write("audit.json", audit(columns, rows=num_test * 5))
    return finish(run, rows=num_test * 5, seconds=96.4)


def regression(path: Path, *, seed: int) -> Run:
    """A finished run on a table, where a baseline is as good as the network."""
    rng = default_rng(seed)
    actual = np.exp(rng.normal(12, 0.5, 1500))
    predicted = actual * np.exp(rng.normal(0, 0.2, 1500))

    def scores(rmse: float) -> dict[str, Any]:
        return {
            "rmse": score(rmse, 1512.0),
            "mae": score(rmse * 0.66, 803.4),
            "r2": score(1 - (rmse / 115_000) ** 2, 0.0123),
        }

    run = start(path, {"data": "houses.csv", "target": "price"})
    run.log("started")
    log_training(run, rng, epochs=8, metric="rmse")
    run.log("skipped", step=17, why="loss is not a number")
    run.log("resumed")
    baselines = {"mean": scores(115_402.0), "linear": scores(68_211.5), "LightGBM": scores(46_812.7)}
    names = ("size", "rooms", "built", "district", "sold")
    run.write(
        "evaluation.json",
        {
            "task": "regression",
            "target": "price",
            "labels": [],
            "metric": "rmse",
            "validation": {"n": 3100, "metrics": scores(46_102.1), "baselines": baselines},
            "test": {"n": 4128, "metrics": scores(46_513.2), "baselines": baselines},
            "verdict": "It is off by about 46,500 on unseen rows, no better than LightGBM.",
            "comparison": {
                "against": "LightGBM",
                "metric": "rmse",
                "difference": {"value": -299.5, "low": -812.0, "high": 204.1},
                "p_value": 0.24,
                "n": 4128,
            },
            "candidates": [
                {
                    "name": name,
                    "metric": "rmse",
                    "score": score(value, 1490.0),
                    "seconds": seconds,
                    "shipped": name == "average of both",
                    "note": "",
                }
                for name, value, seconds in (
                    ("linear", 68_001.0, 0.4),
                    ("LightGBM", 46_702.0, 7.1),
                    ("tabular net", 47_130.0, 103.0),
                    ("average of both", 46_102.1, 0.0),
                )
            ],
            "calibration": None,
            "confusion": None,
            "per_class": None,
            "residuals": {"actual": actual, "predicted": predicted},
            "mistakes": [
                {
                    "row": row,
                    "name": f"line {row + 2}",
                    "truth": float(500_001 - row),
                    "prediction": float(rng.uniform(1e5, 2e5)),
                    "confidence": None,
                    "image": None,
                    "values": {name: f"{rng.uniform(1, 99):.2f}" for name in names},
                }
                for row in range(6)
            ],
            "left_out_count": 2,
            "test_looks": 1,
            "seconds": 128.9,
        },
    )
    columns = [{"name": n, "kind": "number", "role": "input", "reason": "412 distinct numbers"} for n in names]
    columns.append({"name": "id", "kind": "id", "role": "aside", "reason": "a different whole number in every row"})
    columns.append({"name": "price", "kind": "number", "role": "target", "reason": "named with --target"})
    run.write("audit.json", audit(columns, rows=20_640))
    return finish(run, rows=20_640, seconds=128.9)


def tagging(path: Path, *, seed: int) -> Run:
    """A finished run on tagged sentences, one of which holds a script."""
    rng = default_rng(seed)

    def scores(f1: float) -> dict[str, Any]:
        return {
            "f1": score(f1, 0.021),
            "precision": score(f1 + 0.012, 0.024),
            "recall": score(f1 - 0.011, 0.026),
            "accuracy": score(0.9 + f1 / 11, 0.004),
        }

    run = start(path, {"data": "names.conll"})
    run.log("started")
    log_training(run, rng, epochs=6, metric="f1")
    baselines = {"commonest tag of each word": scores(0.512), "linear on words and neighbours": scores(0.743)}
    tokens = ["Ada", "Stone", "met", HOSTILE, "in", "New", "York", "."]
    true_spans, predicted_spans = [["PER", 0, 2], ["PER", 3, 4], ["LOC", 5, 7]], [["PER", 0, 2], ["LOC", 6, 7]]
    run.write(
        "evaluation.json",
        {
            "task": "tagging",
            "target": "tags",
            "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
            "metric": "f1",
            "cross_fitted": False,
            "validation": {"n": 180, "metrics": scores(0.803), "baselines": baselines, "left_out": {}},
            "test": {"n": 412, "metrics": scores(0.797), "baselines": baselines, "left_out": {}},
            "verdict": "F1 of entities 79.7% on 412 unseen sentences.",
            "comparison": {
                "against": "linear on words and neighbours",
                "metric": "f1",
                "difference": {"value": 0.054, "low": 0.031, "high": 0.076},
                "p_value": 0.002,
                "n": 412,
            },
            "candidates": [
                {
                    "name": name,
                    "metric": "f1",
                    "score": score(value, 0.03),
                    "seconds": seconds,
                    "shipped": name == "bilstm-crf from scratch",
                    "note": "0.4 s for 1,000 sentences",
                }
                for name, value, seconds in (
                    ("commonest tag of each word", 0.52, 0.1),
                    ("linear on words and neighbours", 0.75, 9.0),
                    ("bilstm-crf from scratch", 0.803, 311.0),
                )
            ],
            "calibration": None,
            "confusion": None,
            "per_class": [
                {"label": "LOC", "n": 311, "precision": 0.812, "recall": 0.774, "f1": 0.7926},
                {"label": "PER", "n": 287, "precision": 0.84, "recall": 0.803, "f1": 0.8211},
            ],
            "residuals": None,
            "mistakes": [
                {
                    "row": 17,
                    "name": "line 301",
                    "truth": f"PER Ada Stone; PER {HOSTILE}; LOC New York",
                    "prediction": "PER Ada Stone; LOC York",
                    "confidence": 0.91,
                    "image": None,
                    "values": {},
                    "tokens": tokens,
                    "true_spans": true_spans,
                    "predicted_spans": predicted_spans,
                }
            ],
            "left_out_count": 0,
            "test_looks": 1,
            "seconds": 340.0,
        },
    )
    columns = [
        {"name": "tokens", "kind": "tokens", "role": "input", "reason": "2,060 sentences of 41,200 tokens"},
        {"name": "tags", "kind": "tags", "role": "target", "reason": "IOB2 tags of 2,990 spans"},
    ]
    run.write("audit.json", audit(columns, rows=2060))
    return finish(run, rows=2060, seconds=340.0)
