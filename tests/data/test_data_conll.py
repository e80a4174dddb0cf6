"""Tagged sentences: every scheme marks the same spans, what is read is what was written, broken lines are named."""

from __future__ import annotations

import gzip
import os
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import earnest.audit.run as audit
from earnest.core.errors import DataError, OptionError
from earnest.data.dataset import Dataset
from earnest.data.read import read, read_for_prediction
from earnest.data.readers.conll import is_conll, read_conll, read_tokens
from earnest.data.splits import folds, make_split
from earnest.data.tag_schemes import LETTERS, Span, detect, is_tag, spans, tag_names, write

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
RANDOM = np.random.default_rng()
TYPES = ("PER", "LOC", "work-of-art", "é")


def marked(num_tokens: int, *, types: tuple[str, ...] = TYPES) -> list[Span]:
    """Spans of a sentence of so many tokens, some right behind another."""
    found, place = [], 0
    while place < num_tokens:
        place += int(RANDOM.integers(0, 3))
        end = place + int(RANDOM.integers(1, 5))
        if end <= num_tokens:
            found.append((str(RANDOM.choice(types)), place, end))
        place = end
    return found


def corpus(num: int = 60) -> list[tuple[list[str], list[Span]]]:
    """Sentences and their spans; each sentence is one of its kind."""
    sentences = []
    for number in range(num):
        length = int(RANDOM.integers(1, 12))
        words = [
            str(RANDOM.choice(["café", "#tag", "Wörter", "🙂", "\u00a0", "x", "O", "B-PER"])) for _ in range(length)
        ]
        sentences.append(([f"w{number}", *words], marked(length + 1)))
    return sentences


def lines(sentences: list[tuple[list[str], list[Span]]], scheme: str = "IOB2", gap: str = " ") -> str:
    return "\n\n".join(
        "\n".join(gap.join((word, "NN", tag)) for word, tag in zip(words, write(of, len(words), scheme), strict=True))
        for words, of in sentences
    )


def found(dataset: Dataset) -> list[tuple[list[str], list[Span]]]:
    frame = dataset.frame
    return [(row["tokens"], spans(row["tags"])) for row in frame.iter_rows(named=True)]


def as_the_scorer(tags: list[str]) -> list[Span]:
    """Spans by the rules of conlleval.pl, written out."""
    result: list[Span] = []
    start: int | None = None
    for i in range(len(tags) + 1):
        letter, _, kind = tags[i].partition("-") if i < len(tags) else ("O", "", "")
        before, _, old = tags[i - 1].partition("-") if i else ("O", "", "")
        ends = before in ("E", "S") or (before in "BI" and letter in ("B", "S", "O")) or (before != "O" and kind != old)
        begins = letter in ("B", "S") or (before in ("E", "S", "O") and letter in ("E", "I"))
        begins = begins or (letter != "O" and kind != old)
        if ends and start is not None:
            result.append((old, start, i))
            start = None
        if begins:
            start = i
    return result


@given(st.lists(st.sampled_from(["O", *(f"{letter}-{kind}" for letter, kind in product("BIES", "ab"))]), max_size=9))
@settings(max_examples=400, deadline=None)
def test_spans_are_those_of_the_conll_scorer_however_ill_formed(tags: list[str]) -> None:
    assert spans(tags) == as_the_scorer(tags)
    assert spans(write(spans(tags), len(tags))) == spans(tags)


@pytest.mark.parametrize("scheme", LETTERS)
def test_every_scheme_marks_the_same_spans_and_is_told_from_the_others(scheme: str) -> None:
    every = [(length, marked(length)) for length in RANDOM.integers(1, 30, 60).tolist()]
    tags = [write(of, length, scheme) for length, of in every]
    assert [spans(sentence) for sentence in tags] == [of for _, of in every]
    assert detect(tags) == (scheme, 0)
    assert all(is_tag(tag) for sentence in tags for tag in sentence)
    assert tag_names(tags)[0] == "O"
    assert set(tag_names(tags)[1:]) == {f"{letter}-{kind}" for letter, kind in product("BI", TYPES)}


def test_ill_formed_tags_are_counted() -> None:
    good = [write(marked(20), 20) for _ in range(30)]
    assert detect([*good, ["O", "I-PER", "I-PER", "O", "I-LOC"], ["B-PER", "I-LOC"]]) == ("IOB2", 3)
    assert detect([["I-a", "I-a", "O"], ["I-a", "B-a"], ["I-b", "I-a"]]) == ("IOB1", 0)
    assert detect([["B"], ["B", "I"], ["O"]]) == ("IOB2", 0)
    for tag in ("", "X-PER", "BPER", "b-PER", "B-", "O-PER", "0", "NN", "-"):
        assert not is_tag(tag)


@pytest.mark.parametrize("gap", ["\t", " ", "  \t "])
@pytest.mark.parametrize("scheme", ["IOB2", "IOB1", "BIOES"])
def test_what_was_written_is_read(tmp_path: Path, gap: str, scheme: str) -> None:
    sentences = corpus()
    text = lines(sentences, scheme, gap)
    (tmp_path / "a.conll").write_bytes(text.encode())
    (tmp_path / "crlf.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    (tmp_path / "b.iob.gz").write_bytes(gzip.compress(("-DOCSTART- -X- O\n\n\n" + text + " \n \t\n").encode()))
    commented = "# id 7\n# text = the B-cell\n" + text.replace("\n\n", "\n\n# id 8\n#\n")
    (tmp_path / "c.bio").write_bytes(commented.encode())
    reads = [read(path) for path in sorted(tmp_path.iterdir())]
    for dataset in reads:
        assert found(dataset) == sentences
        assert dataset.frame["tags"].to_list() == [write(of, len(words)) for words, of in sentences]
        assert any(scheme in note for note in dataset.notes) == (scheme != "IOB2")
        assert scheme in dataset.column("tags").reason
        assert [(c.name, c.kind, c.role) for c in dataset.columns] == [
            ("tokens", "tokens", "input"),
            ("tags", "tags", "target"),
        ]
        assert dataset.digests.tolist() == reads[0].digests.tolist()
    number = int(reads[0].names[7].removeprefix("line "))
    assert text.split("\n")[number - 1].split()[0] == "w7"
    assert len({dataset.fingerprint for dataset in reads}) == len(reads)


def test_columns_between_with_few_values_are_kept_beside_the_tokens(tmp_path: Path) -> None:
    rng = np.random.default_rng()
    rows = [[f"w{n}", "NN" if rng.random() < 0.5 else "VB", f"id{n}", "-", "B-a" if n % 3 else "O"] for n in range(300)]
    rows[0][1], rows[1][1] = "NN", "VB"
    path = tmp_path / "a.conll"
    path.write_text("\n".join(" ".join(row) + "\n" * (n % 7 == 6) for n, row in enumerate(rows)) + "\n")
    dataset = read_conll(path)
    assert [(c.name, c.role) for c in dataset.columns] == [
        ("tokens", "input"),
        ("column 2", "beside"),
        ("tags", "target"),
    ]
    assert dataset.frame["column 2"].explode().to_list() == [row[1] for row in rows]
    assert dataset.frame["column 2"].list.len().to_list() == dataset.frame["tokens"].list.len().to_list()
    path.write_text(path.read_text().replace(" NN ", " VB "))
    assert read_conll(path).digests.tolist() == dataset.digests.tolist()
    assert read_tokens(path).frame.columns == ["tokens"]


def test_files_of_other_widths_have_nothing_beside_them(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("a N B-x\nb V O\n")
    (tmp_path / "test.conll").write_text("a B-x\nb O\n")
    assert read_conll(tmp_path).frame.columns == ["tokens", "tags"]


def test_parts_are_told_by_the_names_of_a_folders_files(tmp_path: Path) -> None:
    every = {name: corpus(8) for name in ("eng.testb", "eng.testa", "my17train.conll.gz", "other.conll")}
    for name, sentences in every.items():
        raw = lines(sentences).encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    (tmp_path / "README.md").write_text("a table of tags")
    (tmp_path / "LICENSE").write_text("free\n")
    dataset = read(tmp_path)
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train"] * 8 + ["validation"] * 8 + ["test"] * 8
    assert found(dataset) == [*every["my17train.conll.gz"], *every["eng.testa"], *every["eng.testb"]]
    assert dataset.names[8].startswith("eng.testa: line ")
    assert any("other.conll" in note for note in dataset.notes)
    (tmp_path / "my17train.conll.gz").unlink()
    assert read_conll(tmp_path).part is None
    assert len(read_conll(tmp_path)) == 24


def test_test_files_are_set_aside_and_options_name_no_columns(tmp_path: Path) -> None:
    first, second = corpus(30), corpus(10)
    (tmp_path / "a.conll").write_text(lines(first), encoding="utf-8")
    (tmp_path / "b.conll").write_text(lines(second, "BIOES", "\t"), encoding="utf-8")
    dataset = read(tmp_path / "a.conll", target="tags", split="random", test=tmp_path / "b.conll")
    assert found(dataset) == [*first, *second]
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train"] * 30 + ["test"] * 10
    assert not any("none of them will be found" in note for note in dataset.notes)
    (tmp_path / "c.conll").write_text(lines(second) + "\nx NN B-new\n", encoding="utf-8")
    assert any("no span of new" in note for note in read(tmp_path / "a.conll", test=tmp_path / "c.conll").notes)
    for options in ({"target": "label"}, {"group": "id"}, {"time": "t"}, {"split": "part"}, {"kinds": {"x": "id"}}):
        with pytest.raises(OptionError, match="holds sentences and their tags"):
            read(tmp_path / "a.conll", **options)  # type: ignore[arg-type]


def test_splits_and_the_audit_take_sentences(tmp_path: Path) -> None:
    sentences = corpus(80)
    sentences[40:44] = [sentences[0]] * 4
    (tmp_path / "a.conll").write_text(lines(sentences), encoding="utf-8")
    dataset = read(tmp_path / "a.conll")
    assert len(set(dataset.digests.tolist())) == 76
    split = make_split(dataset, seed=3, classification=False)
    sides = [set(dataset.digests[part].tolist()) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, sides)) == 76
    parts = folds(dataset, split.train, num_folds=3, seed=0, classification=False)
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == split.train.tolist()
    assert [finding["check"] for finding in audit.audit(dataset, split)["findings"]] == ["duplicates"]
    assert found(dataset.take(np.array([5, 0]))) == [sentences[5], sentences[0]]


def test_sentences_to_predict_need_no_tags(tmp_path: Path) -> None:
    sentences = corpus(20)
    (tmp_path / "tagged.conll").write_text(lines(sentences), encoding="utf-8")
    words = "\n\n".join("\n".join(words) for words, _ in sentences)
    (tmp_path / "bare.txt").write_text(words + "\n", encoding="utf-8")
    learned = read(tmp_path / "tagged.conll")
    for dataset in (
        read_for_prediction(tmp_path / "tagged.conll"),
        read_for_prediction(tmp_path / "bare.txt", columns=learned.inputs()),
        read_tokens(tmp_path / "bare.txt"),
    ):
        assert dataset.frame.columns == ["tokens"]
        assert dataset.frame["tokens"].to_list() == [words for words, _ in sentences]
        assert dataset.digests.tolist() == learned.digests.tolist()


GOOD = "EU NNP B-ORG\nrejects VBZ O\n\nGerman JJ B-MISC\ncall NN O\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("\n \r\n", "empty"),
        ("-DOCSTART- -X- O\n\n", "no sentence"),
        (GOOD + "to\n", r"line 6 has 1 column \('to'\) where the others have 3"),
        (GOOD + "to the end O\n", r"line 6 has 4 columns"),
        (GOOD + "Peter NNP PER\n", r"line 6 ends in 'PER', which is no tag"),
        (GOOD + "# NN X-B\n\n" + GOOD, "line 6 ends in 'X-B'"),
        ("EU\nrejects\n\nGerman\n", "line 1 holds a token, 'EU', and no tag"),
        ("EU NNP\nrejects VBZ\n", "line 1 ends in 'NNP', which is no tag"),
        ("EU\tB-ORG\n\tO\nx\tO\n", "line 2 begins with an empty token"),
        ("EU O\nrejects O\n", "every token is tagged O"),
        (GOOD + "a\0b NN O\n", "line 6 holds a NUL byte"),
    ],
)
def test_what_cannot_be_learned_from_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.conll"
    path.write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_and_other_texts_are_not_taken_for_conll(tmp_path: Path) -> None:
    tables = {
        "a.txt": "id\tblood\n" + "1\tB\n2\tO\n3\tAB\n" * 9,
        "b.tsv": "text\tlabel\nsome words\tO\nothers\tO\n",
        "c.csv": lines(corpus()),
        "d.txt": "To be, or not to be.\n",
        "e.txt": "",
        "f.png": lines(corpus()),
    }
    for name, content in tables.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert not is_conll(tmp_path / name)
    assert not is_conll(tmp_path)
    assert not is_conll(tmp_path / "none.conll")
    (tmp_path / "g.txt.gz").write_bytes(b"no gzip")
    assert not is_conll(tmp_path / "g.txt.gz")
    assert read(tmp_path / "a.txt", target="blood").frame.columns == ["id", "blood"]
    (tmp_path / "h.tsv").write_text(lines(corpus(5000)) + "\nlast", encoding="utf-8")
    assert is_conll(tmp_path / "h.tsv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no CoNLL file"):
        read_tokens(tmp_path / "empty")


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=120))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_sentences_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.conll"
    for content in (text, GOOD + text, "x B-a\n" + text):
        path.write_text(content, encoding="utf-8", newline="")
        try:
            dataset = read_conll(path)
        except DataError:
            continue
        assert all(len({len(cell) for cell in row}) == 1 and row[0] for row in dataset.frame.iter_rows())
        assert all(is_tag(tag) for tag in dataset.frame["tags"].explode())


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not here")
def test_real_sentences(tmp_path: Path) -> None:
    with zipfile.ZipFile(DATA / "conll2000" / "conll2000.zip") as archive:
        archive.extractall(tmp_path)
    chunks = read(tmp_path / "conll2000")
    assert chunks.part is not None
    assert [(chunks.part == name).sum() for name in ("train", "test")] == [8936, 2012]
    test = chunks.frame.filter(pl.Series(chunks.part == "test"))
    assert sum(len(spans(tags)) for tags in test["tags"]) == 23_852
    assert test["tokens"].list.len().sum() == 47_377
    emerging = read(DATA / "ner-wnut17")
    assert emerging.part is not None
    assert [(emerging.part == name).sum() for name in ("train", "validation", "test")] == [3394, 1009, 1287]
    assert {f"B-{name}" for name in ("person", "location", "group", "product", "corporation", "creative-work")} == {
        tag for tag in tag_names(emerging.frame["tags"]) if tag.startswith("B")
    }
    wiki = read(DATA / "ner-wikigold")
    assert wiki.frame["tokens"].list.len().sum() == 39_007
    assert "IOB1" in wiki.column("tags").reason
