"""What an encoder's tokens begin as: alike where tokens stand in like places, the same again for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

pytest.importorskip("numba")

from earnest.api.question import Bench
from earnest.api.request import Request
from earnest.api.token_vectors import STD, token_vectors
from earnest.core.progress import Screen
from earnest.core.run import Run, WallClock

NUM_KINDS, A_KIND = 15, 4


def text(num: int) -> NDArray[np.int32]:
    """Tokens 1 to 60, of fifteen kinds, whose words follow one another in a ring of kinds, whichever word it is."""
    rng = np.random.default_rng()
    kinds = np.arange(num) % NUM_KINDS
    return (1 + kinds * A_KIND + rng.integers(A_KIND, size=num)).astype(np.int32)


def learned(folder: Path, ids: NDArray[np.int32], *, seed: int = 0) -> Tensor:
    run = Run.create(folder, {})
    bench = Bench(run, Request(data="", seed=seed), WallClock(), Screen(quiet=True), "cpu")
    return token_vectors(bench, ids, 70, 32)


def test_tokens_in_like_places_are_alike(tmp_path: Path) -> None:
    vectors = learned(tmp_path / "run", text(60_000))
    assert vectors.shape == (70, 32)
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((70,), STD * 32**0.5))
    near = vectors[1:61] @ vectors[1:61].T
    near.fill_diagonal_(-1)
    kind = torch.arange(60) // A_KIND
    assert kind[near.argmax(1)].eq(kind).float().mean() > 0.9  # by chance .05


def test_the_seed_and_the_text_decide(tmp_path: Path) -> None:
    ids = text(20_000)
    first, again, other = (learned(tmp_path / str(n), ids, seed=seed) for n, seed in enumerate((3, 3, 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
