"""Words as numbers: which, of which characters, how written; and batches that carry them beside the ids."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.core.words import Step
from earnest.data.ragged import Ragged
from earnest.data.text_batches import IGNORED, TextBatches
from earnest.data.words import MOST_CHARACTERS, NUM_SHAPES, WordEncoder, shape

RANDOM = np.random.default_rng()


def sentences(num: int = 40) -> list[list[str]]:
    words = ["The", "the", "EU", "iPhone", "1990s", "7", ".", "n't", "Straße", "東京", "🙂", "a" * 60]
    return [[str(word) for word in RANDOM.choice(words, RANDOM.integers(1, 12))] for _ in range(num)]


def test_words_characters_and_shapes_are_those_of_each_word() -> None:
    known = sentences()
    encoder = WordEncoder.fit(known, more=["paris", "the"])
    encoded = encoder.encode(known)
    names = {number: word for word, number in encoder.words.library.get_vocab().items()}
    letters = {number: character for character, number in encoder.characters.library.get_vocab().items()}
    for row, words in enumerate(known):
        assert [names[i] for i in encoded.ids[row]] == [word.lower() for word in words]
        assert encoded.shapes[row].tolist() == [shape(word) for word in words]
        for word, line in zip(words, encoded.characters[row], strict=True):
            assert "".join(letters[i] for i in line if i) == word[:MOST_CHARACTERS]
            assert (np.diff((line > 0).astype(int)) <= 0).all()
    assert encoder.encode([["Paris", "unheard", ""]]).ids[0].tolist()[1:] == [1, 1]
    assert names[int(encoder.encode([["PARIS"]]).ids[0][0])] == "paris"
    assert encoder.cardinalities == (max(names) + 1, max(letters) + 1, NUM_SHAPES)


def test_rare_words_are_not_known_and_the_encoder_comes_back_from_json() -> None:
    encoder = WordEncoder.fit([["a", "b", "A"], ["c"]], min_count=2)
    assert encoder.encode([["a", "b", "c", "A"]]).ids[0].tolist() == [2, 1, 1, 2]
    known = sentences()
    encoder = WordEncoder.fit(known)
    back = WordEncoder.from_state(json.loads(json.dumps(encoder.to_state())))
    for name in ("ids", "characters", "shapes"):
        assert np.array_equal(getattr(back.encode(known), name).values, getattr(encoder.encode(known), name).values)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(("word", 1), ("ça", 1), ("Word", 2), ("I", 2), ("EU", 3), ("U.S.", 3), ("iPhone", 4)),
        *(("1,990", 5), ("1990s", 6), ("-", 7), ("", 7), ("🙂", 7)),
    ],
)
def test_shapes_tell_how_a_word_is_written(word: str, expected: int) -> None:
    assert shape(word) == expected


@given(st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=5), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_words_have_a_number_each(many: list[list[str]]) -> None:
    encoded = WordEncoder.fit([["a", "bc"]]).encode(many)
    assert encoded.ids.lengths.tolist() == [len(words) for words in many]
    assert (encoded.ids.values > 0).all()
    assert (encoded.characters.values[:, 0] > 0).all()
    assert ((encoded.shapes.values > 0) & (encoded.shapes.values < NUM_SHAPES)).all()


def test_batches_carry_what_is_beside_the_ids() -> None:
    known = sentences()
    encoder = WordEncoder.fit(known)
    encoded = encoder.encode(known)
    tags = Ragged.of([np.full(len(words), row) for row, words in enumerate(known)])
    numbers = RANDOM.normal(size=(len(known), 3))
    beside = (encoded.characters, encoded.shapes, numbers, encoded.ids.lengths)
    batches = TextBatches(encoded.ids, tags, np.arange(40), batch_size=7, beside=beside, shuffle=True)
    for batch in batches.batches(Step(seed=4)):
        ids, lengths, characters, shapes, others, counts = batch.inputs
        assert batch.rows is not None
        assert batch.targets is not None
        assert characters.shape == (*ids.shape, characters.shape[2])
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        assert torch.equal(shapes > 0, real)
        assert torch.equal(characters[..., 0] > 0, real)
        assert torch.equal(batch.targets == IGNORED, ~real)
        assert np.array_equal(others.numpy(), numbers[batch.rows.numpy()])
        assert torch.equal(counts, lengths)
        for line, row, length in zip(characters, batch.rows.tolist(), lengths.tolist(), strict=True):
            assert line[:length].tolist() == encoded.characters[row].tolist()
