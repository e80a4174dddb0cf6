"""The report: one self-contained page, drawn from what the run folder holds.

It asks nothing of the network, needs no script, and stays below `MAX_BYTES` whatever the data.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from earnest.core import atomic
from earnest.core.run import Run
from earnest.report import plots, wording
from earnest.report.evidence import Evidence, Json, ranked, thumbnail
from earnest.report.plots import Series

MAX_BYTES = 5_000_000
"""The page is smaller than this."""

MAX_PICTURE_BYTES = 3_000_000
"""Pictures of mistakes stop here, so that the rest of the page has room."""

MAX_CONFUSION_CLASSES = 20
"""A larger confusion matrix cannot be read; its worst pairs are listed instead."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A score beside others on one axis."""

    title: str
    interval: Json
    ours: bool
    note: str
    picture: Markup


@dataclass(frozen=True, slots=True)
class Chart:
    """Scores beside each other, and their axis."""

    metric: str
    bars: list[Bar]
    axis: Markup


@dataclass(frozen=True, slots=True)
class Curve:
    """A plot of the training, and what to call its lines."""

    title: str
    series: list[Series]
    picture: Markup


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure: a number, what it is, and how sure."""

    title: str
    value: str
    note: str


def write_report(run: Run) -> Path:
    """Draw report.html of a run, finished or not, atomically; returns its path.

    Raises:
        RunError: one of the run's JSON files is damaged.
        OSError: the page cannot be written.
    """
    path = run.path / "report.html"
    atomic.write_bytes(path, render(Evidence.of(run)).encode("utf-8", "replace"))
    return path


def render(evidence: Evidence) -> str:
    """The page as HTML; everything that comes from the user or the data is escaped."""
    evaluation = evidence.evaluation or {}
    return (
        _environment()
        .get_template("page.html")
        .render(
            e=evidence,
            facts=evidence.facts,
            evaluation=evaluation,
            audit=evidence.audit or {},
            style=Markup(resources.files("earnest.report").joinpath("page.css").read_text(encoding="utf-8")),
            figures=key_figures(evidence),
            chart=baseline_chart(evidence),
            ladder=candidate_chart(evaluation),
            curves=learning_curves(evidence),
            confusion=confusion_matrix(evaluation),
            pairs=evidence.confused_pairs(20),
            reliability=reliability_diagram(evaluation),
            residuals=residual_plot(evaluation),
            mistakes=with_pictures(evaluation.get("mistakes") or []),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earnest", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["wording"] = wording
    environment.filters |= {
        "shell": shlex.quote,
        "python": partial(json.dumps, ensure_ascii=False),
        "shorten": wording.shorten,
        "ranked": ranked,
    }
    return environment


def key_figures(evidence: Evidence) -> list[Figure]:
    """The handful of numbers that stand below the verdict."""
    figures = []
    if evidence.evaluation:
        figures += _score_figures(evidence, evidence.evaluation)
    if evidence.audit:
        counts = [(len(evidence.findings(severity)), severity) for severity in ("high", "medium", "low", "info")]
        words = ", ".join(f"{count} {severity}" for count, severity in counts if count)
        found = evidence.findings()
        figures.append(Figure("found in the data", str(len(found)), words or "nothing to report"))
    seconds = (evidence.evaluation or {}).get("seconds") or evidence.facts.get("seconds")
    if seconds is not None:
        device = (evidence.facts.get("plan") or {}).get("device")
        figures.append(Figure("time taken", wording.duration(seconds), f"in all, on {device}" if device else "in all"))
    return figures


def _score_figures(evidence: Evidence, evaluation: Json) -> list[Figure]:
    metric, scores = evaluation["metric"], evaluation[evidence.part]
    name = wording.metric(metric).title
    ours = scores["metrics"][metric]
    rows = f"{wording.bounds(metric, ours)} (95% interval), on {scores['n']:,} {evidence.part} rows"
    figures = [Figure(f"{name}, {evidence.part}", wording.interval(metric, ours), rows)]
    for best, values in ranked(scores["baselines"], metric)[:1]:
        theirs = values.get(metric, {"value": None})
        note = f"{best}: {wording.bounds(metric, theirs)}"
        figures.append(Figure("best baseline", wording.interval(metric, theirs), note))
    return figures


def baseline_chart(evidence: Evidence) -> Chart | None:
    """What was shipped and the baselines, best first, on the part that speaks for the model."""
    if not evidence.evaluation:
        return None
    metric, scores = evidence.evaluation["metric"], evidence.evaluation[evidence.part]
    rows = [("this model", scores["metrics"].get(metric), True, "")]
    rows += [(name, values.get(metric), False, "") for name, values in ranked(scores["baselines"], metric)]
    return _chart(metric, rows)


def candidate_chart(evaluation: Json) -> Chart | None:
    """What was tried on the way, in order, on validation."""
    candidates = evaluation.get("candidates") or []
    if not candidates:
        return None
    rows = [(c["name"], c["score"], c["shipped"], _candidate_note(c)) for c in candidates]
    return _chart(candidates[0]["metric"], rows)


def _candidate_note(candidate: Json) -> str:
    words = (
        "shipped" if candidate["shipped"] else "",
        wording.duration(candidate["seconds"]),
        candidate.get("note") or "",
    )
    return "; ".join(word for word in words if word)


def _chart(metric: str, rows: Sequence[tuple[str, Json | None, bool, str]]) -> Chart | None:
    percent = wording.metric(metric).percent
    defined = [(title, interval, ours, note) for title, interval, ours, note in rows if interval]
    scale = plots.score_scale((interval for _, interval, _, _ in defined), percent=percent)
    if scale is None:
        return None
    bars = [
        Bar(title, interval, ours, note, plots.whisker(interval, scale, ours=ours))
        for title, interval, ours, note in defined
    ]
    return Chart(metric, bars, plots.score_axis(scale, percent=percent))


def learning_curves(evidence: Evidence) -> list[Curve]:
    """The loss, and the metric that selects, epoch by epoch; before the first epoch ends, step by step."""
    events, x_title = evidence.epochs, "epoch"
    if not events:
        events, x_title = evidence.steps, "logged step"
    if not events:
        return []
    stages = [str(event.get("stage") or "") for event in events]
    breaks = [(i + 0.5, stages[i]) for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    keys = [("train_loss", "training", "other"), ("loss", "validation", "ours")]
    if x_title != "epoch":
        keys = [("loss", "training", "other")]
    curves = [_curve("Loss", events, keys, x_title, breaks, percent=False)]
    metric = (evidence.evaluation or {}).get("metric", "accuracy")
    title = wording.metric(metric).title
    shown = title[0].upper() + title[1:]
    percent = wording.metric(metric).percent
    curves.append(_curve(shown, events, [(metric, "validation", "ours")], x_title, breaks, percent=percent))
    return [curve for curve in curves if curve]


def _curve(
    title: str,
    events: Sequence[Json],
    keys: Sequence[tuple[str, str, str]],
    x_title: str,
    breaks: Sequence[tuple[float, str]],
    *,
    percent: bool,
) -> Curve | None:
    series = []
    for key, words, name in keys:
        points = [(i + 1.0, float(event[key])) for i, event in enumerate(events) if _is_number(event.get(key))]
        if points:
            series.append(Series(words, name, points))
    if not series:
        return None
    return Curve(title, series, plots.curves(series, x_title=x_title, percent=percent, breaks=breaks))


def confusion_matrix(evaluation: Json) -> Markup | None:
    """The heat map, where there are few enough classes to read it."""
    confusion = evaluation.get("confusion")
    if not confusion or len(confusion["labels"]) > MAX_CONFUSION_CLASSES:
        return None
    return plots.confusion(confusion["labels"], confusion["counts"])


def reliability_diagram(evaluation: Json) -> Markup | None:
    """The calibration's bins, after temperature scaling and, where they were kept, before."""
    calibration = evaluation.get("calibration")
    if not calibration or not calibration.get("bins"):
        return None
    return plots.reliability(calibration["bins"], before=calibration.get("bins_before") or [])


def residual_plot(evaluation: Json) -> Markup | None:
    """Predicted against actual, for regression."""
    residuals = evaluation.get("residuals")
    return plots.scatter(residuals["actual"], residuals["predicted"]) if residuals else None


def with_pictures(mistakes: Sequence[Json]) -> list[Json]:
    """The mistakes, each with its picture as long as `MAX_PICTURE_BYTES` allow."""
    spent, shown = 0, []
    for mistake in mistakes:
        picture = thumbnail(mistake)
        spent += len(picture or "")
        shown.append({**mistake, "image": picture if spent <= MAX_PICTURE_BYTES else None})
    return shown


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
