"""Does a generator find every mode? 25 Gaussians on a grid, and MNIST digits stacked three high in colour, 1,000 kinds.

    python benchmarks/gan_modes.py gaussians                 # 5 minutes each loss
    python benchmarks/gan_modes.py stacked --minutes 60      # an hour each loss; nothing else should run meanwhile

The modern loss (relativistic pairing with both gradient penalties and an average of the generator) and the original
minimax game have the same networks, the same batches and the same time. A point is of high quality within three
standard deviations of a centre; a mode of the Gaussians is found with at least 20 such points of 10,000. A stacked
picture's mode is the three digits that a classifier reads in its channels, whose accuracy is told; of 26,000 pictures
(as in VEEGAN and PacGAN), a mode is found with one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.run import WallClock
from earnest.core.words import InputSpec
from earnest.data.batches import ArrayBatches
from earnest.data.preparation import Normalise
from earnest.tasks.adversarial import Adversarial
from earnest.tasks.generating import draw_latents, make
from earnest.training import plan as plans
from earnest.training.loop import train
from earnest.training.state import TrainState
from judges import Classifier, train_classifier
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
STD, SPACING, SIDE = 0.05, 2.0, 5
FEWEST_POINTS, NUM_POINTS = 20, 10_000
RATES = {"relativistic": 3e-3, "minimax": 1e-3}
"""Of the perceptrons."""
NUM_STACKED, NUM_STACKS, CHECKED = 26_000, 50_000, 2_000
MIDDLE = Normalise((127.5,) * 3, (127.5,) * 3)
LOSSES = ("relativistic", "minimax")
COUNTED = ("modes", "high_quality", "kl_to_equal")
Count = Callable[[Tensor], dict[str, float]]


def main() -> None:
    """Train with both losses, count, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gaussians", "stacked"))
    parser.add_argument("--minutes", type=float, default=None, help="for each loss; 5 and 60 unless given")
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=32, help="of the convolutional networks")
    parser.add_argument("--judge-epochs", type=int, default=6)
    options = parser.parse_args()
    (gaussians if options.what == "gaussians" else stacked)(options)


def gaussians(options: argparse.Namespace) -> None:
    """The grid."""
    rng = np.random.default_rng(options.seed)
    points = (centres()[rng.integers(SIDE**2, size=100_000)] + STD * rng.normal(size=(100_000, 2))).astype(np.float32)
    source = ArrayBatches((points / scale(),), None, np.arange(len(points)), batch_size=256, shuffle=True)
    minutes = options.minutes or 5
    told = {}
    for loss in options.losses:
        torch.manual_seed(options.seed)
        model = models["gan"].build(InputSpec("vector", (2,)), 0, hidden=(128, 128, 128), latent_width=8, loss=loss)
        told[loss] = play(
            model, source, count_points, minutes, options.seed, num=NUM_POINTS, batch_size=256, lr=RATES[loss]
        )
    record(
        "gan_modes_gaussians",
        {"minutes_each": minutes, **told, "reached": told.get(LOSSES[0], {}).get("modes") == SIDE**2},
        asked="all 25 of 25 Gaussians",
        note="within three standard deviations of a centre is of high quality; 20 such points of 10,000 find a mode",
    )


def centres() -> NDArray[np.float64]:
    """(25, 2)"""
    line = SPACING * (np.arange(SIDE) - SIDE // 2)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def scale() -> float:
    """What coordinates are divided by, so that neighbouring centres are 1 apart."""
    return SPACING


def count_points(made: Tensor) -> dict[str, float]:
    """Modes with enough points near them, and the share of all points that are near one."""
    distances = np.linalg.norm(made.double().numpy()[:, None] * scale() - centres(), axis=2)
    near = distances.min(1) <= 3 * STD
    counts = np.bincount(distances.argmin(1)[near], minlength=SIDE**2)
    return {"modes": int((counts >= FEWEST_POINTS).sum()), "high_quality": float(near.mean())}


def stacked(options: argparse.Namespace) -> None:
    """Three digits in the channels of one picture."""
    with np.load(DATA / "mnist" / "mnist.npz") as arrays:
        digits, labels, test, test_labels = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    judge = train_classifier(
        (digits[..., None], labels.astype(np.int64)),
        (test[..., None], test_labels.astype(np.int64)),
        epochs=options.judge_epochs,
    )
    rng = np.random.default_rng(options.seed)
    stacks = np.stack([digits[rng.integers(len(digits), size=NUM_STACKS)] for _ in range(3)], -1)
    source = ArrayBatches((stacks,), None, np.arange(len(stacks)), batch_size=64, shuffle=True, transform=MIDDLE)
    minutes = options.minutes or 60
    told = {"real": count_digits(judge, MIDDLE.pixels(torch.from_numpy(stacks[:NUM_STACKED])))}
    for loss in options.losses:
        torch.manual_seed(options.seed)
        model = models["r3gan"].build(InputSpec("image", (3, 28, 28)), 0, width=options.width, loss=loss)
        told[loss] = play(
            model,
            source,
            lambda made: count_digits(judge, made),
            minutes,
            options.seed,
            num=NUM_STACKED,
            batch_size=64,
            lr=5e-4 if loss == LOSSES[0] else 2e-4,
        )
    ours, theirs = (told.get(loss, {}).get("modes", 0) for loss in LOSSES)
    record(
        "gan_modes_stacked",
        {"minutes_each": minutes, "judge": judge.facts(), **told, "reached": ours >= 600 and ours > theirs},
        asked="stacked MNIST: at least 600 of 1,000 modes after 60 minutes, and more than the minimax loss then",
        note="26,000 made pictures; the digits are read by the classifier under `judge`",
    )


def count_digits(judge: Classifier, made: Tensor) -> dict[str, float]:
    """Different triples of digits, and how unevenly they come: nats by which they differ from equal shares."""
    pixels = ((made + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    read = [judge.classes(pixels[..., channel : channel + 1]) for channel in range(3)]
    counts = np.bincount(100 * read[0] + 10 * read[1] + read[2], minlength=1000)
    shares = counts[counts > 0] / counts.sum()
    return {"modes": int((counts > 0).sum()), "kl_to_equal": float((shares * np.log(1000 * shares)).sum())}


def play(
    model: nn.Module,
    source: ArrayBatches,
    count: Count,
    minutes: float,
    seed: int,
    *,
    num: int,
    batch_size: int,
    lr: float,
) -> dict[str, Any]:
    """Train for so long and count what the last weights make; a curve of counts on the way, from fewer samples."""
    modern = model.loss == LOSSES[0]
    recipe = Recipe(
        epochs=100_000,
        batch_size=batch_size,
        lr=lr,
        momentum=0.0 if modern else 0.5,
        beta2=0.9 if modern else 0.999,
        schedule="cosine" if modern else "constant",
        warmup=0.0,
        gradient_penalty=1.0 if modern else 0.0,
        ema=0.999 if modern else 0.0,
    )
    task = Adversarial(
        lambda made, step: count(made),
        gradient_penalty=recipe.gradient_penalty,
        metric="modes",
        higher_is_better=True,
    )
    pace = plans.probe(model, task, source, recipe, device="cpu", seed=seed)
    state = TrainState(model, task, seed=seed, plan=pace.plan)
    checked = ArrayBatches(source.inputs, None, source.rows[:CHECKED], batch_size=500, transform=source.transform)
    started, curve = time.monotonic(), []
    with plans.used(pace.plan):
        for event in train(state, source, checked, recipe, clock=WallClock(60 * minutes)):
            if event.kind == "epoch":
                minute = round((time.monotonic() - started) / 60, 2)
                told = {name: event.values[name] for name in COUNTED if name in event.values}
                curve.append({"minutes": minute, "step": event.number, **told})
                print(model.loss, curve[-1], flush=True)
    seconds = time.monotonic() - started
    model.load_state_dict(state.weights())
    latents = draw_latents(num, model.latent_width, generator=torch.Generator().manual_seed(seed + 1))
    return {
        **count(make(model.eval(), latents)),
        "samples": num,
        "steps": state.position.step,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 1),
        "curve": curve,
        "curve_samples": CHECKED,
    }


if __name__ == "__main__":
    main()
