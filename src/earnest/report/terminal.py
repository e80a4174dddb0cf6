"""The end of a run in the terminal: a short, honest table that fits 80 columns and reads well in a pipe."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earnest.report import wording
from earnest.report.evidence import Json, ranked

NUM_FINDINGS = 3
"""Findings that are named; the rest are counted."""

SAMPLE_LINES = 8
"""Of made-up text."""

SEVERITY_STYLES = {"high": "bold red", "medium": "yellow", "low": "dim", "info": "dim"}


def summary(evaluation: Json, audit: Json | None, run_path: Path) -> RenderableType:
    """The verdict, the scores with baselines beside them, what was found in the data, and where the report is."""
    parts: list[RenderableType] = [Text(wording.shorten(evaluation["verdict"], 600), style="bold"), _scores(evaluation)]
    if evaluation.get("comparison"):
        parts.append(_comparison(evaluation["comparison"]))
    if evaluation.get("samples"):
        parts.append(_sample(evaluation["samples"][0]))
    if audit is not None:
        parts.append(_findings(audit))
    parts.append(Text.assemble("Report: ", (str(run_path / "report.html"), "underline"), overflow="fold"))
    return Group(*(item for part in parts for item in (part, Text(""))))


def _scores(evaluation: Json) -> Table:
    """The metric that selects, for the model and each baseline, best baseline first."""
    part = "test" if evaluation.get("test") else "validation"
    scores, metric = evaluation[part], evaluation["metric"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    noun = evaluation.get("unit") or ("sentences" if evaluation.get("task") == "tagging" else "rows")
    table.add_column(f"on {scores['n']:,} {part} {noun}", overflow="fold", max_width=36)
    table.add_column(wording.metric(metric).title, justify="right", no_wrap=True)
    table.add_column("95% interval", justify="right", no_wrap=True)
    rows = [("this model", scores["metrics"]), *ranked(scores["baselines"], metric)]
    for index, (name, values) in enumerate(rows):
        value = values.get(metric) or {"value": None}
        cells = (wording.shorten(name), wording.interval(metric, value), wording.bounds(metric, value))
        table.add_row(*(Text(cell) for cell in cells), style="bold" if index == 0 else None)
    if part == "validation":
        table.caption = "no test part was set aside: these scores flatter the model"
        table.caption_justify = "left"
    return table


def _comparison(comparison: Json) -> Text:
    difference = wording.difference(comparison["metric"], comparison["difference"])
    chance = comparison["p_value"] is not None and comparison["p_value"] >= 0.05
    return Text(
        f"Paired difference to {wording.shorten(comparison['against'])}: {difference}, "
        f"{wording.probability(comparison['p_value'])}{', within what chance can do' if chance else ''}"
    )


def _sample(text: str) -> Text:
    """The beginning of what a language model made up."""
    lines = [wording.shorten(line, 76) for line in text.strip().splitlines()[:SAMPLE_LINES]]
    return Text("\n".join(["It goes on like this:", *(f"  {line}" for line in lines)]))


def _findings(audit: Json) -> Text:
    findings = audit.get("findings") or []
    left_out = audit.get("left_out_count") or 0
    text = Text(f"Found in the data: {wording.plural(len(findings), 'finding')}, ")
    text.append(f"{wording.plural(left_out, 'row or file', 'rows or files')} left out")
    for finding in findings[:NUM_FINDINGS]:
        text.append("\n  ")
        text.append(f"{finding['severity']:6}", style=SEVERITY_STYLES.get(finding["severity"], ""))
        text.append(f"  {wording.shorten(finding['title'], 200)}")
    if len(findings) > NUM_FINDINGS:
        text.append(f"\n  and {len(findings) - NUM_FINDINGS} more in the report")
    return text
