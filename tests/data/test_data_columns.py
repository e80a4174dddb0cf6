"""Kinds are inferred as a person would, what is stated wins, and roles and targets are checked before anything else."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earnest.core.errors import DataError, OptionError
from earnest.data.columns import assign_roles, conform, infer, target_task
from earnest.data.dataset import Column, Dataset
from earnest.data.digests import row_digests
from earnest.data.matching import match_labels

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "nobody", "was", "looking"]


def one(values: list[object], name: str = "x") -> Column:
    """What a column of these values is taken for, beside one that is no constant."""
    return infer(pl.DataFrame({name: values}, strict=False))[1][0]


def dataset(frame: pl.DataFrame) -> Dataset:
    cast, columns = infer(frame)
    return Dataset(
        source="table.csv",
        frame=cast,
        columns=columns,
        rows=np.arange(len(frame)),
        names=tuple(f"line {i + 2}" for i in range(len(frame))),
        digests=row_digests(cast, columns),
        fingerprint="0",
    )


def people(num_rows: int = 60) -> pl.DataFrame:
    generator = random.Random(num_rows)
    return pl.DataFrame(
        {
            "age": [str(generator.randint(20, 90)) for _ in range(num_rows)],
            "town": generator.choices(["Bonn", "Ulm", "Köln"], k=num_rows),
            "household": [str(i // 3) for i in range(num_rows)],
            "day": [f"2024-01-{1 + i % 28:02}" for i in range(num_rows)],
            "income": generator.choices(["low", "high"], k=num_rows),
        }
    )


def sentences(count: int) -> list[str]:
    generator = random.Random(count)
    return [" ".join(generator.choices(WORDS, k=9)) for _ in range(count)]


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([str(i % 5 + 1) for i in range(50)], "number", "5 distinct whole numbers from 1 to 5: an ordered scale"),
        ([str(i % 2) for i in range(50)], "number", "two whole numbers"),
        ([str(i / 7) for i in range(50)], "number", "numbers from 0 to 7"),
        (["1", "2", "", "3.5"] * 9, "number", "9 missing"),
        ([*[str(i) for i in range(200)], "unknown", "unknown"], "number", "2 cells such as 'unknown'"),
        (["yes", "no"] * 20, "category", "2 distinct labels"),
        ([f"{i % 30:05}" for i in range(90)], "category", "30 distinct labels"),
        (sentences(80), "text", "words on average"),
        ([f"{random.Random(i).getrandbits(64):x}" for i in range(80)], "id", "a label for each row"),
        ([str(i + 1) for i in range(80)], "id", "counts the rows"),
        (["7"] * 30, "constant", "always '7'"),
        (["?"] * 30, "constant", "every value is missing"),
        (["7", ""] * 30, "number", "30 missing"),
        ([f"2024-03-{i % 31 + 1:02}" for i in range(60)], "date", "year-month-day, from 2024-03-01 to 2024-03-31"),
        ([f"{i % 28 + 1}/{i % 12 + 1}/2024" for i in range(60)], "date", "day/month/year"),
        ([f"{i % 12 + 1}/{i % 28 + 1}/2024" for i in range(60)], "date", "month/day/year"),
        (["1/2/2024", "5/1/2024", "2/2/2024"] * 9, "date", "day/month/year would fit as well"),
        ([f"2024-01-02T{i % 24:02}:30:00Z" for i in range(60)], "date", "hour:minute:second"),
        ([1.5, 2.5, None] * 9, "number", "9 missing"),
        ([True, False] * 9, "category", "2 distinct labels"),
    ],
)
def test_kinds(values: list[object], kind: str, says: str) -> None:
    column = one(values)
    assert column.kind == kind
    assert says in column.reason
    assert column.role == ("aside" if kind in ("id", "constant") else "input")


def test_ids_by_name_and_years_that_are_none() -> None:
    generator = random.Random(3)
    codes = [str(generator.randint(1, 10**9)) for _ in range(100)]
    assert one(codes, "customer_id").kind == "id"
    assert one(codes, "customerId").kind == "id"
    assert one(codes, "paid").kind == "number"
    assert one([str(1900 + i) for i in range(100)], "year").kind == "number"


@pytest.mark.parametrize(
    "style", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%d %b %Y", "%Y-%m-%d %H:%M:%S", "%B %d, %Y"]
)
def test_dates_are_the_ones_that_were_written(style: str) -> None:
    start = datetime(2019, 12, 25)
    moments = [start + timedelta(days=11 * i) for i in range(60)]
    frame, columns = infer(pl.DataFrame({"when": [moment.strftime(style) for moment in moments]}))
    assert columns[0].kind == "date"
    assert frame["when"].to_list() == moments


def test_an_ambiguous_order_of_day_and_month_goes_by_what_is_sorted() -> None:
    frame, columns = infer(pl.DataFrame({"when": ["1/1/2024", "5/1/2024", "2/2/2024", "1/3/2024"]}))
    assert [moment.month for moment in frame["when"]] == [1, 1, 2, 3]
    assert "month/day/year would fit as well" in columns[0].reason


def test_images_are_paths_to_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    paths = [f"photos/{i}.jpg" for i in range(30)]
    frame = pl.DataFrame({"photo": paths})
    assert infer(frame, folder=tmp_path)[1][0].kind == "id"
    for path in paths:
        (tmp_path / path).write_bytes(b"x")
    assert infer(frame, folder=tmp_path)[1][0].kind == "image"


def test_what_is_stated_wins() -> None:
    frame, columns = infer(people(), {"age": "category", "town": "text", "household": "number"})
    assert [column.kind for column in columns[:3]] == ["category", "text", "number"]
    assert columns[0].reason == "as you stated"
    assert frame["age"].dtype == pl.String
    assert frame["household"].dtype == pl.Float64


def test_a_statement_that_does_not_fit_names_the_first_cell() -> None:
    frame = people()
    lines = [f"line {i + 2}" for i in range(len(frame))]
    frame[4, "age"] = "forty"
    with pytest.raises(
        OptionError, match=r"--type age=number: line 6 says 'forty', which is no number \(1 such cells\)"
    ):
        infer(frame, {"age": "number"}, names=lines)
    with pytest.raises(OptionError, match="there is no column 'aeg'; did you mean 'age'"):
        infer(frame, {"aeg": "number"})
    with pytest.raises(OptionError, match="there is no kind 'nubmer'; did you mean 'number'"):
        infer(frame, {"age": "nubmer"})  # type: ignore[dict-item]


def test_roles() -> None:
    assigned = assign_roles(dataset(people()), target="income", group="household", time="day")
    roles = {column.name: column.role for column in assigned.columns}
    assert roles == {"age": "input", "town": "input", "household": "group", "day": "time", "income": "target"}
    assert target_task(assigned)[0] == "classification"


def test_digests_tell_inputs_apart_and_nothing_else() -> None:
    frame = people()
    assigned = assign_roles(dataset(frame), target="income", group="household")
    same = assign_roles(
        dataset(frame.with_columns(pl.lit("9").alias("household"), pl.col("income").reverse())),
        target="income",
        group="household",
    )
    assert assigned.digests.tolist() == same.digests.tolist()
    other = assign_roles(dataset(frame.with_columns(pl.lit("Ulm").alias("town"), pl.col("income"))), target="income")
    changed = frame["town"] != "Ulm"
    assert not (assigned.digests == other.digests)[changed.to_numpy()].any()


def test_rows_without_a_target_are_left_out_and_listed() -> None:
    frame = people()
    frame[3, "income"] = "?"
    frame[7, "income"] = ""
    assigned = assign_roles(dataset(frame), target="income")
    assert [out.where for out in assigned.left_out] == ["line 5", "line 9"]
    assert "'income' is missing" in assigned.left_out[0].reason
    assert assigned.rows.tolist() == [i for i in range(60) if i not in (3, 7)]


@pytest.mark.parametrize(
    ("name", "values", "task"),
    [
        ("y", ["0", "1"] * 30, "classification"),
        ("y", ["1", "2", "3"] * 20, "classification"),
        ("rating", ["1", "2", "3", "4", "5"] * 12, "regression"),
        ("quality", ["3", "4", "5", "6"] * 15, "regression"),
        ("y", [str(i * 37 % 41) for i in range(60)], "regression"),
        ("y", [str(i + 1) for i in range(60)], "regression"),
        ("y", ["0.5", "1", "2"] * 20, "regression"),
        ("y", ["a", "b", "c"] * 20, "classification"),
        ("y", ["yes", "no"] * 30, "classification"),
    ],
)
def test_the_task_follows_from_the_target(name: str, values: list[str], task: str) -> None:
    frame = people().drop("income").with_columns(pl.Series(name, values))
    assigned = assign_roles(dataset(frame), target=name)
    assert target_task(assigned)[0] == task
    assert assigned.frame[name].dtype == (pl.String if task == "classification" else pl.Float64)
    assert target_task(assigned)[1]


def test_a_stated_kind_decides_the_task() -> None:
    frame = people().with_columns(stars=pl.Series(["1", "2", "3", "4", "5"] * 12), code=pl.Series(["0", "1"] * 30))
    for target, kind, task in (("stars", "category", "classification"), ("code", "number", "regression")):
        cast, columns = infer(frame, {target: kind})  # type: ignore[dict-item]
        data = dataset(frame)
        stated = Dataset(**{**data.__dict__, "frame": cast, "columns": columns})
        assert target_task(assign_roles(stated, target=target, kinds={target: kind}))[0] == task  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, {"target": None}, r"--target COLUMN. Likely: 'income'. Columns: 'age'"),
        ({}, {"target": "incmoe"}, "did you mean 'income'"),
        ({}, {"target": "income", "group": "hosehold"}, "--group hosehold.* did you mean 'household'"),
        ({}, {"target": "income", "time": "income"}, "both --target and --time"),
        ({}, {"target": "income", "time": "town"}, "neither dates nor numbers"),
        ({"income": ["?"] * 60}, {"target": "income"}, "every value of the target 'income'"),
        ({"income": ["a"] * 60}, {"target": "income"}, "always 'a'"),
        ({"income": ["a", "?"] * 30}, {"target": "income"}, "always 'a'"),
        ({"income": sentences(60)}, {"target": "income"}, "taken for text"),
    ],
)
def test_questions_that_make_no_sense(change: dict[str, list[str]], options: dict[str, str], says: str) -> None:
    data = dataset(people().with_columns(pl.Series(name, values) for name, values in change.items()))
    with pytest.raises((DataError, OptionError), match=says):
        assign_roles(data, **{"target": None, **options})


def test_no_input_left_says_which_column_was_set_aside() -> None:
    frame = pl.DataFrame({"n": [str(i) for i in range(60)], "y": ["a", "b"] * 30})
    with pytest.raises(DataError, match=r"set aside: 'n' \(counts the rows"):
        assign_roles(dataset(frame), target="y")


def test_another_file_follows_the_first() -> None:
    known = dataset(people().with_columns(pl.col("day").str.replace(r"(\d+)-(\d+)-(\d+)", "${3}/${2}/${1}")))
    assert known.column("day").written == "%d/%m/%Y"
    other = pl.DataFrame(
        {
            "income": ["low"],
            "more": ["1"],
            "day": ["02/03/2024"],
            "age": ["forty"],
            "town": ["7"],
            "household": ["1"],
        }
    )
    frame, notes = conform(other, known.columns, source="test.csv")
    assert frame.schema == known.frame.schema
    assert frame["day"][0] == datetime(2024, 3, 2)
    assert frame["age"][0] is None
    assert frame["town"][0] == "7"
    assert "'more' ignored" in notes[0]
    assert "1 cells of 'age'" in notes[1]
    with pytest.raises(DataError, match=r"test.csv lacks the columns 'town', 'household'"):
        conform(other.drop("town", "household"), known.columns, source="test.csv")


def test_another_file_without_a_header_is_taken_by_position() -> None:
    known = dataset(people())
    other = people(20).rename({name: f"c{i + 1}" for i, name in enumerate(people().columns)})
    frame, notes = conform(other, known.columns, source="test.csv")
    assert frame.columns == known.frame.columns
    assert "no header" in notes[0]


def test_conforming_twice_changes_nothing() -> None:
    known = dataset(people())
    frame, _ = conform(people(20), known.columns, source="test.csv")
    again, notes = conform(frame, known.columns, source="test.csv")
    assert again.equals(frame)
    assert notes == ()


def test_labels_written_another_way_are_matched_only_when_all_are() -> None:
    train = dataset(people())
    dotted = people(30).with_columns(pl.col("income") + ".", town=pl.lit("Berlin").alias("town"))
    matched = match_labels(dataset(dotted), train)
    assert set(matched.frame["income"]) == {"low", "high"}
    assert set(matched.frame["town"]) == {"Berlin"}
    assert len(matched.notes) == 1
    assert "'income'" in matched.notes[0]
    assert match_labels(train, train).frame.equals(train.frame)
