"""Fits models to data in memory with what the verbs are made of, and leaves no run folder behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from earnest.api import images, tables
from earnest.api.encoded import Encodings
from earnest.api.model_folder import ModelFolder
from earnest.api.outcome import best, to_ship
from earnest.api.pictures import Pictures
from earnest.api.question import SMALL, Bench, Candidate, Question
from earnest.api.recipes import reserve
from earnest.api.request import Request
from earnest.api.rows import look_at_images
from earnest.core.errors import Interrupted, OptionError
from earnest.core.progress import Screen
from earnest.core.registry import models
from earnest.core.run import Run, WallClock
from earnest.data.dataset import Dataset, Split
from earnest.data.frames import frame_dataset
from earnest.data.image_arrays import image_dataset
from earnest.data.splits import folds
from earnest.evaluation.metrics import TaskName, find_metric
from earnest.training.plan import choose_device

NUM_FOLDS = 3
"""Fewer than `fit` takes: whoever calls an estimator often does so many times."""
ONE_IN = 7
"""Share of the rows, 1 in this many, that are held out to choose, to stop and to calibrate by."""
SIMPLE = ("linear", "lightgbm")
"""Models that are no networks, and are fitted in moments."""

Inputs = pl.DataFrame | NDArray[np.uint8]
"""A table, or pictures (N, H, W, C)."""


@dataclass(frozen=True)
class Learned:
    """What came of it."""

    model: ModelFolder
    name: str
    """The candidate that was chosen."""
    scores: dict[str, float]
    """Every candidate's score on rows that it had not seen."""


def learn(
    inputs: Inputs,
    truth: NDArray[Any],
    labels: Sequence[str],
    request: Request,
    *,
    model: str = "auto",
    verbose: bool = False,
) -> Learned:
    """Fit the candidates that `model` names and choose among them.

    Args:
        inputs: a table or pictures.
        truth: (N,) class numbers, or values where there are no labels.
        labels: the classes' names by number; none asks for a regression.
        request: seed, budget, epochs, metric and device.
        model: "auto", "linear", "lightgbm" (tables only), or the name of an architecture.
        verbose: whether to tell on standard error what is done.

    Raises:
        UsageError: the data or the question cannot be used.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    target = pl.Series([labels[code] for code in truth], dtype=pl.String) if labels else pl.Series(truth)
    pictures: Pictures | None = None
    with _bench(request, verbose=verbose) as bench:
        if isinstance(inputs, pl.DataFrame):
            dataset = frame_dataset(inputs, target)
        else:
            dataset, (pictures,) = look_at_images(bench, image_dataset("X", inputs, target))
        question = _ask(dataset, truth, tuple(labels), request, model)
        if pictures is None:
            fitted = _fit_table(bench, question, model)
        else:
            fitted = _fit_pictures(bench, question, pictures, model)
    chosen = best(question, fitted)
    scores = {candidate.name: question.score(candidate.predictions) for candidate in fitted}
    return Learned(to_ship(question, chosen), chosen.name, scores)


@contextmanager
def _bench(request: Request, *, verbose: bool) -> Iterator[Bench]:
    """A bench whose run folder is gone afterwards; PyTorch's random state and threads are as before."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="earnest-") as folder, torch.random.fork_rng(devices=[]):
        run = Run.create(Path(folder) / "run", request.facts())
        # The verbs keep time back for evaluation and report, of which there are none here.
        clock = WallClock(60 * request.minutes + reserve(request) if request.minutes else None)
        try:
            yield Bench(run, request, clock, Screen(quiet=not verbose), choose_device(request.device))
        except Interrupted as error:
            raise KeyboardInterrupt from error
        finally:
            torch.set_num_threads(threads)


def _ask(dataset: Dataset, truth: NDArray[Any], labels: tuple[str, ...], request: Request, model: str) -> Question:
    """The question, without a test part: whoever calls an estimator keeps one.

    Rows are cross-fitted where they are few and nothing but linear models and trees is fitted. Networks learn once,
    and one row in seven is held out.
    """
    nobody = np.empty(0, np.int64)
    rows = np.arange(len(dataset))
    cross_fits = len(rows) < SMALL and (model in SIMPLE or (model == "auto" and not dataset.images))
    num_folds = NUM_FOLDS if cross_fits else ONE_IN
    dealt = tuple(folds(dataset, rows, num_folds=num_folds, seed=request.seed, classification=bool(labels)))
    if cross_fits:
        split = Split(rows, nobody, nobody, "cross-fitted", nobody)
    else:
        train, held_out = dealt[0]
        split, dealt = Split(train, held_out, nobody, f"1 row in {ONE_IN} held out", nobody), ()
    task: TaskName = "classification" if labels else "regression"
    metric = find_metric(request.metric or ("accuracy" if labels else "rmse"), task)
    return Question(dataset, split, task, labels, truth, metric, None, dealt)


def _fit_table(bench: Bench, question: Question, model: str) -> list[Candidate]:
    """The candidates for a table: all that are worth their time, or the one that was asked for."""
    encodings = Encodings(question)
    if model == "linear":
        return [tables.fit_linear(bench, question, encodings)]
    if model == "lightgbm":
        return [tables.fit_trees(bench, question, encodings)]
    if model == "auto" and question.folds:
        return [tables.fit_linear(bench, question, encodings), tables.fit_trees(bench, question, encodings)]
    if model == "auto":
        return tables.fit_tables(bench, question)
    if "table" not in models[model].about["kinds"]:
        raise OptionError(f"model={model!r} takes no tables; choose 'linear', 'lightgbm' or 'tabm'.")
    return [tables.fit_tabular_network(bench, question, encodings)]


def _fit_pictures(bench: Bench, question: Question, pictures: Pictures, model: str) -> list[Candidate]:
    """The candidates for pictures: the ladder's rungs, or those that the model which was asked for takes."""
    if model == "lightgbm":
        raise OptionError("model='lightgbm' takes no pictures; choose 'linear' or an architecture such as 'airnet'.")
    if model == "linear":
        return [images.linear_on_pixels(bench, question, pictures)]
    linear, *networks = images.fit_images(bench, question, pictures)
    return [linear, *networks] if model == "auto" else networks or [linear]
