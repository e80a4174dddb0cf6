"""Running text read from front to back, as often as needed, in words; little of it is ever in memory."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from earnest.core.errors import DataError
from earnest.data.readers.corpus import JSON_LINES, PACKED, bare_suffix, json_texts, raw_bytes, text_files
from earnest.data.values import without_surrogates

Cut = Literal["words", "spaces"]
"""What a word is: a run of letters, marks and digits, in lower case; or whatever stands between two spaces."""

LINE_END = "\n"
LONGEST = 100_000
"""Characters of a word; one that is longer is no word, and its file no text."""
_GAPS = (
    r"\s!-/:-@\[-`{-~\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u2000-\u200b\u200e-\u206f"
    r"\u3000-\u3004\u3008-\u3020\uff00-\uff0f\uff1a-\uff20\ufffd"
)
"""What parts words: space, punctuation and signs, but not the joiners that some scripts write inside of words."""
_PATTERNS: dict[Cut, re.Pattern[str]] = {
    "words": re.compile(rf"\n|[^{_GAPS}]+(?:['’][^{_GAPS}]+)*"),
    "spaces": re.compile(r"\n|\S+"),
}
_BREAKS = (" ", "\n", "\t")


@dataclass
class RunningText:
    """The text of a file or of a folder's files, in the order of their names."""

    path: Path
    cut: Cut = "words"
    notes: list[str] = field(default_factory=list)
    """What the last reading has done that the user should know."""
    fingerprint: str = ""
    """SHA-256 of the text, in hex, once it has been read to the end."""
    told: Callable[[int], None] = lambda num_bytes: None
    """Called now and then with the bytes of UTF-8 that have been read."""

    def words(self) -> Iterator[list[str]]:
        """The words, and "\\n" where a line, a document or a file ends; many at a time.

        Raises:
            DataError: the text is missing, binary or damaged, or has a word of over `LONGEST` characters.
        """
        find, lower = _PATTERNS[self.cut].findall, self.cut == "words"
        for piece in self.pieces():
            found = find(piece.lower() if lower else piece)
            if found and (longest := max(map(len, found))) > LONGEST:
                raise self._too_long(next(word for word in found if len(word) == longest))
            yield found

    def pieces(self) -> Iterator[str]:
        """The text in pieces of about a megabyte that end where a word does.

        Raises:
            DataError: as `words`.
        """
        self.notes.clear()
        digest, num_bytes = hashlib.sha256(), 0
        for piece in self._pieces():
            content = piece.encode()
            digest.update(content)
            num_bytes += len(content)
            self.told(num_bytes)
            yield piece
        self.fingerprint = digest.hexdigest()

    def num_bytes(self) -> int | None:
        """About how much there is to read; None where a file is packed, which does not say.

        Raises:
            DataError: there are no files.
        """
        files = text_files(self.path)
        packed = any(file.suffix.lower() in PACKED for file in files)
        return None if packed else sum(file.stat().st_size for file in files)

    def _pieces(self) -> Iterator[str]:
        for path in text_files(self.path):
            pending = ""
            for text in _texts(path, self.notes):
                pending += text
                cut = 1 + max(map(pending.rfind, _BREAKS))
                if cut:
                    yield pending[:cut]
                    pending = pending[cut:]
                elif len(pending) > LONGEST:
                    raise self._too_long(pending)
            yield pending + LINE_END

    def _too_long(self, word: str) -> DataError:
        return DataError(
            f"{self.path} holds a word of {len(word):,} characters or more, {word[:20]!r}...: that is no running text. "
            "Take it out, or give the right file."
        )


def _texts(path: Path, notes: list[str]) -> Iterator[str]:
    """A file's characters, a chunk at a time; JSON lines' texts end a line each."""
    if bare_suffix(path) in JSON_LINES:
        for text in json_texts(path):
            yield without_surrogates(text)
            yield LINE_END
        return
    decoder, bad = None, 0
    for chunk in chain(raw_bytes(path), [b""]):
        if decoder is None:
            encoding = _encoding(chunk)
            if encoding != "utf-8-sig":
                notes.append(f"{path.name} is not UTF-8: read as {encoding}")
            decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        text = decoder.decode(chunk, final=not chunk)
        bad += text.count("\ufffd")
        yield text
    if bad:
        notes.append(f"{path.name}: {bad:,} characters could not be read (U+FFFD); they part words")


def _encoding(head: bytes) -> str:
    """UTF-16 where it is marked; Windows-1252 where most of what is not ASCII at the beginning is no UTF-8."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode(head)
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return "cp1252" if 2 * text.count("\ufffd") > foreign else "utf-8-sig"
