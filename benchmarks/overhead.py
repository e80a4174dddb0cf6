"""The loop's overhead over a bare PyTorch loop: the same model, batches and optimiser, step by step in turns.

python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from earnest.core.recipe import Recipe
from earnest.core.run import WallClock
from earnest.data.batches import ArrayBatches
from earnest.tasks.classification import Classification
from earnest.training.loop import train
from earnest.training.plan import used
from earnest.training.state import Plan, TrainState
from record import record

STEPS, BATCH = 40, 128


def network() -> nn.Module:
    """A small convolutional net whose step takes a few dozen milliseconds on two cores."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def data() -> tuple[np.ndarray, np.ndarray]:
    """Random pictures: only time is measured."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(STEPS * BATCH, 3, 32, 32)).astype(np.float32)
    return x, generator.integers(0, 10, len(x))


def bare(x: np.ndarray, y: np.ndarray) -> Iterator[None]:
    """The shortest loop that trains the same, step by step."""
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    order = np.random.default_rng(0).permutation(len(x))
    for start in range(0, len(x), BATCH):
        rows = order[start : start + BATCH]
        loss = F.cross_entropy(model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield


def ours(x: np.ndarray, y: np.ndarray) -> Iterator[None]:
    """The loop that every run goes through, step by step."""
    state = TrainState(network(), Classification(10))
    source = ArrayBatches((x,), y, np.arange(len(x)), batch_size=BATCH, shuffle=True)
    for event in train(state, source, None, Recipe(epochs=1, batch_size=BATCH), clock=WallClock()):
        if event.kind == "step":
            yield


def seconds_a_step(x: np.ndarray, y: np.ndarray) -> NDArray[np.float64]:
    """(STEPS, 3) seconds of the bare loop's steps, of ours, and of a second bare loop's, in turns of changing order."""
    loops = (bare(x, y), ours(x, y), bare(x, y))
    seconds = np.empty((STEPS, 3))
    for step in range(STEPS):
        for which in np.random.default_rng(step).permutation(3):
            started = time.perf_counter()
            next(loops[which])
            seconds[step, which] = time.perf_counter() - started
    return seconds


def main() -> None:
    """Take ratios step by step, and record their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    x, y = data()
    with used(Plan()):  # the allocator's settings of every run, for all three loops
        seconds_a_step(x, y)
        seconds = np.concatenate([seconds_a_step(x, y) for _ in range(options.rounds)])
    overhead, interval = median_ratio(seconds[:, [1, 1]], seconds[:, [0, 2]])
    control, control_interval = median_ratio(seconds[:, 2], seconds[:, 0])
    record(
        "overhead",
        {
            "overhead": overhead,
            "interval": interval,
            "bare_over_itself": control,
            "bare_over_itself_interval": control_interval,
            "steps": len(seconds),
            "bare_ms_a_step": 1000 * float(np.median(seconds[:, [0, 2]])),
            "ours_ms_a_step": 1000 * float(np.median(seconds[:, 1])),
            "reached": overhead < 0.03,
        },
        asked="under 3% over a bare PyTorch loop of the same model and batches, a step of 20 ms or more",
        note=f"medians of {len(seconds)} ratios, step by step in turns; batch {BATCH}, 3 x 32 x 32; the bare loop's "
        "overhead over itself is what noise there is",
    )


def median_ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, list[float]]:
    """The median of the ratios, less one, with its 95% bootstrap interval."""
    ratios = (ours / theirs).ravel()
    resampled = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    return float(np.median(ratios)) - 1, [float(bound) - 1 for bound in np.quantile(resampled, (0.025, 0.975))]


if __name__ == "__main__":
    main()
