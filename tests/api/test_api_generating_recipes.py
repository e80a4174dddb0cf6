"""What is trained to make pictures, and how wide it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earnest.api.generating_recipes import for_pictures
from earnest.api.request import Request
from earnest.core.recipe import Recipe
from earnest.core.words import InputSpec

NUM_ROWS = 60_000


def recipe(**asked: Any) -> Recipe:
    return for_pictures(Request("pictures", task="generate", **asked), InputSpec("image", (1, 28, 28)), NUM_ROWS)


@pytest.mark.parametrize(("minutes", "options"), [(None, {}), (29.0, {}), (30.0, {"width": 64}), (45.0, {"width": 64})])
def test_networks_are_wider_where_there_is_half_an_hour(minutes: float | None, options: dict[str, int]) -> None:
    assert recipe(minutes=minutes).model_options == options
    assert recipe(minutes=minutes, model="r3gan").model_options == {}


def test_the_width_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[model_options]\nwidth = 16\n")
    assert recipe(minutes=45.0, recipe=str(tmp_path / "own.toml")).model_options == {"width": 16}
