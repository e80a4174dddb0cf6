"""Fusion: what each encoder is given, what is fitted before training, and interactions that neither side has alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from earnest.core.errors import OptionError
from earnest.core.words import InputSpec
from earnest.models.fusion import fusion_tiny

IMAGE, GRAY, TABLE = InputSpec("image", (3, 12, 8)), InputSpec("image", (1, 8, 8)), InputSpec("table", (2,), (3, 4))


def columns(*parts: InputSpec) -> InputSpec:
    return InputSpec("columns", (), parts=parts)


def some(number: int) -> tuple[Tensor, ...]:
    """Inputs for IMAGE, GRAY and TABLE."""
    codes = torch.stack([torch.randint(0, 3, (number,)), torch.randint(0, 4, (number,))], dim=1)
    return torch.randn(number, 3, 12, 8), torch.randn(number, 1, 8, 8), torch.randn(number, 2), codes


@pytest.mark.parametrize("changed", range(4))
def test_every_input_matters(changed: int) -> None:
    inputs = list(some(6))
    model = fusion_tiny(columns(IMAGE, GRAY, TABLE), 3).train()
    with torch.no_grad():
        model(tuple(inputs))
    model.eval()
    before = model(tuple(inputs))
    inputs[changed] = (inputs[changed] + 1) % 3 if changed == 3 else inputs[changed] + 1
    assert not torch.allclose(model(tuple(inputs)), before, atol=1e-4)


def test_an_example_is_seen_by_itself() -> None:
    model, inputs = fusion_tiny(columns(IMAGE, GRAY, TABLE), 3).eval(), some(5)
    turned = tuple(x.flip(0) for x in inputs)
    torch.testing.assert_close(model(turned), model(inputs).flip(0))


@pytest.mark.parametrize("parts", [(IMAGE, GRAY), (GRAY, TABLE), (GRAY, InputSpec("table", (0,), (3, 4)))])
def test_any_groups_of_columns(parts: tuple[InputSpec, ...]) -> None:
    image, gray, numbers, codes = some(4)
    table = (numbers[:, : parts[-1].shape[0]], codes) if parts[-1].kind == "table" else ()
    inputs = (*(image if part is IMAGE else gray for part in parts if part.kind == "image"), *table)
    model = fusion_tiny(columns(*parts), 2)
    model.prepare(inputs)
    assert model(inputs).shape == (4, 2)


def test_what_is_fitted_before_training_follows_the_rows() -> None:
    inputs = some(64)
    model = fusion_tiny(columns(IMAGE, GRAY, TABLE), 2)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.prepare(inputs)
    moved = {name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {
        "encoders.0.network.whitening.kernel",
        "encoders.1.network.whitening.kernel",
        "encoders.2.numbers.lower",
        "encoders.2.numbers.inverse_width",
    }
    lower = model.encoders[2].numbers.lower
    assert lower.min() == inputs[2].min()


def test_another_kind_of_input_is_refused() -> None:
    with pytest.raises(OptionError, match="pictures and other columns"):
        fusion_tiny(TABLE, 2)


def test_learns_what_a_picture_and_a_category_say_only_together() -> None:
    bright, red = torch.randint(0, 2, (2, 192))
    images = torch.randn(192, 1, 8, 8) + 2 * bright[:, None, None, None]
    inputs = (images, torch.zeros(192, 0), red[:, None] + 1)
    labels = bright ^ red
    model = fusion_tiny(columns(GRAY, InputSpec("table", (0,), (3,))), 2)
    model.prepare(inputs)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    assert (model.eval()(inputs).argmax(1) == labels).float().mean() > 0.95
