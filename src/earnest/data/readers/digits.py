"""The handwritten digits that scikit-learn ships: 1,797 gray images of 8 x 8 pixels (UCI, 1998), no download."""

from __future__ import annotations

import numpy as np
import polars as pl

from earnest.data.dataset import Dataset
from earnest.data.image_arrays import image_dataset

NAME = "digits"


def read_digits() -> Dataset:
    """The digits with their 17 shades of gray (0..16) spread over 0..255, and labels "0" to "9"."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    targets = pl.Series(digits.target.astype(str).tolist(), dtype=pl.String)
    return image_dataset(NAME, images, targets, notes=["scikit-learn's handwritten digits, 8 x 8 pixels"])
