from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from earnest.evaluation.mistakes import pick, thumbnail, worst


def test_confident_and_wrong_comes_first():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.3, 0.7], [0.01, 0.99], [0.0, 1.0], [0.6, 0.4]])
    assert worst(truth, probabilities).tolist() == [1, 0, 3]
    assert worst(truth, probabilities, num=1).tolist() == [1]


def test_the_largest_errors_come_first():
    truth, values = np.array([1.0, 5.0, 3.0]), np.array([1.0, 2.0, 4.0])
    assert worst(truth, values).tolist() == [1, 2]


def test_a_mistake_carries_what_the_report_needs():
    images = np.random.default_rng().integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    found = pick(
        np.array([0, 1]),
        np.array([[0.9, 0.1], [0.8, 0.2]]),
        rows=np.array([70, 81]),
        names=["a.png", "b.png"],
        labels=["ant", "bee"],
        image=lambda i: images[i],
        values=lambda i: {"age": 3.0, "note": "x" * 200, "gone": None},
    )
    assert len(found) == 1
    mistake = found[0]
    assert (mistake["row"], mistake["name"], mistake["truth"], mistake["prediction"]) == (81, "b.png", "bee", "ant")
    assert mistake["confidence"] == pytest.approx(0.8)
    assert mistake["image"].startswith("data:image/jpeg;base64,")
    assert mistake["values"]["age"] == "3"
    assert len(mistake["values"]["note"]) == 80
    assert mistake["values"]["gone"] == ""


def test_a_regressions_mistake_has_values_and_no_confidence():
    found = pick(np.array([1.0]), np.array([2.5]), rows=np.array([4]), names=["line 6"], labels=[])
    assert (found[0]["truth"], found[0]["prediction"], found[0]["confidence"]) == (1.0, 2.5, None)
    assert (found[0]["image"], found[0]["values"]) == (None, {})


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (480, 640, 3), (3, 900, 3), (1, 1, 3)])
@pytest.mark.parametrize("noisy", [True, False])
def test_thumbnails_are_small(shape, noisy):
    random = np.random.default_rng()
    image = random.integers(0, 256, shape, dtype=np.uint8) if noisy else np.full(shape, 90, dtype=np.uint8)
    uri = thumbnail(image)
    assert len(uri) < 9_000
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert max(picture.size) <= 288
    assert min(picture.size) == 96 or max(picture.size) == 288
    if not noisy:
        assert len(uri) <= 4200
        assert np.abs(np.asarray(picture).astype(int) - 90).max() <= 3
