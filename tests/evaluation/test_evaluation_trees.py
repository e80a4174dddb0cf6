from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from earnest.core.errors import RunError
from earnest.evaluation import trees
from earnest.evaluation.trees import Table, TreeModel, fit_lightgbm

CLASSES = [None, 2, 3]


def table(num_rows: int, num_classes: int | None, seed: int) -> Table:
    """A target that a number and a category decide together, with numbers missing at random and codes unseen."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(num_rows, 3)).astype(np.float32)
    codes = random.integers(0, 6, (num_rows, 2))
    value = np.where(codes[:, 0] % 2 == 0, numbers[:, 0], -numbers[:, 0])
    numbers[random.random(numbers.shape) < 0.1] = np.nan
    if num_classes is None:
        return numbers, codes, value
    return numbers, codes, np.digitize(value, [0.0] if num_classes == 2 else [-0.5, 0.5])


def fit(num_rows: int, num_classes: int | None, **options: object) -> TreeModel:
    settings = {"metric": "rmse" if num_classes is None else "accuracy", "seed": 3, **options}
    validation = table(max(2, num_rows // 4), num_classes, 1)
    return fit_lightgbm(table(num_rows, num_classes, 0), validation=validation, num_classes=num_classes, **settings)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_learns_what_depends_on_numbers_and_categories_together(num_classes: int | None) -> None:
    model = fit(1500, num_classes)
    numbers, codes, truth = table(500, num_classes, 2)
    predicted = model.predict(numbers, codes)
    if num_classes is None:
        assert predicted.shape == (500,)
        assert np.mean((predicted - truth) ** 2) < 0.3 * np.var(truth)
    else:
        assert predicted.shape == (500, num_classes)
        np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-12)
        assert (predicted.argmax(1) == truth).mean() > 0.8


@pytest.mark.parametrize("num_classes", CLASSES)
def test_text_gives_equal_predictions_back(num_classes: int | None) -> None:
    model = fit(300, num_classes)
    again = TreeModel.from_text(model.to_text())
    numbers, codes, _ = table(200, num_classes, 2)
    np.testing.assert_array_equal(again.predict(numbers, codes), model.predict(numbers, codes))
    assert again.to_text() == model.to_text()
    assert again.num_rounds == model.num_rounds


def test_lightgbm_itself_reads_the_text() -> None:
    model = fit(300, None)
    numbers, codes, _ = table(200, None, 2)
    theirs = lightgbm.Booster(model_str=model.to_text()).predict(np.column_stack([numbers, codes]), num_threads=1)
    np.testing.assert_array_equal(theirs, model.predict(numbers, codes))


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_damaged_text_is_refused(where: float) -> None:
    text = fit(300, 2).to_text()
    at = int(where * len(text))
    flipped = chr(ord(text[at]) ^ 1)
    for damaged in (text[:at], text[:at] + flipped + text[at + 1 :]):
        with pytest.raises(RunError, match="checksum"):
            TreeModel.from_text(damaged)


def test_same_seed_same_predictions_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_ROUNDS", 10)
    numbers, codes, _ = table(200, 2, 2)
    one, two, other = (fit(600, 2, threads=n, seed=s).predict(numbers, codes) for n, s in ((1, 3), (2, 3), (1, 4)))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_number_of_rounds_is_what_validation_prefers() -> None:
    train, validation = table(600, 2, 0), table(200, 2, 1)
    model = fit_lightgbm(train, validation=validation, num_classes=2, metric="log_loss", seed=3)
    numbers, codes, truth = validation
    booster = lightgbm.Booster(model_str=model.to_text())

    def loss(num_rounds: int) -> float:
        positive = booster.predict(np.column_stack([numbers, codes]), num_iteration=num_rounds, num_threads=1)
        return float(-np.log(np.where(truth == 1, positive, 1 - positive)).mean())

    losses = [loss(n) for n in range(1, model.num_rounds + 1)]
    assert len(losses) > 5
    assert int(np.argmin(losses)) == len(losses) - 1


def test_absolute_error_is_boosted_when_it_is_the_metric() -> None:
    train, validation = table(300, None, 0), table(300, None, 1)
    for _, _, truth in (train, validation):
        truth[::10] += 20.0
    squared, absolute = (
        fit_lightgbm(train, validation=validation, num_classes=None, metric=m, seed=0) for m in ("rmse", "mae")
    )
    numbers, codes, truth = validation
    errors = [np.abs(model.predict(numbers, codes) - truth).mean() for model in (squared, absolute)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("num_rows", [2, 7, 40])
def test_few_rows(num_rows: int, num_classes: int | None) -> None:
    model = fit(num_rows, num_classes)
    predicted = model.predict(*table(5, num_classes, 2)[:2])
    assert np.isfinite(predicted).all()


def test_one_category_and_no_numbers() -> None:
    random = np.random.default_rng(0)
    none = np.empty((400, 0), np.float32)
    codes = random.integers(1, 5, (400, 1))
    truth = codes[:, 0].astype(np.float64) ** 2
    model = fit_lightgbm((none, codes, truth), validation=(none, codes, truth), num_classes=None, metric="rmse", seed=0)
    np.testing.assert_allclose(model.predict(none, codes), truth, atol=0.2)


def test_numbers_only_and_a_class_without_rows() -> None:
    random = np.random.default_rng(0)
    numbers, none = random.normal(size=(200, 2)).astype(np.float32), np.empty((200, 0), np.int64)
    truth = (numbers[:, 0] > 0) * 2
    model = fit_lightgbm(
        (numbers, none, truth), validation=(numbers, none, truth), num_classes=3, metric="accuracy", seed=0
    )
    predicted = model.predict(numbers, none)
    assert (predicted.argmax(1) == truth).mean() > 0.95
    assert predicted[:, 1].max() < 0.01


def test_seconds_end_it_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    model = fit(500, 2, seconds=0.0, progress=lambda done, most: told.append((done, most)))
    assert model.num_rounds == 1
    assert [done for done, _ in told] == [1]


def test_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    model = fit(40, 3)
    TreeModel.from_text(model.to_text()).predict(*table(5, 3, 2)[:2])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
