"""The contract for programs: exit codes, what goes where, files and their fields."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import QUICK_PHOTOS, QUICK_TABLE, Earnest, table_rows, write_table

from earnest.api import beginning
from earnest.core.run import Run


def facts_of(run: Path, name: str = "run.json") -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


# Exit 2, before anything slow.


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--minutes", "-3"], "--minutes is -3"),
        (["--minutes", "nan"], "--minutes is nan"),
        (["--minutes", "soon"], "--minutes"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--epochs", "1.5"], "--epochs"),
        (["--seed", "-1"], "--seed is -1"),
        (["--type", "size=nummer"], "did you mean 'number'?"),
        (["--type", "size"], "COLUMN=KIND"),
        (["--split", "group"], "--group COLUMN"),
        (["--split", "time"], "--time COLUMN"),
        (["--model", "resnet5"], "did you mean 'resnet50'?"),
        (["--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["--device", "toaster"], "--device toaster"),
        (["--recipe", "nowhere.toml"], "nowhere.toml"),
        (["--minuts", "3"], "--minutes"),
    ],
)
def test_flags_that_make_no_sense(flags: list[str], says: str, earnest: Earnest, people: Path, tmp_path: Path) -> None:
    ended = earnest("fit", people, "--target", "income", "--out", tmp_path / "run", *flags, "--quiet")
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert ended.err.startswith("earnest: ")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("lr = 'fast'", "lr"),
        ("lerning_rate = 1.0\nlr_rset = 1.0", "lr_rest"),
        ("epochs = 0", "epochs"),
        ("lr = ", "not TOML"),
        ("model = 'tabn'", "did you mean 'tabm'?"),
        ("model = 'tabm'\nmodel_options = {widht = 3}", "did you mean 'width'?"),
        ("augment = ['flipp']", "did you mean 'flip'?"),
    ],
)
def test_recipes_that_make_no_sense(recipe: str, says: str, earnest: Earnest, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe)
    ended = earnest("fit", people, "--target", "income", "--out", tmp_path / "run", "--recipe", path, "--quiet")
    assert ended.code == 2
    assert str(path) in ended.err
    assert says in ended.err


def test_a_recipe_may_state_a_few_fields(earnest: Earnest, people: Path, people_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("lr = 0.0123\n")
    assert earnest("fit", people, "--out", tmp_path / "a", "--recipe", path, *QUICK_TABLE).code == 0
    assert "lr = 0.0123" in (tmp_path / "a" / "recipe.toml").read_text()
    again = ("--out", tmp_path / "b", "--recipe", people_run / "recipe.toml")
    assert earnest("fit", people, *again, *QUICK_TABLE).code == 0
    assert (tmp_path / "b" / "recipe.toml").read_text() == (people_run / "recipe.toml").read_text()


def test_a_model_for_other_data_is_refused(earnest: Earnest, people: Path, photos: Path, tmp_path: Path) -> None:
    table = earnest("fit", people, "--target", "income", "--model", "resnet18", "--out", tmp_path / "run", "--quiet")
    images = earnest("fit", photos, "--model", "tabm", "--out", tmp_path / "run", "--quiet")
    assert (table.code, images.code) == (2, 2)
    assert "tabm" in table.err
    assert "resnet18" in images.err


def test_a_metric_of_the_other_task_is_refused(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    ended = earnest("fit", people, "--target", "income", "--metric", "rmse", "--out", tmp_path / "run", "--quiet")
    assert ended.code == 2
    assert "balanced_accuracy" in ended.err


def test_run_folders_that_cannot_be_written(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "run", tmp_path / "file"):
        ended = earnest("fit", people, "--out", out, *QUICK_TABLE)
        assert ended.code == 2
        assert str(out) in ended.err
    assert (tmp_path / "file").read_text() == "mine"


def test_overwrite(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert earnest("fit", people, "--out", run, *QUICK_TABLE).code == 0
    created = facts_of(run)["created"]
    refused = earnest("fit", people, "--out", run, *QUICK_TABLE)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    useless = write_table(tmp_path / "useless.csv", [*table_rows()[:1]])
    assert earnest("fit", useless, "--out", run, "--overwrite", *QUICK_TABLE).code == 2
    assert earnest("fit", people, "--out", run, "--overwrite", *QUICK_TABLE, "--metric", "f1").code == 2
    assert facts_of(run)["created"] == created, "a run is lost to one that never began"
    assert (run / "report.html").exists()
    assert earnest("fit", people, "--out", run, "--overwrite", *QUICK_TABLE).code == 0
    assert facts_of(run)["created"] > created
    assert {path.name for path in tmp_path.iterdir()} == {"run", "useless.csv"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert earnest("fit", people, "--out", tmp_path / "mine", "--overwrite", *QUICK_TABLE).code == 2
    assert (tmp_path / "mine" / "thesis.txt").exists()


# Exit 1.


def test_a_fault_of_ours_is_one_line_and_a_traceback_in_the_run_folder(
    earnest: Earnest, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*arguments: Any) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr("earnest.api.rows.fit_tables", faulty)
    run = tmp_path / "run"
    ended = earnest("fit", people, "--out", run, *QUICK_TABLE)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert "IndexError" in ended.err
    assert str(run / "error.log") in ended.err
    assert "Traceback (most recent call last)" in (run / "error.log").read_text()
    assert facts_of(run)["status"] == "failed"
    monkeypatch.undo()
    assert earnest("resume", run, "--quiet").code == 0
    assert facts_of(run)["status"] == "finished"


def test_a_fault_without_a_run_folder_is_logged_here(
    earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("earnest.api.zoo.show", lambda name: 1 / 0)
    assert earnest("zoo").code == 1
    assert "ZeroDivisionError" in (tmp_path / "error.log").read_text()


# What goes where.


def test_quiet_says_nothing_and_results_go_to_standard_output(earnest: Earnest, people: Path, tmp_path: Path) -> None:
    flags = [flag for flag in QUICK_TABLE if flag != "--quiet"]
    told = earnest("fit", people, "--out", tmp_path / "told", *flags)
    quiet = earnest("fit", people, "--out", tmp_path / "quiet", *QUICK_TABLE)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert told.code == 0
    assert "majority class" in told.out
    assert str(tmp_path / "told" / "report.html") in told.out.replace("\n", "")
    assert "reading" in told.err
    assert "reading" not in told.out
    assert "\x1b" not in told.out + told.err
    finished = earnest("resume", tmp_path / "told")
    assert finished.code == 0
    assert "is finished" in finished.out
    assert earnest("resume", tmp_path / "told", "--quiet").out == ""
    assert earnest("report", tmp_path / "told").out.strip() == str(tmp_path / "told" / "report.html")


def test_offline_opens_no_connection(
    earnest: Earnest, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    ended = earnest("fit", photos, "--offline", "--out", tmp_path / "run", *QUICK_PHOTOS)
    assert (ended.code, ended.err) == (0, "")


def test_help_teaches_by_example(earnest: Earnest) -> None:
    for verb in ("fit", "resume", "predict", "report", "zoo", "cache info", "cache clear"):
        ended = earnest(*verb.split(), "--help")
        assert ended.code == 0
        assert f"earnest {verb}" in re.sub(r"\s+", " ", ended.out)
    assert earnest("nosuch").code == 2
    assert earnest("fit").code == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['earnest', '--help']\n"
        "from earnest import cli\n"
        "try: cli.main()\n"
        "finally: print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    heavy = {"torch", "numpy", "polars", "sklearn", "lightgbm", "PIL", "pydantic", "jinja2"}
    assert not heavy & set(done.stdout.splitlines()[-1].replace("'", "").strip("[]").split(", "))


# Files.


def test_evaluation_has_the_agreed_shape(people_run: Path, photos_run: Path) -> None:
    for run in (people_run, photos_run):
        evaluation = facts_of(run, "evaluation.json")
        for part in ("validation", "test"):
            scores = evaluation[part]
            assert set(scores) >= {"n", "metrics", "baselines"}
            assert scores["n"] == facts_of(run)["data"]["split"][part]
            assert "majority class" in scores["baselines"]
            for metrics in (scores["metrics"], *scores["baselines"].values()):
                assert set(metrics) == {"accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"}
                for interval in metrics.values():
                    assert set(interval) >= {"value", "low", "high"}
                    assert interval["low"] <= interval["value"] <= interval["high"]
                    assert interval["low"] < interval["high"]


def test_run_json_states_the_plan_the_data_and_the_looks(photos_run: Path) -> None:
    facts = facts_of(photos_run)
    plan = facts["plan"]
    assert plan["steps"] == facts["plan"]["trainings"]["mlp-tiny"]["steps"] > 0
    assert plan["precision"] in ("fp32", "bf16")
    assert plan["threads"] >= 1
    assert plan["checkpoint_every_steps"] >= 1
    assert re.fullmatch(r"[0-9a-f]{64}", facts["data"]["fingerprint"])
    assert facts["data"]["rows"] == 48
    assert {"earnest", "torch", "numpy", "python"} <= set(facts["versions"])
    assert len(facts["test_looks"]) == 1
    assert facts["status"] == "finished"
    assert facts["request"]["epochs"] == 1


def test_the_log_has_the_agreed_events_and_fields(photos_run: Path) -> None:
    events = log_of(photos_run)
    kinds = [event["event"] for event in events]
    assert {"started", "step", "epoch", "checkpoint", "finished"} <= set(kinds)
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times)
    assert all({"step", "epoch"} <= set(event) for event in events)
    assert all(event["step"] > 0 and event["epoch"] == 0 for event in events if event["event"] in ("step", "epoch"))


def test_a_run_folder_holds_what_the_design_says(photos_run: Path) -> None:
    names = {path.name for path in photos_run.iterdir() if not path.name.startswith(".")}
    assert names == {"run.json", "recipe.toml", "log.jsonl", "checkpoints", "model", "audit.json", "evaluation.json",
                     "predictions.parquet", "report.html", "card.md"}  # fmt: skip
    assert {path.suffix for path in photos_run.rglob("*") if path.is_file() and not path.name.startswith(".")} <= {
        ".json", ".toml", ".jsonl", ".safetensors", ".txt", ".parquet", ".html", ".md"}  # fmt: skip


def test_the_folder_stands_before_anything_slow_is_imported(tmp_path: Path, people: Path) -> None:
    code = (
        "import sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'numpy', 'polars', 'PIL', 'lightgbm'):\n"
        "            import os, json\n"
        f"            print(json.load(open({str(tmp_path / 'run' / 'run.json')!r}))['request']['target'])\n"
        "            os._exit(7)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"sys.argv = ['earnest', 'fit', {str(people)!r}, '--target', 'income', '--out', {str(tmp_path / 'run')!r}]\n"
        "from earnest import cli\ncli.main()\n"
    )
    done = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, "income"), done.stderr
    assert Run.open(tmp_path / "run").facts()["status"] == "running"


def test_predictions_say_which_group_a_row_is_of(earnest: Earnest, tmp_path: Path) -> None:
    header, *rows = table_rows(60)
    owners = {f"line {i + 2}": f"p{i // 3}" for i in range(60)}
    data = write_table(tmp_path / "t.csv", [[*header, "owner"], *([*row, f"p{i // 3}"] for i, row in enumerate(rows))])
    flags = ("--target", "income", "--minutes", "0.001", "--quiet")
    assert earnest("fit", data, "--group", "owner", "--out", tmp_path / "grouped", *flags).code == 0
    frame = pl.read_parquet(tmp_path / "grouped" / "predictions.parquet")
    assert frame["group"].to_list() == [owners[name] for name in frame["name"]]
    assert set(frame["part"]) == {"validation", "test"}
    assert earnest("fit", data, "--out", tmp_path / "alone", *flags).code == 0
    assert "group" not in pl.read_parquet(tmp_path / "alone" / "predictions.parquet").columns


def test_a_process_that_follows_another_audits_nothing(people_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what the first found, as plain JSON."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, found in (("1", None), ("0", facts_of(people_run, "audit.json"))):
        monkeypatch.setenv("RANK", rank)
        assert beginning.found(Run(people_run), lambda: pytest.fail("the audit ran")) == found
