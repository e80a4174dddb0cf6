"""Free text in tables: what the linear model learns from it, and that it answers the same once it is shipped."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import Earnest, write_table

import earnest as package
from earnest.api.parts import LinearPart

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
GOOD, BAD = ("lovely", "splendid", "warm", "clever"), ("dull", "noisy", "broken", "late")
PLAIN = [f"word{i}" for i in range(200)]


def reviews(num: int) -> list[list[str]]:
    """Header and rows: a text, a number, whether it is good, and the row's part; the text alone says what it is."""
    rows = [["review", "pages", "verdict", "part"]]
    for i in range(num):
        good = random.random() < 0.5
        words = random.choices(PLAIN, k=random.randint(8, 30)) + random.choices(GOOD if good else BAD, k=2)
        random.shuffle(words)
        number = f"{random.gauss(100, 20):.1f}"
        rows.append([" ".join(words), number, "good" if good else "bad", ("train", "train", "val", "test")[i % 4]])
    return rows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "reviews.csv", reviews(600))


def test_a_run_on_texts_ships_what_answers_the_same_anywhere(earnest: Earnest, table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = earnest("fit", table, "--target", "verdict", "--split", "part", "--epochs", 1, "--model", "tabm-tiny",
                    "--out", run, "--quiet")  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    evaluation = json.loads((run / "evaluation.json").read_text())
    candidates = {line["name"]: line for line in evaluation["candidates"]}
    assert next(iter(candidates)) == "tf-idf + linear"
    assert candidates["tf-idf + linear"]["score"]["value"] > 0.9
    odd = ["", "😀😀", "lovely\0dull", "مرحبا", "lovely " * 300_000, "never seen before", None]
    new = pl.DataFrame({"review": [*(row[0] for row in reviews(60)[1:]), *odd], "pages": [90.5] * (60 + len(odd))})
    new.write_parquet(tmp_path / "new.parquet")
    together = package.load(run).predict(tmp_path / "new.parquet").drop("row", "name")
    assert together.null_count().sum_horizontal()[0] == 0
    for row in range(0, len(new), 6):
        new[row].write_parquet(tmp_path / "one.parquet")
        alone = package.load(run / "model").predict(tmp_path / "one.parquet").drop("row", "name")
        assert alone.row(0) == pytest.approx(together.row(row), abs=2e-6)


def test_a_pool_of_candidates_answers_the_same_once_shipped(
    earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earnest.api.outcome.best", lambda question, candidates: candidates[-1])
    monkeypatch.setattr("earnest.api.texts.LEAST_WEIGHT", -1.0)
    table = write_table(tmp_path / "reviews.csv", [[row[0], *row[2:]] for row in reviews(200)])
    run = tmp_path / "run"
    ended = earnest("fit", table, "--target", "verdict", "--type", "review=text", "--split", "part", "--from-scratch",
                    "--epochs", 1, "--out", run, "--quiet")  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    name = json.loads((run / "evaluation.json").read_text())["candidates"][-1]["name"]
    assert name == "pool of tf-idf + linear and bilstm from scratch"
    written = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    answers = package.load(run / "model").predict(table)[written["row"].to_list()]
    assert answers["confidence"].to_numpy() == pytest.approx(written["confidence"].to_numpy(), abs=2e-6)


@pytest.mark.parametrize("of", [package.Classifier, package.Regressor])
def test_the_linear_model_of_a_text_is_saved_whole(of: type[package.Classifier], tmp_path: Path) -> None:
    frame = pl.DataFrame(reviews(300)[1:], ["review", "pages", "verdict", "part"], orient="row").drop("part")
    X, y = frame.drop("verdict"), frame["verdict"].to_numpy()
    if of is package.Regressor:
        y = np.where(y == "good", 1000.0, -1000.0)
    estimator = of(model="linear", random_state=0).fit(X, y)
    assert estimator.model_name_ == "tf-idf + linear"
    estimator.save(tmp_path / "model")
    X.write_parquet(tmp_path / "x.parquet")
    loaded = package.load(tmp_path / "model")
    (part,) = loaded.model.shipped.parts
    assert isinstance(part, LinearPart)
    answers = loaded.predict(tmp_path / "x.parquet")["prediction"]
    assert (answers == pl.Series(estimator.predict(X))).all()
    assert estimator.score(X, y) > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "imdb").exists(), reason="needs the real data sets")
def test_film_reviews_are_told_apart() -> None:
    """10,000 IMDB reviews, 5,000 to test on: on the dense projection alone a linear model gets 85%."""
    train, test = (pl.read_parquet(DATA / "imdb" / f"{part}.parquet") for part in ("train", "test"))
    classifier = package.Classifier(model="linear", random_state=0).fit(train.select("text"), train["label"].to_numpy())
    assert classifier.score(test.select("text"), test["label"].to_numpy()) > 0.88
