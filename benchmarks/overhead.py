"""The loop's overhead over a bare PyTorch loop: the same model, batches and optimiser, in turns within one process.

python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
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


def bare(x: np.ndarray, y: np.ndarray) -> float:
    """Seconds a step of the shortest loop that trains the same."""
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    order = np.random.default_rng(0).permutation(len(x))
    started = time.perf_counter()
    for start in range(0, len(x), BATCH):
        rows = order[start : start + BATCH]
        loss = F.cross_entropy(model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (time.perf_counter() - started) / STEPS


def ours(x: np.ndarray, y: np.ndarray) -> float:
    """Seconds a step of the loop that every run goes through."""
    state = TrainState(network(), Classification(10))
    source = ArrayBatches((x,), y, np.arange(len(x)), batch_size=BATCH, shuffle=True)
    events = train(state, source, None, Recipe(epochs=1, batch_size=BATCH), clock=WallClock())
    started = time.perf_counter()
    for _ in events:
        pass
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    """Alternate, take ratios pair by pair, and record their median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    x, y = data()
    loops: tuple[Callable[..., float], ...] = (bare, ours)
    for loop in loops:
        loop(x, y)
    seconds = [[loop(x, y) for loop in loops] for _ in range(options.pairs)]
    ratios = [theirs[1] / theirs[0] for theirs in seconds]
    overhead = statistics.median(ratios) - 1
    record(
        "overhead",
        {
            "overhead": overhead,
            "ratios": ratios,
            "bare_ms_a_step": 1000 * statistics.median(pair[0] for pair in seconds),
            "ours_ms_a_step": 1000 * statistics.median(pair[1] for pair in seconds),
            "reached": overhead < 0.03,
        },
        asked="under 3% over a bare PyTorch loop of the same model and batches, a step of 20 ms or more",
        note=f"median of {options.pairs} ratios, the two loops in turns; batch {BATCH}, 3 x 32 x 32",
    )


if __name__ == "__main__":
    main()
