"""What came of tagging: which candidate is shipped, how good it is, and the files that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from earnest.api.question import Bench, Rows
from earnest.api.tag_model import TASK, TagModel, token_frame
from earnest.api.tag_parts import Answer
from earnest.api.tag_question import METRIC, TagCandidate, TagQuestion
from earnest.core import atomic
from earnest.evaluation.entities import compare_tags, evaluate_tags, per_type, pick_mistakes
from earnest.evaluation.verdict import verdict


def settle(bench: Bench, question: TagQuestion, candidates: Sequence[TagCandidate]) -> None:
    """Choose by validation alone, look at the test sentences once, and write everything down."""
    chosen = max(candidates, key=lambda candidate: candidate.score)  # of equals the first, which is the simplest
    about = {"name": chosen.name, "data": question.dataset.fingerprint}
    TagModel(chosen.part, question.labels, about).save(bench.run.path / "model")
    parts = {"validation": (question.split.validation, {one.name: one.answers for one in candidates})}
    if len(question.split.test):
        bench.run.look_at_test("the final evaluation")
        words = question.words(question.split.test)
        parts["test"] = question.split.test, {one.name: one.part.answer(words) for one in candidates}
    bench.run.write("evaluation.json", _evaluation(bench, question, candidates, chosen, parts))
    _write_predictions(bench, question, chosen, parts)


Parts = dict[str, tuple[Rows, dict[str, list[Answer]]]]
"""Of each part its sentences, and every candidate's answers for them."""


def _evaluation(
    bench: Bench, question: TagQuestion, candidates: Sequence[TagCandidate], chosen: TagCandidate, parts: Parts
) -> dict[str, Any]:
    scores = {part: _scores(bench, question, chosen, *parts[part]) for part in parts}
    rows, answers = parts["test" if "test" in parts else "validation"]
    truth, own, others = question.tags(rows), _tags(answers[chosen.name]), _others(answers, chosen)
    on_validation = question.tags(question.split.validation)
    dataset = question.dataset
    evaluation: dict[str, Any] = {
        "task": TASK,
        "target": dataset.target,
        "labels": question.labels,
        "metric": METRIC,
        "cross_fitted": False,
        "validation": scores["validation"],
        "test": scores.get("test"),
        "comparison": compare_tags(truth, own, others, seed=bench.seed),
        "candidates": [_line(bench, on_validation, one, one is chosen) for one in candidates],
        "calibration": None,
        "confusion": None,
        "per_class": per_type(truth, own),
        "residuals": None,
        "mistakes": [],
        "left_out_count": len(dataset.left_out),
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
    }
    if bench.request.examples:
        evaluation["mistakes"] = pick_mistakes(
            question.words(rows),
            truth,
            own,
            [answer.confidence for answer in answers[chosen.name]],
            rows=dataset.rows[rows],
            names=[dataset.names[row] for row in rows],
        )
    evaluation["verdict"] = verdict(evaluation, shipped=chosen.name, noun="sentences")
    return evaluation


def _scores(
    bench: Bench, question: TagQuestion, chosen: TagCandidate, rows: Rows, answers: dict[str, list[Answer]]
) -> dict[str, Any]:
    own, others = _tags(answers[chosen.name]), _others(answers, chosen)
    return evaluate_tags(question.tags(rows), own, baselines=others, of_spans=True, seed=bench.seed)


def _line(bench: Bench, truth: list[list[str]], candidate: TagCandidate, shipped: bool) -> dict[str, Any]:
    found = evaluate_tags(truth, _tags(candidate.answers), baselines={}, of_spans=True, seed=bench.seed)
    return {
        "name": candidate.name,
        "metric": METRIC,
        "score": found["metrics"][METRIC],
        "seconds": candidate.seconds,
        "shipped": shipped,
        "note": candidate.note,
    }


def _tags(answers: Sequence[Answer]) -> list[list[str]]:
    return [answer.tags for answer in answers]


def _others(answers: dict[str, list[Answer]], chosen: TagCandidate) -> dict[str, list[list[str]]]:
    return {name: _tags(its) for name, its in answers.items() if name != chosen.name}


def _write_predictions(bench: Bench, question: TagQuestion, chosen: TagCandidate, parts: Parts) -> None:
    """predictions.parquet: every word of the validated and tested sentences: what was said, and what is true."""
    dataset = question.dataset
    frames = []
    for part, (rows, answers) in parts.items():
        names = [dataset.names[row] for row in rows]
        frame = token_frame(dataset.rows[rows].tolist(), names, question.words(rows), answers[chosen.name])
        truth = [tag for tags in question.tags(rows) for tag in tags]
        frames.append(frame.with_columns(part=pl.lit(part), truth=pl.Series(truth)))
    atomic.write_with(bench.run.path / "predictions.parquet", pl.concat(frames).write_parquet)
