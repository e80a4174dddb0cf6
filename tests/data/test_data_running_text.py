"""Running text in words: whatever file it comes from, counted in bounded memory, in numbers on disk, with phrases."""

from __future__ import annotations

import gzip
import json
import lzma
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.core.errors import DataError, RunError
from earnest.data import phrases as phrases_module
from earnest.data import word_counts
from earnest.data.phrases import forget_unknown, join_phrases
from earnest.data.running_text import LONGEST, RunningText
from earnest.data.word_corpus import END, UNKNOWN, WordCorpus, write_corpus
from earnest.data.word_counts import Vocabulary, count_words


def words_of(path: Path, cut: str = "words") -> list[str]:
    return [word for words in RunningText(path, cut).words() for word in words]  # type: ignore[arg-type]


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_words_are_in_lower_case_and_without_punctuation(tmp_path: Path) -> None:
    text = 'The "Cat" didn’t see 42 l’été-hats… «Où?»\nहिन्दी 👍🏽 — naïve_word; 日本語、東京。\n'
    path = written(tmp_path / "a.txt", text)
    assert words_of(path) == [
        *["the", "cat", "didn’t", "see", "42", "l’été", "hats", "où", "\n"],
        *["हिन्दी", "👍🏽", "naïve", "word", "日本語", "東京", "\n", "\n"],
    ]


def test_or_whatever_stands_between_spaces(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "New_York is  big!\nYes.")
    assert words_of(path, "spaces") == ["New_York", "is", "big!", "\n", "Yes.", "\n"]


def test_every_kind_of_file_gives_the_same_words(tmp_path: Path) -> None:
    text = "one two\nthree ärger\n"
    plain = written(tmp_path / "a.txt", text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(text.encode()))
    (tmp_path / "utf16.txt").write_bytes(text.encode("utf-16"))
    (tmp_path / "latin.txt").write_bytes(text.encode("cp1252"))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in text.splitlines()))
    expected = [word for word in words_of(plain) if word != "\n"]
    assert expected == ["one", "two", "three", "ärger"]
    for name in ("a.txt.gz", "a.txt.xz", "utf16.txt", "latin.txt", "a.jsonl"):
        assert [word for word in words_of(tmp_path / name) if word != "\n"] == expected, name
    folder = tmp_path / "folder"
    folder.mkdir()
    written(folder / "1.txt", "one two")
    written(folder / "2.txt", "three ärger")
    assert words_of(folder) == ["one", "two", "\n", "three", "ärger", "\n"], "files do not run into each other"


def test_a_long_text_is_read_piece_by_piece_and_no_word_is_cut(tmp_path: Path) -> None:
    rng = default_rng(0)
    words = "".join(np.array(list("abcdé  "))[rng.integers(0, 7, 2_500_000)]).split()
    path = written(tmp_path / "a.txt", " ".join(words))
    text = RunningText(path)
    pieces = list(text.words())
    assert len(pieces) > 2
    assert [word for piece in pieces for word in piece] == [*words, "\n"]
    first = text.fingerprint
    assert list(text.words())
    assert text.fingerprint == first
    written(path, " ".join(words[:-1]) + " x")
    assert list(text.words())
    assert text.fingerprint != first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no words"),
        (b"!!! ... \n", "no words"),
        (b"word word word\n", "one word only"),
        (b"a b c d e f g", "none occurs 5 times"),
        (b"a b " + b"x" * (LONGEST + 1) + b" c", "word of 100,001 characters"),
        (b"y" * 3_000_000, "word of"),
        (bytes(range(256)) * 50, "binary"),
        (b"\x89PNG\r\n" + bytes(300), "PNG"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        count_words(RunningText(path), min_count=5, most=100)


def test_counts_are_exact_when_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = default_rng(1)
    path = tmp_path / "a.txt"
    lines = [" ".join(f"w{i}" for i in rng.zipf(1.3, 20) % 5000) for _ in range(2000)]
    path.write_text("\n".join(lines))
    expected = Counter(" ".join(lines).split())
    monkeypatch.setattr("earnest.data.readers.corpus._CHUNK", 4096)
    for most_in_memory in (10**9, 200):
        monkeypatch.setattr(word_counts, "MOST_IN_MEMORY", most_in_memory)
        found = count_words(RunningText(path), min_count=3, most=100_000)
        assert found.num_words == expected.total()
        assert found.num_different == len(expected)
        ordered = sorted((-count, word) for word, count in expected.items() if count >= 3)
        assert list(found.vocabulary.words) == [word for _, word in ordered]
        assert found.vocabulary.counts.tolist() == [-count for count, _ in ordered]
    few = count_words(RunningText(path), min_count=1, most=7)
    assert len(few.vocabulary) == 7


def test_a_vocabulary_is_read_as_it_was_written(tmp_path: Path) -> None:
    vocabulary = Vocabulary(("ä", "b’c", "\u2028x"), np.array([5, 3, 1]))
    vocabulary.write(tmp_path / "words.txt")
    again = Vocabulary.read(tmp_path / "words.txt")
    assert again.words == vocabulary.words
    assert again.counts.tolist() == [5, 3, 1]
    (tmp_path / "words.txt").write_text("a\tb\n")
    with pytest.raises(RunError, match="damaged"):
        Vocabulary.read(tmp_path / "words.txt")


def test_the_numbers_on_disk_are_those_of_the_words(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "b a x b\n\n\nx\na b\n")
    vocabulary = Vocabulary(("b", "a"), np.array([3, 2]))
    corpus = write_corpus(tmp_path / "ids", RunningText(path), vocabulary)
    assert corpus.read(0, 100).tolist() == [0, 1, 0, END, 1, 0, END]
    assert corpus.read(2, 5).tolist() == [0, END, 1]
    gaps = write_corpus(tmp_path / "gaps", RunningText(path), vocabulary, keep_unknown=True)
    assert gaps.read(0, 100).tolist() == [0, 1, UNKNOWN, 0, END, UNKNOWN, END, 1, 0, END]
    assert forget_unknown(gaps, tmp_path / "none").read(0, 100).tolist() == [0, 1, 0, END, END, 1, 0, END]
    (tmp_path / "ids").write_bytes(b"12345")
    with pytest.raises(RunError, match="damaged"):
        WordCorpus.open(tmp_path / "ids")


def test_phrases_are_those_that_the_formula_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases_module, "THRESHOLD", 3.0)
    rng = default_rng(2)
    tokens = []
    for _ in range(600):
        tokens += ["new", "york"] if rng.random() < 0.1 else [f"w{rng.integers(12)}"]
    tokens[::40] = ["\n"] * len(tokens[::40])
    path = written(tmp_path / "a.txt", " ".join(tokens))
    found = count_words(RunningText(path), min_count=5, most=1000)
    corpus = write_corpus(tmp_path / "raw", RunningText(path), found.vocabulary, keep_unknown=True)
    joined, vocabulary = join_phrases(corpus, found.vocabulary, tmp_path / "joined", min_count=5)

    known = dict(zip(found.vocabulary.words, found.vocabulary.counts.tolist(), strict=True))
    total = sum(known.values())
    counts = Counter(pair for pair in pairwise(tokens) if all(word in known for word in pair))
    phrases = {pair for pair, n in counts.items() if (n - 5) * total / known[pair[0]] / known[pair[1]] > 3.0}
    assert ("new", "york") in phrases
    expected, at = [], 0
    while at < len(tokens):
        if tuple(tokens[at : at + 2]) in phrases:
            expected.append("_".join(tokens[at : at + 2]))
            at += 2
        else:
            expected.append(tokens[at])
            at += 1
    often = Counter(expected)
    expected = [word for word in expected if word != "\n" and often[word] >= 5]
    ids = joined.read(0, joined.num)
    assert [vocabulary.words[i] for i in ids if i >= 0] == expected
    assert vocabulary.counts.tolist() == [often[word] for word in vocabulary.words]
    assert "new_york" in vocabulary.words
