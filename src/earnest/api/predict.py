"""`earnest predict RUN DATA`: answers for new data, from the model folder alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.api.language_model import TASK as LANGUAGE
from earnest.api.language_model import LanguageModel
from earnest.api.model_folder import ModelFolder, PictureColumn, read_facts
from earnest.api.outcome import predictions_frame
from earnest.api.parts import Floats
from earnest.api.picture_generator import TASK as GENERATE
from earnest.api.picture_generator import PictureGenerator
from earnest.api.tag_model import TASK as TAGGING
from earnest.api.tag_model import TagModel, TagPredictor
from earnest.api.word_model import load_vectors
from earnest.api.word_recipes import TASK as WORDS
from earnest.core import atomic
from earnest.core.errors import DataError, OptionError, RunError
from earnest.core.progress import Screen
from earnest.core.run import Run
from earnest.data.columns import conform
from earnest.data.dataset import Dataset, Images
from earnest.data.pixels import fit, without_warnings
from earnest.data.read import read_for_prediction
from earnest.data.word_vectors import WordVectors

CHUNK = 1024
"""Rows with images decoded and predicted at a time."""
MOST_TOLD = 5
"""Files without a prediction that are told one by one."""


class Problem(NamedTuple):
    """A file or line that cannot be predicted for."""

    row: int | None
    name: str
    problem: str


class Predictor:
    """A shipped model, ready to answer."""

    def __init__(self, model: ModelFolder) -> None:
        self.model = model

    def predict(self, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
        """Answers for a folder, an archive, a table, arrays or one file.

        Returns:
            One row an example: `row`, `prediction`, for classes `confidence` and `p(CLASS)` for each, and `name` (its
            file or line). Where a file or line cannot be read there is a column `problem`, which says why; its row has
            no prediction.

        Raises:
            DataError: nothing can be read, or columns that the model was trained with are missing.
        """
        screen = Screen(quiet=quiet)
        dataset = read_for_prediction(data, columns=self.model.shipped.columns)
        for note in dataset.notes:
            screen.say(note)
        problems = [Problem(item.row, item.where, item.reason) for item in dataset.left_out]
        answers, unreadable = self._answers(self._conformed(dataset, screen), screen)
        problems += unreadable
        for problem in problems[:MOST_TOLD]:
            screen.say(f"no prediction for {problem.name}: {problem.problem}")
        if len(problems) > MOST_TOLD:
            screen.say(f"and no prediction for {len(problems) - MOST_TOLD:,} more; the column `problem` says why")
        return _with_problems(answers, problems)

    def _conformed(self, dataset: Dataset, screen: Screen) -> Dataset:
        """The data with the columns that the model needs."""
        shipped = self.model.shipped
        if shipped.encoder is not None and dataset.columns != shipped.columns:  # no table, but arrays or pictures
            frame, notes = conform(dataset.frame, shipped.columns, source=dataset.source)
            for note in notes:
                screen.say(note)
            dataset = replace(dataset, frame=frame, columns=shipped.columns)
        if len(shipped.pictures) == len(dataset.images) == 1:  # a folder's pictures have no name
            return replace(dataset, images={shipped.pictures[0].name: next(iter(dataset.images.values()))})
        if any(one.name not in dataset.images for one in shipped.pictures):
            raise DataError(
                f"{dataset.source} holds no images, which this model was trained on; give a folder or file of them."
            )
        return dataset

    def _answers(self, dataset: Dataset, screen: Screen) -> tuple[pl.DataFrame, list[Problem]]:
        """Answers for all rows that can be read, and what is wrong with the others."""
        shipped = self.model.shipped
        size = CHUNK if shipped.pictures else len(dataset)
        kept: list[NDArray[np.int64]] = []
        answers: list[Floats] = []
        problems: list[Problem] = []
        with screen.bar("predicting", len(dataset)) as bar, without_warnings():
            for start in range(0, len(dataset), size):
                rows, pictures, unreadable = self._decoded(dataset, range(start, min(start + size, len(dataset))))
                problems += unreadable
                if len(rows):
                    inputs = shipped.inputs(dataset.frame[rows], pictures)
                    for note in inputs.table.notes if inputs.table is not None else ():
                        screen.say(note)
                    kept.append(rows)
                    answers.append(self.model.predict(inputs))
                bar(min(start + size, len(dataset)))
        if not answers:
            raise DataError(f"no image can be read; {problems[0].name}: {problems[0].problem}.")
        return self._frame(dataset, np.concatenate(kept), np.concatenate(answers)), problems

    def _decoded(
        self, dataset: Dataset, indices: range
    ) -> tuple[NDArray[np.int64], list[NDArray[np.uint8]], list[Problem]]:
        """The rows whose pictures can all be read, these (N, H, W, C) by column, and what is wrong with the others."""
        columns = self.model.shipped.pictures
        kept: list[int] = []
        pictures: list[list[NDArray[np.uint8]]] = []
        problems: list[Problem] = []
        for index in indices:
            try:
                pictures.append([_picture(column, dataset.images[column.name], index) for column in columns])
                kept.append(index)
            except DataError as error:
                problems.append(Problem(int(dataset.rows[index]), dataset.names[index], str(error)))
        arrays = [np.stack(of_column) for of_column in zip(*pictures, strict=True)]
        return np.array(kept, np.int64), arrays, problems

    def _frame(self, dataset: Dataset, kept: NDArray[np.int64], answers: Floats) -> pl.DataFrame:
        frame = predictions_frame(dataset.rows[kept], answers, self.model.labels)
        return frame.with_columns(name=pl.Series([dataset.names[row] for row in kept], dtype=pl.String))


def _picture(column: PictureColumn, images: Images, index: int) -> NDArray[np.uint8]:
    return fit(images.load(index, at_least=max(column.size)), column.size, column.channels)


def _with_problems(answers: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    """All rows in order, those of no known number last."""
    if not problems:
        return answers
    schema = {"row": pl.Int64, "name": pl.String, "problem": pl.String}
    return pl.concat([answers, pl.DataFrame(problems, schema, orient="row")], how="diagonal").sort(
        "row", nulls_last=True, maintain_order=True
    )


def load(run: str | Path) -> Predictor | TagPredictor | LanguageModel | WordVectors | PictureGenerator:
    """The model that a run shipped; a run folder, or its model folder alone, from anywhere.

    Most predict for new data; a language model generates text, a picture generator pictures, and word vectors tell of
    words.

    Raises:
        RunError: there is no model, it is damaged, or a newer version wrote it.
    """
    path = Path(run).absolute()
    if not path.exists():
        raise RunError(f"there is no run folder {path}; `earnest fit DATA` makes one.")
    if (path / "run.json").exists():
        facts = Run.open(path).facts()
        if not (path / "model" / "model.json").exists():
            raise RunError(f"{path} is not finished ({facts.get('status')}): go on with `earnest resume {run}`.")
    folder = path if (path / "model.json").exists() else path / "model"
    task = read_facts(folder).get("task")
    if task == TAGGING:
        return TagPredictor(TagModel.load(folder))
    if task == LANGUAGE:
        return LanguageModel.load(folder)
    if task == WORDS:
        return load_vectors(folder)
    if task == GENERATE:
        return PictureGenerator.load(folder)
    return Predictor(ModelFolder.load(folder))


def predict(run: str | Path, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
    """`load(run).predict(data)`.

    Raises:
        UsageError: as these; or the run shipped a language model, which has nothing to predict of a row.
    """
    model = load(run)
    if isinstance(model, LanguageModel):
        raise RunError(f"{run} is a language model, which goes on with a text: earnest generate {run} --prompt TEXT.")
    if isinstance(model, WordVectors):
        raise RunError(f"{run} holds word vectors, which answer about words: earnest similar {run} WORD.")
    if isinstance(model, PictureGenerator):
        raise RunError(f"{run} makes pictures and predicts nothing: earnest generate {run} --num 64 --out samples.")
    return model.predict(data, quiet=quiet)


def check_out(out: Path, *, overwrite: bool = False) -> None:
    """Check, before the work, that predictions can be written to `out`.

    Raises:
        OptionError: the file exists, has another ending than .csv or .parquet, or its folder cannot be written.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise OptionError(f"--out {out}: predictions are written as .csv or .parquet.")
    if out.exists() and not (overwrite and out.is_file()):
        raise OptionError(f"{out} exists already; replace it with --overwrite, or choose another name with --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(out.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise OptionError(f"the folder {out.parent} cannot be written; choose another place with --out.")


def write_predictions(frame: pl.DataFrame, out: Path) -> None:
    """Write predictions as CSV or Parquet, by the file's ending, atomically.

    Raises:
        OptionError: the file cannot be written.
    """
    write = frame.write_csv if out.suffix == ".csv" else frame.write_parquet
    try:
        atomic.write_with(out, write)
    except OSError as error:
        raise OptionError(f"{out} cannot be written ({error.strerror or error}).") from error
