from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.tabular import EnsembleLinear, PiecewiseLinearEmbedding, TabM, tabm, tabm_tiny

SPEC = InputSpec("table", (3,), (4, 20))


def rows(num_rows: int, spec: InputSpec = SPEC, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randn(num_rows, *spec.shape, generator=random)
    codes = [torch.randint(0, n, (num_rows,), generator=random) for n in spec.cardinalities]
    return numbers, torch.stack(codes, 1) if codes else torch.empty(num_rows, 0, dtype=torch.long)


def scrambled(model: nn.Module) -> nn.Module:
    """The model with every parameter drawn at random, so that nothing is hidden by a start at zero or one."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("num_numbers", [0, 1, 4])
@pytest.mark.parametrize("cardinalities", [(), (1,), (3, 40)])
def test_any_number_of_columns(num_numbers: int, cardinalities: tuple[int, ...]) -> None:
    spec = InputSpec("table", (num_numbers,), cardinalities)
    if not num_numbers and not cardinalities:
        pytest.skip("a table has a column")
    model = tabm(spec, 5, members=6)
    inputs = rows(7, spec)
    model.set_bins(inputs[0])
    outputs = model(inputs)
    assert outputs.shape == (7, 6, 5)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_member_is_the_network_that_its_scales_make() -> None:
    layer = scrambled(EnsembleLinear(5, 4, 3)).double()
    features = torch.randn(6, 3, 5, dtype=torch.float64)
    for m in range(3):
        own = layer.scale_out[m][:, None] * layer.weight * layer.scale_in[m][None, :]
        expected = features[:, m] @ own.T + layer.bias[m]
        torch.testing.assert_close(layer(features)[:, m], expected)


def test_members_differ_from_the_start_and_only_by_the_first_scales() -> None:
    torch.manual_seed(0)
    model = tabm(SPEC, 2, dropout=0.0)
    hidden = model.hidden[0](torch.randn(4, 1, model.hidden[0].weight.shape[1]))
    assert (hidden[:, 0] - hidden[:, 1]).abs().mean() > 0.1
    second = model.hidden[1](torch.ones(1, 1, 128))
    torch.testing.assert_close(second, second[:, :1].expand_as(second))


def test_bins_encode_as_the_paper_says() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    train = np.stack([random.normal(size=400), np.round(random.exponential(size=400), 1)], 1)
    embedding = scrambled(PiecewiseLinearEmbedding(2, width=3, bins=16)).double()
    embedding.set_bins(torch.from_numpy(train))
    x = np.concatenate([random.normal(size=(50, 2)) * 2, train[:20], [[-9.0, -9.0], [9.0, 99.0]]])
    given = embedding(torch.from_numpy(x)).detach().numpy().reshape(len(x), 2, 3)
    slope, bias, weight = (p.detach().numpy() for p in (embedding.slope, embedding.bias, embedding.weight))
    for column in range(2):
        lower = embedding.lower[column].numpy()
        inverse = embedding.inverse_width[column].numpy()
        expected = x[:, [column]] * slope[column] + bias[column]
        for t in np.flatnonzero(inverse):
            share = np.interp(x[:, column], [lower[t], lower[t] + 1 / inverse[t]], [0.0, 1.0])
            expected = expected + share[:, None] * weight[column, t]
        np.testing.assert_allclose(given[:, column], expected, atol=1e-9)


def test_bins_tile_the_range_of_the_training_rows() -> None:
    train = torch.randn(300, 2, dtype=torch.float64).exp()
    embedding = PiecewiseLinearEmbedding(2, width=3, bins=20).double()
    embedding.set_bins(train)
    for column in range(2):
        used = embedding.inverse_width[column] > 0
        lower, upper = embedding.lower[column][used], (embedding.lower + 1 / embedding.inverse_width)[column][used]
        torch.testing.assert_close(lower[0], train[:, column].min())
        torch.testing.assert_close(upper[-1], train[:, column].max())
        torch.testing.assert_close(lower[1:], upper[:-1])


def test_rare_values_get_bins_of_their_own() -> None:
    train = torch.zeros(10_000, 1)
    train[:30, 0] = torch.arange(1, 31)
    embedding = PiecewiseLinearEmbedding(1, width=2, bins=64)
    embedding.set_bins(train)
    assert int((embedding.inverse_width > 0).sum()) == 30


def test_values_that_hardly_differ_are_harmless() -> None:
    embedding = scrambled(PiecewiseLinearEmbedding(1, width=2, bins=8))
    train = torch.tensor([[0.0], [1e-44], [1e-38], [1.0]])
    embedding.set_bins(train)
    assert embedding(train).isfinite().all()


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_a_constant_column_is_harmless(value: float) -> None:
    embedding = PiecewiseLinearEmbedding(1, width=2, bins=8)
    embedding.set_bins(torch.full((50, 1), value))
    assert embedding(torch.tensor([[value], [7.0], [-7.0]])).isfinite().all()


def test_bins_are_saved_with_the_weights() -> None:
    inputs = rows(30)
    model = scrambled(tabm_tiny(SPEC, 2)).eval()
    model.set_bins(inputs[0] ** 3)
    again = tabm_tiny(SPEC, 2).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(inputs), model(inputs), rtol=0, atol=0)


def test_a_row_does_not_depend_on_the_others() -> None:
    model = scrambled(tabm(SPEC, 2)).eval()
    numbers, codes = rows(9)
    together = model((numbers, codes))
    alone = torch.cat([model((numbers[i : i + 1], codes[i : i + 1])) for i in range(9)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-3)


def test_an_unseen_category_says_nothing() -> None:
    """The code 0 adds nothing to the features until rows that have it teach otherwise."""
    spec = InputSpec("table", (0,), (5,))
    model = tabm(spec, 2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    numbers, codes = rows(40, spec)
    model((numbers, codes.clamp(min=1))).square().sum().backward()
    optimiser.step()
    assert not model.categories[0].weight[0].any()
    assert model.categories[0].weight[1:].all()


def test_gradients_equal_finite_differences() -> None:
    spec = InputSpec("table", (2,), (3,))
    model = scrambled(TabM(spec, 2, width=5, depth=2, members=3, dropout=0.0, embedding_width=3, bins=4)).double()
    numbers, codes = rows(4, spec)
    numbers = numbers.double()
    model.set_bins(rows(50, spec, seed=1)[0].double())
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, state, ((numbers, codes),)).square().mean()

    assert torch.autograd.gradcheck(loss, tuple(model.parameters()), eps=1e-6, atol=1e-5)


def test_an_image_is_refused() -> None:
    with pytest.raises(OptionError, match="image"):
        models["tabm"].build(InputSpec("image", (1, 8, 8)), 2)


@pytest.mark.parametrize("name", ["tabm", "tabm-tiny"])
def test_learns_an_interaction_of_a_number_and_a_category(name: str) -> None:
    torch.manual_seed(0)
    spec = InputSpec("table", (2,), (4,))
    numbers, codes = rows(800, spec)
    labels = ((numbers[:, 0].abs() > 0.7) ^ (codes[:, 0] >= 2)).long()
    model = models[name].build(spec, 2)
    model.set_bins(numbers[:600])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(200):
        part = slice(100 * (step % 6), 100 * (step % 6) + 100)
        outputs = model((numbers[part], codes[part]))
        members = outputs.shape[1]
        loss = nn.functional.cross_entropy(outputs.flatten(0, 1), labels[part].repeat_interleave(members))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        predicted = model.eval()((numbers[600:], codes[600:])).softmax(-1).mean(1).argmax(1)
    assert (predicted == labels[600:]).float().mean() > 0.9
