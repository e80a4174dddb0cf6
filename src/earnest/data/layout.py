"""What folders of images mean: which class and which part each file belongs to, from the relative paths alone.

cats/1.jpg  dogs/old/2.jpg                      a folder a class
train/cats/1.jpg  val/dogs/2.jpg  test/...      parts of such
photos/cats/1.jpg  photos/dogs/2.jpg            the same below a single top folder
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from earnest.core.errors import DataError
from earnest.data import pixels
from earnest.data.dataset import Part
from earnest.data.labels import in_order

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_CLUTTER = frozenset(("__macosx", "thumbs.db", "desktop.ini"))


@dataclass(frozen=True, slots=True)
class Layout:
    """The image files of a folder or archive, in the order of their paths; the fields run in parallel."""

    files: tuple[str, ...]
    """Relative paths with "/", as the file system has them."""
    labels: tuple[str, ...]
    parts: tuple[Part, ...] | None
    notes: tuple[str, ...]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is the system's, not the user's."""
    return name.startswith(".") or name.casefold() in _CLUTTER


def suffix(file: str) -> str:
    """The suffix in lower case, such as ".jpg"; "" when there is none."""
    name = file.rsplit("/", 1)[-1]
    return f".{name.rsplit('.', 1)[1].lower()}" if "." in name else ""


def image_files(files: Iterable[str], notes: list[str]) -> list[str]:
    """The files that claim to be images, sorted; the others are counted in `notes`."""
    known = pixels.SUFFIXES | pixels.UNREADABLE_SUFFIXES
    found, others = [], Counter[str]()
    for file in files:
        if suffix(file) in known:
            found.append(file)
        else:
            others[suffix(file) or "no suffix"] += 1
    if others:
        kinds = ", ".join(f"{count} {name}" for name, count in others.most_common(5))
        notes.append(f"{others.total():,} files that are no images were passed over ({kinds})")
    return sorted(found)


def display(path: str) -> str:
    """A path that every encoding can hold: bytes that are no UTF-8 are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def arrange(source: str, files: Sequence[str], folders: Sequence[str], *, min_classes: int = 2) -> Layout:
    """Classes and parts of `files`.

    Args:
        source: what to call the data in messages.
        files: all files there are, as relative paths.
        folders: all folders there are, so that empty ones can be named.
        min_classes: 2 for training; a test set may hold one class only.

    Raises:
        DataError: there is no image, no folder a class, or or one class only.
    """
    notes: list[str] = []
    images = image_files(files, notes)
    if not images:
        raise DataError(f"{source} holds no images; it should hold one folder a class, with images in each.")
    top = _top(images)
    if top:
        notes.append(f"the classes were found in {display(top)}")
    depth = len(top)
    inner = [file[depth:] for file in images]
    parted = _is_parted(inner)
    placed = _place(inner, parted)
    loose = len(images) - len(placed)
    if not placed:
        raise DataError(
            f"{source} holds {len(images):,} images and no folder a class; put each class's images into a folder of "
            "its name, or list names and labels in a table (CSV)."
        )
    if loose:
        notes.append(f"{loose:,} images outside of the class folders were passed over")
    labels = [label for _, _, label in placed]
    parts = tuple(part for _, part, _ in placed) if parted else None
    if min_classes > 1:
        _check_classes(source, labels, parts)
    _note_empty(folders, top, parted, placed, notes)
    return Layout(tuple(images[i] for i, _, _ in placed), tuple(labels), parts, tuple(notes))


def _top(files: Sequence[str]) -> str:
    """The folders, such as "data/photos/", that all files share and that are no class of their own."""
    top = ""
    while True:
        inner = [file[len(top) :] for file in files]
        first = {file.split("/", 1)[0] if "/" in file else "" for file in inner}
        if len(first) != 1 or "" in first or any(file.count("/") < 2 for file in inner):
            return top
        top += first.pop() + "/"


def _is_parted(files: Sequence[str]) -> bool:
    """Whether there is a folder "train" whose images lie in folders of their own."""
    train = [file for file in files if PARTS.get(file.split("/", 1)[0].casefold()) == "train"]
    return any(file.count("/") >= 2 for file in train) and not any(file.count("/") == 1 for file in train)


def _place(files: Sequence[str], parted: bool) -> list[tuple[int, Part, str]]:
    """(index, part, label) of each file that has a class."""
    placed: list[tuple[int, Part, str]] = []
    for index, file in enumerate(files):
        folders = file.split("/")[:-1]
        part: Part | None = PARTS.get(folders[0].casefold()) if parted and folders else "train"
        label = folders[1:2] if parted else folders[:1]
        if part is not None and label:
            placed.append((index, part, unicodedata.normalize("NFC", display(label[0]))))
    return placed


def _check_classes(source: str, labels: Sequence[str], parts: Sequence[Part] | None) -> None:
    classes = in_order(labels)
    if len(classes) < 2:
        raise DataError(
            f"{source} holds one class only, {classes[0]!r}; a classifier needs at least two folders of images."
        )
    if parts is None:
        return
    trained = {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    if len(trained) < 2:
        raise DataError(
            f"the training part of {source} holds one class only, {trained.pop()!r}; it needs at least two."
        )


def _note_empty(
    folders: Sequence[str], top: str, parted: bool, placed: Sequence[tuple[int, Part, str]], notes: list[str]
) -> None:
    """Name class folders without an image, and parts that were not used."""
    used = {label for _, _, label in placed}
    used_parts = {part for _, part, _ in placed}
    for folder in sorted(folders):
        steps = folder[len(top) :].split("/") if folder.startswith(top) and folder != top[:-1] else []
        part = PARTS.get(steps[0].casefold()) if parted and steps else None
        if parted and len(steps) == 1 and part not in used_parts:
            notes.append(f"the folder {display(folder)} was passed over: it holds no class folders with images")
        label = steps[1:] if parted and part else steps if not parted else []
        if len(label) == 1 and unicodedata.normalize("NFC", display(label[0])) not in used:
            notes.append(f"the class folder {display(folder)} holds no images")
