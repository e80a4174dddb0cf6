"""Arrays: `.npz` files, and folders of `.npy` files, of images or of a table of numbers.

Inputs are found by name (x, X, images, data, features, inputs), targets too (y, labels, target, targets), with an
optional part before or after it (x_train, train_images, y_val, ...).
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.dataset import Column, Dataset, Part
from earnest.data.image_arrays import array_digests, as_images, fingerprint, image_dataset

MAX_BYTES = 1 << 36
"""A file whose arrays would take more is refused before any is read: 64 GiB."""

INPUTS = ("x", "images", "image", "data", "features", "inputs")
TARGETS = ("y", "labels", "label", "target", "targets")
CLASS_NAMES = ("target_names", "class_names", "label_names", "classes")
PARTS: dict[str, Part] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}

Arrays = Mapping[str, NDArray[Any]]
Pair = tuple[NDArray[Any], NDArray[Any] | None]
"""Inputs and, where there are any, targets."""


def read_arrays(path: Path) -> Dataset:
    """The images or the table in an `.npz`, an `.npy` or a folder of `.npy` files.

    Images become the columns "image" and "label", a table the columns x0, x1, ... and "y"; without targets in the
    file, there is no such column.

    Raises:
        DataError: the file is damaged, holds pickled objects, or no array in it can be told to be the inputs.
    """
    arrays = _load(path)
    notes: list[str] = []
    names = next((arrays[name] for name in CLASS_NAMES if name in arrays and arrays[name].dtype.kind in "US"), None)
    found = _by_part(path, arrays, notes)
    inputs = _join(path, [x for x, _ in found.values()])
    if any(y is None for _, y in found.values()) and any(y is not None for _, y in found.values()):
        raise DataError(f"{path}: some parts have targets and others have none; name them y_train, y_test and so on.")
    targets = None
    if all(y is not None for _, y in found.values()):
        targets = _targets(path, [y for _, y in found.values() if y is not None], names)
    sizes = [len(x) for x, _ in found.values()]
    part = np.repeat([key or "train" for key in found], sizes) if any(found) else None
    notes.append(
        "arrays: " + ", ".join(f"{len(x):,} x {x.shape[1:]}" + f" {k or ''}" * bool(k) for k, (x, _) in found.items())
    )
    if (images := as_images(inputs, notes)) is not None:
        return image_dataset(str(path), images, targets, part=part, notes=notes)
    return _table(path, inputs, targets, part, notes)


def _load(path: Path) -> Arrays:
    """Every array in `path` by name; the array of an `.npy` file is named as the file."""
    try:
        if path.is_dir():
            return {file.stem: np.load(file, allow_pickle=False) for file in sorted(path.glob("*.npy"))}
        if path.suffix.lower() == ".npy":
            siblings = {file.stem: file for file in path.parent.glob("*.npy")}
            wanted = [path.stem, *TARGETS] if path.stem.lower() in INPUTS else [path.stem]
            return {name: np.load(siblings[name], allow_pickle=False) for name in wanted if name in siblings}
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise DataError(f"{path} would unpack to {size / 2**30:.0f} GiB; at most {MAX_BYTES >> 30} GiB are read.")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, DataError):
            raise
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path} holds pickled Python objects, which can run code when they are loaded, so they are not read; "
                "save plain arrays of numbers or strings instead."
            ) from error
        raise DataError(f"{path} cannot be read as NumPy arrays, it is damaged or incomplete: {error}.") from error


def _by_part(
    path: Path, arrays: Arrays, notes: list[str]
) -> dict[Part | None, tuple[NDArray[Any], NDArray[Any] | None]]:
    """The inputs and targets of each part, in the order train, validation, test; None stands for no parts."""
    roles: dict[tuple[str, Part | None], str] = {}
    for name in arrays:
        words = [word for word in re.split(r"[_\-. ]+", name.lower()) if word]
        part = next((PARTS[word] for word in words if word in PARTS), None)
        rest = [word for word in words if word not in PARTS]
        for role, known in (("inputs", INPUTS), ("targets", TARGETS)):
            if len(rest) == 1 and rest[0] in known:
                roles.setdefault((role, part), name)
    parts = [part for role, part in roles if role == "inputs"]
    if not parts:
        return {None: _by_shape(path, arrays, notes)}
    if None in parts and len(parts) > 1:
        raise DataError(
            f"{path} holds both {roles['inputs', None]!r} and parts such as x_train: keep one or the other."
        )
    found = {}
    for part in sorted(parts, key=["train", "validation", "test", None].index):
        x = arrays[roles["inputs", part]]
        target = roles.get(("targets", part))
        y = (
            arrays[target]
            if target is not None
            else _only_labels(arrays, x, roles.values(), notes)
            if part is None
            else None
        )
        found[part] = (x, y)
        if x.ndim == 0 or len(x) == 0:
            raise DataError(f"{path}: {roles['inputs', part]!r} is empty.")
        if y is not None and (y.ndim == 0 or len(y) != len(x)):
            raise DataError(
                f"{path}: {roles['inputs', part]!r} has {len(x):,} rows and {target!r} has {y.size:,}; they must agree."
            )
    if None not in found and "train" not in found:
        return found if len(found) > 1 else {None: next(iter(found.values()))}
    return found


def _by_shape(path: Path, arrays: Arrays, notes: list[str]) -> Pair:
    """The one array that can be inputs when none is named so."""
    able = [name for name, array in arrays.items() if array.ndim >= 2 and array.dtype.kind in "uifb" and len(array)]
    if len(able) != 1:
        known = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:20]) or "nothing"
        raise DataError(
            f"{path} holds {known}; name the inputs x and the targets y (or x_train, y_train, x_test, y_test)."
        )
    notes.append(f"inputs: {able[0]}")
    return arrays[able[0]], _only_labels(arrays, arrays[able[0]], able, notes)


def _only_labels(arrays: Arrays, inputs: NDArray[Any], taken: Any, notes: list[str]) -> NDArray[Any] | None:
    """The one array beside the inputs that has one whole number or string a row, if there is one."""
    able = [
        name
        for name, array in arrays.items()
        if name not in taken and array.shape == (len(inputs),) and array.dtype.kind in "uiUSb"
    ]
    if len(able) != 1:
        return None
    notes.append(f"targets: {able[0]}")
    return arrays[able[0]]


def _join(path: Path, inputs: list[NDArray[Any]]) -> NDArray[Any]:
    shapes = {x.shape[1:] for x in inputs}
    if len(shapes) > 1:
        raise DataError(f"{path}: the parts' inputs have different shapes: {', '.join(map(str, sorted(shapes)))}.")
    return inputs[0] if len(inputs) == 1 else np.concatenate(inputs)


def _targets(path: Path, targets: list[NDArray[Any]], names: NDArray[Any] | None) -> pl.Series:
    """Labels as strings, or Float64 for real numbers. One-hot rows become their class."""
    y = np.concatenate([t.reshape(len(t), -1) for t in targets])
    if y.shape[1] > 1:
        if y.dtype.kind not in "uifb" or not ((y == 0) | (y == 1)).all() or not (y.sum(axis=1) == 1).all():
            raise DataError(
                f"{path}: the targets have {y.shape[1]} columns and are not one-hot; give one number a row."
            )
        y = y.argmax(axis=1)[:, None]
    y = y[:, 0]
    if y.dtype.kind == "f":
        if not (np.isfinite(y).all() and (y == np.round(y)).all()):
            return pl.Series(y.astype(np.float64)).fill_nan(None)
        y = y.astype(np.int64)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if names is not None and y.dtype.kind in "ui" and y.min() >= 0 and y.max() < len(names):
        y = names.astype(str)[y]
    return pl.Series(y.astype(str).tolist(), dtype=pl.String)


def _table(
    path: Path,
    inputs: NDArray[Any],
    targets: pl.Series | None,
    part: NDArray[np.str_] | None,
    notes: list[str],
) -> Dataset:
    if inputs.dtype.kind not in "uifb":
        raise DataError(f"{path}: the inputs are {inputs.dtype}, not numbers; save mixed columns as CSV or Parquet.")
    inputs = inputs.reshape(len(inputs), -1)
    digests = array_digests(inputs)
    frame = pl.DataFrame({f"x{i}": inputs[:, i].astype(np.float64) for i in range(inputs.shape[1])}).fill_nan(None)
    columns = [Column(f"x{i}", "number", "a column of the array") for i in range(inputs.shape[1])]
    if targets is not None:
        frame = frame.with_columns(targets.alias("y"))
        columns.append(Column("y", "category" if targets.dtype == pl.String else "number", "the targets", "target"))
    return Dataset(
        source=str(path),
        frame=frame,
        columns=tuple(columns),
        rows=np.arange(len(inputs)),
        names=tuple(f"row {i}" for i in range(len(inputs))),
        digests=digests,
        fingerprint=fingerprint(inputs.shape[1:], digests, targets, part),
        target=None if targets is None else "y",
        part=part,
        notes=tuple(notes),
    )
