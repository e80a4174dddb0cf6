"""How good made pictures are: distances between what was made and real pictures, in the features of some extractor.

Every figure depends on the extractor, so it is told with each; only Inception's features make a Fréchet distance "FID"
and a kernel distance "KID". Arrays of features are (N, F).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from earnest.evaluation.intervals import Interval

Floats = NDArray[np.float64]

METRIC = "kernel_distance"
"""What selects: it is unbiased at every number of samples."""
NEIGHBOURS = 3
"""The k of precision and recall, as Kynkäänniemi et al. have it."""
BLOCK, FEWEST_BLOCKS = 500, 5
"""Samples of which each estimate of the kernel distance is made, fewer where there are few, and how many at least."""
NUM_RESAMPLES, WIDE, NUM_OF_WIDE = 50, 300, 10
"""Of the Fréchet distance, whose price is the cube of the features' number: fewer where they are more than `WIDE`."""
SURE = 0.05
"""A difference with a p-value below this is taken for real."""
CHUNK = 1024


@dataclass(frozen=True)
class Judged:
    """A set of made pictures beside real ones."""

    kernel: Interval
    frechet: Interval
    precision: float
    recall: float
    diversity: float
    distinct: float

    def metrics(self) -> dict[str, dict[str, Any]]:
        """As evaluation.json holds them; figures without an interval have null bounds."""
        alone = {name: getattr(self, name) for name in ("precision", "recall", "diversity", "distinct")}
        return {
            METRIC: self.kernel.as_json(),
            "frechet_distance": self.frechet.as_json(),
            **{name: {"value": value, "low": None, "high": None} for name, value in alone.items()},
        }


def judge(real: Floats, made: Floats, *, seed: int) -> Judged:
    """All figures for made pictures, whose features and real pictures' these are."""
    precision, recall = precision_recall(real, made)
    return Judged(
        kernel_distance(real, made, seed=seed),
        frechet_interval(real, made, seed=seed),
        precision,
        recall,
        diversity(real, made),
        distinct(real, made),
    )


def frechet_distance(real: Floats, made: Floats) -> float:
    """The squared Fréchet distance between Gaussians fitted to both (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    |m - n|^2 + tr(S + T - 2 (S T)^(1/2)); it is too large for few samples.
    """
    mean_difference = real.mean(0) - made.mean(0)
    first, second = ((each - each.mean(0)) / math.sqrt(max(len(each) - 1, 1)) for each in (real, made))
    trace = (first**2).sum() + (second**2).sum() - 2 * _trace_of_root(first, second)
    return float(mean_difference @ mean_difference + trace)


def frechet_interval(real: Floats, made: Floats, *, seed: int) -> Interval:
    """The Fréchet distance and 1.96 standard errors of it, from resampling both sets."""
    rng = np.random.default_rng(seed)
    values = [
        frechet_distance(real[rng.integers(len(real), size=len(real))], made[rng.integers(len(made), size=len(made))])
        for _ in range(NUM_RESAMPLES if real.shape[1] <= WIDE else NUM_OF_WIDE)
    ]
    value, error = frechet_distance(real, made), 1.96 * float(np.std(values, ddof=1))
    return Interval(value, max(value - error, 0.0), value + error)


def kernel_distance(real: Floats, made: Floats, *, seed: int) -> Interval:
    """The squared maximum mean discrepancy by the kernel (x y / F + 1)^3, unbiased, with its 95% interval.

    Bińkowski, Sutherland, Arbel & Gretton, arXiv:1801.01401, who call it KID of Inception's features. Both sets are cut
    into blocks that share no row, whose estimates are independent; the interval is Student's for their mean.
    """
    return _student(_in_blocks(real, made, seed))


def compare(real: Floats, ours: Floats, theirs: Floats, *, against: str, seed: int) -> dict[str, Any]:
    """The difference of two kernel distances to the same real pictures, paired by blocks; below 0, ours is nearer.

    As evaluation.json holds it; the p-value is Student's.
    """
    differences = _in_blocks(real, ours, seed) - _in_blocks(real, theirs, seed)
    num, error = len(differences), float(differences.std(ddof=1)) if len(differences) > 1 else math.nan
    t = float(differences.mean()) / (error / math.sqrt(num)) if num > 1 and error > 0 else math.nan
    return {
        "against": against,
        "metric": METRIC,
        "difference": _student(differences).as_json(),
        "p_value": None if math.isnan(t) else 2 * float(stdtr(num - 1, -abs(t))),
        "n": min(len(real), len(ours), len(theirs)),
    }


def unbiased_mmd(first: Floats, second: Floats) -> float:
    """The U-statistic of the squared maximum mean discrepancy; 0 on average where both are of one distribution."""
    width = first.shape[1]

    def kernel(a: Floats, b: Floats) -> Floats:
        cubes: Floats = (a @ b.T / width + 1) ** 3
        return cubes

    def within(a: Floats) -> float:
        values = kernel(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(first) + within(second) - 2 * float(kernel(first, second).mean())


def precision_recall(real: Floats, made: Floats, *, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """The share of made pictures among the real ones, and the share of real ones among the made.

    Among: no further from one of them than its own k-th nearest neighbour of its set (Kynkäänniemi et al. 2019,
    arXiv:1904.06991).
    """
    return _covered(made, real, neighbours), _covered(real, made, neighbours)


def diversity(real: Floats, made: Floats) -> float:
    """The mean distance between two made pictures, as a multiple of that between two real ones."""
    return _mean_distance(made) / max(_mean_distance(real), 1e-12)


def distinct(real: Floats, made: Floats) -> float:
    """How many different real pictures are the nearest to some made one, as a share of what a set of real ones has.

    One half of the real pictures says what to expect of as many made ones, against the other half.
    """
    half = len(real) // 2
    num = min(half, len(made))
    if num < 2:
        return math.nan
    expected = len(np.unique(nearest(real[:num], real[half:])[0]))
    return len(np.unique(nearest(made[:num], real[half:])[0])) / expected


def nearest(queries: Floats, among: Floats) -> tuple[NDArray[np.int64], Floats]:
    """For each query the row of `among` that is nearest to it, and how far it is."""
    rows, distances = [], []
    for start in range(0, len(queries), CHUNK):
        squares = _squares(queries[start : start + CHUNK], among)
        rows.append(squares.argmin(1))
        distances.append(np.sqrt(squares.min(1)))
    return np.concatenate(rows).astype(np.int64), np.concatenate(distances)


def verdict(
    part: dict[str, Any], comparison: dict[str, Any], *, extractor: str, floor: str, collapses: Sequence[str]
) -> str:
    """One honest sentence on made pictures."""
    ours, best = part["metrics"][METRIC], part["baselines"][floor][METRIC]["value"]
    sentence = (
        f"A kernel distance of {ours['value']:.3g} between {part['n']:,} made and as many unseen pictures "
        f"(95% interval {_number(ours['low'])} to {_number(ours['high'])}; {floor} have {best:.3g}), "
        f"in {extractor}; {part['metrics']['recall']['value']:.0%} of the real ones are near to what it makes"
    )
    rival, theirs = comparison["against"], part["baselines"][comparison["against"]][METRIC]["value"]
    if comparison["p_value"] is None or comparison["p_value"] >= SURE:
        sentence += f". That is no better than {rival} ({theirs:.3g}), as far as chance lets one tell"
    elif comparison["difference"]["value"] > 0:
        sentence += f". {rival} does better ({theirs:.3g}): it needs more time, or more pictures"
    else:
        sentence += f". The best of the others, {rival}, has {theirs:.3g}"
    return (
        f"{sentence}. Training collapsed on the way: what is shipped is from before." if collapses else f"{sentence}."
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.3g}"


def _in_blocks(real: Floats, made: Floats, seed: int) -> Floats:
    """Independent unbiased estimates, each from as many rows of both."""
    num = min(len(real), len(made))
    size = max(2, min(BLOCK, num // FEWEST_BLOCKS))
    rng = np.random.default_rng(seed)
    first, second = real[rng.permutation(len(real))], made[rng.permutation(len(made))]
    starts = range(0, num - size + 1, size)
    return np.array([unbiased_mmd(first[i : i + size], second[i : i + size]) for i in starts])


def _student(estimates: Floats) -> Interval:
    """The mean of independent estimates and its 95% interval."""
    mean, num = float(estimates.mean()), len(estimates)
    if num < 2:
        return Interval(mean, -math.inf, math.inf)
    error = float(stdtrit(num - 1, 0.975) * estimates.std(ddof=1) / math.sqrt(num))
    return Interval(mean, mean - error, mean + error)


def _trace_of_root(first: Floats, second: Floats) -> float:
    """tr((A'A B'B)^(1/2)), by the singular values of A B' where samples are fewer than features."""
    if min(len(first), len(second)) <= first.shape[1]:
        return float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    values, vectors = np.linalg.eigh(first.T @ first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ (second.T @ second) @ root)  # the product's eigenvalues, and it is symmetric
    return float(np.sqrt(middle.clip(0)).sum())


def _covered(queries: Floats, among: Floats, neighbours: int) -> float:
    """The share of queries within reach of a row of `among`."""
    k = min(neighbours, len(among) - 1)
    radii = np.concatenate(
        [np.partition(_squares(among[i : i + CHUNK], among), k, axis=1)[:, k] for i in range(0, len(among), CHUNK)]
    )
    within = [(_squares(queries[i : i + CHUNK], among) <= radii).any(1) for i in range(0, len(queries), CHUNK)]
    return float(np.concatenate(within).mean())


def _mean_distance(features: Floats) -> float:
    num = len(features)
    sums = [np.sqrt(_squares(features[i : i + CHUNK], features)).sum() for i in range(0, num, CHUNK)]
    return float(sum(sums) / max(num * (num - 1), 1))


def _squares(a: Floats, b: Floats) -> Floats:
    """Squared distances between the rows of both, (len(a), len(b)); nothing is further than 0 from itself."""
    squares: Floats = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    scale = (a**2).sum(1)[:, None] + (b**2).sum(1)
    return np.where(squares < 1e-12 * scale, 0.0, squares)
