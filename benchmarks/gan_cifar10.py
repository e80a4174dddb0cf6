"""CIFAR-10 on a GPU: the default generator, as wide as the time allows, and what was really spent on it.

    python benchmarks/make_cifar_folders.py ../peers/cifar
    python benchmarks/gan_cifar10.py ../peers/cifar --minutes 60 --run runs/gan-cifar10      # again: goes on

R3GAN's own CIFAR-10 figures (FID 1.96) are from far larger networks and days of several GPUs, and by Inception's
features: nothing here compares with them. The pictures went through JPEG. `--device cpu --minutes 1` tries the script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import earnest
from earnest.data.cache import cache_folder
from earnest.data.images import decode
from earnest.data.read import read
from judges import SEED, figures, train_classifier
from record import record

RECIPE = """\
model = "r3gan"
batch_size = {batch_size}
lr = {lr}
gradient_penalty = 0.05
ema = 0.9995
augment = ["random-flip"]

[model_options]
width = {width}
blocks = {blocks}
"""


def main() -> None:
    """Fit or go on, judge, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what make_cifar_folders.py made")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--num", type=int, default=10_000, help="pictures to judge by")
    parser.add_argument("--judge-epochs", type=int, default=8)
    options = parser.parse_args()
    fit_or_resume(options)
    parts = {part: arrays(options.data, part) for part in ("train", "test")}
    judge = train_classifier(parts["train"], parts["test"], epochs=options.judge_epochs)
    made = earnest.generate_pictures(options.run, num=options.num, seed=SEED)
    real = parts["test"][0][: options.num]
    facts, log = json.loads((options.run / "run.json").read_text()), options.run / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch" and line["training"].startswith("r3gan")]
    steps = max(line["step"] for line in epochs)
    record(
        "gan_cifar10",
        {
            "judge": judge.facts(),
            "figures": figures(judge, real, made),
            "training_pictures": figures(judge, real, parts["train"][0][: options.num]),
            "budget": {
                "minutes_asked": options.minutes,
                "seconds": facts["seconds"],
                "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device,
                "steps": steps,
                "pictures_seen": steps * options.batch_size,
                "sessions": 1 + sum(line["event"] == "resumed" for line in lines),
            },
            "parameters": facts["plan"]["trainings"]["r3gan"]["parameters"],
            "width": options.width,
            "blocks": options.blocks,
        },
        asked="a CIFAR-10 GAN on a GPU: resumable, its figures with the real budget",
        note="distances are in the features of the classifier under `judge`: they are no FID or KID",
    )


def fit_or_resume(options: argparse.Namespace) -> None:
    """One session; Ctrl-C leaves a run that the next call goes on with."""
    command = [sys.executable, "-m", "earnest.cli"]
    if (options.run / "run.json").exists():
        subprocess.run([*command, "resume", str(options.run)], check=True)
        return
    recipe = options.run.with_name(f"{options.run.name}.toml")
    names = ("batch_size", "lr", "width", "blocks")
    recipe.write_text(RECIPE.format(**{name: getattr(options, name) for name in names}))
    command += ["fit", str(options.data), "--task", "generate", "--recipe", str(recipe), "--out", str(options.run)]
    subprocess.run([*command, "--minutes", str(options.minutes), "--device", options.device], check=True)


def arrays(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and class numbers of one part."""
    dataset = read(data)
    assert dataset.part is not None
    dataset = dataset.take(np.flatnonzero(dataset.part == part))
    pixels = decode(dataset.images["image"], size=(32, 32), channels=3, cache_folder=cache_folder()).array
    names, codes = np.unique(dataset.frame["label"].to_numpy().astype(str), return_inverse=True)
    assert len(names) == 10
    return np.asarray(pixels), codes.astype(np.int64)


if __name__ == "__main__":
    main()
