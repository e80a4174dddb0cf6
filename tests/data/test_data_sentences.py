"""Sentences to be tagged: every form of file gives the same words; what cannot be read is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.core.errors import DataError
from earnest.data.readers import content
from earnest.data.readers.sentences import cut, read_sentences

SENTENCES = [["Ada", "Lovelace", "wrote", "notes", "."], ["She", "lived", "in", "London"]]


def in_columns(*, others: str = "") -> str:
    return "\n\n".join("\n".join(word + others for word in one) for one in SENTENCES) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("new.conll", in_columns()),
        ("new.txt", in_columns()),
        ("new.txt", in_columns(others=" XX")),
        ("new.txt", in_columns(others=" XX O")),
        ("new.conll", in_columns(others="\tXX\tB-PER")),
        ("new.txt", "\n".join(" ".join(one) for one in SENTENCES)),
        ("new.txt", "\n\n".join(" ".join(one) for one in SENTENCES) + "\n"),
        ("new.csv", "id,text\n" + "".join(f"{i},{' '.join(one)}\n" for i, one in enumerate(SENTENCES))),
        ("new.jsonl", "\n".join(f'{{"text": "{" ".join(one)}"}}' for one in SENTENCES)),
    ],
)
def test_every_form_gives_the_same_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    dataset = read_sentences(tmp_path / name)
    assert dataset.frame["tokens"].to_list() == SENTENCES
    assert dataset.rows.tolist() == [0, 1]
    assert len(dataset.names) == 2


def test_a_row_without_text_stays(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text\n1,Ada came\n2,\n3,Bob went\n")
    dataset = read_sentences(tmp_path / "new.csv")
    assert dataset.frame["tokens"].to_list() == [["Ada", "came"], [], ["Bob", "went"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, U.S. trade fell 1,990.5!", ["Don't", "stop", ",", "U.S", ".", "trade", "fell", "1,990.5", "!"]),
        ("a-b (c) …", ["a-b", "(", "c", ")", "…"]),
        ("東京 😀😀 مرحبا", ["東京", "😀", "😀", "مرحبا"]),
        (" \t\n", []),
    ],
)
def test_texts_are_cut_before_and_behind_punctuation(text: str, words: list[str]) -> None:
    assert cut(text) == words


@given(st.text())
@settings(max_examples=100)
def test_cutting_loses_nothing_but_spaces(text: str) -> None:
    words = cut(text)
    assert "".join(words) == "".join(text.split())
    assert all(words)


@pytest.mark.parametrize(
    ("name", "text", "named"), [("a.txt", "", "empty"), ("a.csv", "x,y\n1,2\n3,4\n", "no column of texts")]
)
def test_what_holds_no_sentence_is_named(tmp_path: Path, name: str, text: str, named: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=named):
        read_sentences(tmp_path / name)


@pytest.mark.parametrize("name", ["long.conll", "long.txt"])
def test_an_endless_line_is_named_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(content, "MAX_LINE", 1000)
    (tmp_path / name).write_bytes(b"Ada B-PER\n\n" + b"x" * 1001 + b"\ny O\n")
    with pytest.raises(DataError, match="line 3"):
        read_sentences(tmp_path / name)
    for length in (999, 1000):
        content.check_lines(_written(tmp_path / "good.txt", b"\n".join([b"y" * length] * 5)), "a token")


def test_gzipped_columns_are_read(tmp_path: Path) -> None:
    (tmp_path / "new.conll.gz").write_bytes(gzip.compress(in_columns().encode()))
    assert read_sentences(tmp_path / "new.conll.gz").frame["tokens"].to_list() == SENTENCES


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
