from __future__ import annotations

import io

import pytest
from fake_runs import HOSTILE
from rich.console import Console

from earnest.core.run import Run
from earnest.report.terminal import summary


def shown(run: Run, *, width: int = 80, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    console.print(summary(run.read("evaluation.json"), run.read("audit.json"), run.path))
    return file.getvalue()


@pytest.mark.parametrize("name", ["digits_run", "prices_run", "tagging_run", "many_classes_run", "hostile_run"])
def test_it_fits_80_columns_and_a_pipe_gets_no_codes(name: str, request: pytest.FixtureRequest) -> None:
    text = shown(request.getfixturevalue(name))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_baselines_stand_beside_the_score_best_first(prices_run: Run) -> None:
    text = shown(prices_run)
    rmse = prices_run.read("evaluation.json")["test"]["metrics"]["rmse"]
    assert f"{rmse['value']:,.0f}" in text
    assert f"{rmse['low']:,.0f} to {rmse['high']:,.0f}" in text
    places = [text.index(name) for name in ("this model", "\nLightGBM", "\nlinear", "\nmean")]
    assert places == sorted(places)
    assert "within what chance can do" in " ".join(text.split())


def test_findings_are_named_the_worst_three_and_the_rest_counted(digits_run: Run) -> None:
    audit = digits_run.read("audit.json")
    audit["findings"] *= 2
    digits_run.write("audit.json", audit)
    text = shown(digits_run)
    assert "6 findings, 2 rows or files left out" in text
    assert "high    4 identical pairs" in text
    assert "and 3 more in the report" in text


def test_the_report_is_named_whole(digits_run: Run) -> None:
    assert str(digits_run.path / "report.html") in shown(digits_run).replace("\n", "")


def test_colours_only_in_a_terminal_and_marks_are_plain_text(hostile_run: Run) -> None:
    evaluation = hostile_run.read("evaluation.json")
    evaluation["verdict"] = f"[red]{HOSTILE}[/red] \x1b[31mred\x1b[0m"
    hostile_run.write("evaluation.json", evaluation)
    plain = shown(hostile_run)
    assert f"[red]{HOSTILE}[/red]" in plain
    assert "\x1b" not in plain
    assert "\x1b[" in shown(hostile_run, terminal=True)


def test_scores_that_flatter_are_marked(digits_run: Run) -> None:
    digits_run.write("evaluation.json", {**digits_run.read("evaluation.json"), "test": None})
    text = " ".join(shown(digits_run).split())
    assert "on 288 validation rows" in text
    assert "these scores flatter the model" in text
