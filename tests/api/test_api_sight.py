"""What a pretrained network sees in pictures, as columns of a table."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from earnest.api.sight import WIDTH, Sight
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.preparation import Normalise
from earnest.training.features import extract_features

NAME = "efficientnet-lite-tiny"


def network() -> torch.nn.Module:
    """A tiny network with random weights."""
    model: torch.nn.Module = models[NAME].build(InputSpec("image", models[NAME].about["input"]), 10)
    return model.eval()


def pictures(num: int) -> np.ndarray:
    return np.random.default_rng().integers(0, 256, (num, 40, 36, 3), dtype=np.uint8)


def normalise() -> Normalise:
    return Normalise((120.0, 110.0, 100.0), (60.0, 61.0, 62.0), 32)


@pytest.mark.parametrize("num", [30, 300])
def test_components_equal_scikit_learns(num: int) -> None:
    rng = np.random.default_rng()
    features = (rng.normal(size=(num, 20)) @ rng.normal(size=(20, 90)) + rng.normal(size=90)).astype(np.float32)
    ours = Sight.fit(features, NAME, network(), normalise(), flips=True).of_features(features)
    assert ours.shape == (num, 20)
    pca = PCA(20, whiten=True, svd_solver="full").fit(features.astype(np.float64))
    theirs = pca.transform(features) * np.sqrt(num / (num - 1))
    signs = np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=5e-3)


def test_many_features_become_few_numbers_of_unit_variance() -> None:
    features = np.random.default_rng().normal(size=(400, 200)).astype(np.float32) * 7 + 3
    numbers = Sight.fit(features, NAME, network(), normalise(), flips=True).of_features(features)
    assert numbers.shape == (400, WIDTH)
    np.testing.assert_allclose(numbers.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(numbers.T), np.eye(WIDTH) * 400 / 399, atol=1e-2)


@pytest.mark.parametrize("num", [1, 2, 5])
def test_few_rows_give_few_components(num: int) -> None:
    features = np.random.default_rng().normal(size=(num, 50)).astype(np.float32)
    numbers = Sight.fit(features, NAME, network(), normalise(), flips=True).of_features(features)
    assert numbers.shape == (num, num - 1)
    assert np.isfinite(numbers).all()


@pytest.mark.parametrize("flips", [True, False])
def test_packed_and_unpacked_it_sees_the_same(flips: bool) -> None:
    model, images = network(), pictures(40)
    features = extract_features(model, images, preprocessing=normalise(), cache_folder=None, flips=flips)
    sight = Sight.fit(features, NAME, model, normalise(), flips=flips)
    facts, tensors = sight.pack()
    assert not any(name.startswith("model.head.") for name in tensors)
    again = Sight.unpack(json.loads(json.dumps(facts)), tensors)
    np.testing.assert_array_equal(again(images), sight(images))
    np.testing.assert_allclose(sight(images), sight.of_features(features), atol=1e-5)
    np.testing.assert_allclose(sight(images[7:8]), sight(images)[7:8], atol=2e-3)


def test_a_tensor_that_is_missing_is_noticed() -> None:
    features = np.random.default_rng().normal(size=(9, 50)).astype(np.float32)
    facts, tensors = Sight.fit(features, NAME, network(), normalise(), flips=True).pack()
    del tensors[next(name for name in tensors if name.startswith("model.stem"))]
    with pytest.raises(RuntimeError, match="stem"):
        Sight.unpack(facts, tensors)
