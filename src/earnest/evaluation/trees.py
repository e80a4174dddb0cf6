"""Gradient-boosted trees, the candidate that a network on a table has to beat.

LightGBM (Ke et al. 2017, "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 30) with settings that
did best on validation over ten public tables; the number of trees is what validation prefers. A fitted model is
LightGBM's own text, so that what is scored is what is stored.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from earnest.core.errors import RunError
from earnest.evaluation.intervals import Floats

Table = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]
"""Numbers (N, F) with NaN where missing, category codes (N, K), and the truth (N,)."""
Progress = Callable[[int, int], None]
"""Told how many trees there are, of at most how many."""

MOST_ROUNDS = 5000
PATIENCE = 100
"""Rounds without a better validation score after which boosting stops."""
LEAST_ROWS_IN_LEAF = 20
SETTINGS = {
    "learning_rate": 0.03,
    "num_leaves": 31,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
ROWS_A_THREAD = 50_000
"""On small tables threads wait for each other more than they work."""
_SEAL = "sha256:"


class TreeModel:
    """Fitted trees."""

    name = "LightGBM"

    def __init__(self, description: str, *, seconds: float = 0.0) -> None:
        """`description` is LightGBM's own text, which is trusted to be whole; `seconds` is what fitting took."""
        self.seconds = seconds
        self._description = description
        self._booster = lightgbm.Booster(model_str=description)

    @property
    def num_rounds(self) -> int:
        """Boosting rounds: each is one tree, or one tree a class where there are three classes or more."""
        return int(self._booster.current_iteration())

    def predict(self, numbers: NDArray[np.float32], codes: NDArray[np.int64]) -> Floats:
        """Probabilities (N, classes), or values (N,) of a regression."""
        answers = np.asarray(
            self._booster.predict(_columns(numbers, codes), num_threads=_threads(len(numbers))), dtype=np.float64
        )
        if self._booster.params["objective"] == "binary":
            return np.stack([1 - answers, answers], axis=1)
        return answers

    def to_text(self) -> str:
        """The model in LightGBM's text format, and a last line with the SHA-256 of what is above it."""
        return f"{self._description}{_SEAL}{_digest(self._description)}\n"

    @classmethod
    def from_text(cls, text: str) -> TreeModel:
        """The model that `to_text` wrote, with equal predictions.

        LightGBM's own parser ends the whole process at some damaged texts, so that none may reach it.

        Raises:
            RunError: the text is not as it was written.
        """
        description, _, digest = text.rpartition(_SEAL)
        if digest.strip() != _digest(description):
            raise RunError("the LightGBM model is damaged or cut short: its checksum does not match; fit it again.")
        return cls(description)


def fit_lightgbm(
    train: Table,
    *,
    validation: Table,
    num_classes: int | None,
    metric: str,
    seed: int,
    seconds: float = float("inf"),
    threads: int = 0,
    progress: Progress | None = None,
) -> TreeModel:
    """Boost trees on `train` until `validation` no longer gains.

    Args:
        train: see `Table`; a classification's truth is class numbers, a regression's the values.
        validation: likewise, at least one row.
        num_classes: None asks for a regression.
        metric: what is to be good in the end. "mae" boosts the absolute error, every other metric of a regression the
            squared error, and every metric of a classification the log-loss.
        seed: of the rows and columns each tree sees. The same data, settings and seed give the same trees on any number
            of threads, unless `seconds` cuts the boosting short.
        seconds: boosting ends after this long at the latest, with at least one round.
        threads: 0 takes one core for every `ROWS_A_THREAD` rows, as far as there are cores.
        progress: told after each round.
    """
    started = time.monotonic()
    settings = {**SETTINGS, **_objective(num_classes, metric), "seed": seed}
    settings["num_threads"] = threads or _threads(len(train[2]))
    settings["min_data_in_leaf"] = max(1, min(LEAST_ROWS_IN_LEAF, len(train[2]) // 20))
    if len(train[2]) < LEAST_ROWS_IN_LEAF:
        settings["bagging_fraction"] = 1.0  # LightGBM ends with an error at a bag of no rows.
    data = _dataset(train, settings)
    booster = lightgbm.Booster(settings, data)
    booster.add_valid(_dataset(validation, settings, like=data), "validation")
    best, best_round, rounds = float("inf"), 1, 0
    while rounds < MOST_ROUNDS and rounds - best_round < PATIENCE:
        finished = booster.update()
        rounds += 1
        loss = booster.eval_valid()[0][2]
        if loss < best:
            best, best_round = loss, rounds
        if progress is not None:
            progress(rounds, MOST_ROUNDS)
        if finished or time.monotonic() - started > seconds:
            break
    return TreeModel(booster.model_to_string(num_iteration=best_round), seconds=time.monotonic() - started)


def _objective(num_classes: int | None, metric: str) -> dict[str, Any]:
    if num_classes is None:
        return {"objective": "regression_l1" if metric == "mae" else "regression"}
    if num_classes == 2:
        return {"objective": "binary"}
    return {"objective": "multiclass", "num_class": num_classes}


def _dataset(table: Table, settings: dict[str, Any], like: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
    numbers, codes, truth = table
    categories = list(range(numbers.shape[1], numbers.shape[1] + codes.shape[1]))
    columns = _columns(numbers, codes)
    return lightgbm.Dataset(columns, truth, reference=like, categorical_feature=categories, params=dict(settings))


def _columns(numbers: NDArray[np.float32], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, F + K): float32 holds every code below 2^24 exactly."""
    return np.concatenate([numbers, codes], axis=1, dtype=np.float32, casting="same_kind")


def _threads(num_rows: int) -> int:
    return min(os.cpu_count() or 1, 1 + num_rows // ROWS_A_THREAD)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
