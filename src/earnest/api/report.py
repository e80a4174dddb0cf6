"""`earnest report RUN`: draw the page and the model card again."""

from __future__ import annotations

from pathlib import Path

from earnest.core.run import Run


def report(run: str | Path) -> Path:
    """Write report.html and card.md from what the run folder holds; gives the page's path.

    Raises:
        RunError: it is no run folder, or a file of it is damaged.
    """
    from earnest.report.card import write_card
    from earnest.report.page import write_report

    opened = Run.open(Path(run))
    write_card(opened)
    return write_report(opened)
