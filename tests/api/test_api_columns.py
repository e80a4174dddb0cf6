"""Tables of pictures and other columns: what is fitted, what is shipped, and what it needs to predict."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from commands import QUICK, Earnest, invoke, write_listings, write_table
from safetensors.torch import load_file

from earnest.api import outcome, transfer
from earnest.api.question import Candidate, Question
from earnest.core import weights
from earnest.core.run import Run
from earnest.data.preparation import Normalise
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

ASKED = (*QUICK, "--split", "part", "--type", "price=id", "--target", "deal")
APART = [
    "linear (no pictures)",
    "LightGBM (no pictures)",
    "tabm (no pictures)",
    "LightGBM + tabm (no pictures)",
    "linear on pixels (pictures alone)",
]
TINY = replace(weights.KNOWN[0], name="tiny.test", architecture="efficientnet-lite-tiny")


def ship(patch: pytest.MonkeyPatch, beginning: str) -> None:
    """Whatever its score, the candidate whose name begins so is shipped."""

    def chosen(question: Question, candidates: Sequence[Candidate]) -> Candidate:
        return next(candidate for candidate in candidates if candidate.name.startswith(beginning))

    patch.setattr(outcome, "best", chosen)


def see_with_tiny_weights(patch: pytest.MonkeyPatch) -> None:
    """The random weights of a tiny network are the pretrained ones."""

    def fetch(*arguments: Any) -> transfer.Pretrained:
        torch.manual_seed(1)
        normalise = Normalise((127.0,) * 3, (128.0,) * 3, 32)
        return transfer.Pretrained(TINY, transfer.build(TINY.architecture, 10), normalise)

    patch.setattr("earnest.api.rows.suited", lambda *arguments: TINY)
    patch.setattr(transfer, "fetch", fetch)


def candidates_of(run: Path) -> list[str]:
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert all(candidate["seconds"] >= 0 and candidate["score"] for candidate in evaluation["candidates"])
    return [candidate["name"] for candidate in evaluation["candidates"]]


@pytest.fixture(scope="module")
def listings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_listings(tmp_path_factory.mktemp("data") / "listings")


@pytest.fixture(scope="module")
def fusion_run(listings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that shipped the network for all columns."""
    out = tmp_path_factory.mktemp("runs") / "fusion"
    with pytest.MonkeyPatch.context() as patch:
        ship(patch, "fusion")
        assert invoke("fit", listings, "--out", out, *ASKED, "--model", "fusion-tiny") == 0
    return out


@pytest.fixture(scope="module")
def joined_run(listings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that shipped trees and a network on a table which pretrained features had joined."""
    out = tmp_path_factory.mktemp("runs") / "joined"
    with pytest.MonkeyPatch.context() as patch:
        see_with_tiny_weights(patch)
        ship(patch, "LightGBM + tabm (all columns)")
        assert invoke("fit", listings, "--out", out, *ASKED) == 0
    return out


@pytest.fixture(params=["fusion", "joined"])
def run(request: pytest.FixtureRequest) -> Path:
    """Both in turn."""
    found: Path = request.getfixturevalue(f"{request.param}_run")
    return found


def test_all_columns_are_learned_from_beside_the_parts_alone(fusion_run: Path, joined_run: Path) -> None:
    assert candidates_of(fusion_run) == [*APART, "airnet (pictures alone)", "fusion-tiny (all columns)"]
    found = candidates_of(joined_run)
    assert found[: len(APART) + 1] == [*APART, "frozen efficientnet-lite-tiny + linear (pictures alone)"]
    together = ["linear", "LightGBM", "tabm", "LightGBM + tabm"]
    assert found[-4:] == [f"{name} (all columns)" for name in together]
    told = [event["name"] for event in Run.open(fusion_run).events() if event["event"] == "rung"]
    assert told == [name for name in candidates_of(fusion_run) if "+" not in name]


def test_the_report_names_what_was_compared(fusion_run: Path) -> None:
    page = (fusion_run / "report.html").read_text()
    assert all(name in page for name in ("LightGBM (no pictures)", "airnet (pictures alone)", "fusion-tiny"))
    assert "data:image/jpeg" in page
    assert "colour" in page


def predicted(earnest: Earnest, run: Path, data: Path) -> pl.DataFrame:
    ended = earnest("predict", run, data, "--quiet")
    assert ended.code == 0, ended.err
    return pl.read_csv(io.StringIO(ended.out))


def test_a_model_that_moved_needs_neither_the_run_nor_the_data(
    run: Path, earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = write_listings(tmp_path / "new", num=20, seed=4)
    frame = pl.read_csv(new).drop("deal", "price", "part")
    frame.write_csv(new)
    here = predicted(earnest, run, new)
    assert here.columns == ["row", "prediction", "confidence", "p(no)", "p(yes)", "name"]
    moved = shutil.copytree(run / "model", tmp_path / "anywhere else")
    monkeypatch.chdir(tmp_path)
    there = predicted(earnest, moved, Path("new") / new.name)
    assert there.equals(here)


def test_one_row_is_predicted_as_among_many(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    new = write_listings(tmp_path / "new", num=30, seed=5)
    many = predicted(earnest, run, new)
    pl.read_csv(new)[17:18].write_csv(new)
    one = predicted(earnest, run, new)
    assert one["prediction"][0] == many["prediction"][17]
    assert one["p(yes)"][0] == pytest.approx(many["p(yes)"][17], abs=2e-5)


def test_the_answers_follow_both_the_picture_and_the_column(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    new = write_listings(tmp_path / "new", num=16, seed=6)
    frame = pl.read_csv(new)
    before = predicted(earnest, run, new)["p(yes)"]
    frame.with_columns(size=-frame["size"] - 1, colour=frame["colour"].reverse()).write_csv(new)
    assert not np.allclose(before, predicted(earnest, run, new)["p(yes)"], atol=1e-5)
    frame.with_columns(photo=frame["photo"].reverse()).write_csv(new)
    assert not np.allclose(before, predicted(earnest, run, new)["p(yes)"], atol=1e-5)


def test_pictures_that_cannot_be_read_have_a_problem(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    new = write_listings(tmp_path / "new", num=8, seed=7)
    photos = sorted(new.parent.glob("*.png"))
    photos[2].write_bytes(b"")
    photos[4].write_bytes(photos[4].read_bytes()[:60])
    photos[5].unlink()
    whole = predicted(earnest, run, new)
    assert whole["row"].to_list() == list(range(8))
    assert [row for row, problem in enumerate(whole["problem"]) if problem] == [2, 4, 5]
    assert whole["prediction"].null_count() == 3


def test_columns_that_are_missing_are_named(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    new = write_listings(tmp_path / "new", num=4, seed=8)
    frame = pl.read_csv(new)
    for missing in ("photo", "size", "colour"):
        frame.drop(missing).write_csv(new)
        ended = earnest("predict", run, new)
        assert (ended.code, ended.out) == (2, "")
        assert f"'{missing}'" in ended.err
    ended = earnest("predict", run, new.parent)
    assert ended.code == 2
    assert "'size', 'colour'" in ended.err


def test_missing_cells_and_unseen_categories_are_predicted(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    new = write_listings(tmp_path / "new", num=4, seed=9)
    frame = pl.read_csv(new)
    frame.with_columns(size=pl.lit(None), colour=pl.lit("mauve")).write_csv(new)
    assert predicted(earnest, run, new)["prediction"].null_count() == 0


@pytest.mark.parametrize(
    ("model", "its"),
    [("mlp-tiny", "mlp-tiny (pictures alone)"), ("tabm-tiny", "tabm-tiny (no pictures)")],
)
def test_a_model_for_some_of_the_columns_is_fitted_to_those(
    model: str, its: str, earnest: Earnest, listings: Path, tmp_path: Path
) -> None:
    ended = earnest("fit", listings, "--out", tmp_path / "run", *ASKED, "--model", model)
    assert (ended.code, ended.err) == (0, "")
    found = candidates_of(tmp_path / "run")
    assert its in found
    assert found[-1] == "fusion (all columns)"
    assert len(found) == len(APART) + 2


def test_a_recipe_for_some_of_the_columns_leaves_the_others_theirs(
    earnest: Earnest, listings: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('model = "mlp-tiny"\nbatch_size = 8\n')
    ended = earnest("fit", listings, "--out", tmp_path / "run", *ASKED, "--recipe", recipe)
    assert (ended.code, ended.err) == (0, "")
    trainings = Run.open(tmp_path / "run").facts()["plan"]["trainings"]
    assert {name: plan["batch_size"] for name, plan in trainings.items()} == {"tabm": 64, "mlp-tiny": 8, "fusion": 64}


def test_two_columns_of_pictures_and_nothing_else(earnest: Earnest, tmp_path: Path) -> None:
    data = write_listings(tmp_path / "data", pictures=("front", "back"))
    pl.read_csv(data).drop("size", "colour").write_csv(data)
    with pytest.MonkeyPatch.context() as patch:
        ship(patch, "fusion")
        ended = earnest("fit", data, "--out", tmp_path / "run", *ASKED, "--model", "fusion-tiny")
    assert (ended.code, ended.err) == (0, "")
    assert candidates_of(tmp_path / "run") == [
        "linear on pixels (front alone)",
        "linear on pixels (back alone)",
        "fusion-tiny (all columns)",
    ]
    whole = predicted(earnest, tmp_path / "run", data)
    assert whole["prediction"].null_count() == 0
    backs = sorted(data.parent.glob("*back*.png"))
    backs[3].write_bytes(b"")
    broken = predicted(earnest, tmp_path / "run", data)
    assert broken["prediction"].null_count() == 1
    kept = broken["prediction"].is_not_null()
    np.testing.assert_allclose(broken.filter(kept)["p(yes)"], whole.filter(kept)["p(yes)"], atol=2e-6)


def test_two_columns_of_pictures_as_pretrained_networks_see_them(earnest: Earnest, tmp_path: Path) -> None:
    data = write_listings(tmp_path / "data", pictures=("front", "back"), num=24)
    with pytest.MonkeyPatch.context() as patch:
        see_with_tiny_weights(patch)
        ship(patch, "linear (all columns)")
        ended = earnest("fit", data, "--out", tmp_path / "run", *ASKED)
    assert (ended.code, ended.err) == (0, "")
    found = candidates_of(tmp_path / "run")
    assert "frozen efficientnet-lite-tiny + linear (back alone)" in found
    assert len(set(found)) == len(found)
    assert predicted(earnest, tmp_path / "run", data)["prediction"].null_count() == 0


def test_few_rows_are_cross_fitted(earnest: Earnest, listings: Path, tmp_path: Path) -> None:
    asked = (*QUICK, "--type", "price=id", "--type", "part=id", "--target", "deal", "--model", "fusion-tiny")
    ended = earnest("fit", listings, "--out", tmp_path / "run", *asked)
    assert (ended.code, ended.err) == (0, "")
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["cross_fitted"]
    trainings = Run.open(tmp_path / "run").facts()["plan"]["trainings"]
    assert [name for name in trainings if name.startswith("fusion")] == [
        *(f"fusion-tiny-fold-{fold}" for fold in range(1, 6)),
        "fusion-tiny",
    ]


def test_a_regression_on_all_columns(earnest: Earnest, listings: Path, tmp_path: Path) -> None:
    asked = (*QUICK, "--split", "part", "--type", "deal=id", "--target", "price", "--model", "fusion-tiny")
    with pytest.MonkeyPatch.context() as patch:
        ship(patch, "fusion")
        ended = earnest("fit", listings, "--out", tmp_path / "run", *asked)
    assert (ended.code, ended.err) == (0, "")
    frame = predicted(earnest, tmp_path / "run", listings)
    assert frame.columns == ["row", "prediction", "name"]
    assert frame["prediction"].is_finite().all()


def test_without_time_for_a_network_the_simple_models_are_all(earnest: Earnest, listings: Path, tmp_path: Path) -> None:
    asked = ("--split", "part", "--type", "price=id", "--target", "deal", "--minutes", "0.02", "--quiet")
    ended = earnest("fit", listings, "--out", tmp_path / "run", *asked)
    assert (ended.code, ended.err) == (0, "")
    assert candidates_of(tmp_path / "run") == [*APART[:2], APART[-1]]
    assert predicted(earnest, tmp_path / "run", listings)["prediction"].null_count() == 0


def test_mixed_pictures_are_refused_where_columns_are_not_mixed(
    earnest: Earnest, listings: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('model = "fusion-tiny"\nmixup = 0.2\n')
    ended = earnest("fit", listings, "--out", tmp_path / "run", *ASKED, "--recipe", recipe)
    assert ended.code == 2
    assert "mixup" in ended.err


@pytest.fixture
def checkpoint_every_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "PAYS", 0.0)
        patch.setattr(plans, "CHECKPOINT_SECONDS", 0.0)
        yield


@pytest.mark.usefixtures("checkpoint_every_step")
def test_a_stopped_run_goes_on_and_ends_as_if_it_never_was(earnest: Earnest, tmp_path: Path) -> None:
    data = write_listings(tmp_path / "data", num=200)
    asked = ("fit", data, *ASKED, "--epochs", "3", "--model", "fusion-tiny", "--out")
    assert earnest(*asked, tmp_path / "uncut").code == 0
    log, seen = Run.log, []

    def watched(run: Run, kind: str, **values: Any) -> None:
        log(run, kind, **values)
        if kind == "checkpoint" and values["training"] == "fusion-tiny":
            seen.append(kind)
            if len(seen) == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "log", watched)
        assert earnest(*asked, tmp_path / "cut").code == 130
    assert earnest("resume", tmp_path / "cut", "--quiet").code == 0
    ours, theirs = (
        load_file(sorted((tmp_path / name / "checkpoints" / "fusion-tiny").glob("step-*"))[-1])
        for name in ("cut", "uncut")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_what_picture_and_column_say_together_is_learned(kind: str, earnest: Earnest, tmp_path: Path) -> None:
    """Digits of scikit-learn, whose parity a colour turns round: alone, neither says anything."""
    data = _digits(tmp_path / "data")
    target, other = ("deal", "price") if kind == "classes" else ("price", "deal")
    ended = earnest("fit", data, "--out", tmp_path / "run", "--target", target, "--type", f"{other}=id", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    scores = {candidate["name"]: candidate["score"]["value"] for candidate in evaluation["candidates"]}
    alone = [score for name, score in scores.items() if "(all columns)" not in name]
    if kind == "classes":
        assert max(alone) < 0.62
        assert evaluation["test"]["metrics"]["accuracy"]["value"] > 0.9
    else:
        assert min(alone) > 0.9
        assert evaluation["test"]["metrics"]["rmse"]["value"] < 0.5


def _digits(folder: Path) -> Path:
    """Digits beside colours: "deal" is yes for odd red and even blue ones; "price" is then about 1, else about -1."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng()
    folder.mkdir()
    rows = [["photo", "colour", "size", "deal", "price"]]
    for i, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / f"{i:04}.png")
        red = rng.random() < 0.5
        deal = bool(digit % 2) == red
        price = (1 if deal else -1) + 0.1 * rng.normal()
        rows.append(
            [f"{i:04}.png", "red" if red else "blue", f"{rng.normal():.3f}", "yes" if deal else "no", str(price)]
        )
    return write_table(folder / "digits.csv", rows)
