"""What the Boltzmann estimators share: checked rows and arguments, generators, and a fitted one's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from earnest.core import atomic
from earnest.core.errors import DataError, OptionError, RunError, nearest
from earnest.core.seeds import derive
from earnest.nn.boltzmann import BoltzmannMachine

FACTS, TENSORS = "model.json", "model.safetensors"
COMPARED = 1000
"""Rows of each side whose free energies are compared after an epoch."""


def as_rows(estimator: BaseEstimator, X: Any, *, reset: bool, gaussian: bool = False) -> NDArray[np.float32]:
    """`X` as float32 rows (N, V), all of it usable; `reset` when it is to be learned from.

    Raises:
        DataError: a value is missing, or not between 0 and 1 where it has to be; or there is too little to learn from.
    """
    X = validate_data(estimator, X, reset=reset, dtype=np.float32, ensure_all_finite=False, ensure_min_samples=0)
    rows: NDArray[np.float32] = X
    if len(rows) < (2 if reset else 1):
        raise DataError(f"X has {len(rows)} row{'s' * (len(rows) != 1)}, and {2 if reset else 1} are the least.")
    names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(rows.shape[1])])
    low, high = rows.min(0), rows.max(0)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        _refuse(rows, ~np.isfinite(rows), names, "fill it in, or leave the row out")
    if not gaussian and (low.min() < 0 or high.max() > 1):
        advice = "divide pixels by 255, or give visible='gaussian' to RBM"
        _refuse(rows, (rows < 0) | (rows > 1), names, f"which is not between 0 and 1; {advice}")
    if reset:
        _refuse_constant(rows, low == high, names, gaussian)
    return np.ascontiguousarray(rows)


def _refuse(rows: NDArray[np.float32], bad: NDArray[np.bool_], names: Any, words: str) -> NoReturn:
    """Raise, naming the first of the bad values."""
    row, column = np.argwhere(bad)[0]
    others = f" (and {bad.sum() - 1:,} more such values)" if bad.sum() > 1 else ""
    raise DataError(f"X has {rows[row, column]:g} in row {row}, column {names[column]!r}{others}: {words}.")


def _refuse_constant(rows: NDArray[np.float32], constant: NDArray[np.bool_], names: Any, gaussian: bool) -> None:
    """Pixels that are always black are learned as such; a real unit without variance has no density."""
    if constant.all():
        raise DataError(f"all {len(rows):,} rows of X are the same, so there is nothing to learn from them.")
    if gaussian and constant.any():
        column, others = int(constant.argmax()), int(constant.sum()) - 1
        more = f" (and {others:,} more columns do not vary)" if others else ""
        raise DataError(
            f"column {names[column]!r} of X is {rows[0, column]:g} in all rows{more}: a unit of real numbers needs "
            "some variance; leave such columns out."
        )


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """`value` where it is a whole number of at least `least`.

    Raises:
        OptionError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise OptionError(f"{name}={value!r}: give a whole number, {least} or more.")
    return int(value)


def number(name: str, value: Any, low: float, high: float = np.inf) -> None:
    """Check that `value` is a number from `low` to below `high`.

    Raises:
        OptionError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low <= value < high:
        below = "" if high == np.inf else f" and below {high:g}"
        raise OptionError(f"{name}={value!r}: give a number, {low:g} or more{below}.")


def one_of(name: str, value: Any, known: Sequence[str]) -> None:
    """Check that `value` is one of the `known` words.

    Raises:
        OptionError: it is not; the nearest is offered.
    """
    if value not in known:
        hint = nearest(str(value), known) or "."
        raise OptionError(f"{name}={value!r}: there is no such thing{hint} Known: {', '.join(known)}.")


def seed_of(random_state: Any) -> int:
    """A seed from whatever scikit-learn takes for a random state."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def generator(device: str, seed: int, *place: object) -> torch.Generator:
    """A generator for one place, such as an epoch: it need not be kept."""
    return torch.Generator(device).manual_seed(derive(seed, *place))


def shuffled(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of all rows in random order, the last one shorter."""
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    for start in range(0, len(rows), size):
        yield rows.index_select(0, order[start : start + size])


@torch.no_grad()
def compared(machine: BoltzmannMachine, rows: Tensor, others: Tensor | None) -> dict[str, float]:
    """Mean free energies of rows that are learned from and of others, for the history."""
    found = {"free_energy": float(machine.free_energy(rows[:COMPARED]).double().mean())}
    if others is not None:
        found["validation_free_energy"] = float(machine.free_energy(others[:COMPARED]).double().mean())
        found["gap"] = found["validation_free_energy"] - found["free_energy"]
    return found


def write_folder(folder: str | Path, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a fitted estimator.

    Raises:
        OptionError: there is something in the folder already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already and is not empty; choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    atomic.write_bytes(folder / TENSORS, safetensors.torch.save(plain))
    atomic.write_json(folder / FACTS, facts)


def read_folder(folder: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_folder` wrote of an estimator of that kind.

    Raises:
        RunError: it is not there, of another kind, or damaged.
    """
    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors = safetensors.torch.load_file(folder / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{folder} holds no {kind} that can be read ({error}); fit and save it again.") from error
    if not isinstance(facts, dict) or facts.get("kind") != kind:
        raise RunError(f"{folder} holds a model of another kind, no {kind}; give the folder that {kind}.save wrote.")
    return facts, tensors
