"""What can go wrong, and whose fault it is.

    EarnestError
    ├── UsageError            the user's input or question cannot be used: exit code 2
    │   ├── OptionError       a flag or an argument
    │   ├── DataError         a file, a folder, a column, a row
    │   └── RunError          a run folder, a checkpoint, a model folder
    ├── NeedsYes              unusual, and a person should decide: exit code 2, `--yes` goes on
    └── Interrupted           Ctrl-C or SIGTERM; everything is saved: exit code 130

Every message is one paragraph that names the culprit and the fix. Anything that is not an `EarnestError` is a fault of
ours: exit code 1, one line on stderr, the traceback in the run folder's `error.log`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EarnestError(Exception):
    """Base of every error that is raised on purpose."""


class UsageError(EarnestError, ValueError):
    """The user's input or question cannot be used as it is."""


class OptionError(UsageError):
    """A flag or an argument that makes no sense."""


class DataError(UsageError):
    """Data that cannot be used."""


class RunError(UsageError):
    """A run folder, checkpoint or model folder that cannot be used."""


class NeedsYes(UsageError):
    """Something unusual that a person should decide; `--yes` decides it."""


class Interrupted(EarnestError):
    """The user, or the system, asked to stop; what was done is saved."""


def nearest(wrong: str, known: Iterable[str]) -> str:
    """`"; did you mean 'income'?"` for the nearest known name, or nothing when none is near."""
    known = list(known)
    by_lower = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(wrong.lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[matches[0]]!r}?" if matches else ""
