"""The two formats of the original word2vec, in which word vectors go from program to program.

Both begin with a line of the number of words and the width. Text: a line a word, its numbers behind it, a space
between. Binary: the word, a space, its numbers as little-endian float32, and (in some files) a line end.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from earnest.core import atomic
from earnest.core.errors import DataError, OptionError
from earnest.data.word_vectors import WordVectors

LONGEST_WORD = 10_000
"""Bytes."""
BINARY = ".bin"


def write_word2vec(path: Path, vectors: WordVectors) -> None:
    """Write them in the binary format where the name ends in .bin, else as text; atomically.

    Raises:
        OptionError: a word has a space in it, which the formats cannot hold; or the file cannot be written.
    """
    spaced = next((word for word in vectors.words if not word or any(c.isspace() for c in word)), None)
    if spaced is not None:
        raise OptionError(f"the word {spaced!r} has a space in it (or nothing), which word2vec's formats cannot hold.")

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(f"{len(vectors)} {vectors.array.shape[1]}\n".encode())
            for word, vector in zip(vectors.words, vectors.array, strict=True):
                if path.suffix == BINARY:
                    file.write(word.encode() + b" " + vector.astype("<f4").tobytes() + b"\n")
                else:
                    file.write(f"{word} {' '.join(map(str, vector))}\n".encode())

    try:
        atomic.write_with(path, write)
    except OSError as error:
        raise OptionError(f"{path} cannot be written ({error.strerror or error}).") from error


def read_word2vec(path: Path) -> WordVectors:
    """Read a file of either format, which is told by its name's ending, .bin for the binary one.

    Raises:
        DataError: it is missing, cut off, or not of the format; the word or line is named.
    """
    try:
        with path.open("rb") as file:
            num, width = _header(path, file)
            array = np.empty((num, width), np.float32)
            read = _read_binary if path.suffix == BINARY else _read_text
            return WordVectors(tuple(read(path, file, array)), array)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error


def _header(path: Path, file: IO[bytes]) -> tuple[int, int]:
    line = file.readline(LONGEST_WORD)
    try:
        num, width = map(int, line.split())
    except ValueError as error:
        raise DataError(
            f"{path} does not begin with the number of words and the width of the vectors, as word2vec's formats do."
        ) from error
    size = path.stat().st_size
    if num < 1 or width < 1 or num * width > size:
        raise DataError(f"{path} is cut off or damaged: it is said to hold {num:,} vectors of {width:,} numbers.")
    return num, width


def _read_text(path: Path, file: IO[bytes], array: np.ndarray) -> list[str]:
    words = []
    for row in range(len(array)):
        word, *numbers = file.readline().rstrip().split(b" ")
        try:
            array[row] = [float(x) for x in numbers]
        except ValueError as error:
            raise DataError(
                f"{path}, line {row + 2}: expected a word and {array.shape[1]:,} numbers; it is cut off or damaged."
            ) from error
        words.append(word.decode("utf-8", "replace"))
    return words


def _read_binary(path: Path, file: IO[bytes], array: np.ndarray) -> list[str]:
    words = []
    size = 4 * array.shape[1]
    for row in range(len(array)):
        word = bytearray()
        while (byte := file.read(1)) != b" " and byte and len(word) < LONGEST_WORD:
            if byte != b"\n" or word:  # some programs end vectors with a line end, some do not
                word += byte
        numbers = file.read(size)
        if len(numbers) < size or byte != b" ":
            raise DataError(f"{path}, word {row + 1:,} of {len(array):,}: the file is cut off or damaged.")
        array[row] = np.frombuffer(numbers, "<f4")
        words.append(word.decode("utf-8", "replace"))
    return words
