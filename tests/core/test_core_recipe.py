"""Recipes: the same words in Python and in TOML, and wrong ones named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from earnest.core.errors import OptionError
from earnest.core.recipe import Recipe

FULL = Recipe(
    model="resnet18",
    model_options={"width": 32, "stages": [1, 2], "deep": {"norm": "batch"}},
    epochs=7,
    optimiser="muon",
    lr=0.24,
    lr_rest=0.01,
    momentum=0.6,
    schedule="linear",
    augment=("crop", "flip"),
    mixup=0.2,
    clip=1.5,
    ema=0.999,
    views=6,
)


@pytest.mark.parametrize("recipe", [Recipe(), FULL])
def test_written_and_read_it_is_the_same(tmp_path: Path, recipe: Recipe) -> None:
    recipe.write(tmp_path / "recipe.toml")
    assert Recipe.read(tmp_path / "recipe.toml") == recipe
    fields = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert set(fields) == {name for name, value in recipe.model_dump().items() if value is not None}


def test_a_few_lines_are_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('epochs = 3\naugment = ["flip"]\n')
    assert Recipe.read(tmp_path / "r.toml") == Recipe(epochs=3, augment=("flip",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epoch = 3", r"epoch.*did you mean 'epochs'\?"),
        ("learning_rate = 1", "learning_rate: extra inputs are not permitted"),
        ("Batch_Size = 3", r"did you mean 'batch_size'\?"),
        ("epochs = 0", "epochs: .*greater than or equal to 1"),
        ('epochs = "many"', "epochs: .*integer"),
        ("lr = -0.1", "lr: .*greater than 0"),
        ("dropout = 1.0", "dropout: .*less than 1"),
        ('optimiser = "adam"', "optimiser: .*'adamw'"),
        ('schedule = "one_cycle"', "schedule: .*'one-cycle'"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=complaint) as caught:
        Recipe.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no recipe file.*none\.toml"):
        Recipe.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(OptionError, match="is not TOML"):
        Recipe.read(tmp_path / "binary.toml")
    with pytest.raises(OptionError, match="cannot be read"):
        Recipe.read(tmp_path)


def test_changed_it_is_checked_again_and_the_first_stays() -> None:
    recipe = Recipe()
    assert recipe.but(epochs=3).epochs == 3
    assert recipe.epochs == Recipe().epochs
    with pytest.raises(ValueError, match="epochs"):
        recipe.but(epochs=0)
    with pytest.raises(ValueError, match="epoch"):
        recipe.but(epoch=3)
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 4  # type: ignore[misc]
