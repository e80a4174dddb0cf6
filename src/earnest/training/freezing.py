"""What a recipe keeps as it is while the rest of a network learns: its lower blocks, and its norms' statistics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import NamedParameters, Phase


def block_of(name: str) -> str:
    """The block of the model that a parameter belongs to: "stages.3" for "stages.3.conv.weight"."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and parts[1].isdigit() else parts[0]


def blocks_of(names: Iterable[str]) -> list[str]:
    """The blocks of parameters, in their order, which is from the input up to the head."""
    return list(dict.fromkeys(block_of(name) for name in names))


def upper(phase: Phase, recipe: Recipe) -> Phase:
    """The phase without the parameters below the upper `recipe.unfreeze` of its blocks.

    Nothing below the lowest block that moves needs a backward pass, and autograd makes none.
    """
    if recipe.unfreeze == 1:
        return phase

    def params(model: nn.Module) -> NamedParameters:
        named = list(phase.params(model))
        blocks = blocks_of(name for name, _ in named)
        moving = blocks[-max(1, round(recipe.unfreeze * len(blocks))) :]
        return [(name, parameter) for name, parameter in named if block_of(name) in moving]

    return replace(phase, params=params)


def set_training(model: nn.Module, recipe: Recipe) -> None:
    """Put the model in training, but for norms that the recipe freezes: whatever keeps a running mean."""
    model.train()
    if recipe.freeze_norms:
        for module in model.modules():
            if isinstance(getattr(module, "running_mean", None), Tensor):
                module.eval()
