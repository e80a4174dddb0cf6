"""Running text: what is read is what was written, however it is packed; what cannot be learned from is named."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earnest.core.errors import DataError
from earnest.data.readers.corpus import Corpus, read_corpus

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
RANDOM = np.random.default_rng()
WORDS = ("thou", "naïve", "\u0645\u0631\u062d\u0628\u0627", "漢字", "🙂", "a\u0301", "\u2028", "I", "am")


def prose(num_words: int = 4000) -> str:
    words = [WORDS[i] for i in RANDOM.integers(len(WORDS), size=num_words)]
    gaps = [(" ", "\n", "\r\n")[i] for i in RANDOM.choice(3, size=num_words, p=[0.9, 0.05, 0.05])]
    return "".join(word + gap for word, gap in zip(words, gaps, strict=True)) + "x\0y"


def in_memory(text: str) -> Corpus:
    return Corpus("memory", np.frombuffer(text.encode(), np.uint8), "")


def test_a_file_packed_or_not_is_the_same_text(tmp_path: Path) -> None:
    text = prose()
    raw = text.encode()
    (tmp_path / "a.txt").write_bytes(raw)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(raw[:999]) + gzip.compress(raw[999:]))
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(raw))
    (tmp_path / "a.txt.bz2").write_bytes(bz2.compress(raw))
    (tmp_path / "noname").write_bytes(raw)
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf" + raw)
    for path in tmp_path.iterdir():
        corpus = read_corpus(path)
        assert corpus.text() == text
        assert "".join(corpus.chunks(1000)) == text
        assert corpus.fingerprint == hashlib.sha256(raw).hexdigest()
        assert (corpus.name, corpus.notes, len(corpus)) == (path.name, (), len(raw))


def test_a_plain_file_is_mapped_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789" * 100)
    content = read_corpus(tmp_path / "a.txt").content
    assert isinstance(content, np.memmap)
    assert content.filename == tmp_path / "a.txt"


def test_a_folder_and_json_lines_are_documents_one_behind_the_other(tmp_path: Path) -> None:
    texts = [prose(50), "lone \ud83d half", "last"]
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_bytes(texts[0].encode())
    lines = [json.dumps({"id": number, "text": text}) for number, text in enumerate(texts[1:])]
    (tmp_path / "deep" / "b.jsonl.gz").write_bytes(gzip.compress("\n\n".join(lines).encode()))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / ".hidden.txt").write_bytes(b"no")
    expected = "\n\n".join([texts[0], "lone \ufffd half", "last"])
    assert read_corpus(tmp_path).text() == expected
    assert read_corpus(tmp_path / "deep" / "b.jsonl.gz").text() == "lone \ufffd half\n\nlast"


def test_other_encodings_and_stray_bytes_are_noted(tmp_path: Path) -> None:
    text = "Ein Übel, größer als müßig: ça va?\n" * 20
    (tmp_path / "utf16.txt").write_bytes(text.encode("utf-16"))
    (tmp_path / "latin.txt").write_bytes(text.encode("cp1252"))
    (tmp_path / "stray.txt").write_bytes(text.encode() + b"\xff\xfe.\xc3" + "was \ufffd before".encode())
    (tmp_path / "fine.txt.gz").write_bytes(gzip.compress((text + "\ufffd" * (1 << 20)).encode()))
    expected = {
        "utf16.txt": (text, "UTF-16"),
        "latin.txt": (text, "Latin-1"),
        "stray.txt": (text + "\ufffd\ufffd.\ufffdwas \ufffd before", "in 3 places"),
    }
    for name, (content, note) in expected.items():
        corpus = read_corpus(tmp_path / name)
        assert corpus.text() == content
        assert len(corpus.notes) == 1
        assert note in corpus.notes[0]
    assert read_corpus(tmp_path / "fine.txt.gz").notes == ()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", b"", "no text"),
        ("empty.txt.gz", gzip.compress(b""), "no text"),
        ("one.txt", b"a", "one character only, 'a'"),
        ("same.txt", "é".encode() * 70_000, "one character only, 'é'"),
        ("blank.txt", b"\n" * 50, "one character only"),
        ("image.txt", b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        ("binary.txt", bytes(range(256)) * 20, "binary"),
        ("text.zip", b"PK\x03\x04" + bytes(50), "zip"),
        ("cut.txt.gz", gzip.compress(RANDOM.bytes(5000).hex().encode())[:-40], "damaged or cut off"),
        ("cut.txt.xz", lzma.compress(RANDOM.bytes(5000).hex().encode())[:-40], "damaged or cut off"),
        ("not.txt.gz", b"plain text", "damaged"),
        ("not.jsonl", b'{"text": "a b"}\n{"body": 1}', "line 2: .*KeyError"),
        ("not.jsonl", b"\n[1]", "line 2"),
        ("not.jsonl", b'{"text": 7}', "line 1: .*int"),
        ("not.jsonl", b'{"text": "\xff"}', "line 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_language_can_be_learned_from_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_corpus(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_without_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or folder .*none\.txt"):
        read_corpus(tmp_path / "none.txt")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="holds no text"):
        read_corpus(tmp_path)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=2, max_size=200).filter(lambda t: len(set(t)) > 1)


@given(TEXTS, st.integers(1, 64))
@settings(max_examples=200, deadline=None)
def test_chunks_are_the_text_and_cut_at_lines(text: str, size: int) -> None:
    chunks = list(in_memory(text).chunks(size))
    assert "".join(chunks) == text
    assert all(chunks)
    for chunk in chunks[:-1]:
        line_ends = chunk.encode()[:size].rfind(b"\n")
        assert chunk.endswith("\n") if line_ends >= 0 else len(chunk.encode()) <= max(size, 4)


@given(TEXTS, st.lists(st.floats(0.05, 1), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_parts_are_the_text_in_order(text: str, shares: list[float]) -> None:
    text += "\n" * 4000
    parts = in_memory(text).split(*shares)
    assert "".join(part.text() for part in parts) == text
    assert len(parts) == len(shares)
    assert all(part.fingerprint == hashlib.sha256(part.text().encode()).hexdigest() for part in parts)


def test_a_text_too_short_for_its_parts_is_named() -> None:
    with pytest.raises(DataError, match="too short"):
        in_memory("ab").split(1, 1, 1)


def test_parts_have_their_shares() -> None:
    corpus = in_memory(prose(20_000))
    parts = corpus.split(8, 1, 1)
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) / len(corpus) - share) < 0.02
    assert all(part.text().endswith("\n") for part in parts[:-1])


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_text_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.txt"
    path.write_bytes(content)
    try:
        corpus = read_corpus(path)
    except DataError:
        return
    assert len(set(corpus.text())) > 1
    if not corpus.notes and not content.startswith(b"\xef\xbb\xbf"):
        assert corpus.content.tobytes() == content


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not here")
def test_tiny_shakespeare() -> None:
    corpus = read_corpus(DATA / "tinyshakespeare" / "input.txt.gz")
    assert len(corpus.text()) == 1_115_394
    assert len(set(corpus.text())) == 65
