"""The model card: what a person who is handed the model should know, as Markdown, filled from evidence only."""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from earnest.core import atomic
from earnest.core.run import Run
from earnest.report import wording
from earnest.report.evidence import Evidence


def write_card(run: Run) -> Path:
    """Write card.md of a run, finished or not, atomically; returns its path.

    Raises:
        RunError: one of the run's JSON files is damaged.
        OSError: the card cannot be written.
    """
    path = run.path / "card.md"
    atomic.write_bytes(path, render(Evidence.of(run)).encode("utf-8", "replace"))
    return path


def render(evidence: Evidence) -> str:
    """The card as Markdown; text from the user or the data shows as it is, whatever marks it holds."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, finalize=_literal)
    environment.globals["wording"] = wording
    environment.filters |= {
        "shell": lambda value: Markup(shlex.quote(value)),
        "python": lambda value: Markup(json.dumps(value, ensure_ascii=False)),
        "shorten": wording.shorten,
    }
    template = resources.files("earnest.report").joinpath("card.md").read_text(encoding="utf-8")
    card = environment.from_string(template).render(
        e=evidence, facts=evidence.facts, evaluation=evidence.evaluation, audit=evidence.audit
    )
    return re.sub(r"\n{3,}", "\n\n", card).strip() + "\n"


def _literal(value: Any) -> Any:
    """Text with Markdown's marks escaped; what is marked as safe is left alone."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(value.split()))
