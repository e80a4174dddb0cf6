"""The sides of maps in a network that halves square pictures down to a few pixels, or doubles them up from there."""

from __future__ import annotations

from earnest.core.errors import OptionError
from earnest.core.words import InputSpec

SMALLEST, LARGEST = 8, 128
"""Pixels a side."""
SEED_SIDES = range(4, 8)
"""Sides that halving ends at."""


def halved(side: int) -> tuple[int, ...]:
    """The sides of the maps from `side` down to 4, 5, 6 or 7 pixels, each half of the one before.

    Empty where an odd side comes in between, or the side is too small or too large.
    """
    sides = [side]
    while sides[-1] not in SEED_SIDES:
        if sides[-1] % 2 or sides[-1] < SMALLEST:
            return ()
        sides.append(sides[-1] // 2)
    return tuple(sides) if SMALLEST <= side <= LARGEST else ()


def nearest_side(side: int) -> int:
    """The largest side up to `side` that can be halved so; 8 for anything smaller."""
    return next((able for able in range(min(side, LARGEST), SMALLEST, -1) if halved(able)), SMALLEST)


def pyramid(spec: InputSpec, *, model: str) -> tuple[int, tuple[int, ...]]:
    """Channels of the pictures that `spec` describes, and the sides of their maps, the largest first.

    Raises:
        OptionError: `spec` is not of pictures, or these are not square or cannot be halved down to a few pixels.
    """
    if spec.kind != "image":
        raise OptionError(f"the model {model!r} reads images, and this input is a {spec.kind}; choose a model for it.")
    channels, height, width = spec.shape
    sides = halved(height)
    if height != width or not sides:
        raise OptionError(
            f"the model {model!r} makes square pictures whose side can be halved down to 4, 5, 6 or 7 pixels, such as "
            f"28, 32 or 64; {height} x {width} cannot: scale them to {nearest_side(min(height, width))} pixels a side."
        )
    return channels, sides
