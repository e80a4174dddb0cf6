"""Typed columns to arrays: held to the papers' formulas and to the training rows alone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from earnest.core.errors import DataError
from earnest.data.columns import infer
from earnest.data.dataset import Column
from earnest.data.encode import MAX_LABELS, EncodedTable, TableEncoder

ARRAYS = ("numbers", "scaled", "codes", "text_dense")


def table(num_rows: int, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    words = [f"word{i}" for i in range(40)]
    start = datetime(2020, 2, 28, 13)
    number = generator.normal(size=num_rows) * 5
    return pl.DataFrame(
        {
            "number": pl.Series(number).set(pl.Series(generator.random(num_rows) < 0.2), None),
            "whole": generator.integers(0, 5, num_rows).astype(float),
            "town": pl.Series(generator.choice(["Bonn", "Ulm", "Köln", ""], num_rows)).replace("", None),
            "when": [start + timedelta(hours=int(h)) for h in generator.integers(0, 9000, num_rows)],
            "words": [" ".join(generator.choice(words, generator.integers(0, 12))) or None for _ in range(num_rows)],
        }
    )


COLUMNS = (
    Column("number", "number", ""),
    Column("whole", "number", ""),
    Column("town", "category", ""),
    Column("when", "date", ""),
    Column("words", "text", ""),
)


def same(first: EncodedTable, second: EncodedTable) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.text_sparse is not None
    assert second.text_sparse is not None
    assert (first.text_sparse != second.text_sparse).nnz == 0


def test_shapes_names_and_types() -> None:
    frame = table(200, 1)
    encoder = TableEncoder.fit(frame, COLUMNS)
    encoded = encoder.transform(frame)
    parts = ("days", "year", "month", "weekday", "hour")
    assert encoded.names == ("number", "whole", *(f"when ({part})" for part in parts), "town")
    assert encoded.numbers.shape == (200, 7)
    assert encoded.scaled.shape == (200, 8)
    assert encoded.codes.shape == (200, 1)
    assert encoder.cardinalities == (4,)
    assert encoded.numbers.dtype == encoded.scaled.dtype == np.float32
    assert encoded.codes.dtype == np.int64
    assert np.isfinite(encoded.scaled).all()
    assert np.isnan(encoded.numbers[:, 0]).sum() == frame["number"].null_count() > 0
    assert encoded.trees_numbers().shape == (200, 7 + encoded.text_dense.shape[1])  # type: ignore[union-attr]
    assert np.isfinite(encoded.network_numbers()).all()


def test_numbers_are_scaled_as_realmlp_says() -> None:
    frame = table(300, 2)
    encoded = TableEncoder.fit(frame, COLUMNS).transform(frame)
    values = frame["number"].to_numpy()
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    ratio = (values - middle) / (high - low)
    expected = np.where(np.isnan(values), 0.0, ratio / np.sqrt(1 + (ratio / 3) ** 2))
    np.testing.assert_allclose(encoded.scaled[:, 0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(encoded.scaled[:, -1], np.isnan(values))


def test_a_number_that_is_mostly_one_value_is_scaled_by_its_range() -> None:
    frame = pl.DataFrame({"x": [0.0] * 90 + [4.0] * 5 + [-2.0] * 5})
    encoded = TableEncoder.fit(frame, [Column("x", "number", "")]).transform(frame)
    ratio = np.array([0.0] * 90 + [4.0] * 5 + [-2.0] * 5) * 2 / 6
    np.testing.assert_allclose(encoded.scaled[:, 0], ratio / np.sqrt(1 + (ratio / 3) ** 2), rtol=1e-6)


def test_dates_are_taken_apart() -> None:
    frame = table(100, 3)
    encoded = TableEncoder.fit(frame, COLUMNS).transform(frame)
    for row, moment in enumerate(frame["when"].to_list()):
        days, *parts = encoded.numbers[row, 2:7].tolist()
        assert parts == [moment.year, moment.month, moment.isoweekday(), moment.hour]
        assert days == pytest.approx((moment - datetime(2000, 1, 1)).total_seconds() / 86400, abs=1e-3)


def test_codes_go_by_frequency_and_unseen_labels_have_none() -> None:
    train = pl.DataFrame({"c": ["b"] * 5 + ["a"] * 3 + ["d"] * 3 + [None]})
    encoder = TableEncoder.fit(train, [Column("c", "category", "")])
    new = pl.DataFrame({"c": ["a", "b", "d", "z", None, " b "]})
    assert encoder.transform(new).codes[:, 0].tolist() == [2, 1, 3, 0, 0, 1]
    assert encoder.cardinalities == (4,)


def test_a_crowded_category_keeps_its_frequent_labels() -> None:
    labels = [f"l{i}" for i in range(MAX_LABELS + 50)]
    train = pl.DataFrame({"c": labels + labels[:MAX_LABELS]})
    encoder = TableEncoder.fit(train, [Column("c", "category", "")])
    codes = encoder.transform(pl.DataFrame({"c": [*labels, "never seen", None]})).codes[:, 0]
    assert sorted(codes[:MAX_LABELS].tolist()) == list(range(1, MAX_LABELS + 1))
    assert set(codes[MAX_LABELS:-1].tolist()) == {MAX_LABELS + 1}
    assert codes[-1] == 0
    assert encoder.cardinalities == (MAX_LABELS + 2,)


def test_only_the_training_rows_are_learned_from() -> None:
    train, test = table(150, 4), table(50, 5)
    encoder = TableEncoder.fit(train, COLUMNS)
    both = pl.concat([train, test])
    same(TableEncoder.fit(both[:150], COLUMNS).transform(test), encoder.transform(test))
    same(encoder.transform(both[:150]), encoder.transform(train))


def test_one_row_is_encoded_as_many_are() -> None:
    train, test = table(150, 6), table(40, 7)
    encoder = TableEncoder.fit(train, COLUMNS)
    whole = encoder.transform(test)
    for row in range(len(test)):
        single = encoder.transform(test[row])
        for name in ("numbers", "scaled", "codes"):
            np.testing.assert_array_equal(getattr(single, name)[0], getattr(whole, name)[row])
        np.testing.assert_allclose(single.text_dense[0], whole.text_dense[row], rtol=1e-5, atol=1e-6)  # type: ignore[index]


def test_the_state_is_plain_and_gives_the_same_encoder() -> None:
    train, test = table(150, 8), table(40, 9)
    encoder = TableEncoder.fit(train, COLUMNS)
    facts, arrays = encoder.to_state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
    again = TableEncoder.from_state(json.loads(json.dumps(facts)), arrays)
    same(again.transform(test), encoder.transform(test))
    assert again.cardinalities == encoder.cardinalities
    assert again.columns == encoder.columns


def test_strings_are_cast_as_the_training_file_was_written() -> None:
    raw = pl.DataFrame(
        {
            "price": [f"{1000 + 13 * i:,}".replace(",", ".") + ",5" for i in range(40)],
            "when": [f"{i % 28 + 1:02}/{i % 12 + 1:02}/2024" for i in range(40)],
        }
    )
    frame, columns = infer(raw)
    encoder = TableEncoder.fit(frame, columns)
    single = encoder.transform(pl.DataFrame({"price": ["1.234,5"], "when": ["02/03/2024"]}))
    assert single.numbers[0, 0] == 1234.5
    assert single.numbers[0, 2:4].tolist() == [2024, 3]
    assert single.notes == ()


def test_cells_that_do_not_fit_are_missing_and_counted() -> None:
    encoder = TableEncoder.fit(table(100, 10), COLUMNS)
    odd = table(5, 11).with_columns(number=pl.Series(["1", "two", None, "4", "?"]))
    encoded = encoder.transform(odd)
    assert encoded.numbers[:, 0].tolist()[::3] == [1.0, 4.0]
    assert np.isnan(encoded.numbers[[1, 2, 4], 0]).all()
    assert encoded.notes == ("1 cells of 'number' are no numbers and count as missing",)


def test_missing_columns_are_named() -> None:
    encoder = TableEncoder.fit(table(100, 12), COLUMNS)
    with pytest.raises(DataError, match=r"lacks the columns 'number', 'town'.* did you mean 'Number'"):
        encoder.transform(table(5, 13).drop("town").rename({"number": "Number"}))


def test_extreme_numbers_stay_finite() -> None:
    values = [0.0, 1.0, 2.0, 3.0, float("inf"), float("-inf"), 1e300, -1e300, 2.0**62, None]
    frame = pl.DataFrame({"x": values * 3, "empty": pl.Series([None] * 30, dtype=pl.Float64)})
    columns = [Column("x", "number", ""), Column("empty", "number", "")]
    encoder = TableEncoder.fit(frame, columns)
    encoded = encoder.transform(frame)
    assert np.isfinite(encoded.scaled).all()
    assert (np.abs(encoded.scaled) <= 3).all()
    assert np.isnan(encoded.numbers).sum() == 3 + 30
    assert not np.isinf(encoded.numbers).any()
    assert (encoded.scaled[:, 1] == 0).all()


def test_a_table_without_some_kinds_of_columns() -> None:
    frame = pl.DataFrame({"c": ["a", "b"] * 10})
    encoded = TableEncoder.fit(frame, [Column("c", "category", "")]).transform(frame)
    assert encoded.numbers.shape == encoded.scaled.shape == (20, 0)
    assert encoded.text_sparse is None
    assert encoded.text_dense is None
    assert len(encoded) == 20
