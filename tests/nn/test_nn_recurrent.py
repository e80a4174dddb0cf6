"""Recurrent layers against PyTorch's own modules, against their equations, and against padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from earnest.core.errors import OptionError
from earnest.nn.recurrent import (
    GRU,
    LSTM,
    CellName,
    Elman,
    Layer,
    MinGRU,
    Recurrent,
    State,
    VariationalDropout,
    _has_lstm_in_bfloat16,
    reverse,
)

CLOSE = {"rtol": 0.0, "atol": 1e-10}
THEIRS = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
OURS = {"elman": Elman, "lstm": LSTM, "gru": GRU, "mingru": MinGRU}


def ragged(longest: int = 9, rows: int = 6, width: int = 5) -> tuple[Tensor, Tensor]:
    """Inputs whose padding would show, and lengths from 1 to the longest."""
    lengths = torch.randint(1, longest + 1, (rows,))
    lengths[:2] = torch.tensor([longest, 1])
    return torch.randn(rows, longest, width, dtype=torch.float64), lengths


def randomised(module: nn.Module) -> nn.Module:
    """In float64, with biases that do something."""
    module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


def step_by_step(layer: Layer | MinGRU, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """What `forward` gives, by the equations."""
    state = layer.zero_state(x) if state is None else state
    outputs = []
    for moment in x.unbind(1):
        state = layer.step(moment, state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def gradients(outputs: Tensor, wanted: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(0)  # the same random direction for either form
    direction = torch.randn(outputs.shape, dtype=outputs.dtype)
    return list(torch.autograd.grad((outputs * direction).sum(), wanted, retain_graph=True))


@pytest.mark.parametrize("cell", OURS)
@pytest.mark.parametrize("with_state", [False, True])
def test_the_equations_give_the_kernels_outputs_and_gradients(cell: str, with_state: bool) -> None:
    layer = randomised(OURS[cell](5, 7))
    x = torch.randn(4, 9, 5, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn_like(part) for part in layer.zero_state(x)) if with_state else None
    if state is not None:
        [part.requires_grad_() for part in state]
    wanted = [x, *layer.parameters(), *(state or ())]
    fused, last = layer(x, state)
    stepped, its_last = step_by_step(layer, x, state)
    torch.testing.assert_close(fused, stepped, **CLOSE)
    for ours, theirs in zip(last, its_last, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    for ours, theirs in zip(gradients(fused, wanted), gradients(stepped, wanted), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("cell", OURS)
def test_what_is_taken_of_autocast_to_bfloat16_is_close(cell: str) -> None:
    layer = OURS[cell](5, 7)
    x = torch.randn(4, 30, 5, requires_grad=True)
    wanted = [x, *layer.parameters()]
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        low, last = layer(x)
        again, _ = layer(x, last)  # a state of either precision is taken
    torch.testing.assert_close(low.float(), exact, rtol=0, atol=0.05)
    assert again.shape == low.shape
    for ours, theirs in zip(gradients(low.float(), wanted), gradients(exact, wanted), strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.99


def test_whether_there_is_a_kernel_is_found_out_without_a_draw() -> None:
    """Else a run that is resumed, in whose process it is found out later, would end otherwise."""
    before = torch.get_rng_state()
    _has_lstm_in_bfloat16.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)


def torchs_own(cell: str, stack: Recurrent, width: int) -> nn.RNNBase:
    """PyTorch's module with the stack's parameters."""
    depth = len(stack.layers)
    hidden = stack.num_features // (1 + stack.bidirectional)
    module = THEIRS[cell](width, hidden, depth, batch_first=True, bidirectional=stack.bidirectional).double()
    state = {}
    for index, layer in enumerate(stack.layers):
        directions = [("", layer.ahead), ("_reverse", layer.back)] if stack.bidirectional else [("", layer)]
        for suffix, direction in directions:
            state |= {f"{name}_l{index}{suffix}": value for name, value in direction.named_parameters()}
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("cell", THEIRS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("depth", [1, 3])
def test_ragged_rows_are_read_as_by_pytorchs_packed_modules(cell: CellName, bidirectional: bool, depth: int) -> None:
    stack = randomised(Recurrent(cell, 5, 7, num_layers=depth, bidirectional=bidirectional))
    module = torchs_own(cell, stack, 5)
    x, lengths = ragged()
    real = torch.arange(x.shape[1]) < lengths[:, None]
    ours = stack(x.requires_grad_(), lengths)[real]
    packed, _ = module(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    theirs = pad_packed_sequence(packed, batch_first=True)[0][real]
    torch.testing.assert_close(ours, theirs, **CLOSE)
    (grad_ours,), (grad_theirs,) = gradients(ours, [x]), gradients(theirs, [x])
    torch.testing.assert_close(grad_ours, grad_theirs, **CLOSE)
    assert not grad_ours[~real].any()
    by_name = dict(zip(dict(stack.named_parameters()), gradients(ours, list(stack.parameters())), strict=True))
    expected = dict(zip(dict(module.named_parameters()), gradients(theirs, list(module.parameters())), strict=True))
    for name, grad in by_name.items():
        _, index, *direction, kind = name.split(".")
        suffix = "_reverse" if direction == ["back"] else ""
        torch.testing.assert_close(grad, expected[f"{kind}_l{index}{suffix}"], **CLOSE)


@pytest.mark.parametrize("cell", OURS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_padding_changes_nothing(cell: CellName, bidirectional: bool, residual: bool) -> None:
    stack = randomised(Recurrent(cell, 8, 8, num_layers=2, bidirectional=bidirectional, residual=residual))
    x, lengths = ragged(width=8)
    together = stack(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = stack(x[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row : row + 1, :length], alone, **CLOSE)


@pytest.mark.parametrize("cell", OURS)
def test_a_text_in_pieces_is_read_as_one(cell: CellName) -> None:
    stack = randomised(Recurrent(cell, 5, 5, num_layers=2, residual=True))
    x = torch.randn(3, 11, 5, dtype=torch.float64)
    whole = stack(x, torch.full((3,), 11))
    states, pieces = None, []
    for piece in x.split([4, 1, 6], dim=1):
        outputs, states = stack.stream(piece, states)
        pieces.append(outputs)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, **CLOSE)


def test_reversing_is_per_row_and_undoes_itself() -> None:
    x, lengths = ragged()
    mirrored = reverse(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(mirrored[row], torch.cat([x[row, :length].flip(0), x[row, length:]]))
    assert torch.equal(reverse(mirrored, lengths), x)


def test_variational_dropout_drops_the_same_features_at_every_moment() -> None:
    dropout = VariationalDropout(0.4)
    x = torch.ones(200, 7, 50)
    dropped = dropout(x)
    assert torch.equal(dropped, dropped[:, :1].expand_as(x))
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("cell", THEIRS)
def test_weight_dropout_drops_hidden_to_hidden_weights_once_a_pass(cell: CellName) -> None:
    """With all of them dropped the past is not seen; with some, what is seen is one of the thinned networks."""
    x = torch.randn(2, 6, 5)
    amnesiac = OURS[cell](5, 7, weight_dropout=1 - 1e-7)
    plain = OURS[cell](5, 7)
    plain.load_state_dict(amnesiac.state_dict())
    plain.weight_hh.data.zero_()
    torch.testing.assert_close(amnesiac(x)[0], plain(x)[0])
    thinned = OURS[cell](5, 7, weight_dropout=0.5)
    torch.manual_seed(3)
    outputs, _ = thinned(x)
    torch.manual_seed(3)
    plain.load_state_dict(thinned.state_dict())
    plain.weight_hh.data.copy_(nn.functional.dropout(thinned.weight_hh, 0.5))
    torch.testing.assert_close(outputs, plain(x)[0])
    assert not torch.allclose(thinned(x)[0], outputs)
    thinned.eval()
    assert torch.equal(thinned(x)[0], thinned(x)[0])


def test_mingru_has_no_weights_to_drop() -> None:
    with pytest.raises(OptionError, match="minGRU has none"):
        Recurrent("mingru", 5, 7, weight_dropout=0.3)


def test_first_parameters_are_orthogonal_and_the_lstm_starts_by_remembering() -> None:
    layer = LSTM(5, 7)
    for gate in layer.weight_hh.view(4, 7, 7):
        torch.testing.assert_close(gate @ gate.T, torch.eye(7), rtol=0.0, atol=1e-5)
    assert layer.bias_ih.view(4, 7).sum(1).tolist() == [0, 7, 0, 0]


@pytest.mark.parametrize("cell", [cell for cell in OURS if cell != "lstm"])
def test_autocast_leaves_the_recurrence_in_float32(cell: str) -> None:
    layer = OURS[cell](5, 7)
    x = torch.randn(4, 40, 5)
    outputs, _ = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, its_last = layer(x.bfloat16())
    assert cast.dtype == its_last[0].dtype == torch.float32
    torch.testing.assert_close(cast, outputs, rtol=0.0, atol=0.05)
    cast.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
