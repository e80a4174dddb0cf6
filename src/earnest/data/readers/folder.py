"""Folders of image files: a folder a class, with or without train/, val/ and test/ above; see `earnest.data.layout`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data import pixels
from earnest.data.dataset import Column, Dataset, Images, LeftOut
from earnest.data.layout import Layout, arrange, display, image_files, is_hidden, suffix


@dataclass(frozen=True)
class FileImages:
    """Images in files below a folder; their bytes are read when they are needed."""

    root: Path
    files: tuple[str, ...]
    """Paths below `root`."""
    digests: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """See `Images.name`."""
        return display(self.files[index])

    def load(self, index: int, *, at_least: int | None = None) -> NDArray[np.uint8]:
        """See `Images.load`."""
        try:
            with open(os.path.join(self.root, self.files[index]), "rb", buffering=0) as file:
                content = file.read()
        except OSError as error:
            raise DataError(f"the file cannot be read ({error.strerror or error})") from error
        return pixels.load(content, at_least=at_least)

    def take(self, indices: NDArray[np.int64]) -> FileImages:
        """See `Images.take`."""
        return replace(self, files=tuple(self.files[i] for i in indices), digests=self.digests[indices])

    def key(self) -> str:
        """See `Images.key`."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one reading of each file showed; the fields run in parallel."""

    digests: NDArray[np.uint64]
    """Of the files' bytes."""
    problems: tuple[str | None, ...]
    """Why a file cannot be an image."""


def read_folder(path: Path, *, min_classes: int = 2) -> Dataset:
    """The images below `path`, with the columns "image" (the relative name) and "label".

    Files that cannot be images (empty, or text under an image's name) are left out; whether the others decode is found
    out by `earnest.data.images.decode`.

    Args:
        path: the folder.
        min_classes: 2 for training; a test set may hold one class only.

    Raises:
        DataError: the folder is empty, holds too few classes, or no image in it can be read.
    """
    files, folders, unreadable = list_files(path)
    layout = arrange(str(path), files, folders, min_classes=min_classes)
    inspected = inspect_files(path, layout.files)
    dataset = labelled_dataset(
        str(path), layout, inspected, lambda kept: _file_images(path, layout.files, inspected, kept)
    )
    return replace(dataset, left_out=(*unreadable, *dataset.left_out))


def read_unlabelled_folder(path: Path) -> Dataset:
    """Every image below `path`, at any depth, with the column "image" only.

    Raises:
        DataError: there is none, or none can be read.
    """
    files, _, unreadable = list_files(path)
    notes: list[str] = []
    found = image_files(files, notes)
    if not found:
        raise DataError(f"{path} holds no images.")
    dataset = _from_files(str(path), path, found, notes)
    return replace(dataset, left_out=(*unreadable, *dataset.left_out))


def read_image_file(path: Path) -> Dataset:
    """One image, with the column "image" only.

    Raises:
        DataError: it cannot be an image.
    """
    return _from_files(str(path), path.parent, [path.name], [])


def list_files(root: Path) -> tuple[list[str], list[str], list[LeftOut]]:
    """All files and all folders below `root` as relative paths, hidden ones aside, and folders that cannot be listed.

    Links are followed, each folder once.
    """
    files: list[str] = []
    folders: list[str] = []
    unreadable: list[LeftOut] = []
    seen = {(root.stat().st_dev, root.stat().st_ino)}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list(os.scandir(root / below))
        except OSError as error:
            unreadable.append(LeftOut(display(below) or str(root), f"the folder cannot be listed ({error.strerror})"))
            continue
        for entry in entries:
            relative = f"{below}{entry.name}"
            if is_hidden(entry.name):
                continue
            if not entry.is_dir():
                files.append(relative)
                continue
            place = entry.stat()
            if (place.st_dev, place.st_ino) not in seen:
                seen.add((place.st_dev, place.st_ino))
                folders.append(relative)
                waiting.append(relative + "/")
    return files, folders, unreadable


def inspect_files(root: Path, files: Sequence[str]) -> Inspected:
    """Read each file once: its digest, and whether it begins like an image."""
    found = [_inspect_file(os.path.join(root, file)) for file in files]
    digests = np.array([digest for digest, _ in found], dtype=np.uint64)
    return Inspected(digests, tuple(problem for _, problem in found))


def inspect(content: bytes, name: str) -> tuple[int, str | None]:
    """The 64-bit digest of a file's content, and why it cannot be an image."""
    digest = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return digest, pixels.problem(content, suffix(name))


def labelled_dataset(
    source: str, layout: Layout, inspected: Inspected, images: Callable[[NDArray[np.int64]], Images]
) -> Dataset:
    """The data set of a layout's files, without those that have a problem; `images` makes the pixels of those kept.

    Raises:
        DataError: none is left.
    """
    kept = _readable(source, layout.files, inspected)
    labels = [layout.labels[i] for i in kept]
    dataset = _dataset(source, layout.files, inspected, kept, images(kept), list(layout.notes))
    return replace(
        dataset,
        frame=dataset.frame.with_columns(label=pl.Series(labels, dtype=pl.String)),
        columns=(*dataset.columns, Column("label", "category", "the names of the folders", role="target")),
        target="label",
        part=None if layout.parts is None else np.array(layout.parts)[kept],
    )


def unlabelled_dataset(
    source: str,
    files: Sequence[str],
    inspected: Inspected,
    images: Callable[[NDArray[np.int64]], Images],
    notes: list[str],
) -> Dataset:
    """As `labelled_dataset`, without labels."""
    kept = _readable(source, files, inspected)
    return _dataset(source, files, inspected, kept, images(kept), notes)


def _from_files(source: str, root: Path, files: list[str], notes: list[str]) -> Dataset:
    inspected = inspect_files(root, files)
    return unlabelled_dataset(source, files, inspected, lambda kept: _file_images(root, files, inspected, kept), notes)


def _readable(source: str, files: Sequence[str], inspected: Inspected) -> NDArray[np.int64]:
    kept = np.array([i for i, problem in enumerate(inspected.problems) if problem is None], dtype=np.int64)
    if not len(kept):
        raise DataError(f"no image in {source} can be read; {display(files[0])}: {inspected.problems[0]}.")
    return kept


def _file_images(root: Path, files: Sequence[str], inspected: Inspected, kept: NDArray[np.int64]) -> FileImages:
    return FileImages(root.absolute(), tuple(files[i] for i in kept), inspected.digests[kept])


def _dataset(
    source: str,
    files: Sequence[str],
    inspected: Inspected,
    kept: NDArray[np.int64],
    images: Images,
    notes: list[str],
) -> Dataset:
    """Row ids number all files, so that leaving one out renames no other."""
    names = tuple(display(files[i]) for i in kept)
    digest = hashlib.sha256()
    for i in kept:
        digest.update(f"{files[i]}\0{inspected.digests[i]:016x}\n".encode("utf-8", "surrogateescape"))
    return Dataset(
        source=source,
        frame=pl.DataFrame({"image": names}, schema={"image": pl.String}),
        columns=(Column("image", "image", "image files"),),
        rows=kept,
        names=names,
        digests=inspected.digests[kept],
        fingerprint=digest.hexdigest(),
        left_out=tuple(
            LeftOut(display(file), problem, row)
            for row, (file, problem) in enumerate(zip(files, inspected.problems, strict=True))
            if problem is not None
        ),
        images={"image": images},
        notes=tuple(notes),
    )


def _inspect_file(path: str) -> tuple[int, str | None]:
    try:
        with open(path, "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size > pixels.MAX_BYTES:
                return 0, pixels.TOO_LARGE
            return inspect(file.read(), path)
    except OSError as error:
        return 0, f"the file cannot be read ({error.strerror or error})"
