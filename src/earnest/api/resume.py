"""`earnest resume RUN`: go on where a run stopped."""

from __future__ import annotations

from pathlib import Path

from earnest.core.run import Run


def resume(run: str | Path, *, quiet: bool = False) -> Run:
    """Go on with a run from its last checkpoint; a finished one is left as it is.

    Raises:
        RunError: it is no run folder, a newer version wrote it, or another process is at work on it.
        Interrupted: Ctrl-C or SIGTERM; it can be resumed again.
    """
    opened = Run.open(Path(run))
    if opened.finished():
        return opened
    Run.current = opened
    with opened.alone():
        spent = opened.spent()
        opened.log("resumed", spent=spent)

    from earnest.api.course import carry_out

    return carry_out(opened, spent=spent, quiet=quiet)
