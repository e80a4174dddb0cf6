"""CoNLL files: a token a line with its tag in the last column, sentences apart by blank lines.

    EU      NNP  B-ORG
    rejects VBZ  O

What stands between the token and its tag, here parts of speech, is kept as columns beside them where it has few
values. Columns are separated by tabs or spaces; "-DOCSTART-" lines and comments before a sentence are passed over. A
folder of such files may name its parts: train.txt, eng.testa, emerging.dev.conll.gz.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from earnest.core.errors import DataError
from earnest.data import tag_schemes
from earnest.data.dataset import Column, Dataset, Part
from earnest.data.digests import row_digests
from earnest.data.layout import is_hidden
from earnest.data.readers.content import check_lines, decode, read_bytes
from earnest.data.splits import PART_NAMES

_SUFFIX = re.compile(r"\.(conll\w*|iob\d?|bio|bioes|bilou)(\.txt)?(\.gz)?$", re.IGNORECASE)
_PLAIN = re.compile(r"(^[^.]*|\.(txt|tsv|tab|annotated|train|dev|test[ab]?))(\.gz)?$", re.IGNORECASE)
"""Names that say nothing, so that the content decides."""
_PARTS: dict[str, Part] = {**PART_NAMES, "testa": "validation", "testb": "test"}
_PART = re.compile(rf"(?:^|[^a-z])({'|'.join(_PARTS)})(?=[^a-z]|$)")
_BLANK = " \t\r"
_GAP = re.compile("[ \t]+")
_SAMPLE = 1 << 16
"""Bytes on which a file without a telling name is judged."""
_MOST_VALUES = 100
"""Different ones that a column between token and tag may have, or it is passed over."""
_MOSTLY = 0.9
"""Share of their lines that must end in a tag."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    line: int
    tokens: list[str]
    tags: list[str]
    between: list[list[str]]
    """Of each token, what stands between it and its tag."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    sentences: list[_Sentence]
    fingerprint: str
    notes: list[str]


def is_conll(path: Path) -> bool:
    """Whether a file's name says that it is CoNLL, or says nothing and its lines do; for a folder, any file in it."""
    if path.is_dir():
        return any(is_conll(file) for file in path.iterdir() if file.is_file() and not is_hidden(file.name))
    return path.is_file() and (bool(_SUFFIX.search(path.name)) or (bool(_PLAIN.search(path.name)) and _sniff(path)))


def read_conll(path: Path) -> Dataset:
    """One row a sentence, with the columns "tokens" and "tags" (lists of strings), the target.

    What stands between them is beside them as "column 2", "column 3" and so on, where it has 2 to 100 different values.
    Tags come as IOB2 whatever scheme the file is written in; spans stay what they are. A sentence is named by the line
    of its first token.

    Args:
        path: a file, or a folder whose files may name their parts.

    Raises:
        DataError: a line lacks columns or ends in no tag, or there is no sentence or no span; file and line are named.
    """
    notes: list[str] = []
    files, parts = _parted(path, notes)
    read = [_read(file, tagged=True) for file in files]
    written = [sentence.tags for file in read for sentence in file.sentences]
    scheme, misfits = tag_schemes.detect(written)
    spans = [tag_schemes.spans(tags) for tags in written]
    counts = Counter(kind or "no type" for found in spans for kind, _, _ in found)
    if not counts:
        raise DataError(f"{path}: every token is tagged O, so that there is nothing to learn; is it the right file?")
    if scheme != "IOB2":
        notes.append(f"the tags are written as {scheme} and read as IOB2, in which every span begins with B-")
    if misfits:
        notes.append(f"{misfits:,} tags stand where {scheme} does not allow them (like I- after O); the spans are kept")
    types = ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common(20))
    reason = f"{scheme} tags of {counts.total():,} spans: {types}"
    tags = [tag_schemes.write(found, len(was)) for found, was in zip(spans, written, strict=True)]
    dataset = _dataset(path, read, notes)
    beside = _beside([sentence for file in read for sentence in file.sentences])
    part = [name for file, name in zip(read, parts or [], strict=False) for _ in file.sentences]
    return replace(
        dataset,
        frame=dataset.frame.with_columns(*beside.values(), pl.Series("tags", tags, pl.List(pl.String))),
        columns=(*dataset.columns, *beside, Column("tags", "tags", reason, role="target")),
        target="tags",
        part=np.array(part) if parts else None,
    )


def read_tokens(path: Path) -> Dataset:
    """As `read_conll`, with the column "tokens" only: the first of each line, whatever follows.

    Raises:
        DataError: there is no sentence.
    """
    notes: list[str] = []
    files, _ = _parted(path, notes)
    return _dataset(path, [_read(file, tagged=False) for file in files], notes)


def note_new_types(dataset: Dataset) -> Dataset:
    """With a note on types that only the user's own validation or test part has, which no model can find."""
    if dataset.part is None:
        return dataset
    learned, later = (
        {tag[2:] for tags in dataset.frame["tags"].gather(np.flatnonzero(rows)) for tag in tags if tag != "O"}
        for rows in (dataset.part == "train", dataset.part != "train")
    )
    if not later - learned:
        return dataset
    new = ", ".join(sorted(later - learned))
    note = f"the training part has no span of {new}, which later parts have: none of them will be found"
    return replace(dataset, notes=(*dataset.notes, note))


def _dataset(path: Path, files: Sequence[_File], notes: list[str]) -> Dataset:
    """The sentences of all files, numbered through."""
    sentences = [sentence for file in files for sentence in file.sentences]
    frame = pl.DataFrame({"tokens": [s.tokens for s in sentences]}, schema={"tokens": pl.List(pl.String)})
    num_tokens = sum(len(sentence.tokens) for sentence in sentences)
    tokens = Column("tokens", "tokens", f"{len(sentences):,} sentences of {num_tokens:,} tokens")
    several = len(files) > 1
    fingerprints = [file.fingerprint for file in files]
    return Dataset(
        source=str(path),
        frame=frame,
        columns=(tokens,),
        rows=np.arange(len(sentences)),
        names=tuple(f"{f.name}: line {s.line}" if several else f"line {s.line}" for f in files for s in f.sentences),
        digests=row_digests(frame, [tokens]),
        fingerprint=hashlib.sha256(" ".join(fingerprints).encode()).hexdigest() if several else fingerprints[0],
        notes=(*notes, *(f"{file.name}: {note}" if several else note for file in files for note in file.notes)),
    )


def _beside(sentences: Sequence[_Sentence]) -> dict[Column, pl.Series]:
    """The columns between token and tag that have few values, if all lines have as many columns."""
    found: dict[Column, pl.Series] = {}
    (width, *other_widths) = {len(fields) for sentence in sentences for fields in sentence.between}
    for place in range(0 if other_widths else width):
        written = [[fields[place] for fields in sentence.between] for sentence in sentences]
        num_values = len({value for values in written for value in values})
        if 2 <= num_values <= _MOST_VALUES:
            name = f"column {place + 2}"
            column = Column(name, "tags", f"{num_values} different values, one a token", role="beside")
            found[column] = pl.Series(name, written, pl.List(pl.String))
    return found


def _parted(path: Path, notes: list[str]) -> tuple[list[Path], list[Part] | None]:
    """The files of a folder and the part that each one's name says, training first; None when no name says "train"."""
    if not path.is_dir():
        return [path], None
    files = sorted(file for file in path.iterdir() if not is_hidden(file.name) and is_conll(file))
    if not files:
        raise DataError(f"{path} holds no CoNLL file: a token a line with its tag, sentences apart by blank lines.")
    named = {file: _PARTS[found[-1]] for file in files if (found := _PART.findall(file.name.lower()))}
    if "train" not in named.values():
        return files, None
    if others := [file.name for file in files if file not in named]:
        notes.append(f"passed over, as the names say no part: {', '.join(others)}")
    order = ("train", "validation", "test")
    files = sorted(named, key=lambda file: order.index(named[file]))
    notes.append("parts by file: " + ", ".join(f"{file.name} ({named[file]})" for file in files))
    return files, [named[file] for file in files]


def _read(path: Path, *, tagged: bool) -> _File:
    if path.is_file():
        check_lines(path, "a token with its tag")
    content = read_bytes(path)
    if not content.strip():
        raise DataError(f"{path} is empty.")
    text, notes = decode(content, path)
    sentences = list(_sentences(text, path, tagged=tagged))
    if not sentences:
        raise DataError(f"{path} holds no sentence: it needs a token a line with its tag, such as 'Paris B-LOC'.")
    return _File(path.name, sentences, hashlib.sha256(content).hexdigest(), notes)


def _sentences(text: str, path: Path, *, tagged: bool) -> Iterator[_Sentence]:
    """The sentences of a file.

    Raises:
        DataError: a line lacks columns or, where lines are `tagged`, does not end in a tag.
    """
    lines = text.split("\n")
    split = _tabs if sum("\t" in line for line in lines[:1000]) > 0.5 * _num_filled(lines[:1000]) else _spaces
    widths = Counter(len(split(line)) for line in lines[:1000] if line.strip(_BLANK))
    width = widths.most_common(1)[0][0] if widths else 0
    sentence = _Sentence(0, [], [], [])
    for number, line in enumerate(lines, start=1):
        fields = split(line)
        if not line.strip(_BLANK) or line.startswith("-DOCSTART-"):
            if sentence.tokens:
                yield sentence
            sentence = _Sentence(0, [], [], [])
            continue
        ok = len(fields) == width and fields[0] and (not tagged or (width > 1 and tag_schemes.is_tag(fields[-1])))
        if not ok and line.startswith("#") and not sentence.tokens:
            continue
        if not ok and (tagged or not fields[0]):
            raise DataError(_trouble(fields, width, f"{path}, line {number}"))
        if not sentence.tokens:
            sentence = _Sentence(number, [], [], [])
        sentence.tokens.append(fields[0])
        sentence.tags.append(fields[-1])
        sentence.between.append(fields[1:-1])
    if sentence.tokens:
        yield sentence


def _trouble(fields: Sequence[str], width: int, where: str) -> str:
    """What is wrong with a line, and the fix."""
    if width < 2:
        return f"{where} holds a token, {fields[0][:40]!r}, and no tag; write one behind it, such as 'Paris B-LOC'."
    if len(fields) != width:
        return (
            f"{where} has {len(fields)} column{'s' * (len(fields) > 1)} ({' '.join(fields)[:60]!r}) where the others "
            f"have {width}; a line is a token, what else there is, and its tag. Correct the line."
        )
    if not fields[0]:
        return f"{where} begins with an empty token; write the token, or take the line out."
    return (
        f"{where} ends in {fields[-1][:40]!r}, which is no tag: tags are O, or B- or I- and a type, such as B-PER "
        "(or E- and S- where spans are closed). Correct the tag, or put the tags into the last column."
    )


def _tabs(line: str) -> list[str]:
    return [field.strip(_BLANK) for field in line.rstrip(_BLANK).split("\t")]


def _spaces(line: str) -> list[str]:
    return _GAP.split(line.strip(_BLANK))


def _num_filled(lines: Sequence[str]) -> int:
    return sum(bool(line.strip(_BLANK)) for line in lines)


def _sniff(path: Path) -> bool:
    """Whether nearly all of the first lines end in a tag, not only O, behind a token."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            sample = file.read(_SAMPLE)
    except (OSError, EOFError, zlib.error):
        return False
    lines = sample.decode("utf-8", errors="replace").split("\n")
    if len(sample) == _SAMPLE:
        lines.pop()
    fields = [_GAP.split(line.strip(_BLANK)) for line in lines if line.strip(_BLANK)]
    tags = [line[-1] for line in fields if len(line) > 1 and tag_schemes.is_tag(line[-1])]
    return len(tags) > _MOSTLY * len(fields) and any(tag != "O" for tag in tags)
