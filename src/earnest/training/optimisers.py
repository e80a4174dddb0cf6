"""Optimisers from a recipe: which parameters decay, which ones Muon moves, and who learns how fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from earnest.core.recipe import Recipe
from earnest.training import schedules
from earnest.training.freezing import block_of, blocks_of
from earnest.training.muon import Muon


def build(parameters: Iterable[tuple[str, nn.Parameter]], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The optimisers that move the named `parameters`: one, or Muon and what moves the rest.

    Vectors (biases, norms) do not decay, and are never Muon's. Nor are heads, which are SGD's as in airbench, or under
    "muon-adamw" whatever lies outside a Transformer's blocks, which is AdamW's, as Muon's author has it.
    """
    named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    blocks = blocks_of(name for name, _ in named)
    if recipe.optimiser == "sgd":
        return [_sgd(_groups(named, recipe, recipe.lr, blocks), recipe)]
    if recipe.optimiser == "adamw":
        return [_adamw(_groups(named, recipe, recipe.lr, blocks), recipe)]
    its = _in_blocks if recipe.optimiser == "muon-adamw" else _outside_heads
    muon = [(name, p) for name, p in named if p.ndim >= 2 and its(name)]
    rest = [(name, p) for name, p in named if p.ndim < 2 or not its(name)]
    optimisers: list[torch.optim.Optimizer] = []
    if muon:
        groups = _groups(muon, recipe, recipe.lr, blocks)
        optimisers.append(Muon(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True))
    if rest:
        groups = _groups(rest, recipe, recipe.lr_rest or recipe.lr, blocks)
        optimisers.append(_adamw(groups, recipe) if recipe.optimiser == "muon-adamw" else _sgd(groups, recipe))
    return optimisers


def set_progress(optimisers: Sequence[torch.optim.Optimizer], recipe: Recipe, progress: float) -> float:
    """Move learning rates and momenta to where the schedule stands; gives the factor on the peak rates."""
    factor = schedules.lr_factor(recipe, progress)
    momentum = schedules.momentum(recipe, progress)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * factor
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
    return factor


def _sgd(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True)


def _adamw(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.AdamW:
    every = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda") for parameter in every)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=fused)


def _groups(
    named: Sequence[tuple[str, nn.Parameter]], recipe: Recipe, lr: float, blocks: Sequence[str]
) -> list[dict[str, Any]]:
    """Parameters grouped by (does it decay, depth), each group with its peak rate; `blocks` from the input up."""
    grouped: dict[tuple[bool, int], list[nn.Parameter]] = {}
    for name, parameter in named:
        below_top = len(blocks) - 1 - blocks.index(block_of(name)) if recipe.layer_decay < 1 else 0
        grouped.setdefault((parameter.ndim >= 2, below_top), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "peak_lr": lr * recipe.layer_decay**below_top,
        }
        for (decays, below_top), parameters in grouped.items()
    ]


def _outside_heads(name: str) -> bool:
    return not (name.startswith("head.") or ".head." in name)


def _in_blocks(name: str) -> bool:
    return name.startswith("blocks.") or ".blocks." in name
