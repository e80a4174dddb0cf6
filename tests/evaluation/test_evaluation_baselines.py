from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from earnest.evaluation import baselines
from earnest.evaluation.baselines import Linear, linear, majority_class, mean, median, pixels
from earnest.evaluation.design import Design, stacked


def blobs(num, num_classes=3, num_features=6):
    random = np.random.default_rng()
    centres = np.random.default_rng(5).normal(size=(num_classes, num_features))
    truth = random.integers(0, num_classes, num)
    scales = 10.0 ** np.arange(num_features)
    return ((centres[truth] + random.normal(size=(num, num_features))) * scales + 3).astype(np.float32), truth


def standardised(train, other):
    return (other - train.mean(0)) / train.std(0)


def test_softmax_regression_equals_scikit_learns(monkeypatch):
    monkeypatch.setattr(baselines, "NUM_STEPS", 500)
    train, validation = blobs(400), blobs(200)
    ours = linear(train, validation, num_classes=3, seed=0)
    theirs = LogisticRegression(C=1 / (ours.penalty * 400), max_iter=2000, tol=1e-8)
    theirs.fit(standardised(train[0], train[0]), train[1])
    expected = theirs.predict_proba(standardised(train[0], validation[0]))
    assert ours.predict(validation[0]) == pytest.approx(expected, abs=3e-3)


def test_ridge_equals_scikit_learns():
    random = np.random.default_rng()
    weights = random.normal(size=6)

    def sample(num):
        features = (random.normal(size=(num, 6)) * 10.0 ** np.arange(6)).astype(np.float32)
        return features, (features / 10.0 ** np.arange(6)) @ weights * 50 + 1000 + 20 * random.normal(size=num)

    train, validation = sample(300), sample(100)
    ours = linear(train, validation, num_classes=None, seed=0)
    theirs = Ridge(alpha=ours.penalty * 300).fit(standardised(train[0], train[0]), train[1])
    expected = theirs.predict(standardised(train[0], validation[0]))
    assert ours.predict(validation[0]) == pytest.approx(expected, rel=1e-3)


def tickets(num, num_classes=3):
    """Two numbers and a sparse row of unit length, whose commonest terms are those of its class."""
    random = np.random.default_rng()
    truth = random.integers(0, num_classes, num)
    counts = random.poisson(np.where(np.arange(60) % num_classes == truth[:, None], 0.4, 0.1)).astype(np.float32)
    texts = sp.csr_array(counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1))
    return Design((truth[:, None] + random.normal(size=(num, 2)) * 3).astype(np.float32), texts), truth


def whole(train, other):
    return np.concatenate([standardised(train.dense, other.dense), other.texts.toarray()], axis=1)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_texts_and_numbers_together_equal_scikit_learns(monkeypatch, num_classes, refit):
    monkeypatch.setattr(baselines, "NUM_STEPS", 500)
    monkeypatch.setattr(baselines, "PENALTIES_WITH_TEXTS", (0.01, 0.003))
    train, validation = tickets(400, num_classes), tickets(200, num_classes)
    ours = linear(train, validation, num_classes=num_classes, seed=0, refit=refit)
    learned = stacked([train[0], validation[0]]) if refit else train[0]
    truth = np.concatenate([train[1], validation[1]]) if refit else train[1]
    # scikit-learn has one output for two classes, whose weight is the difference of our two
    strength = ours.penalty * len(truth) / (2 if num_classes == 2 else 1)
    theirs = LogisticRegression(C=1 / strength, max_iter=5000, tol=1e-8).fit(whole(train[0], learned), truth)
    expected = theirs.predict_proba(whole(train[0], validation[0]))
    assert ours.predict(validation[0]) == pytest.approx(expected, abs=5e-3)
    assert expected.max(1).mean() > 1.2 / num_classes


def test_a_quantity_from_texts_equals_scikit_learns(monkeypatch):
    monkeypatch.setattr(baselines, "NUM_STEPS", 500)
    (train, truth), (validation, wanted) = tickets(400), tickets(200)
    train_values, values = 1000.0 + 50 * truth, 1000.0 + 50 * wanted
    ours = linear((train, train_values), (validation, values), num_classes=None, seed=0)
    theirs = Ridge(alpha=ours.penalty * 400).fit(whole(train, train), train_values)
    assert ours.predict(validation) == pytest.approx(theirs.predict(whole(train, validation)), abs=0.5)
    assert np.corrcoef(ours.predict(validation), values)[0, 1] > 0.5


@pytest.mark.parametrize("num_classes", [3, None])
def test_with_texts_too_what_is_saved_predicts_the_same_and_so_does_one_row(num_classes):
    train, (validation, wanted) = tickets(300), tickets(50)
    found = linear(train, (validation, wanted), num_classes=num_classes, seed=0)
    again = Linear("again", **found.arrays())
    assert (again.predict(validation) == found.predict(validation)).all()
    alone = np.concatenate([found.predict(validation[i : i + 1]) for i in range(50)])
    assert alone == pytest.approx(found.predict(validation), abs=1e-12)


def test_refitted_without_texts_ridge_equals_scikit_learns():
    random = np.random.default_rng()
    features = random.normal(size=(300, 6)).astype(np.float32)
    truth = features @ random.normal(size=6) + random.normal(size=300)
    train, validation = (features[:200], truth[:200]), (features[200:], truth[200:])
    ours = linear(train, validation, num_classes=None, seed=0, refit=True)
    theirs = Ridge(alpha=ours.penalty * 300).fit(standardised(train[0], features), truth)
    assert ours.predict(features) == pytest.approx(theirs.predict(standardised(train[0], features)), abs=1e-3)


def test_the_penalty_is_what_validation_prefers():
    """With more features than rows and no signal, the strongest is right; with a clear signal, a weaker one."""
    random = np.random.default_rng()
    noise = [(random.normal(size=(60, 200)), random.integers(0, 2, 60)) for _ in range(2)]
    assert linear(*noise, num_classes=2, seed=0).penalty == max(baselines.PENALTIES)
    signal = [(x, (x[:, 0] > 0).astype(int)) for x in (random.normal(size=(3000, 3)) for _ in range(2))]
    assert linear(*signal, num_classes=2, seed=0).penalty < 0.1


def test_sampled_rows_are_named():
    train, validation = blobs(3000), blobs(300)
    found = linear(train, validation, num_classes=3, seed=0, max_rows=1000)
    assert found.name == "linear (1,000 of 3,000 rows)"
    assert found.predict(validation[0]).shape == (300, 3)


def test_tuning_on_a_sample_ends_with_a_fit_to_all_rows(monkeypatch):
    train, validation = blobs(3000), blobs(2000)
    whole = linear(train, validation, num_classes=3, seed=0)
    monkeypatch.setattr(baselines, "TUNING_ROWS", 500)
    monkeypatch.setattr(baselines, "TUNING_WORK", 0)
    sampled = linear(train, validation, num_classes=3, seed=0)
    disagreement = whole.predict(validation[0]).argmax(1) != sampled.predict(validation[0]).argmax(1)
    assert disagreement.mean() < 0.03


def test_what_is_saved_predicts_the_same():
    train, validation = blobs(200), blobs(50)
    found = linear(train, validation, num_classes=3, seed=0)
    again = Linear("again", **found.arrays())
    assert (again.predict(validation[0]) == found.predict(validation[0])).all()


def test_one_row_or_many_same_answer():
    train, validation = blobs(200), blobs(50)
    found = linear(train, validation, num_classes=3, seed=0)
    alone = np.concatenate([found.predict(row[None]) for row in validation[0]])
    assert alone == pytest.approx(found.predict(validation[0]), abs=1e-12)


def test_constant_features_and_absurd_values_do_no_harm():
    (features, truth), validation = blobs(200), blobs(50)
    features[:, 0] = validation[0][:, 0] = 7
    found = linear((features, truth), validation, num_classes=3, seed=0)
    absurd = validation[0].copy()
    absurd[0] = 1e30
    answers = found.predict(absurd)
    assert np.isfinite(answers).all()
    assert answers.sum(1) == pytest.approx(np.ones(50))


def test_constants():
    truth = np.array([0, 1, 1, 1])
    answers = majority_class(truth, 3).predict(np.zeros((5, 2)))
    assert answers == pytest.approx(np.tile([2 / 7, 4 / 7, 1 / 7], (5, 1)))
    values = np.array([0.0, 1.0, 5.0])
    assert mean(values).predict(np.zeros((2, 1))).tolist() == [2.0, 2.0]
    assert median(values).predict(np.zeros((2, 1))).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (65, 47, 3), (7, 600, 1), (1, 2000, 1)])
def test_pixels_are_averages_of_squares(shape):
    images = np.random.default_rng().integers(0, 256, (3, *shape), dtype=np.uint8)
    features = pixels(images)
    assert features.shape[1] <= baselines.MOST_PIXELS
    if shape == (32, 32, 3):
        blocks = images.reshape(3, 16, 2, 16, 2, 3).mean((2, 4))
        assert features == pytest.approx(blocks.reshape(3, -1), abs=1e-3)
    if shape == (28, 28, 1):
        assert (features == images.reshape(3, -1)).all()


def test_linear_on_digits_is_a_baseline_worth_beating():
    digits = load_digits()
    features = pixels(digits.images[..., None].astype(np.uint8))
    found = linear(
        (features[:1100], digits.target[:1100]), (features[1100:1400], digits.target[1100:1400]), num_classes=10, seed=0
    )
    right = found.predict(features[1400:]).argmax(1) == digits.target[1400:]
    assert right.mean() > 0.88
