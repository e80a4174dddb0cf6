"""Four or ten labels a class and the rest unlabelled: SoftMatch and AdaMatch beside learning from the labels alone.

    python benchmarks/few_labels.py ag-news          # 40 labels, 5,000 texts without, 2,600 to test
    python benchmarks/few_labels.py digits           # 40 labels, 1,160 images of 8 x 8 without, 597 to test
    python benchmarks/few_labels.py fashion-mnist    # 40 labels, 3,000 images without, 5,000 to test

All four learners of a study have the same network, optimiser, number of steps and labels. "supervised" learns from weak
views of the labelled rows, as the others do, "supervised, strong views" from the strong ones. Texts are the frozen
MiniLM's features of a text, their strong views those of a copy with tokens deleted, masked and swapped: only a network
of one hidden layer is trained. The defaults of both methods were set in view of such errors on digits, not on the rest.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from earnest.core import weights
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.run import WallClock
from earnest.core.words import Batch, InputSpec, Step
from earnest.data.augment import random_affine, random_erase
from earnest.data.batches import ArrayBatches, RowBatches, Transform
from earnest.data.corrupt import EditTokens
from earnest.data.text_batches import TextBatches
from earnest.data.tokenizers import Tokenizer
from earnest.data.unlabelled import UnlabelledBatches
from earnest.tasks.classification import Classification
from earnest.tasks.semi_supervised import AdaMatch, SoftMatch
from earnest.training.loop import train
from earnest.training.state import TrainState
from record import record

DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))
COPIES = 1
"""Edited copies of each text, of which every strong view is one."""


@dataclass(frozen=True)
class Study:
    """One set of data and how to learn from it."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    num_test: int
    build: Callable[[], nn.Module]
    weak: Transform
    strong: Transform
    published: str
    plain: Transform | None = None
    """What a network sees in the test."""
    beside: int = 200
    """Unlabelled examples in a batch."""
    epochs: int = 40
    """Passes over the unlabelled rows."""
    lr: float = 3e-3

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return int(self.labels.max()) + 1


def main() -> None:
    """Fit every learner with every seed, and record the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=40, help="labelled rows, of each class as many")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "earnest-few-labels")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    study = STUDIES[options.name](options.cache)
    errors: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        labelled, unlabelled, test = parted(study, options.labels, seed)
        for name in LEARNERS:
            started = time.process_time()
            error = fit(study, name, labelled, unlabelled, test, seed)
            errors.setdefault(name, []).append(error)
            seconds.setdefault(name, []).append(time.process_time() - started)
            print(f"seed {seed}: {name}: {error:.1%} error, {seconds[name][-1]:.0f} s", flush=True)
    figures = {
        "labelled": options.labels,
        "unlabelled": len(study.labels) - study.num_test - options.labels,
        "test": study.num_test,
        "test_error_percent": {
            name: {"mean": round(100 * float(np.mean(some)), 2), "seeds": [round(100 * one, 2) for one in some]}
            for name, some in errors.items()
        },
        "cpu_seconds": {name: round(float(np.mean(some)), 1) for name, some in seconds.items()},
        "published": study.published,
    }
    record(
        f"few_labels_{options.name}",
        figures,
        asked="SoftMatch or AdaMatch below learning from the labels alone, which is always shown beside them",
        note="the seed draws the labelled and test rows, the network and the order; one thread",
    )


def parted(study: Study, num_labels: int, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Labelled rows, as many of each class, unlabelled ones, and those to test on."""
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(study.labels))
    test, rest = rows[: study.num_test], rows[study.num_test :]
    each = num_labels // study.num_classes
    labelled = np.concatenate([rest[study.labels[rest] == c][:each] for c in range(study.num_classes)])
    return labelled, np.setdiff1d(rest, labelled), test


def fit(
    study: Study,
    learner: str,
    labelled: NDArray[np.int64],
    unlabelled: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> float:
    """The test error of one network."""
    torch.manual_seed(seed)
    model = study.build()

    def batches(rows: NDArray[np.int64], view: Transform | None, size: int, *, shuffle: bool = True) -> RowBatches:
        return ArrayBatches((study.inputs,), study.labels, rows, batch_size=size, shuffle=shuffle, transform=view)

    known = batches(labelled, study.weak, len(labelled))
    both = UnlabelledBatches(known, batches(unlabelled, study.weak, study.beside), strong=study.strong)
    task, source, epochs = Classification(study.num_classes), known, study.epochs * both.num_batches()
    if learner == "supervised, strong views":
        source = batches(labelled, study.strong, len(labelled))
    elif learner != "supervised":
        method = {"SoftMatch": SoftMatch, "AdaMatch": AdaMatch}[learner]
        task, source, epochs = method(study.num_classes), both, study.epochs
    recipe = Recipe(epochs=epochs, batch_size=len(labelled), lr=study.lr, schedule="cosine", weight_decay=0.01)
    for _ in train(TrainState(model, task, seed=seed), source, None, recipe, clock=WallClock()):
        pass
    model.eval()
    scores = task.validate(model, batches(test, study.plain, 500, shuffle=False), Step())
    return 1 - scores["accuracy"]


LEARNERS = ("supervised", "supervised, strong views", "SoftMatch", "AdaMatch")


def images(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with its images changed."""
    assert isinstance(batch.inputs, Tensor)
    return replace(batch, inputs=change(batch.inputs))


def shifted(batch: Batch, step: Step) -> Batch:
    """Images moved, turned and slanted a little."""
    return images(batch, lambda x: random_affine(x, degrees=5, translate=0.03, scale=0.05, shear=0.05))


def distorted(batch: Batch, step: Step) -> Batch:
    """Images moved, turned and slanted a lot, and a square of each erased."""
    return images(
        batch, lambda x: random_erase(random_affine(x, degrees=20, translate=0.1, scale=0.15, shear=0.2), share=0.3)
    )


def small_network(side: int, width: int, num_classes: int) -> nn.Module:
    """Two convolutions with batch norms, and a linear layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, width), (width, 2 * width)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * width * (side // 4) ** 2, num_classes))


def digits(cache: Path) -> Study:
    """scikit-learn's 1,797 digits."""
    found = load_digits()
    inputs = (found.images / 8 - 1).astype(np.float32)[:, None]
    published = "none"
    return Study(inputs, found.target, 597, lambda: small_network(8, 24, 10), shifted, distorted, published)


def fashion_mnist(cache: Path) -> Study:
    """8,040 of Fashion-MNIST's training images."""
    with np.load(DATA / "fashion-mnist" / "fashion-mnist.npz") as arrays:
        pictures, labels = arrays["x_train"][:8040], arrays["y_train"][:8040].astype(np.int64)
    inputs = (pictures.astype(np.float32) / 127.5 - 1)[:, None]
    published = "none for 40 labels"
    return Study(inputs, labels, 5000, lambda: small_network(28, 16, 10), shifted, distorted, published, epochs=25)


def ag_news(cache: Path) -> Study:
    """AG News' test file, as features of each text and of its edited copies: (7600, 1 + copies, 384)."""
    path = DATA / "ag-news-test" / "test.csv.gz"
    table = pl.read_csv(path, has_header=False, new_columns=["class", "title", "text"])
    labels = table["class"].to_numpy().astype(np.int64) - 1
    file = cache / f"ag-news-{COPIES}.npy"
    if not file.exists():
        texts = (table["title"] + ". " + table["text"]).to_list()
        np.save(file, encoded(texts))
    features = np.load(file)
    features = (features - features[:, 0].mean(0)) / features[:, 0].std(0)

    def build() -> nn.Module:
        return models["mlp"].build(InputSpec("vector", (features.shape[2],)), 4, hidden=(256,), dropout=0.3)

    published = "error 15.1 supervised, 11.9 SoftMatch, 11.7 AdaMatch, the whole of BERT-base trained (USB, 2022)"
    first, other = text_itself, edited_copy
    return Study(features, labels, 2600, build, first, other, published, plain=first, beside=280, epochs=30, lr=1e-3)


def text_itself(batch: Batch, step: Step) -> Batch:
    """The features of the texts."""
    return images(batch, lambda x: x[:, 0])


def edited_copy(batch: Batch, step: Step) -> Batch:
    """The features of one of each text's edited copies."""
    return images(batch, lambda x: x[torch.arange(len(x)), torch.randint(1, 1 + COPIES, (len(x),))])


@torch.inference_mode()
def encoded(texts: list[str]) -> NDArray[np.float32]:
    """Features (N, 1 + copies, 384) of texts and of edited copies, by the frozen MiniLM."""
    name = "minilm-l6.sentences"
    tokenizer = Tokenizer.load(weights.tokenizer_path(name, offline=True, announce=print))
    model = models["minilm-l6"].build(InputSpec("tokens", (128,), (tokenizer.vocab_size,)), 2)
    state = weights.load_state_dict(name, offline=True, announce=print)
    model.load_encoder(models["minilm-l6"].about["layouts"]["huggingface"](state))
    model.eval()
    assert tokenizer.mask_id is not None
    edit = EditTokens(tokenizer.mask_id, tokenizer.special_ids)
    ids = tokenizer.encode(texts, max_length=128).ids
    features = np.empty((len(texts), 1 + COPIES, model.num_features), np.float32)
    torch.manual_seed(0)
    for copy in range(1 + COPIES):
        source = TextBatches(ids, None, np.arange(len(texts)), batch_size=64, transform=edit if copy else None)
        for batch in source.batches(Step()):
            assert batch.rows is not None
            features[batch.rows.numpy(), copy] = model.features(batch.inputs).numpy()
    return features


STUDIES: dict[str, Callable[[Path], Study]] = {"ag-news": ag_news, "digits": digits, "fashion-mnist": fashion_mnist}


if __name__ == "__main__":
    main()
