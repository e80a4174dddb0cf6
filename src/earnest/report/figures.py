"""What the page draws: chooses the numbers of each figure from the evidence and has them plotted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from earnest.report import plots, wording
from earnest.report.evidence import Evidence, Json, by_training, ranked
from earnest.report.plots import Series

MAX_CONFUSION_CLASSES = 20
"""A larger confusion matrix cannot be read; its worst pairs are listed instead."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number below the verdict: what it is, and how sure."""

    title: str
    value: str
    note: str


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
    """A plot of the training, and what its lines are: pairs of a title and a class."""

    title: str
    keys: list[tuple[str, str]]
    picture: Markup


def key_figures(evidence: Evidence) -> list[KeyFigure]:
    """The handful of numbers that stand below the verdict."""
    figures = []
    if evidence.evaluation:
        figures += _score_figures(evidence, evidence.evaluation)
    if evidence.audit:
        counts = [(len(evidence.findings(severity)), severity) for severity in ("high", "medium", "low", "info")]
        words = ", ".join(f"{count} {severity}" for count, severity in counts if count)
        found = evidence.findings()
        figures.append(KeyFigure("found in the data", str(len(found)), words or "nothing to report"))
    seconds = (evidence.evaluation or {}).get("seconds") or evidence.facts.get("seconds")
    if seconds is not None:
        devices = {str(plan["device"]) for plan in evidence.plans.values() if "device" in plan}
        note = ", ".join(["in all", *(f"on {device}" for device in sorted(devices))])
        figures.append(KeyFigure("time taken", wording.duration(seconds), note))
    return figures


def _score_figures(evidence: Evidence, evaluation: Json) -> list[KeyFigure]:
    metric, scores = evaluation["metric"], evaluation[evidence.part]
    name = wording.metric(metric).title
    ours = scores["metrics"].get(metric, {"value": None})
    rows = f"{wording.bounds(metric, ours)} (95% interval), on {scores['n']:,} {evidence.part} {evidence.noun}s"
    figures = [KeyFigure(f"{name}, {evidence.part}", wording.interval(metric, ours), rows)]
    for best, values in ranked(scores["baselines"], metric)[:1]:
        theirs = values.get(metric, {"value": None})
        note = f"{best}: {wording.bounds(metric, theirs)}"
        figures.append(KeyFigure("best baseline", wording.interval(metric, theirs), note))
    return figures


def baseline_chart(evidence: Evidence) -> Chart | None:
    """What was shipped and the baselines, best first, on the part that speaks for the model."""
    if not evidence.evaluation:
        return None
    metric, scores = evidence.evaluation["metric"], evidence.evaluation[evidence.part]
    rows = [("this model", scores["metrics"].get(metric), True, evidence.shipped or "")]
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
    shipped = "shipped" if candidate["shipped"] else ""
    words = (shipped, wording.duration(candidate["seconds"]), candidate.get("note") or "")
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
    """The loss, and the metric that selects, epoch by epoch; before the first epoch ends, step by step.

    Several trainings, such as those of cross-fitting, are lines over each other.
    """
    if evidence.epochs:
        events, x_title, training_loss = evidence.epochs, "epoch", "train_loss"
    else:
        events, x_title, training_loss = evidence.steps, "logged step", "loss"
    trainings = by_training(events)
    loss = [(training_loss, "training", "other")]
    if evidence.epochs:
        loss += [("loss", "validation", "ours"), ("log_loss", "validation", "ours")]
    metric = evidence.selected_by
    curves = [_curve("Loss", trainings, loss, x_title, percent=False)]
    if metric is not None and metric != "log_loss":
        title, percent = wording.metric(metric).title, wording.metric(metric).percent
        selecting = [(metric, "validation", "ours")]
        curves.append(_curve(title[0].upper() + title[1:], trainings, selecting, x_title, percent=percent))
    return [curve for curve in curves if curve]


def _curve(
    title: str,
    trainings: dict[str, list[Json]],
    keys: Sequence[tuple[str, str, str]],
    x_title: str,
    *,
    percent: bool,
) -> Curve | None:
    series = []
    for key, words, name in keys:
        for events in trainings.values():
            points = [(i + 1.0, float(event[key])) for i, event in enumerate(events) if _is_number(event.get(key))]
            if points:
                series.append(Series(words, name, points))
    if not series:
        return None
    breaks = _stage_breaks(next(iter(trainings.values()))) if len(trainings) == 1 else []
    picture = plots.curves(series, x_title=x_title, percent=percent, breaks=breaks)
    return Curve(title, list(dict.fromkeys((one.title, one.name) for one in series)), picture)


def _stage_breaks(events: Sequence[Json]) -> list[tuple[float, str]]:
    """Where another stage of a training begins, between two epochs, and its name."""
    stages = [str(event.get("stage") or "") for event in events]
    return [(i + 0.5, stages[i]) for i in range(1, len(stages)) if stages[i] != stages[i - 1]]


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


def word_map(evaluation: Json) -> Markup | None:
    """Common words in the plane, where there are vectors of words."""
    words = evaluation.get("map")
    return plots.word_map([(str(one["word"]), one["x"], one["y"]) for one in words]) if words else None


def weakest_first(classes: Sequence[Json]) -> list[Json]:
    """The classes by F1, those without one last."""
    return sorted(classes, key=lambda row: (row["f1"] is None, row["f1"] or 0.0))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
