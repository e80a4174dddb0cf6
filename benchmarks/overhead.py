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
from earnest.training.state import TrainState
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
    """(STEPS, 2) seconds of the bare loop's steps and of ours, taken in turns, which of them first in turns too."""
    loops = (bare(x, y), ours(x, y))
    seconds = np.empty((STEPS, 2))
    for step in range(STEPS):
        for which in (0, 1) if step % 2 else (1, 0):
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
    seconds_a_step(x, y)
    rounds = [seconds_a_step(x, y) for _ in range(options.rounds)]
    seconds = np.concatenate(rounds)
    ratios = seconds[:, 1] / seconds[:, 0]
    resampled = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    overhead = float(np.median(ratios)) - 1
    record(
        "overhead",
        {
            "overhead": overhead,
            "interval": [float(bound) - 1 for bound in np.quantile(resampled, (0.025, 0.975))],
            "overhead_of_medians": float(np.median(seconds[:, 1]) / np.median(seconds[:, 0])) - 1,
            "steps": len(seconds),
            "bare_ms_a_step": 1000 * float(np.median(seconds[:, 0])),
            "ours_ms_a_step": 1000 * float(np.median(seconds[:, 1])),
            "reached": overhead < 0.03,
        },
        asked="under 3% over a bare PyTorch loop of the same model and batches, a step of 20 ms or more",
        note=f"median of {len(seconds)} ratios, the two loops' steps in turns; batch {BATCH}, 3 x 32 x 32",
    )


if __name__ == "__main__":
    main()
