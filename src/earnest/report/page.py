"""The report: one self-contained page, drawn from what the run folder holds.

It asks nothing of the network, needs no script, and stays below `MAX_BYTES` whatever the data.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import cache, partial
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from earnest.core import atomic
from earnest.core.run import Run
from earnest.report import boltzmann, figures, wording
from earnest.report.evidence import Evidence, Json, ranked, segments, thumbnail

MAX_BYTES = 5_000_000
"""The page is smaller than this."""

MAX_PICTURE_BYTES = 3_000_000
"""Pictures of mistakes stop here, so that the rest of the page has room."""


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
    template = _environment().get_template("page.html")
    return template.render(
        e=evidence,
        facts=evidence.facts,
        evaluation=evaluation,
        audit=evidence.audit or {},
        style=Markup(resources.files("earnest.report").joinpath("page.css").read_text(encoding="utf-8")),
        figures=figures.key_figures(evidence),
        chart=figures.baseline_chart(evidence),
        ladder=figures.candidate_chart(evaluation),
        curves=figures.learning_curves(evidence),
        confusion=figures.confusion_matrix(evaluation),
        pairs=evidence.confused_pairs(20),
        classes=figures.weakest_first(evaluation.get("per_class") or []),
        reliability=figures.reliability_diagram(evaluation),
        residuals=figures.residual_plot(evaluation),
        boltzmann=boltzmann.section(evidence),
        mistakes=with_pictures(evaluation.get("mistakes") or []),
        map=figures.word_map(evaluation),
    )


def with_pictures(mistakes: Sequence[Json]) -> list[Json]:
    """The mistakes, each with its picture as long as `MAX_PICTURE_BYTES` allow."""
    spent, shown = 0, []
    for mistake in mistakes:
        picture = thumbnail(mistake)
        spent += len(picture or "")
        shown.append({**mistake, "image": picture if spent <= MAX_PICTURE_BYTES else None})
    return shown


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earnest", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"wording": wording, "segments": segments, "thumbnail": thumbnail}
    environment.filters |= {
        "shell": shlex.quote,
        "python": partial(json.dumps, ensure_ascii=False),
        "shorten": wording.shorten,
        "ranked": ranked,
    }
    return environment
