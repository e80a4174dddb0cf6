"""`earnest generate RUN` of a run that makes pictures: PNG files, and all of them side by side."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earnest.api.grids import grid_png, png, write_png
from earnest.api.picture_generator import TASK, PictureGenerator
from earnest.api.predict import load
from earnest.core.errors import OptionError, RunError

NUM = 64
GRID = "grid.png"


def generate_pictures(
    run: str | Path,
    *,
    num: int = NUM,
    out: str | Path | None = None,
    seed: int = 0,
    truncation: float | None = None,
    interpolate: int | None = None,
    label: str | None = None,
) -> NDArray[np.uint8]:
    """Pictures (N, S, S, C) that the run's network makes, the same for the same seed.

    Args:
        num: how many, or how many ways from one to the next.
        out: a folder for them: 0000.png and so on, and grid.png with all of them.
        truncation: noise further from 0 than this is drawn again: fewer odd pictures, and less variety.
        interpolate: the steps of a way from each picture to the next.
        label: the class to make; by default all in turn.

    Raises:
        RunError: the run makes no pictures.
        OptionError: a number makes no sense, there is no such class, or the folder cannot be written.
    """
    model = load(run)
    if not isinstance(model, PictureGenerator):
        raise RunError(f"{run} makes no pictures; `earnest fit FOLDER --task {TASK}` makes a run that does.")
    made = model.generate(num, seed=seed, truncation=truncation, label=label, interpolate=interpolate)
    if out is not None:
        write_pictures(made, Path(out), columns=interpolate or math.ceil(math.sqrt(num)))
    return made


def write_pictures(pictures: NDArray[np.uint8], folder: Path, *, columns: int) -> None:
    """One file each, and a grid.

    Raises:
        OptionError: the folder cannot be written.
    """
    digits = max(4, len(str(len(pictures) - 1)))
    try:
        for number, picture in enumerate(pictures):
            write_png(folder / f"{number:0{digits}}.png", png(picture))
        write_png(folder / GRID, grid_png(pictures, columns))
    except OSError as error:
        raise OptionError(f"--out {folder} cannot be written ({error.strerror or error}).") from error
