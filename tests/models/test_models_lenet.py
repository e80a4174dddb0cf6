"""LeNet-5 against the paper's own counts and pictures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.lenet import C3_INPUTS, LeNet5, RadialBasis, ScaledTanh, SparseConv, Subsampling

MNIST = InputSpec("image", (1, 32, 32))


def test_every_layer_has_the_papers_parameters() -> None:
    """Section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164; 60,000 in all."""
    network = models["lenet5-original"].build(MNIST, 10)
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in network.body]
    assert [count for count in counts if count] == [156, 12, 1_516, 32, 48_120, 10_164]
    assert sum(parameter.numel() for parameter in network.parameters()) == 60_000


def test_c3_sees_what_table_1_of_the_paper_says() -> None:
    """Six see three neighbours, six four, three two pairs, one all; each map of S2 is seen by ten."""
    assert [len(sources) for sources in C3_INPUTS] == [3] * 6 + [4] * 9 + [6]
    assert [sum(source in sources for sources in C3_INPUTS) for source in range(6)] == [10] * 6
    for first, sources in enumerate(C3_INPUTS[:12]):
        assert set(sources) == {(first + step) % 6 for step in range(len(sources))}


def test_sparse_convolution_is_a_sum_over_the_maps_it_sees() -> None:
    layer = SparseConv(C3_INPUTS)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    maps = torch.randn(2, 6, 9, 8)
    found = layer(maps)
    kernels = iter(layer.weight)
    for output, sources in enumerate(C3_INPUTS):
        expected = sum(F.conv2d(maps[:, [s]], next(kernels)[None, None]) for s in sources) + layer.bias[output]
        torch.testing.assert_close(found[:, [output]], expected, rtol=1e-4, atol=1e-4)


def test_subsampling_sums_two_by_two_pixels() -> None:
    layer = Subsampling(1)
    torch.nn.init.constant_(layer.weight, 0.5)
    torch.nn.init.constant_(layer.bias, 3.0)
    assert layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == 0.5 * 10 + 3


def test_the_squashing_function_fixes_plus_and_minus_one() -> None:
    ones = torch.tensor([1.0, -1.0])
    torch.testing.assert_close(ScaledTanh()(ones), ones, rtol=1e-4, atol=0)


def test_radial_basis_outputs_are_minus_squared_distances() -> None:
    layer = RadialBasis(84, 10)
    assert set(layer.codes.unique().tolist()) == {-1.0, 1.0}
    points = torch.randn(5, 84)
    torch.testing.assert_close(layer(points), -(torch.cdist(points, layer.codes) ** 2), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-original"])
def test_first_weights_lie_within_the_papers_bound(name: str) -> None:
    """2.4 / fan-in, of which C1 has 25 inputs, C5 400, F6 120."""
    body = models[name].build(MNIST, 10).body
    for layer, fan_in in ((body[0], 25), (body[7], 400), (body[9], 120)):
        largest = layer.weight.abs().max().item()
        assert 0.8 * 2.4 / fan_in < largest <= 2.4 / fan_in


@pytest.mark.parametrize("size", [12, 16, 28, 32, 45])
def test_any_size_from_12_pixels_on(size: int) -> None:
    network = models["lenet5"].build(InputSpec("image", (2, size, size + 1)), 3)
    assert isinstance(network, LeNet5)
    assert network(torch.randn(4, 2, size, size + 1)).shape == (4, 3)


def test_smaller_images_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 12 x 12"):
        models["lenet5"].build(InputSpec("image", (1, 11, 32)), 10)
