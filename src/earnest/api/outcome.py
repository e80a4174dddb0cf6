"""What came of it: which candidate is shipped, how good it is, and the files that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from earnest.api.checks import group_of
from earnest.api.model_folder import ModelFolder
from earnest.api.question import Bench, Candidate, Floats, Question, Rows
from earnest.evaluation import evaluate as scoring
from earnest.evaluation.calibration import calibration, fit_temperature, logits_of
from earnest.evaluation.mistakes import pick
from earnest.evaluation.verdict import verdict

TRIVIAL = ("majority class", "mean", "median")


def settle(bench: Bench, question: Question, candidates: Sequence[Candidate]) -> None:
    """Choose by the scored rows alone, calibrate, look at the test set once, and write everything down."""
    chosen = best(question, candidates)
    model = to_ship(question, chosen)
    model.save(bench.run.path / "model")
    test = question.split.test
    on_test: dict[str, Floats] = {}
    if len(test):
        bench.run.look_at_test("the final evaluation")
        on_test = {candidate.name: candidate.predict(test) for candidate in candidates}
    evaluation = _evaluation(bench, question, candidates, chosen, model, on_test)
    bench.run.write("evaluation.json", evaluation)
    _write_predictions(bench, question, chosen, model, on_test)


def to_ship(question: Question, chosen: Candidate) -> ModelFolder:
    """The candidate as it leaves the house: its probabilities calibrated on the scored rows."""
    temperature = 1.0
    if question.task == "classification":
        temperature = fit_temperature(logits_of(chosen.predictions), question.truth[question.scored])
    return ModelFolder(
        chosen.shipped,
        question.task,
        question.dataset.target or "",
        question.labels,
        temperature,
        {"name": chosen.name, "data": question.dataset.fingerprint},
    )


def best(question: Question, candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the best score; of equals the first, which is the simplest."""
    chosen = candidates[0]
    for candidate in candidates[1:]:
        if question.metric.better(question.score(candidate.predictions), question.score(chosen.predictions)):
            chosen = candidate
    return chosen


def _evaluation(
    bench: Bench,
    question: Question,
    candidates: Sequence[Candidate],
    chosen: Candidate,
    model: ModelFolder,
    on_test: dict[str, Floats],
) -> dict[str, Any]:
    scored, test = question.scored, question.split.test
    others = [candidate for candidate in candidates if candidate is not chosen]
    its = model.calibrated(chosen.predictions)
    evaluation: dict[str, Any] = {
        "task": question.task,
        "target": question.dataset.target,
        "labels": question.labels,
        "metric": question.metric.name,
        "cross_fitted": bool(question.folds),
        "validation": _scores(bench, question, scored, its, {c.name: c.predictions for c in others}),
        "test": None,
    }
    rows, answers, baselines = scored, its, {c.name: c.predictions for c in others}
    if len(test):
        rows, answers = test, model.calibrated(on_test[chosen.name])
        baselines = {c.name: on_test[c.name] for c in others}
        evaluation["test"] = _scores(bench, question, test, answers, baselines)
    truth, groups = question.truth[rows], None if question.groups is None else question.groups[rows]
    classification = question.task == "classification"
    evaluation |= {
        "comparison": scoring.comparison(
            truth, answers, baselines, metric=question.metric, seed=bench.seed, groups=groups
        ),
        "candidates": [_line(bench, question, candidate, candidate is chosen) for candidate in candidates],
        "calibration": None,
        "confusion": scoring.confusion(truth, answers, question.labels) if classification else None,
        "per_class": scoring.per_class(truth, answers, question.labels) if classification else None,
        "residuals": None if classification else scoring.residuals(truth, answers, seed=bench.seed),
        "mistakes": _mistakes(question, rows, answers) if bench.request.examples else [],
        "unlabelled": _unlabelled(question, candidates, chosen),
        "left_out_count": len(question.dataset.left_out),
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
    }
    if classification and len(test):
        evaluation["calibration"] = calibration(on_test[chosen.name], answers, truth, model.temperature)
    evaluation["verdict"] = verdict(evaluation, shipped=chosen.name, noun=_noun(question))
    return evaluation


def _scores(
    bench: Bench, question: Question, rows: Rows, answers: Floats, baselines: dict[str, Floats]
) -> dict[str, Any]:
    return scoring.evaluate(
        question.truth[rows],
        answers,
        task=question.task,
        labels=question.labels,
        baselines={**_trivial(question, rows), **baselines},
        metric=question.metric.name,
        seed=bench.seed,
        groups=None if question.groups is None else question.groups[rows],
    )


def _trivial(question: Question, rows: Rows) -> dict[str, Floats]:
    """What always answering the same would score."""
    from earnest.evaluation.baselines import majority_class, mean

    seen = question.truth[question.split.train]
    constant = mean(seen) if question.num_classes is None else majority_class(seen, question.num_classes)
    return {constant.name: constant.predict(rows)}


def _line(bench: Bench, question: Question, candidate: Candidate, shipped: bool) -> dict[str, Any]:
    groups = None if question.groups is None else question.groups[question.scored]
    truth = question.truth[question.scored]
    found = scoring.score(question.metric, truth, candidate.predictions, seed=bench.seed, groups=groups)
    return {
        "name": candidate.name,
        "metric": question.metric.name,
        "score": found.as_json(),
        "seconds": candidate.seconds,
        "shipped": shipped,
        "note": candidate.note,
    }


def _unlabelled(question: Question, candidates: Sequence[Candidate], chosen: Candidate) -> dict[str, Any] | None:
    """The best scores with and without the rows that have no answer, where models were chosen."""
    if question.unlabelled is None:
        return None
    scores: dict[str, dict[str, Any] | None] = {"with": None, "without": None}
    for part, learned in (("with", True), ("without", False)):
        some = [candidate for candidate in candidates if candidate.unlabelled == learned]
        if some:
            found = best(question, some)
            scores[part] = {"name": found.name, "score": question.score(found.predictions)}
    others = question.unlabelled
    return {"rows": len(others.dataset), "taken_out": others.taken_out, **scores, "shipped": chosen.unlabelled}


def _mistakes(question: Question, rows: Rows, answers: Floats) -> list[dict[str, Any]]:
    dataset = question.dataset
    images = next(iter(dataset.images.values()), None)
    shown = [column.name for column in dataset.columns if column.name != dataset.target and column.kind != "image"]
    return pick(
        question.truth[rows],
        answers,
        rows=dataset.rows[rows],
        names=[dataset.names[row] for row in rows],
        labels=question.labels,
        image=None if images is None else lambda i: images.load(int(rows[i])),
        values=None if not shown else lambda i: dataset.frame.select(shown).row(int(rows[i]), named=True),
    )


def _noun(question: Question) -> str:
    return "images" if group_of(question.dataset) == "image" else "rows"


def _write_predictions(
    bench: Bench,
    question: Question,
    chosen: Candidate,
    model: ModelFolder,
    on_test: dict[str, Floats],
) -> None:
    """predictions.parquet: every scored and tested row: what was said, what is true, and its group, if any."""
    group = bench.request.group
    frames = []
    parts = [("validation", question.scored, model.calibrated(chosen.predictions))]
    if len(question.split.test):
        parts.append(("test", question.split.test, model.calibrated(on_test[chosen.name])))
    for part, rows, answers in parts:
        frame = predictions_frame(question.dataset.rows[rows], answers, question.labels)
        truth = question.truth[rows]
        words = [question.labels[code] for code in truth] if question.labels else truth
        frames.append(
            frame.with_columns(
                part=pl.lit(part),
                name=pl.Series([question.dataset.names[row] for row in rows]),
                truth=pl.Series(words),
                **({} if group is None else {"group": question.dataset.frame[group][rows]}),
            )
        )
    from earnest.core import atomic

    atomic.write_with(bench.run.path / "predictions.parquet", pl.concat(frames).write_parquet)


def predictions_frame(rows: Rows, answers: Floats, labels: Sequence[str]) -> pl.DataFrame:
    """Predictions in the user's words: row, prediction, confidence, and p(CLASS) for each class; six decimals."""
    if not labels:
        return pl.DataFrame({"row": rows, "prediction": answers})
    rounded = np.round(answers, 6)
    frame = {"row": rows, "prediction": [labels[code] for code in rounded.argmax(1)], "confidence": rounded.max(1)}
    return pl.DataFrame({**frame, **{f"p({label})": rounded[:, code] for code, label in enumerate(labels)}})
