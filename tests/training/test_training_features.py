"""Features of a frozen network, and the linear model on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.preparation import Normalise, centre_square
from earnest.training.features import extract_features, fold_norms
from earnest.training.linear_head import UNSEEN, fit_linear_head

PREPROCESSING = Normalise((127.0, 120.0, 110.0), (128.0, 100.0, 90.0), 32)


class Counting(nn.Module):
    """A small network that counts the pictures that it sees."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.bn = nn.BatchNorm2d(5)
        self.seen = seen
        self.bn.running_mean.normal_()
        self.bn.running_var.uniform_(0.5, 2)

    def __deepcopy__(self, memo: object) -> Counting:
        copied = Counting(self.seen)
        copied.load_state_dict(self.state_dict())
        return copied

    def features(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        return self.bn(self.conv(x)).relu().mean((2, 3))


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng().integers(0, 256, (7, 36, 36, 3), dtype=np.uint8)


def trained_looking(model: nn.Module) -> nn.Module:
    """The model with statistics and scales that folding must get right."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return model


@pytest.mark.parametrize("name", ["efficientnet-lite-tiny", "resnet-tiny"])
def test_folding_changes_nothing_but_speed(name: str) -> None:
    model = trained_looking(models[name].build(InputSpec("image", (3, 64, 64)), 3)).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    folded = fold_norms(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        expected = model.eval().features(x)
        torch.testing.assert_close(folded.features(x), expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_features_are_the_models_own_averaged_over_the_mirror_image(pictures: np.ndarray) -> None:
    model = Counting([]).eval()
    found = extract_features(model, pictures, preprocessing=PREPROCESSING, cache_folder=None, batch_size=3)
    crop = torch.from_numpy(pictures[:, 2:34, 2:34]).permute(0, 3, 1, 2).double()
    x = (crop - torch.tensor(PREPROCESSING.mean).view(3, 1, 1)) / torch.tensor(PREPROCESSING.std).view(3, 1, 1)
    model.double()
    with torch.no_grad():
        expected = (model.features(x) + model.features(x.flip(3))) / 2
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_cache_is_used_only_for_the_same_pictures_weights_and_settings(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    seen: list[int] = []
    model = Counting(seen)

    def extract(array: np.ndarray, flips: bool = True, preprocessing: Normalise = PREPROCESSING) -> np.ndarray:
        return extract_features(model, array, preprocessing=preprocessing, cache_folder=tmp_path, flips=flips)

    first = extract(pictures)
    assert sum(seen) == 2 * len(pictures)
    np.testing.assert_array_equal(extract(pictures.copy()), first)
    assert sum(seen) == 2 * len(pictures)

    changed = pictures.copy()
    changed[3, 20, 20, 1] ^= 1
    extract(changed)
    extract(pictures, flips=False)
    extract(pictures, preprocessing=Normalise(PREPROCESSING.mean, PREPROCESSING.std, 33))
    assert sum(seen) == 7 * len(pictures)
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] += 1
    assert not np.allclose(extract(pictures), first)
    assert sum(seen) == 9 * len(pictures)


def test_a_damaged_cache_entry_is_computed_anew(pictures: np.ndarray, tmp_path: Path) -> None:
    model = Counting([])
    first = extract_features(model, pictures, preprocessing=PREPROCESSING, cache_folder=tmp_path)
    (file,) = tmp_path.glob("*.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    again = extract_features(model, pictures, preprocessing=PREPROCESSING, cache_folder=tmp_path)
    np.testing.assert_array_equal(again, first)


def test_progress_reaches_the_end(pictures: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    extract_features(
        Counting([]),
        pictures,
        preprocessing=PREPROCESSING,
        cache_folder=None,
        batch_size=3,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize(
    ("height", "width", "shorter"), [(256, 300, 256), (224, 224, 224), (240, 250, 240), (32, 48, 224), (512, 512, 256)]
)
def test_the_centre_is_scaled_only_where_it_must_be(height: int, width: int, shorter: int) -> None:
    """A picture whose pixels are their own coordinates shows where each came from."""
    rows = torch.arange(height, dtype=torch.float32).view(-1, 1).expand(height, width)
    columns = torch.arange(width, dtype=torch.float32).expand(height, width)
    found = centre_square(torch.stack([rows, columns])[None], 224)
    assert found.shape == (1, 2, 224, 224)
    step = min(height, width) / shorter
    middle = found[0, :, 10:-10, 10:-10].mean((1, 2))
    assert torch.allclose(middle, torch.tensor([(height - 1) / 2, (width - 1) / 2]), atol=1.5 * max(step, 1))
    assert torch.allclose(found[0, 0, 20:-20].diff(dim=0), torch.tensor(step), atol=0.05 * step)


def test_gray_pictures_suit_rgb_weights() -> None:
    gray = np.random.default_rng().integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    colour = np.repeat(gray, 3, axis=3)
    torch.testing.assert_close(
        PREPROCESSING.pixels(torch.from_numpy(gray)), PREPROCESSING.pixels(torch.from_numpy(colour))
    )


def gaussians(num_classes: int, *, rows: int = 60, dims: int = 20) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng()
    truth = np.arange(rows) % num_classes
    centres = generator.normal(0, 1.0, (num_classes, dims))
    return (3 + 0.1 * (centres[truth] + generator.normal(0, 1, (rows, dims)))).astype(np.float32), truth


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_head_is_scikit_learns_at_the_strength_chosen(num_classes: int) -> None:
    features, truth = gaussians(num_classes)
    head = fit_linear_head(features, truth, num_classes=num_classes, seed=0)
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    scaled = centred / np.sqrt(np.square(centred).mean())
    reference = LogisticRegression(C=head.strength, max_iter=5000, tol=1e-8).fit(scaled, truth)
    np.testing.assert_allclose(softmax(head(features)), reference.predict_proba(scaled), atol=0.02)


def test_the_penalty_is_stronger_where_there_is_nothing_to_learn() -> None:
    features, truth = gaussians(2, rows=200)
    shuffled = np.random.default_rng().permutation(truth)
    learned = fit_linear_head(features, truth, num_classes=2, seed=0)
    nothing = fit_linear_head(features, shuffled, num_classes=2, seed=0)
    assert nothing.strength < learned.strength


def test_a_class_without_examples_is_not_predicted() -> None:
    features, truth = gaussians(2)
    head = fit_linear_head(features, truth * 2, num_classes=3, seed=0)
    assert head.weight.shape == (3, features.shape[1])
    assert set(head(features).argmax(1)) <= {0, 2}
    assert head.bias[1] == UNSEEN


def test_one_example_of_a_class_is_enough() -> None:
    features, truth = gaussians(3)
    keep = np.flatnonzero((truth != 2) | (np.arange(len(truth)) == 2))
    head = fit_linear_head(features[keep], truth[keep], num_classes=3, seed=0)
    assert np.isfinite(head(features)).all()


def test_values_are_fitted_by_ridge_regression() -> None:
    features, _ = gaussians(2, rows=80)
    truth = features @ np.random.default_rng().normal(size=features.shape[1]) + 5
    head = fit_linear_head(features, truth, num_classes=None, seed=0)
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    scaled = centred / np.sqrt(np.square(centred).mean())
    reference = Ridge(1 / head.strength).fit(scaled, truth)
    np.testing.assert_allclose(head(features)[:, 0], reference.predict(scaled), rtol=1e-3)


def test_an_installed_head_answers_as_the_fitted_one() -> None:
    features, truth = gaussians(3)
    head = fit_linear_head(features, truth, num_classes=3, seed=0)
    layer = nn.Linear(features.shape[1], 3)
    head.install(layer)
    with torch.no_grad():
        np.testing.assert_allclose(layer(torch.from_numpy(features)).numpy(), head(features), rtol=1e-4, atol=1e-4)
