"""The estimators against scikit-learn's own suite of checks, and what that suite cannot know of."""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import earnest
from earnest.core.errors import DataError, OptionError

pytestmark = pytest.mark.slow

EXPECTED_FAILED_CHECKS: dict[str, str] = {}
"""Deviations from scikit-learn's contract, by check, with the reason: there are none."""

GUIDE = Path(__file__).parents[2] / "docs" / "estimators.md"
Estimator = type[earnest.Classifier] | type[earnest.Regressor]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng()


@parametrize_with_checks(
    [earnest.Classifier(), earnest.Regressor()], expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS
)
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def table() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    X, y = make_classification(240, 6, n_informative=4, random_state=3)
    return X, y


@pytest.mark.parametrize("num_rows", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("what", ["one feature", "constant", "all missing"])
def test_a_handful_of_rows(num_rows: int, what: str, rng: np.random.Generator) -> None:
    X = {
        "one feature": rng.normal(size=(num_rows, 1)),
        "constant": np.full((num_rows, 2), 3.0),
        "all missing": np.full((num_rows, 2), np.nan),
    }[what]
    y = np.arange(num_rows) % 2
    probabilities = earnest.Classifier(random_state=0).fit(X, y).predict_proba(X)
    assert probabilities.shape == (num_rows, 2)
    assert probabilities.sum(1) == pytest.approx(1)
    assert np.isfinite(earnest.Regressor(random_state=0).fit(X, y).predict(X)).all()


def test_chooses_what_fits(rng: np.random.Generator) -> None:
    """Trees for a checkerboard, which no linear model can tell; the linear model for a plane."""
    X = rng.uniform(-1, 1, (400, 2))
    board = earnest.Classifier(random_state=0).fit(X, np.sign(X[:, 0] * X[:, 1]))
    assert board.model_name_ == "LightGBM"
    plane = earnest.Regressor(random_state=0).fit(X, X @ [2.0, -1.0])
    assert plane.model_name_ == "linear"
    assert plane.scores_["linear"] == min(plane.scores_.values())


def test_scores_are_of_rows_not_seen(rng: np.random.Generator) -> None:
    """Labels that nothing explains are guessed, however well trees may learn them by heart."""
    X, y = rng.normal(size=(500, 5)), rng.integers(0, 2, 500)
    classifier = earnest.Classifier(model="lightgbm", random_state=0).fit(X, y)
    assert classifier.scores_["LightGBM"] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("model", ["auto", "tabm-tiny"])
def test_same_seed_same_answers(model: str, table: tuple[Any, Any]) -> None:
    X, y = table
    estimator = earnest.Classifier(model=model, epochs=2, random_state=5)
    first, again = (clone(estimator).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("model", ["linear", "lightgbm", "tabm-tiny"])
@pytest.mark.parametrize("of", [earnest.Classifier, earnest.Regressor])
def test_saved_and_pickled_models_answer_alike(
    of: Estimator, model: str, tmp_path: Path, table: tuple[Any, Any]
) -> None:
    X, y = table
    estimator = of(model=model, epochs=1, random_state=0).fit(X, y)
    answers = estimator.predict_proba(X)[:, 1] if hasattr(estimator, "predict_proba") else estimator.predict(X)
    unpickled = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(unpickled.predict(X), estimator.predict(X))
    estimator.save(tmp_path / "model")
    pl.DataFrame({f"x{i}": X[:, i] for i in range(X.shape[1])}).write_parquet(tmp_path / "x.parquet")
    loaded = earnest.load(tmp_path / "model").predict(tmp_path / "x.parquet")
    column = "p(1)" if of is earnest.Classifier else "prediction"
    assert loaded[column].to_numpy() == pytest.approx(answers, abs=1e-6)
    with pytest.raises(OptionError, match="not empty"):
        estimator.save(tmp_path / "model")


def test_a_thousand_rows_bring_in_the_network(rng: np.random.Generator) -> None:
    X = rng.normal(size=(1100, 3))
    regressor = earnest.Regressor(epochs=1, random_state=0).fit(X, X[:, 0])
    assert list(regressor.scores_) == ["linear", "LightGBM", "tabm", "LightGBM + tabm"]
    assert regressor.score(X, X[:, 0]) > 0.9


def test_pipeline_search_and_cross_validation(table: tuple[Any, Any]) -> None:
    X, y = table
    pipeline = make_pipeline(StandardScaler(), earnest.Classifier(model="linear", random_state=0))
    assert cross_val_score(pipeline, X, y, cv=3, error_score="raise").mean() > 0.7
    choices = {"classifier__model": ["linear", "lightgbm"]}
    search = GridSearchCV(pipeline, choices, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["classifier__model"] in choices["classifier__model"]
    assert search.predict(X).shape == y.shape


def people(rng: np.random.Generator, num_rows: int = 200) -> tuple[pl.DataFrame, NDArray[np.str_]]:
    """A frame of every kind of column, with holes; the labels follow the team alone."""
    team = rng.choice(["red", "green", "blue"], num_rows)
    frame = pl.DataFrame(
        {
            "age": rng.normal(40, 10, num_rows),
            "children": rng.integers(0, 4, num_rows),
            "team": team.tolist(),
            "joined": [f"20{year:02d}-03-{day:02d}" for year, day in rng.integers(1, 25, (num_rows, 2))],
            "member": (rng.random(num_rows) < 0.5).tolist(),
        }
    )
    holes = [
        pl.when(pl.Series(rng.random(num_rows) < 0.1)).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("age", "children", "joined", "member")
    ]
    return frame.with_columns(holes), np.where(team == "red", "yes", "no")


def test_polars_frames_with_categories_and_holes(rng: np.random.Generator) -> None:
    frame, y = people(rng)
    classifier = earnest.Classifier(random_state=0).fit(frame, y)
    assert list(classifier.feature_names_in_) == frame.columns
    assert classifier.score(frame, y) > 0.95
    kinds = {column.name: column.kind for column in classifier.model_.shipped.encoder.columns}
    assert kinds == {"age": "number", "children": "number", "team": "category", "joined": "date", "member": "category"}
    unseen = frame.head(3).with_columns(team=pl.lit("violet"))
    assert np.isfinite(classifier.predict_proba(unseen)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(frame.rename({"team": "club"}))


def test_pandas_and_polars_frames_say_the_same(rng: np.random.Generator) -> None:
    pandas = pytest.importorskip("pandas")
    frame, y = people(rng)
    same = pandas.DataFrame({name: frame[name].to_list() for name in frame.columns})
    same["children"] = same["children"].astype("Int64")
    same["team"] = same["team"].astype("category")
    same["member"] = same["member"].astype("boolean")
    same["joined"] = pandas.to_datetime(same["joined"])
    of_polars = earnest.Classifier(random_state=0).fit(frame, y)
    of_pandas = earnest.Classifier(random_state=0).fit(same, y)
    assert of_pandas.predict_proba(same) == pytest.approx(of_polars.predict_proba(frame), abs=1e-12)
    assert list(of_pandas.feature_names_in_) == frame.columns


def test_infinity_in_a_frame_is_named(rng: np.random.Generator) -> None:
    frame, y = people(rng)
    frame = frame.with_columns(age=pl.when(pl.int_range(len(frame)) == 7).then(float("inf")).otherwise("age"))
    with pytest.raises(DataError, match="infinity in the column 'age'"):
        earnest.Classifier().fit(frame, y)


def test_pictures(rng: np.random.Generator) -> None:
    digits = load_digits()
    pictures = (digits.images * 15).astype(np.uint8)
    chosen = rng.permutation(len(pictures))
    train, test = chosen[:500], chosen[500:900]
    classifier = earnest.Classifier(model="linear", random_state=0).fit(pictures[train], digits.target[train])
    assert classifier.score(pictures[test], digits.target[test]) > 0.8
    assert classifier.image_shape_ == (8, 8, 1)
    assert np.array_equal(classifier.predict(pictures[test, ..., None]), classifier.predict(pictures[test]))
    for wrong in (pictures[:3, :6], pictures[:3].reshape(3, -1)):
        with pytest.raises(DataError, match="was fitted to pictures of 8 x 8 x 1"):
            classifier.predict(wrong)
    assert earnest.Regressor(model="linear").fit(pictures[train], digits.target[train]).predict(pictures[:3]).shape == (
        3,
    )


def test_a_network_learns_pictures(rng: np.random.Generator) -> None:
    """Bright and dark noise, in RGB; a network without any other candidate beside it."""
    y = rng.integers(0, 2, 80)
    pictures = (rng.integers(0, 100, (80, 16, 16, 3)) + 150 * y[:, None, None, None]).astype(np.uint8)
    classifier = earnest.Classifier(model="resnet-tiny", epochs=4, random_state=0).fit(pictures, y)
    assert list(classifier.scores_) == ["resnet-tiny"]
    assert classifier.predict_proba(pictures).shape == (80, 2)
    assert np.array_equal(pickle.loads(pickle.dumps(classifier)).predict(pictures), classifier.predict(pictures))


def test_fit_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: tuple[Any, Any]) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("EARNEST_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    X, y = table
    earnest.Classifier(model="tabm-tiny", epochs=1).fit(X, y)
    pictures = np.zeros((20, 8, 8), np.uint8)
    pictures[::2] = 255
    earnest.Classifier(model="linear").fit(pictures, np.arange(20) % 2)
    assert list(tmp_path.iterdir()) == []
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "airnet"}, "takes no tables"),
        ({"model": "tabn"}, "no model 'tabn'"),
        ({"metric": "rmse"}, "no metric 'rmse' for a classification"),
        ({"minutes": 0.0}, "minutes"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str, table: tuple[Any, Any]) -> None:
    X, y = table
    with pytest.raises(OptionError, match=message):
        earnest.Classifier(**options).fit(X, y)


def test_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 3
    for block in blocks:
        exec(block, names)
    assert names["classifier"].score(names["X_test"], names["y_test"]) > 0.9
    assert names["regressor"].predict(pl.DataFrame({"rooms": [2], "town": ["Bonn"]})) == pytest.approx(950, abs=60)
