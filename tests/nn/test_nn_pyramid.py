"""The sides of maps that pictures are halved through."""

from __future__ import annotations

from itertools import pairwise

import pytest

from earnest.core.errors import OptionError
from earnest.core.words import InputSpec
from earnest.nn.pyramid import halved, nearest_side, pyramid


def test_sides_halve_down_to_a_few_pixels() -> None:
    assert halved(28) == (28, 14, 7)
    assert halved(64) == (64, 32, 16, 8, 4)
    assert halved(8) == (8, 4)
    for side in range(1, 200):
        sides = halved(side)
        assert not sides or (sides[0] == side and 4 <= sides[-1] <= 7)
        assert all(a == 2 * b for a, b in pairwise(sides))


def test_the_nearest_side_is_the_largest_that_can_be_made() -> None:
    for side in range(8, 300):
        able = nearest_side(side)
        assert halved(able)
        assert able <= side
        assert not any(halved(other) for other in range(able + 1, min(side, 128) + 1))
    assert nearest_side(3) == 8


@pytest.mark.parametrize("shape", [(1, 28, 32), (3, 9, 9), (3, 256, 256), (1, 4, 4)])
def test_other_pictures_are_refused_with_a_size_that_fits(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=f"scale them to {nearest_side(min(shape[1:]))} pixels"):
        pyramid(InputSpec("image", shape), model="r3gan")
