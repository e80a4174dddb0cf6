from __future__ import annotations

import json
import re
import shlex
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from fake_runs import HOSTILE, score
from numpy.random import default_rng

from earnest.core.run import Run
from earnest.report.page import MAX_BYTES, write_report

RUNS = ["digits_run", "prices_run", "tagging_run", "many_classes_run", "unfinished_run", "bare_run", "hostile_run"]

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Collects what a page holds, and fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(run: Run) -> Reader:
    reader = Reader()
    reader.feed(write_report(run).read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_the_page_is_whole_small_and_asks_nothing_of_the_network(run: Run) -> None:
    page = write_report(run)
    assert page == run.path / "report.html"
    assert page.stat().st_size < MAX_BYTES
    reader = read(run)
    assert len(reader.ids) == len(set(reader.ids))
    for tag, attributes in reader.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert value
                assert value.startswith(("data:image/", "data:,", "#"))
                if value.startswith("#"):
                    assert value[1:] in reader.ids
    style = page.read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not list(run.path.glob(".*tmp"))


def test_every_part_of_a_classification_is_there(digits_run: Run) -> None:
    reader = read(digits_run)
    expected = (
        "scores candidates curves confusion classes calibration mistakes audit left-out columns training use limits"
    )
    assert reader.ids == expected.split()
    for words in ("linear on pixels", "majority class", "4 identical pairs carry different labels", "9/IMG_0001.png"):
        assert words in reader.text
    assert len([tag for tag, _ in reader.tags if tag == "img"]) == 12
    fingerprint = digits_run.facts()["data"]["fingerprint"]
    assert fingerprint in reader.text


def test_every_part_of_a_regression_is_there(prices_run: Run) -> None:
    reader = read(prices_run)
    expected = "scores candidates curves residuals mistakes audit left-out columns training use limits"
    assert reader.ids == expected.split()
    assert "1 bad step was skipped: step 17, loss is not a number" in reader.text
    assert "resumed once" in reader.text
    assert "That is within what chance alone can do." in reader.text


@pytest.mark.parametrize("run", ["digits_run", "prices_run", "tagging_run", "many_classes_run"], indirect=True)
def test_the_numbers_shown_are_those_of_the_files(run: Run) -> None:
    rng = default_rng(int.from_bytes(run.path.name.encode()))
    evaluation = run.read("evaluation.json")
    for scores in (evaluation["validation"], evaluation["test"]):
        for values in (scores["metrics"], *scores["baselines"].values()):
            for name in values:
                values[name] = score(rng.uniform(0.2, 0.9), rng.uniform(0.005, 0.05))
    run.write("evaluation.json", evaluation)
    text = read(run).text
    percents = ("accuracy", "balanced_accuracy", "f1_macro", "f1", "precision", "recall")
    for scores in (evaluation["validation"], evaluation["test"]):
        for values in (scores["metrics"], *scores["baselines"].values()):
            for name, interval in values.items():
                assert _shown(interval, text, 100 if name in percents else 1), (name, interval)
    for row in evaluation["per_class"] or []:
        assert f"{row['label']} {row['n']:,} {row['precision']:.1%} {row['recall']:.1%} {row['f1']:.1%}" in text


def _shown(interval: dict[str, float], text: str, factor: int) -> bool:
    """Whether value, low and high stand in the text one after the other, to half a unit of their last digit."""
    unit = "%" if factor == 100 else ""
    for found in re.finditer(rf"(\d+\.?\d*){unit} (\d+\.?\d*){unit} to (\d+\.?\d*){unit}(?= |$)", text):
        for word, key in zip(found.groups(), ("value", "low", "high"), strict=True):
            decimals = len(word.partition(".")[2])
            if abs(float(word) - factor * interval[key]) > 0.5000001 * 10**-decimals:
                break
        else:
            return True
    return False


def test_an_unfinished_run_says_so_and_shows_what_there_is(unfinished_run: Run) -> None:
    reader = read(unfinished_run)
    assert "stopped before it finished" in reader.text
    assert f"earnest resume {shlex.quote(str(unfinished_run.path))}" in reader.text
    assert reader.ids == ["curves", "training", "limits"]
    assert "earnest predict" not in reader.text


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_a_run_without_a_single_event_has_a_page(bare_run: Run, status: str) -> None:
    bare_run.update(status=status)
    text = read(bare_run).text
    assert f"Status: {status}." in text
    assert "no verdict" in text
    assert "earnest resume" in text


def test_before_the_first_epoch_ends_the_steps_are_drawn(bare_run: Run) -> None:
    for step in range(7):
        bare_run.log("step", epoch=0, step=step, loss=2.0 / (step + 1))
    reader = read(bare_run)
    assert "curves" in reader.ids
    (line,) = [attributes["points"] for tag, attributes in reader.tags if tag == "polyline"]
    assert line is not None
    assert len(line.split()) == 7


def test_an_epoch_that_a_resume_repeated_is_drawn_once(bare_run: Run) -> None:
    for epoch in (0, 1, 1, 2):
        bare_run.log("epoch", stage="fit", epoch=epoch, step=10 * epoch, train_loss=1.0, loss=2.0 - epoch)
    lines = [attributes["points"] for tag, attributes in read(bare_run).tags if tag == "polyline"]
    assert [len(line.split()) for line in lines if line] == [3, 3]


def test_text_from_outside_is_shown_and_never_obeyed(hostile_run: Run) -> None:
    page = write_report(hostile_run).read_text(encoding="utf-8")
    assert HOSTILE not in page
    reader = read(hostile_run)
    assert reader.text.count("<script>") > 10
    assert "example.org" not in page
    pictures = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) == 10
    assert all(picture and picture.startswith("data:image/jpeg;base64,") for picture in pictures)


def test_many_classes_list_their_worst_pairs(many_classes_run: Run) -> None:
    reader = read(many_classes_run)
    counts = np.array(many_classes_run.read("evaluation.json")["confusion"]["counts"])
    np.fill_diagonal(counts, 0)
    assert not [1 for tag, attributes in reader.tags if tag == "svg" and attributes.get("class") == "confusion"]
    assert reader.text.count(" taken for ") == 20
    shown = [int(n) if n else 1 for n in re.findall(r"(?:(\d+) times|once), [\d.]+% of its rows", reader.text)]
    assert shown == sorted(counts.ravel().tolist(), reverse=True)[:20]
    assert "species 199" in reader.text


def test_the_confusion_matrix_shows_every_count(digits_run: Run) -> None:
    page = write_report(digits_run).read_text(encoding="utf-8")
    titles = re.findall(r"<title>(\d) answered as (\d): ([\d,]+)</title>", page)
    shown = np.zeros((10, 10), dtype=int)
    for truth, answer, count in titles:
        shown[int(truth), int(answer)] = int(count.replace(",", ""))
    np.testing.assert_array_equal(shown, digits_run.read("evaluation.json")["confusion"]["counts"])


def test_pictures_stop_before_the_page_is_too_large(digits_run: Run) -> None:
    evaluation = digits_run.read("evaluation.json")
    for mistake in evaluation["mistakes"]:
        mistake["image"] = "data:image/jpeg;base64," + "A" * 700_000
    digits_run.write("evaluation.json", evaluation)
    page = write_report(digits_run)
    assert page.stat().st_size < MAX_BYTES
    assert page.read_text(encoding="utf-8").count("<img") == 4


def test_numbers_that_are_not_defined_are_shown_as_missing(digits_run: Run) -> None:
    evaluation = digits_run.read("evaluation.json")
    for predictor in (evaluation["test"]["metrics"], *evaluation["test"]["baselines"].values()):
        predictor["roc_auc"] = {"value": None, "low": None, "high": None}
    evaluation["test"]["baselines"]["majority class"] = {}
    evaluation["comparison"]["p_value"] = None
    digits_run.write("evaluation.json", evaluation)
    text = read(digits_run).text
    assert "– no interval" in text
    assert "None" not in text


def test_without_a_test_part_the_page_warns(prices_run: Run) -> None:
    prices_run.write("evaluation.json", {**prices_run.read("evaluation.json"), "test": None})
    text = read(prices_run).text
    assert "No test part was set aside" in text
    assert "3,100 validation rows" in text


def test_a_huge_table_stays_a_small_page(prices_run: Run) -> None:
    audit = prices_run.read("audit.json")
    audit["columns"] = [
        {"name": f"gene {i}", "kind": "number", "role": "input", "reason": "distinct numbers " * 9}
        for i in range(20_000)
    ]
    audit["left_out"] = [{"where": f"line {i}", "reason": "ragged"} for i in range(30_000)]
    audit["left_out_count"] = 30_000
    prices_run.write("audit.json", audit)
    page = write_report(prices_run)
    assert page.stat().st_size < MAX_BYTES / 5
    assert "30,000 rows or files" in page.read_text(encoding="utf-8")


def test_the_python_lines_name_the_run_and_compile(hostile_run: Run) -> None:
    text = "".join(read(hostile_run).words)
    (code,) = re.findall(r"import earnest\n.*?predict\(.*?\)\n?", text, flags=re.DOTALL)
    compile(code, "page", "exec")
    (literal,) = re.findall(r"earnest\.load\((.*)\)", code)
    assert Path(json.loads(literal)) == hostile_run.path


def test_a_page_drawn_while_the_run_ends_shows_the_model_as_ready(digits_run: Run) -> None:
    digits_run.update(status="running")
    text = read(digits_run).text
    assert "Status:" not in text
    assert "earnest predict" in text


def test_the_trainings_of_cross_fitting_are_lines_over_each_other(bare_run: Run) -> None:
    for training in ("net-fold-1", "net-fold-2", "net"):
        for epoch in range(4):
            bare_run.log("epoch", training=training, stage="fit", epoch=epoch, step=epoch, train_loss=1 / (epoch + 1))
    reader = read(bare_run)
    lines = [attributes["points"] for tag, attributes in reader.tags if tag == "polyline"]
    assert [len(line.split()) for line in lines if line] == [4, 4, 4]
    assert "each of 3 trainings: net-fold-1, net-fold-2, net. The loss" in reader.text


def test_another_stage_of_a_training_is_marked(bare_run: Run) -> None:
    for stage in ("head", "body"):
        for epoch in range(3):
            bare_run.log("epoch", training="net", stage=stage, epoch=epoch, step=epoch, train_loss=1.0)
    reader = read(bare_run)
    assert len([tag for tag, attributes in reader.tags if tag == "line" and attributes.get("class") == "break"]) == 1
    assert "body" in reader.words


def test_a_training_that_the_deadline_cut_short_is_named_so(digits_run: Run) -> None:
    digits_run.log("stopped", training="resnet-small", step=500, why="out of time")
    assert "The time budget ended a training" in read(digits_run).text


def test_classes_without_rows_come_last_and_missing_metrics_say_why(digits_run: Run) -> None:
    evaluation = digits_run.read("evaluation.json")
    evaluation["per_class"][3] |= {"n": 0, "precision": None, "recall": None, "f1": None}
    evaluation["test"]["left_out"] = {"roc_auc": "1 of 10 classes does not occur"}
    digits_run.write("evaluation.json", evaluation)
    text = read(digits_run).text
    assert "3 0 – – – The weakest first." in text
    assert "ROC AUC is missing: 1 of 10 classes does not occur." in text


def test_why_a_run_failed_is_shown(bare_run: Run) -> None:
    bare_run.update(status="failed", error=f"MemoryError: {HOSTILE}")
    text = read(bare_run).text
    assert f"MemoryError: {HOSTILE}" in text


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast_enough(theme: int) -> None:
    style = resources.files("earnest.report").joinpath("page.css").read_text(encoding="utf-8")
    colours = dict(
        re.findall(r"--([\w-]+): #([0-9a-f]{6});", re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[theme])
    )
    for ink in ("ink", "quiet", "accent", "wrong", "high", "medium", "low", "info"):
        assert _contrast(colours[ink], colours["paper"]) >= 4.5, ink
    assert _contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert _contrast(colours["ink"], colours["raised"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1)."""
    luminances = []
    for colour in (one, other):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)
