"""`earnest predict RUN DATA`: answers for new data, from the model folder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.api.outcome import predictions_frame
from earnest.api.parts import Floats, ModelFolder
from earnest.core import atomic
from earnest.core.errors import DataError, OptionError, RunError
from earnest.core.progress import Bar, Screen
from earnest.core.run import FORMAT, read_json
from earnest.data.columns import conform
from earnest.data.dataset import Dataset, Images
from earnest.data.image_columns import attach_images
from earnest.data.images import Channels
from earnest.data.pixels import fit
from earnest.data.read import read_for_prediction

CHUNK = 4096
"""Images decoded and predicted at a time."""


class Predictor:
    """A shipped model, ready to answer."""

    def __init__(self, model: ModelFolder) -> None:
        self.model = model

    def predict(self, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
        """Answers for a folder, an archive, a table, arrays or one file.

        Returns:
            One row an example: `row`, `prediction`, for classes `confidence` and `p(CLASS)` for each, and `name` (its
            file or line). A file that cannot be read has no prediction, and `problem` says why.

        Raises:
            DataError: nothing can be read, or columns that the model was trained with are missing.
        """
        screen = Screen(quiet=quiet)
        dataset = read_for_prediction(data)
        if self.model.shipped.encoder is not None:
            return self._predict_table(dataset, screen)
        if not dataset.images and self.model.column in dataset.frame.columns:
            dataset = attach_images(dataset, Path(data).parent)
        if not dataset.images:
            raise DataError(f"{data} holds no images, which this model was trained on; give a folder or file of them.")
        with screen.bar("predicting", len(dataset)) as bar:
            return self._predict_images(dataset, bar)

    def _predict_table(self, dataset: Dataset, screen: Screen) -> pl.DataFrame:
        encoder = self.model.shipped.encoder
        assert encoder is not None
        frame, notes = conform(dataset.frame, encoder.columns, source=dataset.source)
        table = encoder.transform(frame)
        for note in (*notes, *table.notes):
            screen.say(note)
        return self._frame(dataset, np.arange(len(dataset)), self.model.predict(table), {})

    def _predict_images(self, dataset: Dataset, bar: Bar) -> pl.DataFrame:
        images = next(iter(dataset.images.values()))
        kept: list[int] = []
        answers: list[Floats] = []
        problems: dict[int, str] = {}
        for start in range(0, len(dataset), CHUNK):
            pictures = []
            for index in range(start, min(start + CHUNK, len(dataset))):
                try:
                    pictures.append(self._picture(images, index))
                    kept.append(index)
                except DataError as error:
                    problems[index] = str(error)
            if pictures:
                answers.append(self.model.predict(np.stack(pictures)))
            bar(min(start + CHUNK, len(dataset)))
        if not answers:
            first = next(iter(problems), 0)
            raise DataError(f"no image can be read: {dataset.names[first]}: {problems.get(first, 'there are none')}")
        return self._frame(dataset, np.array(kept), np.concatenate(answers), problems)

    def _picture(self, images: Images, index: int) -> NDArray[np.uint8]:
        size = self.model.shipped.size
        assert size is not None
        channels: Channels = 1 if self.model.shipped.channels == 1 else 3
        return fit(images.load(index, at_least=max(size)), size, channels)

    def _frame(
        self, dataset: Dataset, kept: NDArray[np.int64], answers: Floats, problems: dict[int, str]
    ) -> pl.DataFrame:
        frame = predictions_frame(dataset.rows[kept], answers, self.model.labels)
        frame = frame.with_columns(name=pl.Series([dataset.names[row] for row in kept], dtype=pl.String))
        if not problems:
            return frame
        bad = {"row": dataset.rows[list(problems)], "name": [dataset.names[row] for row in problems]}
        problem = pl.DataFrame({**bad, "problem": list(problems.values())})
        return pl.concat([frame, problem], how="diagonal").sort("row")


def load(run: str | Path) -> Predictor:
    """The model that a run shipped; a run folder, or its model folder alone, from anywhere.

    Raises:
        RunError: there is no model, it is damaged, or a newer version wrote it.
    """
    path = Path(run).absolute()
    if not path.exists():
        raise RunError(f"there is no run folder {path}; `earnest fit DATA` makes one.")
    if (path / "run.json").exists():
        facts = read_json(path / "run.json")
        if facts.get("format", FORMAT) > FORMAT:
            raise RunError(f"{path} was written by a newer version of earnest; update with `pip install -U earnest`.")
        if not (path / "model" / "model.json").exists():
            raise RunError(f"{path} is not finished ({facts.get('status')}): go on with `earnest resume {run}`.")
    return Predictor(ModelFolder.load(path if (path / "model.json").exists() else path / "model"))


def predict(run: str | Path, data: str | Path, *, quiet: bool = True) -> pl.DataFrame:
    """`load(run).predict(data)`."""
    return load(run).predict(data, quiet=quiet)


def write_predictions(frame: pl.DataFrame, out: Path, *, overwrite: bool = False) -> None:
    """Write predictions as CSV or Parquet, by the file's ending, atomically.

    Raises:
        OptionError: the file exists, has another ending, or cannot be written.
    """
    if out.exists() and not overwrite:
        raise OptionError(f"{out} exists already; replace it with --overwrite, or choose another name with --out.")
    if out.suffix not in (".csv", ".parquet"):
        raise OptionError(f"--out {out}: predictions are written as .csv or .parquet.")
    write = frame.write_csv if out.suffix == ".csv" else frame.write_parquet
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_with(out, write)
    except OSError as error:
        raise OptionError(f"{out} cannot be written ({error.strerror or error}).") from error
