"""What a frozen network sees in pictures: computed once, kept in the cache, and cheap to fit a linear model on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from earnest.data.cache import load_array, store_array
from earnest.data.preparation import Normalise

FORMAT = 1
"""Version of what is computed: part of the cache's key."""


def extract_features(
    model: nn.Module,
    array: NDArray[np.uint8],
    *,
    preprocessing: Normalise,
    cache_folder: Path | None,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    flips: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """The features (N, F) of pictures (N, H, W, C), as `model.features` gives them in evaluation.

    Args:
        model: offers `features(x)`, (B, C, H, W) to (B, F); it is not changed.
        array: the pictures.
        preprocessing: what the model's weights expect.
        cache_folder: where features are kept under a digest of pictures, weights and settings; None keeps nothing.
        batch_size: pictures at once.
        device: where to compute.
        flips: whether to take the mean of each picture's features and its mirror image's.
        progress: told the number of pictures done, and of all.
    """
    path = cache_folder / f"{_key(model, array, preprocessing, flips)}.npy" if cache_folder is not None else None
    if path is not None and (found := load_array(path, memory_limit=1 << 30)) is not None:
        return np.asarray(found[0])
    folded = fold_norms(model).to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(array), batch_size):
            images = torch.from_numpy(np.ascontiguousarray(array[start : start + batch_size])).to(device)
            parts.append(_features(folded, preprocessing.pixels(images), flips).float().cpu().numpy())
            if progress is not None:
                progress(min(start + batch_size, len(array)), len(array))
    features: NDArray[np.float32] = np.concatenate(parts)
    if path is not None:
        with suppress(OSError):  # The disk is full or read-only: the next run computes them again.
            store_array(path, features, {})
    return features


def fold_norms(model: nn.Module) -> Any:
    """A copy of `model` in evaluation, each batch normalisation folded into the convolution that it follows.

    "Follows" is read from the order in which a module lists its parts, so the model must be one whose parts are listed
    as they are used. About 1.4 times as fast on a CPU, and equal up to rounding.
    """
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for (first, convolution), (second, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, norm))
                setattr(module, second, nn.Identity())
    return folded


def _features(model: Any, images: Tensor, flips: bool) -> Tensor:
    seen: Tensor = model.features(images)
    return (seen + model.features(images.flip(-1))) / 2 if flips else seen


def _key(model: nn.Module, array: NDArray[np.uint8], preprocessing: Normalise, flips: bool) -> str:
    """A digest of everything that the features depend on."""
    settings = [FORMAT, str(model), preprocessing.facts(), flips, array.shape]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    for start in range(0, len(array), 256):
        digest.update(np.ascontiguousarray(array[start : start + 256]).data)
    return "features-" + digest.hexdigest()[:32]
