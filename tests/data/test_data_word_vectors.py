"""Word vectors: neighbours and analogies by plain loops, subwords by a published hash, formats by hand and gensim."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.core.errors import DataError, OptionError
from earnest.data.readers.word_pairs import Analogies, WordPairs, read_word_test
from earnest.data.subwords import bucket, rows_of_all, subwords
from earnest.data.word2vec_format import read_word2vec, write_word2vec
from earnest.data.word_vectors import WordVectors


@pytest.fixture
def vectors() -> WordVectors:
    words = tuple(f"w{i}" for i in range(30))
    return WordVectors(words, default_rng(0).normal(size=(30, 7)).astype(np.float32))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def test_neighbours_are_the_nearest_by_cosine(vectors: WordVectors) -> None:
    found = vectors.similar("w3", num=5)
    expected = sorted(
        ((cosine(vectors.array[3], vectors.array[i]), f"w{i}") for i in range(30) if i != 3), reverse=True
    )
    assert [one.word for one in found] == [word for _, word in expected[:5]]
    np.testing.assert_allclose([one.score for one in found], [score for score, _ in expected[:5]], rtol=1e-5)
    assert vectors.similarity("w3", found[0].word) == pytest.approx(found[0].score, rel=1e-5)
    assert len(vectors.similar("w3", num=1000)) == 29


def test_analogies_by_sums_and_by_products(vectors: WordVectors) -> None:
    rest = [i for i in range(30) if i not in (1, 2, 4)]
    cosines = {(i, j): cosine(vectors.array[i], vectors.array[j]) for i in rest for j in (1, 2, 4)}
    added = max(rest, key=lambda i: cosines[i, 1] + cosines[i, 2] - cosines[i, 4])
    unit = [(1 + cosines[i, 1]) / 2 * (1 + cosines[i, 2]) / 2 / ((1 + cosines[i, 4]) / 2 + 1e-3) for i in rest]
    assert vectors.similar(["w1", "w2"], minus="w4")[0].word == f"w{added}"
    best = vectors.similar(["w1", "w2"], minus="w4", multiply=True)[0]
    assert best.word == f"w{rest[int(np.argmax(unit))]}"
    assert best.score == pytest.approx(max(unit), rel=1e-5)


def test_a_word_without_a_vector_is_named(vectors: WordVectors) -> None:
    with pytest.raises(OptionError, match=r"no word 'v3'.*did you mean"):
        vectors.similar("v3")
    with pytest.raises(OptionError, match="at least one word"):
        vectors.similar([])
    with pytest.raises(OptionError, match="--num is 0"):
        vectors.similar("w1", num=0)
    lower = WordVectors(vectors.words, vectors.array, lowercase=True)
    assert lower.similar("W3")[0] == lower.similar("w3")[0]


def test_subwords_are_the_paper_s_and_hashed_by_fnv() -> None:
    assert subwords("where")[:5] == ["<wh", "whe", "her", "ere", "re>"]
    assert "<where>" not in subwords("where")
    assert subwords("a") == [] or all(3 <= len(run) <= 6 for run in subwords("a"))
    assert bucket("a", 2**32) == 0xE40C292C, "a published value of FNV-1a"
    assert bucket("foobar", 2**32) == 0xBF9CF968
    starts, rows = rows_of_all(["cat", "where"], 1000)
    assert rows[starts[0]] == 0
    assert rows[starts[1]] == 1
    assert rows[starts[0] + 1 : starts[1]].tolist() == [2 + bucket(run, 1000) for run in subwords("cat")]


def test_words_never_seen_have_the_mean_of_their_parts(vectors: WordVectors) -> None:
    parts = default_rng(1).normal(size=(50, 7)).astype(np.float32)
    with_parts = WordVectors(vectors.words, vectors.array, subwords=parts)
    expected = np.mean([parts[bucket(run, 50)] for run in subwords("unseen")], axis=0)
    np.testing.assert_allclose(with_parts.vector("unseen"), expected, rtol=1e-5)
    assert "unseen" in with_parts
    assert "unseen" not in vectors
    assert len(with_parts.similar("unseen", num=3)) == 3


def test_the_text_format_by_hand(tmp_path: Path) -> None:
    vectors = WordVectors(("ä", "b"), np.array([[0.1, -2], [3e-9, 4]], np.float32))
    write_word2vec(tmp_path / "v.txt", vectors)
    assert (tmp_path / "v.txt").read_text() == "2 2\nä 0.1 -2.0\nb 3e-09 4.0\n"
    (tmp_path / "other.txt").write_text("2 3\nx 1 2 3 \ny 4 5.5 -6e2\n")
    other = read_word2vec(tmp_path / "other.txt")
    assert other.words == ("x", "y")
    assert other.array.tolist() == [[1, 2, 3], [4, 5.5, -600]]


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_the_binary_format_by_hand(tmp_path: Path, ending: bytes) -> None:
    rows = b"".join(
        w.encode() + b" " + struct.pack("<2f", *v) + ending for w, v in (("ä", (0.5, 10.0)), ("b", (-1, 2)))
    )
    (tmp_path / "v.bin").write_bytes(b"2 2\n" + rows)
    read = read_word2vec(tmp_path / "v.bin")
    assert read.words == ("ä", "b")
    assert read.array.tolist() == [[0.5, 10.0], [-1, 2]]
    if ending:
        write_word2vec(tmp_path / "w.bin", read)
        assert (tmp_path / "w.bin").read_bytes() == b"2 2\n" + rows


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_both_formats_give_back_what_was_written(vectors: WordVectors, tmp_path: Path, name: str) -> None:
    write_word2vec(tmp_path / name, vectors)
    again = read_word2vec(tmp_path / name)
    assert again.words == vectors.words
    assert np.array_equal(again.array, vectors.array)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match="cut off or damaged"):
        read_word2vec(tmp_path / name)
    (tmp_path / name).write_bytes(b"hello\n")
    with pytest.raises(DataError, match="does not begin with"):
        read_word2vec(tmp_path / name)


def test_a_word_with_a_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'a b' has a space"):
        write_word2vec(tmp_path / "v.txt", WordVectors(("a b",), np.ones((1, 2), np.float32)))


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_gensim_reads_and_writes_the_same(vectors: WordVectors, tmp_path: Path, name: str) -> None:
    models = pytest.importorskip("gensim.models")
    binary = name.endswith(".bin")
    write_word2vec(tmp_path / name, vectors)
    theirs = models.KeyedVectors.load_word2vec_format(str(tmp_path / name), binary=binary)
    assert tuple(theirs.index_to_key) == vectors.words
    np.testing.assert_allclose(theirs.vectors, vectors.array, rtol=1e-6)
    theirs.save_word2vec_format(str(tmp_path / f"their-{name}"), binary=binary)
    np.testing.assert_allclose(read_word2vec(tmp_path / f"their-{name}").array, vectors.array, rtol=1e-6)


# What they are tested with


def test_pairs_are_read_between_commas_tabs_or_spaces(tmp_path: Path) -> None:
    for separator, name in ((",", "a.csv"), ("\t", "a.tsv"), (" ", "a.txt")):
        lines = ["# a comment", separator.join(["word1", "word2", "score"])]
        lines += [separator.join([f"a{i}", f"b{i}", str(i / 2)]) for i in range(12)]
        (tmp_path / name).write_text("\n".join(lines))
        found = read_word_test(tmp_path / name)
        assert isinstance(found, WordPairs)
        assert found.name == "a"
        assert found.pairs[3] == ("a3", "b3")
        assert found.judged.tolist() == [i / 2 for i in range(12)]


def test_analogies_are_read_with_their_kinds(tmp_path: Path) -> None:
    lines = [": capitals", *["Athens Greece Oslo Norway"] * 8, ": plurals", *["cat cats dog dogs"] * 4]
    (tmp_path / "q.txt").write_text("\n".join(lines))
    found = read_word_test(tmp_path / "q.txt")
    assert isinstance(found, Analogies)
    assert found.questions[0] == ("Athens", "Greece", "Oslo", "Norway")
    assert found.sections == ("capitals",) * 8 + ("plurals",) * 4


@pytest.mark.parametrize("text", ["", "a,b,1\n" * 3, "a,b,1\n" * 12 + "only two\n", "a b\n" * 20])
def test_what_is_neither_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=r"a\.csv"):
        read_word_test(tmp_path / "a.csv")
