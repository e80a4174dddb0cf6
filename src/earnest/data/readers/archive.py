"""Archives of image folders (zip, tar, and tar compressed with gzip, bzip2 or xz), read without unpacking them to disk.

No member's name ever becomes a path: the images' bytes are kept one after the other, in memory, or beyond 256 MiB in a
nameless temporary file. Links are never followed, and what an archive may unpack to is capped.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data import pixels
from earnest.data.cache import cache_folder
from earnest.data.dataset import Dataset, LeftOut
from earnest.data.layout import arrange, display, image_files, is_hidden, suffix
from earnest.data.readers.folder import Inspected, inspect, labelled_dataset, unlabelled_dataset

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size, and to more than `FREE_BYTES`, is taken for a bomb."""
FREE_BYTES = 1 << 32
"""4 GiB."""

_IN_MEMORY = 1 << 28
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, NotImplementedError)


class Store:
    """Byte strings one after the other, in memory while they are few, read back by place and length."""

    def __init__(self) -> None:
        folder = cache_folder()
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder) if folder.is_dir() else None)  # noqa: SIM115
        self._lock = threading.Lock()
        self._end = 0

    def append(self, content: bytes) -> tuple[int, int]:
        """Keep `content`; its place and length."""
        with self._lock:
            self._file.seek(self._end)
            self._file.write(content)
            place, self._end = self._end, self._end + len(content)
        return place, len(content)

    def read(self, place: int, length: int) -> bytes:
        """What was kept there."""
        with self._lock:
            self._file.seek(place)
            return self._file.read(length)

    def __del__(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class ArchiveImages:
    """Images among the members of an archive."""

    store: Store
    names: tuple[str, ...]
    spans: NDArray[np.int64]
    """(N, 2): each image's place and length in `store`."""
    digests: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """See `Images.name`."""
        return display(self.names[index])

    def load(self, index: int, *, at_least: int | None = None) -> NDArray[np.uint8]:
        """See `Images.load`."""
        place, length = self.spans[index]
        return pixels.load(self.store.read(int(place), int(length)), at_least=at_least)

    def take(self, indices: NDArray[np.int64]) -> ArchiveImages:
        """See `Images.take`."""
        names = tuple(self.names[i] for i in indices)
        return replace(self, names=names, spans=self.spans[indices], digests=self.digests[indices])

    def key(self) -> str:
        """See `Images.key`."""
        return hashlib.sha256(self.digests.tobytes()).hexdigest()


@dataclass(slots=True)
class _Member:
    """One image file in an archive, after it was read."""

    span: tuple[int, int]
    digest: int
    problem: str | None


@dataclass(slots=True)
class _Contents:
    store: Store
    images: dict[str, _Member]
    others: list[str]
    """Names of the other files."""
    folders: list[str]
    refused: list[LeftOut]
    """Members that were not read, such as links."""


def is_archive(path: Path) -> bool:
    """Whether the name says that this is an archive that can be read."""
    return path.name.lower().endswith(SUFFIXES)


def read_archive(path: Path, *, min_classes: int = 2) -> Dataset:
    """The images in an archive of class folders; as `earnest.data.readers.folder.read_folder`.

    Raises:
        DataError: the archive is damaged, encrypted or unpacks to far too much, or holds no folders of images.
    """
    contents = _read(path)
    layout = arrange(str(path), [*contents.images, *contents.others], contents.folders, min_classes=min_classes)
    found, images = _collect(contents, layout.files)
    dataset = labelled_dataset(str(path), layout, found, images.take)
    return replace(dataset, left_out=(*contents.refused, *dataset.left_out))


def read_unlabelled_archive(path: Path) -> Dataset:
    """Every image in an archive, with the column "image" only.

    Raises:
        DataError: the archive is damaged, or no image in it can be read.
    """
    contents = _read(path)
    notes: list[str] = []
    files = image_files([*contents.images, *contents.others], notes)
    if not files:
        raise DataError(f"{path} holds no images.")
    found, images = _collect(contents, files)
    dataset = unlabelled_dataset(str(path), files, found, images.take, notes)
    return replace(dataset, left_out=(*contents.refused, *dataset.left_out))


def _collect(contents: _Contents, files: tuple[str, ...] | list[str]) -> tuple[Inspected, ArchiveImages]:
    members = [contents.images[file] for file in files]
    digests = np.array([member.digest for member in members], dtype=np.uint64)
    spans = np.array([member.span for member in members], dtype=np.int64).reshape(-1, 2)
    inspected = Inspected(digests, tuple(member.problem for member in members))
    return inspected, ArchiveImages(contents.store, tuple(files), spans, digests)


def _read(path: Path) -> _Contents:
    contents = _Contents(Store(), {}, [], [], [])
    limit = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)
    total = 0
    try:
        members = _zip_members(path, contents) if path.name.lower().endswith(".zip") else _tar_members(path, contents)
        for name, size, content in members:
            total += size
            if total > limit:
                raise DataError(f"{path} unpacks to more than {limit / 2**30:.0f} GiB, which could be a bomb.")
            _enter(contents, name, content)
    except _DAMAGE as error:
        raise DataError(
            f"the archive {path} cannot be read ({str(error) or type(error).__name__}); if it is damaged or "
            "incomplete, copy or download it again."
        ) from error
    return contents


def _enter(contents: _Contents, name: str, content: bytes | str) -> None:
    """Keep a member; a string says why there is no content."""
    if isinstance(content, str):
        contents.images[name] = _Member((0, 0), 0, content)
        return
    digest, problem = inspect(content, name)
    contents.images[name] = _Member(contents.store.append(content), digest, problem)


def _zip_members(path: Path, contents: _Contents) -> Iterator[tuple[str, int, bytes | str]]:
    """(name, unpacked size, content) of each image file; everything else is noted in `contents`."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            link = (info.external_attr >> 28) == 0xA
            if info.flag_bits & 1:
                raise DataError(f"the archive {path} is encrypted; unpack it with its password first.")
            name = info.filename.replace("\\", "/")
            if not _wanted(name, info.is_dir(), link, contents):
                continue
            if info.file_size > pixels.MAX_BYTES:
                yield name, 0, pixels.TOO_LARGE
                continue
            try:
                yield name, info.file_size, archive.read(info)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                yield name, 0, f"damaged in the archive ({error})"


def _tar_members(path: Path, contents: _Contents) -> Iterator[tuple[str, int, bytes | str]]:
    """As `_zip_members`."""
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            if not _wanted(name, info.isdir(), not (info.isreg() or info.isdir()), contents):
                continue
            if info.size > pixels.MAX_BYTES:
                yield name, 0, pixels.TOO_LARGE
                continue
            file = archive.extractfile(info)
            content = b"" if file is None else file.read()
            if len(content) < info.size:
                raise EOFError(f"{name} is cut short")
            yield name, info.size, content


def _wanted(name: str, is_folder: bool, is_link: bool, contents: _Contents) -> bool:
    """Whether a member is an image file with a safe name; if not, it is noted."""
    steps = name.rstrip("/").split("/")
    if any(is_hidden(step) for step in steps if step not in (".", "..")):
        return False
    if name.startswith("/") or ".." in steps:
        contents.refused.append(LeftOut(display(name), "its path leads out of the archive"))
    elif is_link:
        contents.refused.append(LeftOut(display(name), "a link or a device, which is never followed"))
    elif is_folder:
        contents.folders.append("/".join(steps))
    elif suffix(name) in pixels.SUFFIXES | pixels.UNREADABLE_SUFFIXES:
        return True
    else:
        contents.others.append(name)
    return False
