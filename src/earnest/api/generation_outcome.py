"""What came of a network that makes pictures: how near they are to real ones, beside simpler ways, and their looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from earnest.api.gallery import Gallery
from earnest.api.generation import Trained
from earnest.api.grids import data_uri, grid_png
from earnest.api.picture_generator import TASK, PictureGenerator
from earnest.api.question import Bench, Floats
from earnest.api.sightings import Extractor
from earnest.core.recipe import Recipe
from earnest.core.seeds import derive
from earnest.evaluation.generation import METRIC, compare, judge, nearest, verdict
from earnest.models.autoencoder import VAE
from earnest.tasks.autoencoder import binarised, bound_parts, importance_weighted, is_binary

MOST_JUDGED = 5000
"""Made pictures of each kind, at most as many as there are test pictures."""
FLOOR, MEAN, NOISE, GAUSSIAN = "other real pictures", "the mean picture", "noise", "PCA and a Gaussian"
NUM_COMPONENTS, MOST_FITTED = 100, 10_000
SHOWN, BESIDE, MOST_EPOCHS, WAYS, STEPS = 64, 16, 6, 4, 8
"""Pictures in a grid, beside their nearest, epochs and ways that are shown, and the steps of a way."""
MOST_TOLD = 200
"""Pictures whose likelihood is estimated."""


@dataclass(frozen=True)
class Judging:
    """Test pictures, how they are seen, and how many made ones are laid beside them."""

    bench: Bench
    gallery: Gallery
    extractor: Extractor
    real: Floats
    num: int


def settle(bench: Bench, gallery: Gallery, recipe: Recipe, extractor: Extractor, trained: list[Trained]) -> None:
    """Ship the first, look at the test pictures once, and write everything down; the others are its rivals."""
    ours, *rivals = trained
    ours.generator.save(bench.run.path / "model")
    bench.run.look_at_test("the final evaluation")
    test = gallery.split.test
    num = min(len(test), MOST_JUDGED)
    judging = Judging(bench, gallery, extractor, extractor.see(gallery.array[test[:num]]), num)
    sets = {recipe.model: made_by(ours, judging)}
    sets |= {rival.generator.name: made_by(rival, judging) for rival in rivals}
    sets |= simple_ways(judging)
    seen: dict[str, Floats] = {}
    scores: dict[str, Any] = {}
    with bench.screen.bar("judging", len(sets)) as bar:
        for name, pictures in sets.items():
            seen[name] = extractor.see(pictures)
            scores[name] = judge(judging.real, seen[name], seed=bench.seed).metrics()
            bar(len(seen))
    rival = min(
        (name for name in scores if name not in (recipe.model, FLOOR)), key=lambda n: scores[n][METRIC]["value"]
    )
    comparison = compare(judging.real, seen[recipe.model], seen[rival], against=rival, seed=bench.seed)
    copying = _copying(judging, seen[recipe.model])
    part = {
        "n": num,
        "metrics": scores[recipe.model],
        "baselines": {name: its for name, its in scores.items() if name != recipe.model},
        "left_out": {},
    }
    evaluation: dict[str, Any] = {
        "task": TASK,
        "target": None,
        "unit": "pictures",
        "labels": list(gallery.labels),
        "metric": METRIC,
        "extractor": extractor.name,
        "cross_fitted": False,
        "validation": None,
        "test": part,
        "comparison": comparison,
        "candidates": [_line(one, one is ours) for one in (*rivals, ours)],
        "calibration": None,
        "confusion": None,
        "per_class": None,
        "residuals": None,
        "mistakes": [],
        "collapses": list(ours.collapses),
        "copying": copying,
        "codes": _codes(judging, ours.generator),
        "pictures": _shown(judging, ours.generator) if bench.request.examples else [],
        "left_out_count": len(gallery.dataset.left_out),
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
        "verdict": verdict(part, comparison, extractor=extractor.name, floor=FLOOR, collapses=ours.collapses),
    }
    bench.run.write("evaluation.json", evaluation)


def made_by(trained: Trained, judging: Judging) -> NDArray[np.uint8]:
    """As many pictures as there are test pictures to compare with, of all classes in turn."""
    return trained.generator.generate(judging.num, seed=derive(judging.bench.seed, "evaluation"))


def simple_ways(judging: Judging) -> dict[str, NDArray[np.uint8]]:
    """What needs no network: real pictures, as far as one can come; their mean; noise; a Gaussian of components."""
    gallery, num = judging.gallery, judging.num
    rng = np.random.default_rng(derive(judging.bench.seed, "simple ways"))
    learned = gallery.array[rng.permutation(gallery.split.train)[:MOST_FITTED]]
    mean = learned.mean(0).round().astype(np.uint8)
    flat = learned.reshape(len(learned), -1).astype(np.float64)
    fitted = PCA(min(NUM_COMPONENTS, *flat.shape), svd_solver="randomized", random_state=0).fit(flat)
    codes = rng.normal(size=(num, fitted.n_components_)) * np.sqrt(fitted.explained_variance_)
    gaussian = fitted.inverse_transform(codes).round().clip(0, 255).astype(np.uint8)
    return {
        FLOOR: learned[:num],
        MEAN: np.repeat(mean[None], num, 0),
        NOISE: rng.integers(0, 256, (num, *mean.shape), dtype=np.uint8),
        GAUSSIAN: gaussian.reshape(num, *mean.shape),
    }


def _copying(judging: Judging, made: Floats) -> dict[str, float]:
    """How far made pictures are from the nearest one learned from, against how far test pictures are."""
    learned = judging.extractor.see(judging.gallery.array[judging.gallery.split.train[:MOST_FITTED]])
    theirs = float(np.median(nearest(made, learned)[1]))
    usual = float(np.median(nearest(judging.real, learned)[1]))
    return {"made": theirs, "test": usual, "ratio": theirs / max(usual, 1e-12)}


def _codes(judging: Judging, generator: PictureGenerator) -> dict[str, Any] | None:
    """How well an autoencoder tells test pictures again, PCA of the same width beside it; None of a GAN.

    Errors are squared ones of a picture's pixels in 0..1, summed. For pixels that are on or off, drawn from their
    intensities, there is the likelihood too, in nats a picture: a bound, and its importance-weighted estimate.
    """
    gallery = judging.gallery
    pictures = gallery.array[gallery.split.test[: judging.num]]
    told = generator.reconstruct(pictures)
    if told is None:
        return None
    width = int(generator.network.latent_width)  # type: ignore[arg-type]
    flat = gallery.array[gallery.split.train[:MOST_FITTED]].reshape(-1, pictures[0].size) / 255.0
    pca = PCA(min(width, *flat.shape), svd_solver="randomized", random_state=0).fit(flat)
    ours = pictures.reshape(len(pictures), -1) / 255.0
    by_pca = pca.inverse_transform(pca.transform(ours))
    codes: dict[str, Any] = {
        "width": width,
        "error": float(((told.reshape(ours.shape) / 255.0 - ours) ** 2).sum(1).mean()),
        "pca_error": float(((by_pca - ours) ** 2).sum(1).mean()),
    }
    return codes | _likelihood(judging, generator, pictures[:MOST_TOLD])


@torch.no_grad()
def _likelihood(judging: Judging, generator: PictureGenerator, pictures: NDArray[np.uint8]) -> dict[str, Any]:
    network = generator.network
    if not isinstance(network, VAE):
        return {}
    noise = torch.Generator().manual_seed(derive(judging.bench.seed, "binarise"))
    x = judging.gallery.normalise.pixels(torch.from_numpy(pictures))
    x = binarised(x, noise) if is_binary(network) else x
    with torch.random.fork_rng():
        torch.manual_seed(derive(judging.bench.seed, "likelihood"))
        told, kl = bound_parts(network, x)
        estimate = importance_weighted(network, x)
    return {"elbo": float((told - kl).mean()), "importance_weighted": float(estimate.mean()), "told": len(pictures)}


def _shown(judging: Judging, generator: PictureGenerator) -> list[dict[str, str]]:
    """Grids for the report, each with what it shows."""
    gallery, seed = judging.gallery, derive(judging.bench.seed, "shown")
    samples = generator.generate(SHOWN, seed=seed)
    learned = gallery.array[gallery.split.train[:MOST_FITTED]]
    beside = samples[:BESIDE]
    rows, _ = nearest(judging.extractor.see(beside), judging.extractor.see(learned))
    paired = np.stack([beside, learned[rows]], 1).reshape(-1, *beside.shape[1:])
    ways = generator.generate(WAYS, seed=seed, interpolate=STEPS)
    tame = generator.generate(SHOWN // 2, seed=seed, truncation=0.7)
    shown = [
        _figure("What it makes", "Not picked: the first of one seed.", samples, 8),
        _figure(
            "Beside the nearest pictures that it learned from",
            "In pairs, what it made and the real picture nearest to that in the judge's features: pairs that are the "
            "same were learned by heart.",
            paired,
            8,
        ),
        _figure("From one to another", "Each row goes from one draw of noise to the next.", ways, STEPS),
        _figure("With noise near to its middle", "Truncated at 0.7: tamer, and less varied.", tame, 8),
    ]
    test = gallery.array[gallery.split.test[:BESIDE]]
    if (told := generator.reconstruct(test)) is not None:
        pairs = np.stack([test, told], 1).reshape(-1, *test.shape[1:])
        shown.append(_figure("Told again", "In pairs, a test picture and what is told from its code.", pairs, 8))
    return [*shown, *_over_time(judging, generator.name)]


def _over_time(judging: Judging, name: str) -> list[dict[str, str]]:
    """The grids that the epochs left, some of them, from first to last."""
    files = sorted((judging.bench.run.path / "samples").glob(f"{name}-epoch-*.png"))
    if not files:
        return []
    chosen = np.unique(np.linspace(0, len(files) - 1, min(MOST_EPOCHS, len(files))).astype(int))
    return [
        {
            "title": f"After epoch {int(files[i].stem.rsplit('-', 1)[1])}",
            "caption": "From the same noise after every epoch.",
            "image": data_uri(files[i].read_bytes()),
        }
        for i in chosen
    ]


def _figure(title: str, caption: str, pictures: NDArray[np.uint8], columns: int) -> dict[str, str]:
    return {"title": title, "caption": caption, "image": data_uri(grid_png(pictures, columns))}


def _line(trained: Trained, shipped: bool) -> dict[str, Any]:
    return {
        "name": trained.generator.name,
        "metric": METRIC,
        "score": {"value": trained.score, "low": None, "high": None},
        "seconds": trained.seconds,
        "shipped": shipped,
        "note": "",
    }
