"""`read`: from a path to a `Dataset`, whatever is there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from earnest.core.errors import DataError, OptionError, nearest
from earnest.data.columns import assign_roles, conform, infer, require_column
from earnest.data.dataset import Column, Dataset, Images, Kind
from earnest.data.image_columns import attach_images, with_content_digests
from earnest.data.images import ChainedImages
from earnest.data.labels import check_classes
from earnest.data.layout import suffix
from earnest.data.matching import match_labels
from earnest.data.pixels import SUFFIXES, UNREADABLE_SUFFIXES
from earnest.data.readers import table
from earnest.data.readers.archive import is_archive, read_archive, read_unlabelled_archive
from earnest.data.readers.arrays import read_arrays
from earnest.data.readers.conll import is_conll, note_new_types, read_conll, read_tokens
from earnest.data.readers.digits import NAME as DIGITS
from earnest.data.readers.digits import read_digits
from earnest.data.readers.folder import read_folder, read_image_file, read_unlabelled_folder
from earnest.data.readers.idx import is_idx, read_idx

_ARRAYS = (".npz", ".npy")
_IMAGES = SUFFIXES | UNREADABLE_SUFFIXES


def read(
    path: str | Path,
    *,
    target: str | None = None,
    kinds: Mapping[str, Kind] | None = None,
    group: str | None = None,
    time: str | None = None,
    split: str | None = None,
    test: str | Path | None = None,
) -> Dataset:
    """The data to learn from, with its target and, where there is one, the user's own split.

    Args:
        path: a folder of images (a folder a class, with or without train/, val/ and test/ above), an archive of one,
            a table, arrays (npz, npy, IDX), tagged sentences (CoNLL: a file, or a folder of train, dev and test), or
            "digits".
        target: the column to predict; images in folders come with "label", sentences with "tags".
        kinds: kinds that the user states, by column.
        group: a column whose equal values stay on one side of a split.
        time: a column by which later rows are the test.
        split: a column that names each row's part; "random", "group" and "time" name no column.
        test: more of the same kind of data, set aside for the last look.

    Raises:
        DataError: the data cannot be used; the message names the culprit and the fix.
        OptionError: a column does not exist, or options contradict each other.
    """
    kinds = kinds or {}
    dataset = _read(Path(path), kinds)
    if test is not None:
        dataset = _with_test(dataset, _read_test(Path(test), dataset), Path(test))
    splitters = {"group": group, "time": time, "split": None if split in ("random", "group", "time") else split}
    if dataset.target == "tags":
        _check_no_columns(dataset, {"target": None if target == "tags" else target, **splitters}, kinds)
        dataset = note_new_types(dataset)
    elif _is_labelled(dataset):
        dataset = _assign_label(dataset, target, kinds, splitters)
    elif dataset.images and dataset.frame.width == 1:
        raise DataError(f"{dataset.source} holds images and no labels; name the labels y, beside the images x.")
    else:
        dataset = assign_roles(
            dataset, target=target or dataset.target, group=group, time=time, split=split, kinds=kinds
        )
        dataset = with_content_digests(dataset)
    check_classes(dataset)
    return dataset


def read_for_prediction(path: str | Path, *, columns: Sequence[Column] | None = None) -> Dataset:
    """The data to predict, which needs no target: images in a folder or archive, one image, a table, sentences, arrays.

    Args:
        path: where it is.
        columns: of the table that was learned from, whose kinds a table's columns follow, also where a few rows would
            look like something else; without it they are inferred.

    Raises:
        DataError: nothing can be read, or columns are missing; the message says what to do.
    """
    path = Path(path)
    if not path.exists():
        return _read_missing(path)
    if is_conll(path) or any(column.kind == "tokens" for column in columns or ()):
        return read_tokens(path)
    if path.is_dir() and not _holds_arrays(path):
        return read_unlabelled_folder(path)
    if is_archive(path):
        return read_unlabelled_archive(path)
    if suffix(path.name) in _IMAGES:
        return read_image_file(path)
    if columns is not None and path.is_file() and suffix(path.name) not in _ARRAYS:
        return attach_images(table.read_table(path, columns=columns), path.parent)
    return _read(path, {})


def _read(path: Path, kinds: Mapping[str, Kind], *, min_classes: int = 2) -> Dataset:
    if not path.exists():
        return _read_missing(path)
    if is_conll(path):
        return read_conll(path)
    if path.is_dir() or is_archive(path) or suffix(path.name) in (*_ARRAYS, *_IMAGES) or is_idx(path):
        dataset = _read_media(path, min_classes)
        if dataset.images:
            return dataset
        frame, columns = infer(dataset.frame, kinds)
        return replace(dataset, frame=frame, columns=columns)
    return attach_images(table.read_table(path, kinds=kinds), path.parent)


def _read_media(path: Path, min_classes: int) -> Dataset:
    """Everything but a table file."""
    if is_archive(path):
        return read_archive(path, min_classes=min_classes)
    if path.suffix.lower() in _ARRAYS:
        return read_arrays(path)
    if is_idx(path):
        return read_idx(path.parent)
    if path.is_file():
        raise DataError(f"{path} is a single image; learning needs a folder of images, one folder a class.")
    if any(is_idx(file) for file in path.iterdir()):
        return read_idx(path)
    if _holds_arrays(path):
        return read_arrays(path)
    try:
        return read_folder(path, min_classes=min_classes)
    except DataError as error:
        if others := [file.name for file in sorted(path.iterdir()) if _can_be_read(file)]:
            raise DataError(f"{error} It also holds {', '.join(others[:5])}: if that is meant, name it.") from error
        raise


def _read_missing(path: Path) -> Dataset:
    if str(path) == DIGITS:
        return read_digits()
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    known = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    if folder != path.parent:
        raise DataError(f"there is no {path}: the folder {folder} holds no {path.relative_to(folder).parts[0]!r}.")
    raise DataError(f"there is no file or folder {path}{nearest(path.name, known) or '; check the path.'}")


def _read_test(path: Path, dataset: Dataset) -> Dataset:
    """The test data, read as the data that it belongs to."""
    if not _is_labelled(dataset) and not path.is_dir() and suffix(path.name) not in _ARRAYS:
        test = match_labels(table.read_table(path, columns=dataset.columns), dataset)
        return attach_images(test, path.parent)
    test = _read(path, {}, min_classes=1)
    if not _is_labelled(dataset) and not test.images:
        frame, notes = conform(test.frame, dataset.columns, source=str(path))
        test = replace(test, frame=frame, columns=dataset.columns, notes=(*test.notes, *notes))
    if test.part is not None and (test.part == "test").any():
        test = test.take(np.flatnonzero(test.part == "test"))
    return test


def _with_test(dataset: Dataset, test: Dataset, path: Path) -> Dataset:
    """Both, with the part "test" for the rows of `test`, which are numbered on from those of `dataset`."""
    if dataset.part is not None and (dataset.part == "test").any():
        raise OptionError(f"{dataset.source} holds a test part of its own; leave that or --test {path} out.")
    if dataset.frame.columns != test.frame.columns or dataset.images.keys() != test.images.keys():
        raise OptionError(
            f"--test {path} does not hold the same kind of data as {dataset.source}: it has the columns "
            f"{', '.join(test.frame.columns)}, not {', '.join(dataset.frame.columns)}."
        )
    part = np.full(len(dataset), "train") if dataset.part is None else dataset.part
    frames = [dataset.frame, test.frame.cast(dataset.frame.schema)]
    images: dict[str, Images] = {
        name: ChainedImages.of(dataset.images[name], test.images[name]) for name in dataset.images
    }
    return replace(
        dataset,
        frame=pl.concat(frames),
        rows=np.concatenate([dataset.rows, test.rows + int(dataset.rows.max()) + 1]),
        names=(*dataset.names, *(f"{path.name}: {name}" for name in test.names)),
        digests=np.concatenate([dataset.digests, test.digests]),
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} {test.fingerprint}".encode()).hexdigest(),
        part=np.concatenate([part, np.full(len(test), "test")]),
        left_out=(*dataset.left_out, *(replace(out, where=f"{path.name}: {out.where}") for out in test.left_out)),
        images=images,
        notes=(*dataset.notes, *test.notes),
    )


def _assign_label(
    dataset: Dataset, target: str | None, kinds: Mapping[str, Kind], splitters: Mapping[str, str | None]
) -> Dataset:
    """Images that came with labels have no other column that could be the target or steer the split."""
    for option, name in splitters.items():
        if name is not None:
            raise OptionError(
                f"--{option} {name}: {dataset.source} has no columns to split by, only images and labels; list the "
                "images in a table (CSV) that has such a column."
            )
    if target is not None:
        require_column(target, ["label"], "--target")
    for name in kinds:
        require_column(name, ["label"], "--type")
    if kinds.get("label", dataset.column("label").kind) == dataset.column("label").kind:
        return dataset
    frame, columns = infer(dataset.frame.select("label"), kinds)
    label = replace(columns[0], role="target")
    return replace(dataset, frame=dataset.frame.with_columns(frame), columns=(dataset.columns[0], label))


def _check_no_columns(dataset: Dataset, options: Mapping[str, str | None], kinds: Mapping[str, Kind]) -> None:
    """Tagged sentences have no columns that an option could name."""
    named = [f"--{option} {name}" for option, name in options.items() if name is not None]
    named += [f"--type {name}={kind}" for name, kind in kinds.items()]
    if named:
        raise OptionError(f"{named[0]}: {dataset.source} holds sentences and their tags, and no columns; leave it out.")


def _is_labelled(dataset: Dataset) -> bool:
    """Whether this is images with labels or sentences with tags, not a table."""
    return (bool(dataset.images) and dataset.target == "label") or dataset.target == "tags"


def _holds_arrays(folder: Path) -> bool:
    return any(file.suffix.lower() == ".npy" or is_idx(file) for file in folder.iterdir())


def _can_be_read(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return path.is_file() and (is_archive(path) or name.endswith((*_ARRAYS, *table.EXTENSIONS)))
