"""The image columns of tables: from the paths in their cells to pixels and digests of content."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.dataset import Dataset, Images, LeftOut
from earnest.data.digests import row_digests
from earnest.data.readers.folder import FileImages, inspect_files


def attach_images(dataset: Dataset, folder: Path) -> Dataset:
    """`dataset` with the pixels of its image columns, whose cells are paths from `folder` on.

    Rows with an image that is missing, or that cannot be one, are left out and listed.

    Raises:
        DataError: no row is left.
    """
    columns = [column.name for column in dataset.columns if column.kind == "image"]
    if not columns or not len(dataset):
        return dataset
    problems: dict[int, str] = {}
    digests: dict[str, NDArray[np.uint64]] = {}
    for name in columns:
        files = dataset.frame[name].to_list()
        unique = sorted({file for file in files if file})
        inspected = inspect_files(folder, unique)
        found = dict(zip(unique, zip(inspected.digests, inspected.problems, strict=True), strict=True))
        missing = (np.uint64(0), f"the column {name!r} names no image")
        facts = [found[file] if file else missing for file in files]
        digests[name] = np.array([digest for digest, _ in facts], dtype=np.uint64)
        for row, (_, problem) in enumerate(facts):
            if problem is not None:
                problems.setdefault(row, f"{files[row]}: {problem}" if files[row] else problem)
    kept = np.setdiff1d(np.arange(len(dataset)), np.array(list(problems), dtype=np.int64))
    if not len(kept):
        raise DataError(f"no image that {dataset.source} names can be read; {dataset.names[0]}: {problems[0]}.")
    left_out = tuple(LeftOut(dataset.names[i], problems[i], int(dataset.rows[i])) for i in sorted(problems))
    dataset = dataset.take(kept)
    images: dict[str, Images] = {
        name: FileImages(folder.absolute(), tuple(dataset.frame[name]), digests[name][kept]) for name in columns
    }
    content = "".join([dataset.fingerprint, *(image.key() for image in images.values())])
    return replace(
        dataset,
        images=images,
        fingerprint=hashlib.sha256(content.encode()).hexdigest(),
        left_out=(*dataset.left_out, *left_out),
    )


def with_content_digests(dataset: Dataset) -> Dataset:
    """`dataset`, a table with roles, with digests over what its inputs hold: an image's content stands for its path."""
    if not dataset.images:
        return dataset
    content = [
        pl.Series(name, [f"{digest:016x}" for digest in images.digests], dtype=pl.String)
        for name, images in dataset.images.items()
    ]
    return replace(dataset, digests=row_digests(dataset.frame.with_columns(content), dataset.inputs()))
