"""Every hyperparameter of a run, typed and validated: what `recipe.toml` holds and `fit --recipe` reads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earnest.core import atomic
from earnest.core.errors import OptionError, nearest


class Recipe(BaseModel):
    """How to train: read-only, and the same words in Python, in TOML and in the report."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = "airnet"
    """Name of the architecture; `earnest zoo` lists them."""
    model_options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the architecture's builder."""

    epochs: int = Field(10, ge=1)
    """Passes over the training rows."""
    batch_size: int = Field(128, ge=1)
    """Examples that one update sees, over all processes and micro-batches."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches that a batch is cut into, to save memory; the update is the same (batch statistics apart)."""

    optimiser: Literal["sgd", "adamw", "muon", "muon-adamw"] = "adamw"
    """"sgd" has Nesterov momentum; "muon" moves filters and matrices by Muon and the rest by SGD; "muon-adamw" moves
    the matrices of a Transformer's blocks by Muon and the rest, embeddings and heads too, by AdamW."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    lr_rest: float | None = Field(None, gt=0)
    """Peak learning rate of what Muon does not move; `lr` unless given."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Learning-rate factor from each block of the model to the one below; 1 treats all alike."""
    unfreeze: float = Field(1.0, gt=0, le=1)
    """Share of the model's blocks that move, counted from the head down; those below stay as they are."""
    freeze_norms: bool = False
    """Whether norms keep their running statistics and go by them in training too: right for fine-tuning, where a batch
    says less of the data than what the network came with. Their scales and shifts are parameters like any other."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD and Muon, beta 1 of AdamW."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Beta 2 of AdamW."""
    weight_decay: float = Field(0.0, ge=0)
    """On matrices and filters only: never on biases, norms or other vectors."""

    schedule: Literal["one-cycle", "cosine", "linear", "constant"] = "one-cycle"
    """The learning rate's course after warm-up; "one-cycle" also moves the momentum against it."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises to its peak."""

    augment: tuple[str, ...] = ()
    """Batch augmentations in order, such as ["crop", "flip"]."""
    mixup: float = Field(0.0, ge=0)
    """Beta parameter of mixup (Zhang et al. 2017); 0 turns it off."""
    cutmix: float = Field(0.0, ge=0)
    """Beta parameter of cutmix (Yun et al. 2019); 0 turns it off."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the label's weight spread over all classes (Szegedy et al. 2015)."""
    pretraining: float = Field(0.0, ge=0, lt=1)
    """Share of the epochs in which a deep belief net's layers learn without labels, one after the other."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the head, for the architectures that have it."""

    gradient_penalty: float = Field(0.0, ge=0)
    """Gamma of a GAN: its critic's squared gradient costs half of that much, at real and at made pictures alike."""
    penalty_every: int = Field(1, ge=1)
    """Batches from one update of the critic that pays the gradient penalty to the next, which then pays for all of
    them: most of what they learn, and less work (Karras et al. 2020, appendix B)."""
    kl_weight: float = Field(1.0, ge=0)
    """What a variational autoencoder pays for each nat of its code (beta); 1 makes its loss a bound."""

    beside: float = Field(0.0, ge=0)
    """What a tagger pays for not telling the training file's other columns, such as parts of speech, a word at a time;
    0 passes them over. Answers need no such columns."""

    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the weights' moving average, which is then what is validated and shipped; 0 turns it off."""
    clip: float | None = Field(None, gt=0)
    """Largest norm of the whole gradient."""
    spike: float = Field(10.0, gt=1)
    """A step whose gradient norm exceeds this many times the largest of the fifty before it is skipped and reported."""
    patience: int = Field(0, ge=0)
    """Epochs without a better validation score after which training stops; 0 never does."""
    window: int = Field(128, ge=2)
    """Tokens of a running text that a language model learns from at once; for word vectors, words that are seen to
    either side at most."""
    tokens: Literal["character", "bpe", "wordpiece", "words", "spaces"] | None = None
    """What a running text is cut into: characters where it is short, else frequent pieces of words; BERT's are
    WordPiece's. For word vectors "words", in lower case and without punctuation, or whatever stands between
    "spaces"."""
    vocabulary: int = Field(8192, ge=300)
    """Different pieces of words, or words, at most."""
    token_vectors: Literal["random", "skip-gram"] = "random"
    """What the tokens' embeddings of a masked language model begin as: random numbers, or the vectors that skip-gram
    learns from the text within a twentieth of the time."""
    views: Literal[1, 2, 6] = 1
    """Views of an image that the shipped model's answer is the mean of: itself, with its mirror image, or both of them
    shifted by a pixel too."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in a TOML file.

        Raises:
            OptionError: the file cannot be read, is no TOML, or a field is unknown or out of range; it is named.
        """
        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise OptionError(f"there is no recipe file {path}.") from error
        except OSError as error:
            raise OptionError(f"the recipe {path} cannot be read ({error.strerror or error}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"the recipe {path} is not TOML: {error}.") from error
        return cls.checked(fields, where=str(path))

    @classmethod
    def checked(cls, fields: dict[str, Any], *, where: str) -> Self:
        """A recipe from plain values; `where` is named when one is wrong.

        Raises:
            OptionError: a field is unknown or out of range.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            hint = nearest(name, cls.model_fields) if first["type"] == "extra_forbidden" else ""
            raise OptionError(f"{where}: {name}: {first['msg'].lower()}{hint or '.'}") from error

    def but(self, **changes: Any) -> Self:
        """The same recipe with some fields changed, validated again."""
        return type(self)(**{**self.model_dump(), **changes})

    def write(self, path: Path) -> None:
        """The recipe as TOML, atomically; fields that are None are left out."""
        fields = {name: value for name, value in self.model_dump(mode="json").items() if value is not None}
        atomic.write_text(path, tomli_w.dumps(fields))
