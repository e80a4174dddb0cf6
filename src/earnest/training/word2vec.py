"""Training of Word2Vec: threads that move the same two matrices, each over its part of the text, without locks.

F. Niu, B. Recht, C. Ré & S. Wright, "Hogwild: a lock-free approach to parallelizing stochastic gradient descent",
NeurIPS 2011. With one thread the result is a function of the seed and the text, wherever it was stopped and resumed;
with several it varies a little, as they see each other's work at chance moments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from earnest.core.seeds import derive
from earnest.training.array_files import write_matrices
from earnest.training.checkpoints import Checkpoints
from earnest.training.word2vec_kernel import SIGMOID, Settings, Stretch, Tables, train_stretch

STRETCH = 1 << 15
"""Numbers of the text that a thread takes at once."""
MARGIN = 20
"""Times the window: so many more are read at either end, to be seen around its targets."""
LOWEST = 4e-3
"""Share of the first learning rate that the last one is."""
ROUND_SECONDS = 2.0
"""After which the threads report."""
SHORTEST_PART = 100_000
"""Numbers of a thread's part at least; shorter texts are for fewer threads."""


class Numbers(Protocol):
    """A text as the numbers of its words, such as `WordCorpus`; -1 is the end of a line."""

    @property
    def num(self) -> int:
        """How many there are."""

    def read(self, start: int, stop: int) -> NDArray[np.int32]:
        """The numbers from `start` to `stop`, as far as there are any."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, fixed before the first step."""

    epochs: float
    """Passes over the text; the last may be a part of one, where a deadline leaves no time for more."""
    threads: int
    rate: float
    window: int
    negatives: int
    """Drawn against each target; 0 with hierarchical softmax."""
    average: bool
    """CBOW, not skip-gram."""
    seed: int


@dataclass
class Progress:
    """How far training has come: what a checkpoint holds beside the matrices."""

    epoch: int = 0
    done: list[int] = field(default_factory=list)
    """Numbers of this epoch that each thread has behind it."""
    losses: list[float] = field(default_factory=list)
    """Summed over this epoch's pairs, for each thread, in float64."""
    pairs: list[int] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True)
class Report:
    """What the threads have to say after a round, or at the end of an epoch."""

    kind: str
    """"step" or "epoch"."""
    epoch: int
    loss: float
    """Of a pair, in nats: the mean over the epoch so far."""
    pairs: int
    rate: float
    share: float
    """Of everything that is to be done."""


class Training:
    """Two matrices in training: `run` yields reports until everything is done, and can be left between any two."""

    def __init__(self, inputs: Tensor, outputs: Tensor, corpus: Numbers, tables: Tables, plan: Plan) -> None:
        """`inputs` (R, width) and `outputs` (N, width), contiguous float32 on the CPU, are moved in place."""
        self.tensors = {"inputs": inputs.detach(), "outputs": outputs.detach()}
        self.corpus = corpus
        self.tables = tables
        self.plan = plan
        self.progress = Progress(done=[0] * plan.threads, losses=[0.0] * plan.threads, pairs=[0] * plan.threads)
        bounds = np.linspace(0, corpus.num, plan.threads + 1).astype(int).tolist()
        self.parts = list(pairwise(bounds))
        self._matrices = (self.tensors["inputs"].numpy(), self.tensors["outputs"].numpy())

    def run(self, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Report]:
        """Train; `stop` is asked after each stretch."""
        halted = threading.Event()
        with ThreadPoolExecutor(self.plan.threads) as pool:
            try:
                while not self.progress.finished:
                    until = time.monotonic() + ROUND_SECONDS
                    work = [pool.submit(self._work, thread, until, halted, stop) for thread in range(self.plan.threads)]
                    for each in work:
                        each.result()
                    yield self._report("step")
                    if all(self._left(thread) <= 0 for thread in range(self.plan.threads)):
                        yield self._report("epoch")
                        self._next_epoch()
            finally:
                halted.set()

    def save(self, checkpoints: Checkpoints) -> Path:
        """Write a checkpoint."""
        facts = {"plan": asdict(self.plan), "progress": asdict(self.progress)}
        step = self.progress.epoch * self.corpus.num + sum(self.progress.done)
        return checkpoints.save(step, self.tensors, facts, write=write_matrices)

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same plan."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.progress = Progress(**facts["progress"])

    def _work(self, thread: int, until: float, halted: threading.Event, stop: Callable[[], bool]) -> None:
        """Take one stretch after the other until the round or the epoch ends."""
        progress = self.progress
        while (left := self._left(thread)) > 0:
            stretch = self._stretch(thread, min(STRETCH, left))
            settings, (inputs, outputs) = self._settings(thread), self._matrices
            loss, pairs = train_stretch(stretch, self.tables, settings, inputs, outputs, SIGMOID)
            progress.done[thread] += stretch.last - stretch.first
            progress.losses[thread] += loss
            progress.pairs[thread] += pairs
            if halted.is_set() or stop() or time.monotonic() > until:
                return

    def _left(self, thread: int) -> int:
        """Numbers of this epoch that a thread has before it; the last epoch may be a part of one."""
        start, end = self.parts[thread]
        share = min(1.0, self.plan.epochs - self.progress.epoch)
        return round(share * (end - start)) - self.progress.done[thread]

    def _stretch(self, thread: int, size: int) -> Stretch:
        first = self.parts[thread][0] + self.progress.done[thread]
        origin = max(0, first - MARGIN * self.plan.window)
        ids = self.corpus.read(origin, first + size + MARGIN * self.plan.window)
        seed = np.uint64(derive(self.plan.seed, "word2vec", self.progress.epoch))
        return Stretch(ids, first - origin, first - origin + size, origin, seed)

    def _settings(self, thread: int) -> Settings:
        """The learning rate falls evenly with the numbers that a thread has behind it."""
        plan, (start, end) = self.plan, self.parts[thread]
        slope = plan.rate / (plan.epochs * (end - start))
        rate = plan.rate - slope * (self.progress.epoch * (end - start) - start)
        return Settings(plan.window, plan.negatives, plan.average, float(rate), float(slope), plan.rate * LOWEST)

    def _report(self, kind: str) -> Report:
        progress, pairs = self.progress, max(1, sum(self.progress.pairs))
        share = min(1.0, (progress.epoch + sum(progress.done) / max(1, self.corpus.num)) / self.plan.epochs)
        rate = max(self.plan.rate * (1 - share), self.plan.rate * LOWEST)
        return Report(kind, progress.epoch, sum(progress.losses) / pairs, sum(progress.pairs), rate, share)

    def _next_epoch(self) -> None:
        threads, epoch = self.plan.threads, self.progress.epoch + 1
        finished = epoch >= self.plan.epochs
        self.progress = Progress(epoch, [0] * threads, [0.0] * threads, [0] * threads, finished)


def seconds_per_number(training: Training) -> float:
    """What a number of the text takes one thread, from a try that moves the matrices: begin anew after it."""
    for _ in range(2):  # the first may have to compile
        training.progress.done[0] = 0
        started = time.monotonic()
        training._work(0, 0.0, threading.Event(), lambda: True)
    return (time.monotonic() - started) / max(1, training.progress.done[0])


def num_threads(num: int, most: int) -> int:
    """How many threads a text of so many numbers is for."""
    return max(1, min(most, num // SHORTEST_PART))
