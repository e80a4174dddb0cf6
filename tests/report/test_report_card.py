from __future__ import annotations

import re

import pytest
from fake_runs import HOSTILE

from earnest.core.run import Run
from earnest.report.card import write_card


def card(run: Run) -> str:
    return write_card(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["digits_run", "prices_run", "tagging_run", "unfinished_run", "many_classes_run", "bare_run"]
)
def test_no_slot_is_left_empty(name: str, request: pytest.FixtureRequest) -> None:
    text = card(request.getfixturevalue(name))
    assert text.startswith("# ")
    assert not re.search(r"None|Undefined|\{\{|\{%|TODO|More Information", text)
    headings = re.findall(r"^## .*\n+(.*)$", text, flags=re.MULTILINE)
    assert all(headings)
    assert not any(first.startswith("#") for first in headings)


def test_the_numbers_are_those_of_the_evaluation(digits_run: Run) -> None:
    text = card(digits_run)
    test = digits_run.read("evaluation.json")["test"]
    value = test["metrics"]["accuracy"]
    assert f"| accuracy | {value['value']:.1%} ({value['low']:.1%} to {value['high']:.1%}) |" in text
    assert "On 360 test rows" in text
    assert "+2.2 points (+0.4 to +4.0), p = 0.013" in text
    assert "1,152 for training, 288 for validation, 360 for testing" in text


def test_the_table_of_scores_has_as_many_cells_in_every_row(prices_run: Run) -> None:
    rows = [line for line in card(prices_run).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert {row.count("|") for row in rows} == {6}


def test_marks_in_names_are_shown_not_obeyed(hostile_run: Run) -> None:
    text = card(hostile_run)
    assert HOSTILE not in text
    assert not re.search(r"(?<!\\)<(script|img|b)", re.sub(r"^    .*$", "", text, flags=re.MULTILINE))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_an_unfinished_run_has_a_card_that_says_so(unfinished_run: Run) -> None:
    text = card(unfinished_run)
    assert "**Status: stopped.**" in text
    assert "earnest resume" in text
    assert "earnest predict" not in text
