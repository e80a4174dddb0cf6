"""Autoencoders: bounds against a linear model whose likelihood is known, reconstructions against PCA."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.random import default_rng
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from torch import nn

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.core.words import Step
from earnest.data.batches import ArrayBatches
from earnest.models.autoencoder import VAE, Autoencoder
from earnest.tasks.autoencoder import (
    Autoencoding,
    VariationalAutoencoding,
    binarised,
    bound_parts,
    importance_weighted,
)
from earnest.training.loop import train
from earnest.training.state import TrainState

WIDTH, CODE, VARIANCE = 6, 2, 0.3


def linear_vae(*, exact: bool) -> tuple[VAE, np.ndarray, np.ndarray]:
    """A linear Gaussian model with its mean and covariance; its encoder is the true posterior, or near to it."""
    rng = default_rng()
    directions = np.linalg.qr(rng.normal(size=(WIDTH, CODE)))[0] * rng.uniform(0.5, 2, CODE)
    offset = rng.normal(size=WIDTH)
    encoder, decoder = nn.Linear(WIDTH, 2 * CODE).double(), nn.Linear(CODE, WIDTH).double()
    model = VAE(encoder, decoder, latent_width=CODE, likelihood="gaussian").double()
    posterior = 1 / (1 + (directions**2).sum(0) / VARIANCE)  # diagonal, as the directions are orthogonal
    means = (posterior / VARIANCE)[:, None] * directions.T
    with torch.no_grad():
        decoder.weight.copy_(torch.from_numpy(directions))
        decoder.bias.copy_(torch.from_numpy(offset))
        encoder.weight.zero_()
        encoder.weight[:CODE] = torch.from_numpy(means)
        encoder.bias[:CODE] = torch.from_numpy(-means @ offset + (0 if exact else 0.4) * np.sqrt(posterior))
        encoder.bias[CODE:] = torch.from_numpy(np.log(posterior)) + (0.0 if exact else 0.5)
        assert model.log_variance is not None
        model.log_variance.fill_(math.log(VARIANCE))
    return model, offset, directions @ directions.T + VARIANCE * np.eye(WIDTH)


def mean_bound(model: VAE, x: torch.Tensor, draws: int) -> np.ndarray:
    with torch.no_grad():
        told, kl = bound_parts(model, x.repeat(draws, 1))
    return (told - kl).view(draws, -1).mean(0).numpy()


def test_with_the_true_posterior_the_bound_is_the_likelihood() -> None:
    model, mean, covariance = linear_vae(exact=True)
    x = default_rng().multivariate_normal(mean, covariance, 5)
    exact = multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(mean_bound(model, torch.from_numpy(x), 20_000), exact, atol=0.06)
    estimates = importance_weighted(model, torch.from_numpy(x), num=3)
    np.testing.assert_allclose(estimates.numpy(), exact, rtol=1e-9)  # every weight is p(x) itself


def test_otherwise_the_bound_is_below_and_importance_weights_close_the_gap() -> None:
    model, mean, covariance = linear_vae(exact=False)
    x = default_rng().multivariate_normal(mean, covariance, 5)
    exact = multivariate_normal(mean, covariance).logpdf(x)
    bound = mean_bound(model, torch.from_numpy(x), 5000)
    assert (bound < exact - 0.05).all()
    estimate = importance_weighted(model, torch.from_numpy(x), num=4000).numpy()
    np.testing.assert_allclose(estimate, exact, atol=0.05)


def fit(model: nn.Module, task: nn.Module, data: np.ndarray, recipe: Recipe) -> None:
    source = ArrayBatches((data,), None, np.arange(len(data)), batch_size=recipe.batch_size, shuffle=True)
    for _ in train(TrainState(model, task), source, None, recipe, clock=WallClock()):  # type: ignore[arg-type]
        pass


def correlated(num: int) -> np.ndarray:
    rng = default_rng(3)
    return (rng.normal(size=(num, WIDTH)) @ (rng.normal(size=(WIDTH, WIDTH)) * 0.5)).astype(np.float32)


def test_a_linear_autoencoder_comes_to_what_pca_does() -> None:
    torch.manual_seed(1)
    data = correlated(1024)
    model = Autoencoder(nn.Linear(WIDTH, CODE), nn.Linear(CODE, WIDTH), latent_width=CODE)
    recipe = Recipe(epochs=40, batch_size=64, lr=1e-2, schedule="cosine")
    fit(model, Autoencoding(), data, recipe)
    source = ArrayBatches((data,), None, np.arange(len(data)), batch_size=256)
    error = Autoencoding().validate(model.eval(), source, Step())["reconstruction_error"]
    pca = PCA(CODE).fit(data)
    best = ((pca.inverse_transform(pca.transform(data)) - data) ** 2).sum(1).mean()
    assert best * 0.999 < error < 1.05 * best


def test_a_linear_variational_one_comes_near_to_the_best_likelihood() -> None:
    torch.manual_seed(1)
    data = correlated(1024)
    model = VAE(nn.Linear(WIDTH, 2 * CODE), nn.Linear(CODE, WIDTH), latent_width=CODE, likelihood="gaussian")
    task = VariationalAutoencoding()
    fit(model, task, data, Recipe(epochs=60, batch_size=64, lr=1e-2, schedule="cosine"))
    source = ArrayBatches((data,), None, np.arange(len(data)), batch_size=256)
    bound = task.validate(model.eval(), source, Step())["elbo"]
    best = PCA(CODE).fit(data).score(data)  # probabilistic PCA's (Tipping & Bishop 1999), in closed form
    assert best - 0.2 < bound < best + 0.05


def test_pixels_are_drawn_with_their_intensity() -> None:
    x = torch.tensor([-1.0, -0.5, 0.0, 1.0]).repeat(20_000, 1)
    drawn = binarised(x)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), x[0], atol=0.03, rtol=0)
    same = [binarised(x, torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*same)
