"""What is a representation worth? A linear classifier on each, on MNIST or Fashion-MNIST, in one table.

    python benchmarks/representations.py                          # MNIST, 10 minutes a network
    python benchmarks/representations.py --data fashion-mnist --minutes 2 --only pixels pca vae

Raw pixels, principal components, a restricted Boltzmann machine's hidden units, a deep belief net's top, the codes of
an autoencoder and of a variational one, and a GAN's critic. None of them sees a label while it learns; then logistic
regression, whose regularisation is chosen on a fifth of its rows, reads the labels of 10,000 training pictures off
each and is tested on all 10,000 test pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import earnest
from earnest.evaluation.intervals import wilson
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
Pictures = NDArray[np.uint8]
Told = Callable[[Pictures], NDArray[np.float64]]
"""Pictures (N, H, W) to features (N, F)."""


def main() -> None:
    """Learn each representation, probe it, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("mnist", "fashion-mnist"), default="mnist")
    parser.add_argument("--minutes", type=float, default=10, help="for each network")
    parser.add_argument("--probed", type=int, default=10_000, help="training pictures whose labels are read")
    parser.add_argument("--learned", type=int, default=60_000, help="training pictures that representations learn from")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with np.load(DATA / options.data / f"{options.data}.npz") as arrays:
        x, y, test, test_y = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    ways = {name: way for name, way in WAYS.items() if options.only is None or name in options.only}
    told: dict[str, Any] = {}
    for name, way in ways.items():
        started = time.monotonic()
        features = way(x[: options.learned], options)
        if features is None:
            told[name] = {"missing": "this version has none"}
            continue
        seconds = time.monotonic() - started
        learned = features(x[: options.probed]), y[: options.probed]
        told[name] = {**probe(learned, (features(test), test_y)), "seconds": round(seconds, 1)}
        print(name, json.dumps(told[name]), flush=True)
    record(
        f"representations_{options.data}",
        {"learned": options.learned, "probed": options.probed, "minutes_each": options.minutes, **told},
        asked="linear-probe accuracy of every representation in one table",
        note="logistic regression on standardised features; no representation saw a label",
    )


def probe(
    learned: tuple[NDArray[np.float64], NDArray[Any]], test: tuple[NDArray[np.float64], NDArray[Any]]
) -> dict[str, Any]:
    """The accuracy of a linear classifier with its 95% interval."""
    (x, y), (test_x, test_y) = learned, test
    scaler = StandardScaler().fit(x)
    x, test_x = scaler.transform(x), scaler.transform(test_x)
    held = len(x) // 5
    models = [LogisticRegression(C=c, max_iter=500).fit(x[held:], y[held:]) for c in PENALTIES]
    best = max(models, key=lambda model: model.score(x[:held], y[:held]))
    right = int((best.predict(test_x) == test_y).sum())
    return {"features": x.shape[1], "accuracy": wilson(right, len(test_y)).as_json(), "C": best.C}


def flat(pictures: Pictures) -> NDArray[np.float64]:
    """Pixels in 0..1, (N, H * W)."""
    return pictures.reshape(len(pictures), -1) / 255.0


def pca(x: Pictures, options: argparse.Namespace) -> Told:
    """As many components as the autoencoders' codes have numbers."""
    fitted = PCA(32, random_state=options.seed).fit(flat(x[:20_000]))
    return lambda pictures: fitted.transform(flat(pictures))


def generator(name: str) -> Callable[[Pictures, argparse.Namespace], Told]:
    """A network of `earnest fit --task generate`, from pictures without their labels."""

    def learn(x: Pictures, options: argparse.Namespace) -> Told:
        with tempfile.TemporaryDirectory() as scratch:
            data, run = Path(scratch) / "pictures.npz", Path(scratch) / name
            np.savez(data, x=x)
            earnest.fit(data, task="generate", model=name, minutes=options.minutes, seed=options.seed, out=run)
            model = earnest.load(run)
        return lambda pictures: model.features(pictures[..., None]).astype(np.float64)

    return learn


def boltzmann(name: str, **sizes: Any) -> Callable[[Pictures, argparse.Namespace], Told | None]:
    """An estimator of the package, where it has one of that name."""

    def learn(x: Pictures, options: argparse.Namespace) -> Told | None:
        if name not in earnest.__all__:
            return None
        fitted = getattr(earnest, name)(**sizes).fit(flat(x))
        return lambda pictures: np.asarray(fitted.transform(flat(pictures)), dtype=np.float64)

    return learn


WAYS: dict[str, Callable[[Pictures, argparse.Namespace], Told | None]] = {
    "pixels": lambda x, options: flat,
    "pca": pca,
    "rbm": boltzmann("RBM", num_hidden=500),
    "dbn": boltzmann("DBN"),
    "autoencoder": generator("autoencoder"),
    "vae": generator("vae"),
    "gan critic": generator("r3gan-strided"),
}

if __name__ == "__main__":
    main()
