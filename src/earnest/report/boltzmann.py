"""The page's section on what a Boltzmann machine learned without labels: filters, samples, likelihood, overfitting."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from earnest.report import plots
from earnest.report.evidence import Evidence, Json, thumbnail
from earnest.report.plots import Series


@dataclass(frozen=True, slots=True)
class Section:
    """What is shown; None where the run has none of it."""

    filters: str | None
    """A picture as a data URI."""
    samples: str | None
    likelihood: Json | None
    """Mean nats a row, between what bounds, and on how many rows."""
    gap: Markup | None
    last_gap: float | None


def section(evidence: Evidence) -> Section | None:
    """The section of a run in which a Boltzmann machine learned; None of any other."""
    if evidence.boltzmann is None:
        return None
    events = [event for event in evidence.epochs if isinstance(event.get("free_energy_gap"), (int, float))]
    points = [(i + 1.0, float(event["free_energy_gap"])) for i, event in enumerate(events)]
    stages = [str(event.get("stage")) for event in events]
    breaks = [(i + 0.5, stages[i]) for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
    gap = None
    if points:
        gap = plots.curves([Series("gap", "ours", points)], x_title="epoch", percent=False, breaks=breaks)
    return Section(
        filters=thumbnail({"image": evidence.boltzmann.get("filters")}),
        samples=thumbnail({"image": evidence.boltzmann.get("samples")}),
        likelihood=evidence.boltzmann.get("log_likelihood"),
        gap=gap,
        last_gap=points[-1][1] if points else None,
    )
