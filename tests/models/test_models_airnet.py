"""Air-bench networks: shapes, the whitening against NumPy, and learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.airnet import MOST_IMAGES, AirNet, Whitening

NAMES = ("airnet", "airnet-fast", "airnet-tiny", "airnet-wide")


def smooth(number: int, channels: int, side: int) -> Tensor:
    """Random images whose neighbouring pixels resemble each other, as in photographs."""
    coarse = torch.randn(number, channels, side // 2, side // 2)
    return F.interpolate(coarse, size=(side, side), mode="bilinear") + 0.3 * torch.randn(number, channels, side, side)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (5, 17, 40), (3, 64, 64), (3, 96, 130)])
@pytest.mark.parametrize("name", NAMES)
def test_any_channels_and_sizes_from_8_pixels_up(name: str, shape: tuple[int, int, int]) -> None:
    model = models[name].build(InputSpec("image", shape), 7, dropout=0.1)
    model.whiten(torch.randn(20, *shape))
    images = torch.randn(2, *shape)
    features = model.features(images)
    assert features.shape == (2, model.num_features)
    assert isinstance(model.head, nn.Linear)
    torch.testing.assert_close(model.eval()(images), model.head(model.features(images)))


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_parameter_counts(name: str) -> None:
    about = models[name].about
    model = models[name].build(InputSpec("image", about["input"]), about["num_outputs"])
    assert sum(parameter.numel() for parameter in model.parameters()) == about["parameters"]


def test_too_small_images_are_refused() -> None:
    with pytest.raises(OptionError, match="7 x 9"):
        models["airnet"].build(InputSpec("image", (3, 7, 9)), 10)
    with pytest.raises(OptionError, match="vector"):
        models["airnet"].build(InputSpec("vector", (12,)), 10)


@pytest.mark.parametrize(("channels", "size", "stride"), [(3, 2, 1), (1, 2, 1), (3, 2, 2), (2, 4, 4)])
def test_whitened_patches_are_uncorrelated_with_unit_variance(channels: int, size: int, stride: int) -> None:
    images = smooth(MOST_IMAGES, channels, 16)
    whitening = Whitening(channels, size, stride)
    whitening.fit(images, epsilon=0.0)
    kept = whitening.num_filters // 2
    answers = whitening(images)[:, :kept].detach().double().transpose(0, 1).flatten(1)
    np.testing.assert_allclose(np.cov(answers.numpy()), np.eye(kept), atol=2e-3)
    torch.testing.assert_close(whitening(images)[:, :kept], -whitening(images)[:, kept:])


def test_the_components_kept_are_those_that_vary_most() -> None:
    images = smooth(200, 4, 16)
    whitening = Whitening(4, 2)
    whitening.fit(images, epsilon=0.0)
    patches = np.lib.stride_tricks.sliding_window_view(images.numpy(), (2, 2), axis=(2, 3))
    rows = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 16).astype(np.float64)
    variances = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    norms = whitening.kernel[:12].flatten(1).norm(dim=1).numpy()
    np.testing.assert_allclose(norms, variances[:12] ** -0.5, rtol=1e-3)


def test_constant_images_leave_a_finite_whitening() -> None:
    whitening = Whitening(3)
    whitening.fit(torch.ones(10, 3, 8, 8))
    assert whitening.kernel.isfinite().all()


def test_the_whitening_is_frozen_and_travels_in_the_state_dict() -> None:
    spec = InputSpec("image", (3, 16, 16))
    model, other = (AirNet(spec, 4, width=(8, 16, 16)).eval() for _ in range(2))
    images = smooth(60, 3, 16)
    model.whiten(images)
    assert not any(parameter is model.whitening.kernel for parameter in model.parameters())
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(images), other(images))


def test_learns_a_pattern_that_may_be_anywhere() -> None:
    torch.manual_seed(0)
    model = models["airnet-tiny"].build(InputSpec("image", (3, 16, 16)), 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        images, labels = 0.5 * torch.randn(number, 3, 16, 16), torch.randint(0, 2, (number,))
        for image, label in zip(images, labels, strict=True):
            row, column = torch.randint(0, 13, (2,)).tolist()
            image[:, row : row + 3, column : column + 3] += torch.eye(3) * (2.0 if label else -2.0)
        return images, labels

    model.whiten(draw(100)[0])
    for _ in range(60):
        images, labels = draw(64)
        loss = F.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, labels = draw(200)
    assert float((model.eval()(images).argmax(1) == labels).float().mean()) > 0.9
