"""What the user asked for, checked before anything else happens. Needs nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from earnest.core.errors import OptionError, RunError, nearest

KINDS = ("number", "category", "date", "text", "image", "id", "constant")
TASKS = ("language-model", "masked-language-model", "word-vectors", "generate")
"""What a running text can be learned for, and pictures to make more of; what else there is to learn, the data says."""
TAKE_A_TEST = ("word-vectors", "generate")
"""Tasks with --test: pairs of words or analogies, and pictures."""
NOT_FOR_TEXT = ("target", "test", "unlabeled", "metric", "types", "split", "group", "time")
"""Options that ask something of columns."""


@dataclass(frozen=True, slots=True)
class Request:
    """The question and the options of `fit`; what run.json keeps and `resume` goes by."""

    data: str
    """Absolute path of the data, or the name of a data set that comes along ("digits")."""
    target: str | None = None
    task: str | None = None
    test: str | None = None
    unlabeled: str | None = None
    """Rows without an answer, to learn from too."""
    seed: int = 0
    minutes: float | None = None
    epochs: int | None = None
    model: str | None = None
    from_scratch: bool = False
    start_from: str | None = None
    """The run folder of an encoder that was pretrained here."""
    metric: str | None = None
    judge: str | None = None
    """What made pictures are judged by: "pixels", the run folder of a network for pictures, or pretrained weights."""
    types: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    time: str | None = None
    recipe: str | None = None
    device: str | None = None
    offline: bool = False
    yes: bool = False
    examples: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked without looking at the data.

        Raises:
            OptionError: an option makes no sense; it is named.
        """
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise OptionError(f"--minutes is {self.minutes:g}; give a number above 0, such as --minutes 10.")
        if self.epochs is not None and self.epochs < 1:
            raise OptionError(f"--epochs is {self.epochs}; give a whole number from 1 up.")
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"--seed is {self.seed}; give a whole number from 0 to 2^63 - 1.")
        if self.task is not None and self.task not in TASKS:
            hint = nearest(self.task, TASKS) or "."
            raise OptionError(f"--task {self.task}: there is no such task{hint} Known: {', '.join(TASKS)}.")
        if self.start_from is not None and (self.from_scratch or self.task is not None):
            raise OptionError("--start-from names weights for a table of texts; leave out --from-scratch and --task.")
        if self.judge is not None and self.task != "generate":
            raise OptionError("--judge names what made pictures are judged by; it goes with --task generate.")
        for name in NOT_FOR_TEXT:
            if name == "test" and self.task in TAKE_A_TEST:
                continue
            if self.task is not None and getattr(self, name):
                option, data = name.removesuffix("s"), "pictures" if self.task == "generate" else "running text"
                raise OptionError(f"--task {self.task} is for {data}, without columns: leave --{option} out.")
        for column, kind in self.types.items():
            if kind not in KINDS:
                known = ", ".join(KINDS)
                raise OptionError(
                    f"--type {column}={kind}: there is no kind {kind!r}{nearest(kind, KINDS) or '.'} Kinds: {known}."
                )
        if self.split == "group" and self.group is None:
            raise OptionError("--split group needs --group COLUMN, the column whose rows stay together.")
        if self.split == "time" and self.time is None:
            raise OptionError("--split time needs --time COLUMN, the column by which rows are ordered.")

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Request:
        """The request that run.json keeps.

        Raises:
            RunError: it has fields that this version does not know, or lacks one.
        """
        try:
            return cls(**{name: value for name, value in facts.items() if name != "verb"})
        except TypeError as error:
            raise RunError(
                f"run.json is damaged, or of another version of earnest: its request cannot be read ({error}); start "
                "again with `earnest fit`."
            ) from error

    def facts(self) -> dict[str, Any]:
        """For run.json."""
        return {"verb": "fit", **asdict(self)}


def located(data: str | Path) -> str:
    """`data` as run.json keeps it: absolute, unless it is no path but a name such as "digits"."""
    path = Path(data)
    return str(data) if not path.exists() and str(data) == path.name and not path.suffix else str(path.absolute())


def default_folder(data: str) -> Path:
    """Where a run goes when nobody says: runs/NAME, or runs/NAME-2 and so on when that is taken."""
    name = Path(data).name
    for ending in (
        ".gz",
        ".xz",
        ".bz2",
        ".zip",
        ".tar",
        ".csv",
        ".tsv",
        ".txt",
        ".parquet",
        ".jsonl",
        ".npz",
        ".npy",
        ".tgz",
        ".conll",
    ):
        name = name.removesuffix(ending)
    name = name or "data"
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path
