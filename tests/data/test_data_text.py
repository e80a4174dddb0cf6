"""Texts to TF-IDF and its projection: held to scikit-learn's, and to the same answers however texts are dealt out."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from earnest.data import text
from earnest.data.text import DENSE_WIDTH, TextEncoder


def texts(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    words = [f"Word{i}" for i in range(90)] + ["Größe", "2024"]
    return [" ".join(generator.choices(words, k=generator.randint(2, 15))) for _ in range(count)]


def test_tf_idf_is_scikit_learns() -> None:
    train, test = texts(120, 1), texts(30, 2)
    encoder = TextEncoder.fit(train)
    oracle = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\w+").fit(train)
    columns = np.argsort(encoder.terms)
    assert [encoder.terms[i] for i in columns] == oracle.get_feature_names_out().tolist()
    expected = oracle.transform(test).toarray()
    np.testing.assert_allclose(encoder.sparse(test).toarray()[:, columns], expected, rtol=1e-5, atol=1e-6)


def test_dense_texts_keep_what_tells_texts_apart() -> None:
    train = texts(300, 3)
    encoder = TextEncoder.fit(train)
    dense = encoder.dense(encoder.sparse(train))
    assert dense.shape == (300, DENSE_WIDTH)
    np.testing.assert_allclose(dense.std(axis=0), 1, rtol=1e-3)
    words = encoder.sparse(train).toarray()[:, : len(encoder.words)]
    best = np.linalg.svd(words, compute_uv=False)[:DENSE_WIDTH]
    assert np.sum((words @ np.linalg.qr(encoder.projection)[0]) ** 2) > 0.98 * np.sum(best**2)


@pytest.mark.parametrize("train", [[None, None], ["", "!!"], ["one"], ["天気がいい", "今日は天気"]])
def test_texts_with_little_in_them(train: list[str | None]) -> None:
    encoder = TextEncoder.fit(train)
    new = encoder.sparse([*train, "nothing known", None])
    assert new.shape == (len(train) + 2, len(encoder.terms))
    assert np.isfinite(new.data).all()
    assert np.isfinite(encoder.dense(new)).all()
    assert new[[-1]].nnz == 0


def test_the_commonest_terms_are_kept_words_before_pairs() -> None:
    train = texts(300, 4)
    every = TextEncoder.fit(train)
    for max_terms in (5, 60, 200):
        few = TextEncoder.fit(train, max_terms=max_terms)
        assert len(few.terms) == len(few.idf) == max_terms
        rarity = dict(zip(every.terms, every.idf, strict=True))
        left_out = [rarity[term] for term in every.terms if term not in few.terms]
        assert max(rarity[term] for term in few.terms) <= min(left_out)
        assert all(part in few.terms for term in few.terms for part in term.split())


def test_block_by_block_is_as_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = texts(200, 5), [*texts(50, 6), "", None, "Word1 " * 500]
    whole = TextEncoder.fit(train)
    expected = whole.sparse(test)
    monkeypatch.setattr(text, "BLOCK", 700)
    dealt_out = TextEncoder.fit(train)
    assert dealt_out.terms == whole.terms
    np.testing.assert_array_equal(dealt_out.idf, whole.idf)
    assert (dealt_out.sparse(test) != expected).nnz == 0
    alone = [whole.sparse([one]).toarray()[0] for one in test]
    np.testing.assert_array_equal(expected.toarray(), alone)


def test_the_state_is_plain_and_gives_the_same_encoder() -> None:
    train, test = texts(200, 7), texts(40, 8)
    encoder = TextEncoder.fit(train)
    facts, arrays = encoder.to_state()
    again = TextEncoder.from_state(json.loads(json.dumps(facts)), arrays)
    assert again.terms == encoder.terms
    sparse = encoder.sparse(test)
    assert (again.sparse(test) != sparse).nnz == 0
    np.testing.assert_array_equal(again.dense(sparse), encoder.dense(sparse))


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("Don't STOP", {"don", "t", "stop", "don t", "t stop"}),
        ("हिन्दी में", {"हिन्दी", "में", "हिन्दी में"}),
        ("天気 good", {"天", "気", "good", "天 気", "気 good"}),
        ("😀 ok🎉", {"😀", "ok", "🎉", "😀 ok", "ok 🎉"}),
        ("مرحبا بالعالم", {"مرحبا", "بالعالم", "مرحبا بالعالم"}),
        ("a\0b", {"a", "b", "a b"}),
        (" \t!?", set()),
    ],
)
def test_words_of_many_scripts(written: str, terms: set[str]) -> None:
    encoder = TextEncoder.fit([written, written])
    assert set(encoder.terms) == terms


def test_one_endless_text_among_others() -> None:
    train = [*texts(100, 9), "word1 word2 " * 200_000]
    encoder = TextEncoder.fit(train)
    np.testing.assert_allclose(np.sqrt(encoder.sparse(train).power(2).sum(axis=1)), 1, rtol=1e-5)
