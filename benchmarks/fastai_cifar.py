"""The peer: fastai's ResNet-18 from scratch on class folders, run by the Python of an environment of its own.

Prints one JSON line an epoch: {"epoch", "accuracy", "loss", "seconds"}, seconds since this process began; the accuracy
is that on val/. Everything not named on the command line is fastai's default.
"""

from __future__ import annotations

import time

START = time.monotonic()

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import fastai  # noqa: E402
import torch  # noqa: E402
from fastai.vision.all import Callback, ImageDataLoaders, accuracy, aug_transforms, resnet18, vision_learner  # noqa: E402


class PrintEpochs(Callback):
    """One JSON line when an epoch has been validated."""

    order = 60
    """After the recorder, which computes the metrics."""

    def after_epoch(self) -> None:
        """Print what the recorder has."""
        _, loss, score = self.learn.recorder.values[-1]
        say(epoch=self.epoch + 1, accuracy=float(score), loss=float(loss))


def say(**values: Any) -> None:
    """One JSON line, now."""
    print(json.dumps({**values, "seconds": round(time.monotonic() - START, 3)}), flush=True)


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="has train/ and val/, a folder a class in each")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64, help="fastai's default is 64")
    parser.add_argument("--lr", type=float, default=1e-3, help="fastai's default is 0.001")
    parser.add_argument("--augment", action="store_true", help="fastai's usual augmentations, off by default there")
    options = parser.parse_args()

    say(fastai=fastai.__version__, torch=torch.__version__, threads=torch.get_num_threads())
    loaders = ImageDataLoaders.from_folder(
        options.folder,
        train="train",
        valid="val",
        bs=options.batch_size,
        batch_tfms=aug_transforms() if options.augment else None,
    )
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy, cbs=PrintEpochs())
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(options.epochs, options.lr)


if __name__ == "__main__":
    main()
