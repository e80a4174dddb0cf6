"""`earnest predict RUN DATA`: answers for new data, from the model folder alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.api.outcome import predictions_frame
from earnest.api.parts import Floats, ModelFolder
from earnest.core import atomic
from earnest.core.errors import DataError, OptionError, RunError
from earnest.core.progress import Bar, Screen
from earnest.core.run import Run
from earnest.data.columns import conform
from earnest.data.dataset import Column, Dataset, Images
from earnest.data.images import Channels
from earnest.data.pixels import fit, without_warnings
from earnest.data.read import read_for_prediction

CHUNK = 4096
"""Images decoded and predicted at a time."""
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
        dataset = read_for_prediction(data, columns=self._columns())
        for note in dataset.notes:
            screen.say(note)
        problems = [Problem(item.row, item.where, item.reason) for item in dataset.left_out]
        if self.model.shipped.encoder is not None:
            answers = self._predict_table(dataset, screen)
        elif dataset.images:
            with screen.bar("predicting", len(dataset)) as bar, without_warnings():
                answers, unreadable = self._predict_images(dataset, bar)
            problems += unreadable
        else:
            raise DataError(f"{data} holds no images, which this model was trained on; give a folder or file of them.")
        for problem in problems[:MOST_TOLD]:
            screen.say(f"no prediction for {problem.name}: {problem.problem}")
        if len(problems) > MOST_TOLD:
            screen.say(f"and no prediction for {len(problems) - MOST_TOLD:,} more; the column `problem` says why")
        return _with_problems(answers, problems)

    def _columns(self) -> tuple[Column, ...]:
        """What the model needs of a table."""
        if self.model.shipped.encoder is not None:
            return self.model.shipped.encoder.columns
        return (Column(self.model.column, "image", "what the model was trained on"),)

    def _predict_table(self, dataset: Dataset, screen: Screen) -> pl.DataFrame:
        encoder = self.model.shipped.encoder
        assert encoder is not None
        frame = dataset.frame
        if dataset.columns != encoder.columns:  # arrays, whose columns were inferred
            frame, notes = conform(frame, encoder.columns, source=dataset.source)
            for note in notes:
                screen.say(note)
        table = encoder.transform(frame)
        for note in table.notes:
            screen.say(note)
        return self._frame(dataset, np.arange(len(dataset)), self.model.predict(table))

    def _predict_images(self, dataset: Dataset, bar: Bar) -> tuple[pl.DataFrame, list[Problem]]:
        images = next(iter(dataset.images.values()))
        kept: list[int] = []
        answers: list[Floats] = []
        problems: list[Problem] = []
        for start in range(0, len(dataset), CHUNK):
            pictures = []
            for index in range(start, min(start + CHUNK, len(dataset))):
                try:
                    pictures.append(self._picture(images, index))
                    kept.append(index)
                except DataError as error:
                    problems.append(Problem(int(dataset.rows[index]), dataset.names[index], str(error)))
            if pictures:
                answers.append(self.model.predict(np.stack(pictures)))
            bar(min(start + CHUNK, len(dataset)))
        if not answers:
            raise DataError(f"no image can be read; {problems[0].name}: {problems[0].problem}.")
        return self._frame(dataset, np.array(kept), np.concatenate(answers)), problems

    def _picture(self, images: Images, index: int) -> NDArray[np.uint8]:
        size = self.model.shipped.size
        assert size is not None
        channels: Channels = 1 if self.model.shipped.channels == 1 else 3
        return fit(images.load(index, at_least=max(size)), size, channels)

    def _frame(self, dataset: Dataset, kept: NDArray[np.int64], answers: Floats) -> pl.DataFrame:
        frame = predictions_frame(dataset.rows[kept], answers, self.model.labels)
        return frame.with_columns(name=pl.Series([dataset.names[row] for row in kept], dtype=pl.String))


def _with_problems(answers: pl.DataFrame, problems: list[Problem]) -> pl.DataFrame:
    """All rows in order, those of no known number last."""
    if not problems:
        return answers
    schema = {"row": pl.Int64, "name": pl.String, "problem": pl.String}
    return pl.concat([answers, pl.DataFrame(problems, schema, orient="row")], how="diagonal").sort(
        "row", nulls_last=True, maintain_order=True
    )


def load(run: str | Path) -> Predictor:
    """The model that a run shipped; a run folder, or its model folder alone, from anywhere.

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
    return Predictor(ModelFolder.load(path if (path / "model.json").exists() else path / "model"))


def predict(run: str | Path, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
    """`load(run).predict(data)`."""
    return load(run).predict(data, quiet=quiet)


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
