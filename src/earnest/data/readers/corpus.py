"""Running text for language models: a file of text, packed or not, JSON lines with "text", or a folder of these."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import json
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.cache import cache_folder
from earnest.data.layout import is_hidden
from earnest.data.readers.content import check_signature, check_size, is_binary
from earnest.data.values import without_surrogates

BETWEEN = b"\n\n"
"""Between the documents of a folder or of JSON lines."""
PLAIN = (".txt", ".text", ".md", ".tokens")
JSON_LINES = (".jsonl", ".ndjson")
PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}

_CHUNK = 1 << 20
_REPLACEMENT = "\ufffd".encode()
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Corpus:
    """A running text, as UTF-8 in a memory map: nothing of it is in memory until it is read."""

    name: str
    content: NDArray[np.uint8]
    """(bytes,), valid UTF-8."""
    fingerprint: str
    """SHA-256 of the content, in hex."""
    notes: tuple[str, ...] = ()
    """What the reader did that the user should know."""

    def __len__(self) -> int:
        """In bytes."""
        return len(self.content)

    def chunks(self, size: int = _CHUNK) -> Iterator[str]:
        """The text in pieces of about `size` bytes, cut at the ends of lines where there are any, never in a character.

        Put one behind the other they are the text.
        """
        start = 0
        while start < len(self.content):
            end = self._cut(start + size, start)
            yield self.content[start:end].tobytes().decode()
            start = end

    def text(self) -> str:
        """All of it."""
        return self.content.tobytes().decode()

    def split(self, *shares: float) -> tuple[Corpus, ...]:
        """Consecutive parts of about these shares of the text, cut at the ends of lines.

        Raises:
            DataError: the text is too short to be cut so.
        """
        bounds = [0]
        for share in np.cumsum(shares)[:-1] / sum(shares):
            bounds.append(self._cut(max(bounds[-1] + 1, round(share * len(self))), bounds[-1]))
        parts = [self.content[a:b] for a, b in zip(bounds, [*bounds[1:], len(self)], strict=True)]
        if not all(len(part) for part in parts):
            raise DataError(f"{self.name} is too short to be cut into {len(shares)} parts; it needs more text.")
        return tuple(replace(self, content=part, fingerprint=_fingerprint(part)) for part in parts)

    def _cut(self, near: int, after: int) -> int:
        """The place behind the last line that ends before `near`, or else the last character, behind `after`."""
        if near >= len(self.content):
            return len(self.content)
        window = max(after, near - _CHUNK)
        line_ends = np.flatnonzero(self.content[window:near] == ord("\n"))
        if len(line_ends):
            return window + int(line_ends[-1]) + 1
        place = near
        while place > after and _continues(self.content[place]):
            place -= 1
        while place <= after or (place < len(self.content) and _continues(self.content[place])):
            place += 1
        return place


def read_corpus(path: str | Path) -> Corpus:
    """The text in a file or in a folder's files, in the order of their names.

    Bytes that are no UTF-8 become U+FFFD and are counted; a text that is mostly such is read as Windows-1252. A plain
    file of valid UTF-8 is mapped where it lies, anything else into a temporary file that nobody sees.

    Raises:
        DataError: it is missing, empty, binary, damaged, or holds one character only; the message says what to do.
    """
    path = Path(path)
    files = text_files(path)
    if len(files) == 1 and files[0].suffix.lower() in PLAIN and _is_utf8(files[0]):
        corpus = _corpus(path.name, np.memmap(files[0], np.uint8, "r"), [])
    else:
        corpus = _corpus(path.name, *_written(files))
    seen: set[str] = set()
    for chunk in corpus.chunks():
        seen |= set(chunk)
        if len(seen) > 1:
            return corpus
    only = f"one character only, {seen.pop()!r}" if seen else "no text"
    raise DataError(f"{path} holds {only}; a language model needs running text to learn from.")


def text_files(path: Path) -> list[Path]:
    """The text files that there are."""
    if not path.exists():
        raise DataError(f"there is no file or folder {path}; check the path.")
    known = (*PLAIN, *JSON_LINES)
    if path.is_file():
        return [path]
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not is_hidden(file.name)]
    files = [file for file in files if bare_suffix(file) in known]
    if not files:
        raise DataError(f"{path} holds no text: earnest reads {', '.join(known)}, also with {', '.join(PACKED)}.")
    return files


def bare_suffix(path: Path) -> str:
    """The suffix in lower case, without that of the packing."""
    return Path(path.stem if path.suffix.lower() in PACKED else path.name).suffix.lower()


def _open(path: Path) -> IO[bytes]:
    return PACKED.get(path.suffix.lower(), open)(path, "rb")


def raw_bytes(path: Path) -> Iterator[bytes]:
    """A file's bytes, unpacked, a chunk at a time.

    Raises:
        DataError: it cannot be read, is no text, or is damaged.
    """
    size = 0
    try:
        with _open(path) as file:
            while chunk := file.read(_CHUNK):
                if size == 0:
                    check_signature(chunk, path)
                    if is_binary(chunk[:4096]) and not chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                        raise DataError(f"{path} is no text but binary; running text is needed, in UTF-8.")
                size += len(chunk)
                if path.suffix.lower() in PACKED:
                    check_size(size, path.stat().st_size, path)
                yield chunk
    except _DAMAGE as error:
        raise DataError(f"{path} cannot be read, it is damaged or cut off ({error}). Copy or download it again.") from (
            error
        )


def _is_utf8(path: Path) -> bool:
    """Whether a file can be mapped as it is: some UTF-8, without a byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = -1
    try:
        for number, chunk in enumerate(raw_bytes(path)):
            if number == 0 and chunk.startswith(codecs.BOM_UTF8):
                return False
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return number >= 0


def _written(files: Sequence[Path]) -> tuple[NDArray[np.uint8], list[str]]:
    """The files' texts one behind the other, as UTF-8 in a nameless temporary file, and what to tell the user."""
    notes: list[str] = []
    folder = cache_folder()
    with tempfile.TemporaryFile(dir=folder if folder.is_dir() else None) as file:
        for path in files:
            if bare_suffix(path) in JSON_LINES:
                for text in json_texts(path):
                    file.write(BETWEEN if file.tell() else b"")
                    file.write(without_surrogates(text).encode())
            else:
                file.write(BETWEEN if file.tell() else b"")
                _write_plain(path, file, notes)
        file.flush()
        return np.memmap(file, np.uint8, "r") if file.tell() else np.zeros(0, np.uint8), notes


def _write_plain(path: Path, file: IO[bytes], notes: list[str]) -> None:
    """Write a file's text as UTF-8."""
    head = next(raw_bytes(path), b"")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        notes.append(f"{path.name} is read as UTF-16")
        _copy(path, "utf-16", file)
        return
    start = file.tell()
    bad, foreign = _copy(path, "utf-8-sig", file)
    if 2 * bad > foreign:
        notes.append(f"{path.name} is not UTF-8: read as Latin-1 (Windows-1252)")
        file.seek(start)
        file.truncate()
        _copy(path, "cp1252", file)
    elif bad:
        notes.append(f"{path.name}: U+FFFD stands in {bad:,} places for bytes that are no UTF-8")


def _copy(path: Path, encoding: str, file: IO[bytes]) -> tuple[int, int]:
    """Write a file's text as UTF-8; how often U+FFFD had to stand for bytes, and how many characters are not ASCII."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    bad = foreign = 0
    tail = b""
    for chunk in chain(raw_bytes(path), [b""]):
        text = decoder.decode(chunk, final=not chunk)
        bad += text.count("\ufffd") - (tail + chunk).count(_REPLACEMENT)
        tail = chunk[1 - len(_REPLACEMENT) :]
        foreign += len(text) - len(text.encode("ascii", "ignore"))
        file.write(text.encode())
    return bad, foreign


def json_texts(path: Path) -> Iterator[str]:
    """The "text" of each line."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise DataError(
                f'{path}, line {number}: each line should be a JSON object with "text" ({type(error).__name__}: '
                f"{error}). Correct the line, or take it out."
            ) from error
        if not isinstance(text, str):
            raise DataError(f'{path}, line {number}: "text" is no text but {type(text).__name__}; correct the line.')
        yield text


def _lines(path: Path) -> Iterator[bytes]:
    begun: list[bytes] = []
    for chunk in raw_bytes(path):
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]
    yield b"".join(begun)


def _corpus(name: str, content: NDArray[np.uint8], notes: Sequence[str]) -> Corpus:
    return Corpus(name, content, _fingerprint(content), tuple(notes))


def _fingerprint(content: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(content), _CHUNK):
        digest.update(np.ascontiguousarray(content[start : start + _CHUNK]).data)
    return digest.hexdigest()


def _continues(byte: np.uint8) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return (int(byte) & 0xC0) == 0x80
