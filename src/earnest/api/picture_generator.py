"""What a run on pictures to make ships, and the pictures that come from it.

model/model.json            the network's facts, and the names of its classes
model/model.safetensors     its weights, with a checksum
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest import __version__
from earnest.api import model_folder
from earnest.api.gallery import MIDDLE, scaling
from earnest.api.parts import spec_of
from earnest.core import atomic
from earnest.core.errors import OptionError, RunError, nearest
from earnest.core.registry import models
from earnest.core.seeds import derive
from earnest.core.words import InputSpec
from earnest.tasks.generating import between, draw_latents, make
from earnest.training.checkpoints import read_tensors, write_tensors

TASK = "generate"
TOGETHER = 250
LEAST_TRUNCATION = 0.01
"""Below it, drawing again would not end."""


@dataclass(frozen=True)
class PictureGenerator:
    """A shipped network that makes pictures."""

    network: nn.Module
    name: str
    options: dict[str, Any]
    spec: InputSpec
    labels: tuple[str, ...] = ()
    """Names of the classes that it knows; empty where it knows none."""
    about: dict[str, Any] = field(default_factory=dict)

    def generate(
        self,
        num: int = 64,
        *,
        seed: int = 0,
        truncation: float | None = None,
        label: str | None = None,
        interpolate: int | None = None,
    ) -> NDArray[np.uint8]:
        """Made pictures, (N, S, S, C); the same for the same seed.

        Args:
            num: how many.
            seed: what the noise is drawn with.
            truncation: noise further from 0 than this is drawn again: fewer odd pictures, and less variety.
            label: the class to make; by default all in turn.
            interpolate: from each picture a way of so many steps to the next; N is then `num` times that.

        Raises:
            OptionError: a number makes no sense, or there is no such class.
        """
        self._check(num, truncation, interpolate)
        generator = torch.Generator().manual_seed(derive(seed, "generate"))
        latents = draw_latents(num, self._width, generator=generator, truncation=truncation)
        classes = self._classes(num, label)
        if interpolate is not None:
            ways = [between(latents[i], latents[(i + 1) % num], interpolate) for i in range(num)]
            latents = torch.cat(ways)
            classes = None if classes is None else classes.repeat_interleave(interpolate)
        self.network.eval()
        return to_pixels(make(self.network, latents, classes, batch_size=TOGETHER))

    @torch.no_grad()
    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network sees in pictures (N, S, S, C) of its own size, (N, F): its critic's features or code."""
        self.network.eval()
        return np.concatenate(
            [self.network.features(part).numpy() for part in self._inputs(pictures)]  # type: ignore[operator]
        )

    @torch.no_grad()
    def reconstruct(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Pictures as their codes tell them; None where the network makes no codes."""
        if not hasattr(self.network, "reconstruct"):
            return None
        self.network.eval()
        return np.concatenate([to_pixels(self.network.reconstruct(part)) for part in self._inputs(pictures)])  # type: ignore[operator]

    def save(self, folder: Path) -> None:
        """Write the folder; model.json comes last, so that a folder with one is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / "model.safetensors", dict(self.network.state_dict()), {})
        part = {"kind": TASK, "model": self.name, "options": self.options, "spec": asdict(self.spec)}
        atomic.write_json(
            folder / "model.json",
            {
                "format": model_folder.FORMAT,
                "earnest": __version__,
                "task": TASK,
                "target": None,
                "labels": list(self.labels),
                "parts": [part],
                "about": self.about,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> PictureGenerator:
        """Read a folder that `save` wrote.

        Raises:
            RunError: it is missing, damaged, of another version, or makes no pictures.
        """
        facts = model_folder.read_facts(folder)
        if facts.get("task") != TASK:
            raise RunError(f"{folder} makes no pictures; `earnest fit FOLDER --task {TASK}` makes one that does.")
        tensors, _ = read_tensors(folder / "model.safetensors")
        try:
            part, labels = facts["parts"][0], tuple(facts["labels"])
            spec = spec_of(part["spec"])
            network: nn.Module = models[part["model"]].build(spec, len(labels), **part["options"])
            network.load_state_dict(tensors)
        except (KeyError, IndexError, RuntimeError, TypeError) as error:
            raise RunError(f"{folder} is damaged: its files do not fit ({error}).") from error
        return cls(network.eval(), part["model"], part["options"], spec, labels, facts["about"])

    @property
    def _width(self) -> int:
        width: int = self.network.latent_width  # type: ignore[assignment]
        return width

    def _inputs(self, pictures: NDArray[np.uint8]) -> list[Tensor]:
        normalise = scaling(self.spec.shape[0])
        parts = [pictures[start : start + TOGETHER] for start in range(0, len(pictures), TOGETHER)]
        return [normalise.pixels(torch.from_numpy(np.ascontiguousarray(part))) for part in parts]

    def _classes(self, num: int, label: str | None) -> Tensor | None:
        """The class of each picture: the one asked for, or all in turn."""
        known = self.labels if self.network.num_classes else ()
        if label is None:
            return torch.arange(num) % len(known) if known else None
        if label not in known:
            which = f"Known: {', '.join(known[:20])}." if known else "it has learned none: leave --class out."
            raise OptionError(f"--class {label}: the model knows no such class{nearest(label, known) or ';'} {which}")
        return torch.full((num,), known.index(label))

    def _check(self, num: int, truncation: float | None, interpolate: int | None) -> None:
        if num < 1:
            raise OptionError(f"--num is {num}; give a whole number from 1 up.")
        if truncation is not None and not truncation >= LEAST_TRUNCATION:
            raise OptionError(f"--truncation is {truncation:g}; give a number above 0, such as 1: smaller is tamer.")
        if interpolate is not None and interpolate < 2:
            raise OptionError(f"--interpolate is {interpolate}; a way from one picture to the next has at least 2.")


def to_pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """(N, C, H, W) in -1..1 to (N, H, W, C) pixels."""
    pixels = ((pictures + 1) * MIDDLE).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return np.ascontiguousarray(pixels.cpu().numpy())
