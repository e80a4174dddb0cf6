"""What is in a file of text: its bytes, unpacked where it is gzipped, and its characters."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from earnest.core.errors import DataError

MAX_BYTES = 16 << 30
MAX_RATIO, SUSPICIOUS_BYTES = 200, 1 << 30
"""A file that unpacks to more than `MAX_BYTES`, or to `MAX_RATIO` times its size and `SUSPICIOUS_BYTES`, is a bomb."""

MAX_LINE = 16 << 20
"""Bytes of a line, where lines are tokens, sentences, or rows of a table."""

SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"SQLite format": "a database",
    b"\x7fELF": "a program",
}
"""How files that are no text begin."""


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked when its name ends in .gz.

    Raises:
        DataError: it is missing, cannot be read, is damaged, or unpacks to far too much.
    """
    with _opened(path) as file:
        content = file.read()
    return _gunzip(content, path) if path.suffix.lower() == ".gz" else content


def check_lines(path: Path, what: str, *, unpacked: bytes | None = None) -> None:
    """Check, before a file is in memory, that it has lines of which each fits there many times over.

    Args:
        path: the file.
        what: a line should be, for the message.
        unpacked: what a packed file holds.

    Raises:
        DataError: a line is longer than `MAX_LINE`, and is named, or the file cannot be read.
    """
    number, length = 1, 0
    with _opened(path) if unpacked is None else io.BytesIO(unpacked) as file:
        while chunk := file.read(MAX_LINE):
            first = chunk.find(b"\n")
            length += len(chunk) if first < 0 else first
            if length > MAX_LINE:
                raise DataError(
                    f"{path}, line {number} is longer than {MAX_LINE >> 20} MiB; a line should be {what}. "
                    "Is it the right file, and are its line ends whole?"
                )
            if first >= 0:
                number, length = number + chunk.count(b"\n"), len(chunk) - chunk.rfind(b"\n") - 1


def decode(content: bytes, path: Path) -> tuple[str, list[str]]:
    """Text from UTF-8, UTF-16 (with a byte order mark), or else Windows-1252, and what to tell the user.

    Raises:
        DataError: it is no text.
    """
    check_signature(content, path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16"), ["read as UTF-16"]
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is marked as UTF-16 but is not ({error.reason}); save it as UTF-8.") from error
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise DataError(f"{path} is no text: line {line} holds a NUL byte. Save it as text in UTF-8, a table as CSV.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        if is_binary(content[:4096]):
            raise DataError(f"{path} is no text but binary; save it as text in UTF-8, a table as CSV.") from None
        return content.decode("cp1252", errors="replace"), ["not UTF-8: read as Latin-1 (Windows-1252)"]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, whose troubles are the user's."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def check_signature(content: bytes, path: Path) -> None:
    """Check that a file does not begin as files of other kinds do.

    Raises:
        DataError: it does, and the message says which kind.
    """
    for signature, what in SIGNATURES.items():
        if content.startswith(signature):
            raise DataError(
                f"{path} is no text but {what}; give it its right extension, or save it as text, a table as CSV."
            )


def is_binary(sample: bytes) -> bool:
    """Whether control characters are too many for a text."""
    return sum(byte < 9 or 13 < byte < 32 for byte in sample) > 0.02 * len(sample)


def _gunzip(content: bytes, path: Path) -> bytes:
    """The content of a gzip file of one member or several."""
    parts: list[bytes] = []
    size, rest = 0, content
    try:
        while rest.strip(b"\0"):
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                part = member.decompress(rest, 1 << 24)
                rest = member.unconsumed_tail
                if not part and not rest and not member.eof:
                    raise DataError(f"{path} is cut off: the gzip ends in the middle. Copy or download it again.")
                parts.append(part)
                size += len(part)
                check_size(size, len(content), path)
            rest = member.unused_data
    except zlib.error as error:
        raise DataError(f"{path} is no gzip file, or a damaged one ({error}). Copy or download it again.") from error
    return b"".join(parts)


def check_size(unpacked: int, packed: int, path: Path) -> None:
    """Check that a packed file does not unpack to far too much.

    Raises:
        DataError: it does.
    """
    if unpacked > MAX_BYTES or (unpacked > SUSPICIOUS_BYTES and unpacked > MAX_RATIO * packed):
        raise DataError(f"{path} unpacks to more than {unpacked >> 20:,} MiB; unpack it yourself if it is sound.")
