"""Questions that word vectors are tested with: pairs of words and how alike people find them, or analogies."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earnest.core.errors import DataError
from earnest.data.readers.content import decode, read_bytes

FEWEST = 10
"""Pairs or analogies that say something."""


@dataclass(frozen=True)
class WordPairs:
    """Pairs of words and a person's judgement of each."""

    name: str
    pairs: tuple[tuple[str, str], ...]
    judged: NDArray[np.float64]
    """(N,) more is more alike."""


@dataclass(frozen=True)
class Analogies:
    """Questions such as: what is to Oslo as France is to Paris?"""

    name: str
    questions: tuple[tuple[str, str, str, str], ...]
    """a is to b as c is to d."""
    sections: tuple[str, ...]
    """The kind of each question."""


def read_word_test(path: Path) -> WordPairs | Analogies:
    """Pairs with a number each, one a line, between commas, tabs or spaces; or analogies, four words a line.

    Lines that begin with # are left out, and a first line of titles; one that begins with : names the kind of the
    analogies after it, as in word2vec's questions-words.txt. A .gz is unpacked.

    Raises:
        DataError: it cannot be read, or a line is neither; the line is named.
    """
    text, _ = decode(read_bytes(path), path)
    pairs: list[tuple[str, str]] = []
    judged: list[float] = []
    questions: list[tuple[str, str, str, str]] = []
    sections: list[str] = []
    section, titled = "", False
    for number, line in enumerate(text.splitlines(), start=1):
        fields = _fields(line)
        if not fields or line.startswith("#"):
            continue
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(fields) == 4 and (section or not _is_number(fields[2])):
            questions.append((fields[0], fields[1], fields[2], fields[3]))
            sections.append(section)
        elif len(fields) >= 3 and _is_number(fields[2]):
            pairs.append((fields[0], fields[1]))
            judged.append(float(fields[2]))
        elif not (titled or pairs or questions):
            titled = True
        else:
            raise DataError(
                f"{path}, line {number}: expected two words and a number, such as cat,dog,7.5, or the four words of an "
                f"analogy, and found {line[:60]!r}. Correct the line, or take it out."
            )
    if bool(pairs) == bool(questions) or max(len(pairs), len(questions)) < FEWEST:
        raise DataError(
            f"{path} holds {len(pairs)} pairs of words with a number and {len(questions)} analogies; one kind is "
            f"expected, and {FEWEST} at least."
        )
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    if pairs:
        return WordPairs(name, tuple(pairs), np.array(judged))
    return Analogies(name, tuple(questions), tuple(sections))


def _fields(line: str) -> list[str]:
    """The words of a line, without quotes."""
    parts = re.split(r"[,;\t]" if re.search(r"[,;\t]", line) else r"\s+", line.strip())
    return [part.strip().strip('"') for part in parts if part.strip()]


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False
