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
    """The optimisers that move the named `parameters`: one, or Muon and SGD.

    Vectors (biases, norms) do not decay. Under Muon the head and every vector are SGD's, as in airbench.
    """
    named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    blocks = blocks_of(name for name, _ in named)
    if recipe.optimiser == "muon":
        muon = [(name, p) for name, p in named if p.ndim >= 2 and not _in_head(name)]
        rest = [(name, p) for name, p in named if p.ndim < 2 or _in_head(name)]
        optimisers: list[torch.optim.Optimizer] = []
        if muon:
            groups = _groups(muon, recipe, recipe.lr, blocks)
            optimisers.append(Muon(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True))
        if rest:
            optimisers.append(_sgd(_groups(rest, recipe, recipe.lr_rest or recipe.lr, blocks), recipe))
        return optimisers
    groups = _groups(named, recipe, recipe.lr, blocks)
    if recipe.optimiser == "sgd":
        return [_sgd(groups, recipe)]
    betas = (recipe.momentum, recipe.beta2)
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for _, p in named)
    return [torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=fused)]


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


def _in_head(name: str) -> bool:
    return name.startswith("head.") or ".head." in name
