"""What a model's builder asks of its input."""

from __future__ import annotations

from earnest.core.errors import OptionError
from earnest.core.words import InputSpec


def image_shape(spec: InputSpec, *, model: str, smallest: int, instead: str = "resnet-small") -> tuple[int, int, int]:
    """(channels, height, width) of the images that `spec` describes.

    Raises:
        OptionError: `spec` is not of images, or they are smaller than `smallest` pixels a side; `instead` is advised.
    """
    if spec.kind != "image":
        raise OptionError(f"the model {model!r} reads images, and this input is a {spec.kind}; choose a model for it.")
    channels, height, width = spec.shape
    if min(height, width) < smallest:
        raise OptionError(
            f"images of {height} x {width} pixels are too small for the model {model!r}, which needs at least "
            f"{smallest} x {smallest}; choose {instead!r}, or enlarge the images."
        )
    return channels, height, width


def text_shape(spec: InputSpec, *, model: str, longest: int | None = None) -> tuple[int, int]:
    """(most tokens, vocabulary size) of the texts that `spec` describes.

    Raises:
        OptionError: `spec` is not of tokens, or its texts may have more than the `longest` tokens that the model knows.
    """
    if spec.kind != "tokens":
        raise OptionError(f"the model {model!r} reads texts, and this input is a {spec.kind}; choose a model for it.")
    (most,), (vocabulary,) = spec.shape, spec.cardinalities
    if longest is not None and most > longest:
        raise OptionError(
            f"texts of {most} tokens are too long for the model {model!r}, which knows {longest} positions; cut them "
            f"to {longest}, or choose a model with rotary positions, such as 'bert-modern-mini'."
        )
    return most, vocabulary
