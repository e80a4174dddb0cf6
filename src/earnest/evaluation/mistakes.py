"""The worst mistakes, kept with their pictures or values so that the report outlives the data."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from earnest.evaluation.intervals import Floats

NUM_MISTAKES = 24
SIDE = 96
"""Pixels of a thumbnail's shorter side."""
LONGEST = 3 * SIDE
MOST_BYTES = 4096
MOST_VALUE = 80
"""Characters of a value that are kept."""


def worst(truth: NDArray[Any], predictions: Floats, num: int = NUM_MISTAKES) -> NDArray[np.int64]:
    """Positions of the worst mistakes, worst first.

    Of a classification (predictions (N, classes)) the wrong answers given with the most confidence; of a regression the
    largest errors.
    """
    if predictions.ndim == 2:
        answer = predictions.argmax(1)
        badness = np.where(answer == truth, 0.0, predictions.max(1))
    else:
        badness = np.abs(predictions - truth)
    order = np.argsort(-badness, kind="stable")[:num]
    return order[badness[order] > 0].astype(np.int64)


def pick(
    truth: NDArray[Any],
    predictions: Floats,
    *,
    rows: NDArray[np.int64],
    names: Sequence[str],
    labels: Sequence[str],
    image: Callable[[int], NDArray[np.uint8]] | None = None,
    values: Callable[[int], Mapping[str, Any]] | None = None,
    num: int = NUM_MISTAKES,
) -> list[dict[str, Any]]:
    """evaluation.json's `mistakes`, worst first.

    All sequences run in parallel with `truth`; `image` and `values` give a position's pixels (H, W, C) and columns.
    """
    chosen = []
    for i in worst(truth, predictions, num).tolist():
        is_class = predictions.ndim == 2
        chosen.append(
            {
                "row": int(rows[i]),
                "name": names[i],
                "truth": labels[int(truth[i])] if is_class else float(truth[i]),
                "prediction": labels[int(predictions[i].argmax())] if is_class else float(predictions[i]),
                "confidence": float(predictions[i].max()) if is_class else None,
                "image": thumbnail(image(i)) if image is not None else None,
                "values": {name: _short(value) for name, value in values(i).items()} if values is not None else {},
            }
        )
    return chosen


def thumbnail(image: NDArray[np.uint8]) -> str:
    """A picture (H, W, C), C 1 or 3, as a JPEG data URI of about 4 kB at most, its shorter side 96 pixels.

    Small pictures are enlarged without smoothing, so that single pixels can be seen.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    factor = min(SIDE / min(picture.size), LONGEST / max(picture.size))
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    picture = picture.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)
    content = b""
    for quality in (85, 70, 55, 40, 25, 10):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        content = buffer.getvalue()
        if len(content) * 4 / 3 <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def _short(value: object) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MOST_VALUE else text[: MOST_VALUE - 1] + "…"
