"""Vectors of a running text's tokens, learned by skip-gram within minutes: what an encoder's pretraining begins with.

Missing tokens teach an encoder little until it has found out which tokens are alike, and skip-gram finds that out
sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earnest.api.question import Bench
from earnest.core.seeds import derive
from earnest.models.word2vec import Word2Vec
from earnest.training import processes
from earnest.training.word2vec import Plan, Training, num_threads, seconds_per_number
from earnest.training.word2vec_kernel import Tables
from earnest.training.word2vec_tables import keep_thresholds, noise_table

PLAN = Plan(epochs=3, threads=1, rate=0.025, window=5, negatives=5, average=False, seed=0)
SAMPLE = 1e-3
"""Of the text, from which share on tokens are thinned out."""
TIME_SHARE = 0.05
"""Of the time that is left, what the vectors may take."""
STD = 0.02
"""Of a vector's numbers, as of the random ones that they stand in for."""


@dataclass(frozen=True)
class InMemory:
    """A text's tokens, as the kernel takes them."""

    ids: NDArray[np.int32]

    @property
    def num(self) -> int:
        """Of tokens."""
        return len(self.ids)

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """The tokens from `start` to `stop`, as far as there are any."""
        return self.ids[max(start, 0) : stop]


def token_vectors(bench: Bench, ids: NDArray[np.int32], vocabulary: int, width: int) -> Tensor:
    """(vocabulary, width) vectors of equal length; those of tokens that the text lacks are as random as they began.

    With one thread, as for texts below 200,000 tokens, they are a function of the text and the seed.

    Args:
        ids: (N,) the text.
    """
    counts = np.bincount(ids, minlength=vocabulary).clip(1)
    nothing = Tables(*(np.zeros(0, kind) for kind in ("u4", "u4", "i8", "i4", "f4", "i8", "i4")))
    tables = nothing._replace(keep=keep_thresholds(counts, SAMPLE), alias=noise_table(counts))
    threads = num_threads(len(ids), torch.get_num_threads()) if processes.world() == 1 else 1
    plan = replace(PLAN, threads=threads, seed=derive(bench.seed, "token vectors"))

    def untrained() -> Training:
        torch.default_generator.manual_seed(plan.seed % 2**63)
        network = Word2Vec(vocabulary, vocabulary, width=width, average=False)
        return Training(network.inputs, network.outputs, InMemory(ids), tables, plan)

    left = TIME_SHARE * bench.clock.left()
    if math.isfinite(left):
        passes = left * threads / (seconds_per_number(untrained()) * len(ids))
        plan = replace(plan, epochs=max(0.01, min(plan.epochs, round(passes, 2))))
    training = untrained()
    with bench.screen.bar("skip-gram", 1.0) as bar:
        for report in training.run():
            bar(report.share, f"epoch {report.epoch + 1}, loss {report.loss:.4f}")
    bench.run.log("skip-gram", passes=plan.epochs, threads=threads, loss=report.loss)
    vectors = training.tensors["inputs"]
    return vectors / vectors.norm(dim=1, keepdim=True) * (STD * math.sqrt(width))
