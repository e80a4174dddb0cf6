"""Recurrent layers: Elman, LSTM, GRU and minGRU, in one direction or both, stacked.

Every layer has two forms that give the same answers: `step`, one moment by the published equations, and `forward`, all
moments of a batch on PyTorch's fused kernels (for minGRU, on a scan).

Padding never reaches an answer. It stands at a row's end, so a layer that reads forwards has not met it yet; a layer
that reads backwards is given each row reversed within its own length.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.core.errors import OptionError
from earnest.nn.scan import at_least_float32, linear_recurrence

CellName = Literal["elman", "lstm", "gru", "mingru"]
State = tuple[Tensor, ...]
"""What a layer remembers: (B, H) hidden units and, for an LSTM, its (B, H) cells."""


class VariationalDropout(nn.Dropout):
    """Drops features (B, T, F), the same ones at every moment of a row (Gal & Ghahramani, arXiv:1512.05287)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[2]), self.p)


class Layer(nn.Module, ABC):
    """One layer that reads in one direction; its parameters have PyTorch's names, shapes and order of gates.

    Args:
        weight_dropout: share of the hidden-to-hidden weights that are dropped in training, the same ones at every
            moment (Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models", arXiv:1708.02182).
    """

    num_gates = 1
    num_states = 1

    def __init__(self, num_inputs: int, num_hidden: int, *, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.num_hidden = num_hidden
        self.weight_dropout = weight_dropout
        self.weight_ih = nn.Parameter(torch.empty(self.num_gates * num_hidden, num_inputs))
        self.weight_hh = nn.Parameter(torch.empty(self.num_gates * num_hidden, num_hidden))
        self.bias_ih = nn.Parameter(torch.zeros(self.num_gates * num_hidden))
        self.bias_hh = nn.Parameter(torch.zeros(self.num_gates * num_hidden))
        self.initialise()

    def initialise(self) -> None:
        """Every gate's matrices by themselves: Glorot's for the input, orthogonal for the past (arXiv:1312.6120)."""
        for gate in range(self.num_gates):
            rows = slice(gate * self.num_hidden, (gate + 1) * self.num_hidden)
            nn.init.xavier_uniform_(self.weight_ih.data[rows])
            nn.init.orthogonal_(self.weight_hh.data[rows])

    def zero_state(self, x: Tensor) -> State:
        """Remembers nothing, for inputs (B, T, F)."""
        return tuple(x.new_zeros(len(x), self.num_hidden) for _ in range(self.num_states))

    @abstractmethod
    def step(self, x: Tensor, state: State) -> State:
        """The state after one more input (B, F); its first part is the output."""

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T, F) to outputs (B, T, H) and the state after the last of them.

        Of autocast to bfloat16 on a CPU only an LSTM makes use, and only where there is a kernel for it.
        """
        low = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and self._has_low_kernel()
        with torch.autocast("cpu", enabled=False):
            x = x.bfloat16() if low else at_least_float32(x)
            state = self.zero_state(x) if state is None else tuple(part.to(x.dtype) for part in state)
            weight_hh = F.dropout(self.weight_hh, self.weight_dropout, self.training)
            weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
            if low:
                weights = [weight.bfloat16() for weight in weights]
            outputs, *last = self._fused(x, tuple(part[None] for part in state), weights)
        return outputs, tuple(part[0] for part in last)

    def _has_low_kernel(self) -> bool:
        """Whether PyTorch has one for bfloat16 on this CPU that is faster: its GRU's takes ten times as long."""
        return False

    @abstractmethod
    def _fused(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        """What PyTorch's kernel makes of it: outputs, then each part of the last state with a layer in front."""

    def _kernel_options(self) -> tuple[bool, int, float, bool, bool, bool]:
        """Biases, layers, dropout, whether gradients may be asked for, both directions, whether rows come first."""
        return True, 1, 0.0, torch.is_grad_enabled(), False, True


class Elman(Layer):
    """h_t = tanh(W x_t + b + U h_(t-1) + c): J. Elman, "Finding structure in time", Cognitive Science 14, 1990."""

    def step(self, x: Tensor, state: State) -> State:
        (h,) = state
        return (torch.tanh(F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)),)

    def _fused(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.rnn_tanh(x, state[0], weights, *self._kernel_options())


class LSTM(Layer):
    """Long short-term memory, with a gate that forgets.

    S. Hochreiter & J. Schmidhuber, "Long short-term memory", Neural Computation 9 (8), 1997; the forget gate: F. Gers,
    J. Schmidhuber & F. Cummins, "Learning to forget", Neural Computation 12 (10), 2000, whose bias starts at 1.
    """

    num_gates = 4
    num_states = 2

    def initialise(self) -> None:
        super().initialise()
        nn.init.ones_(self.bias_ih.data[self.num_hidden : 2 * self.num_hidden])

    def step(self, x: Tensor, state: State) -> State:
        h, c = state
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        let_in, forget, candidate, let_out = gates.chunk(4, dim=-1)
        c = forget.sigmoid() * c + let_in.sigmoid() * candidate.tanh()
        return let_out.sigmoid() * c.tanh(), c

    def _fused(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.lstm(x, state, weights, *self._kernel_options())

    def _has_low_kernel(self) -> bool:
        return _has_lstm_in_bfloat16()


@cache
def _has_lstm_in_bfloat16() -> bool:
    """Tries, as PyTorch's fails on some processors ("could not create a primitive descriptor"); draws nothing."""
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=()):
            own = nn.LSTM(8, 8, dtype=torch.bfloat16)
            own(torch.zeros(2, 2, 8, dtype=torch.bfloat16))[0].sum().backward()
    except RuntimeError:
        return False
    return True


class GRU(Layer):
    """The gated recurrent unit: K. Cho et al., arXiv:1406.1078, with the reset after the product, as in cuDNN."""

    num_gates = 3

    def step(self, x: Tensor, state: State) -> State:
        (h,) = state
        reset_x, keep_x, candidate_x = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        reset_h, keep_h, candidate_h = F.linear(h, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        keep = (keep_x + keep_h).sigmoid()
        candidate = torch.tanh(candidate_x + (reset_x + reset_h).sigmoid() * candidate_h)
        return (keep * h + (1 - keep) * candidate,)

    def _fused(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.gru(x, state[0], weights, *self._kernel_options())


class MinGRU(nn.Module):
    """h_t = (1 - z_t) h_(t-1) + z_t (W x_t + b), where z_t = sigmoid(V x_t + c): Feng et al., arXiv:2410.01201.

    Its gate does not look at its own past, so all gates come from one product and what is left is a scan. Gates start
    with memories of 1 to `LONGEST` moments, log-uniformly (after Tallec & Ollivier, arXiv:1804.11188).
    """

    LONGEST = 100.0

    def __init__(self, num_inputs: int, num_hidden: int) -> None:
        super().__init__()
        self.num_hidden = num_hidden
        self.gate = nn.Linear(num_inputs, num_hidden)
        self.candidate = nn.Linear(num_inputs, num_hidden)
        with torch.no_grad():
            self.gate.bias.uniform_(-math.log(self.LONGEST), 0)
            self.candidate.bias.zero_()

    def zero_state(self, x: Tensor) -> State:
        """Remembers nothing, for inputs (B, T, F)."""
        return (x.new_zeros(len(x), self.num_hidden),)

    def step(self, x: Tensor, state: State) -> State:
        """The state after one more input (B, F), which is the output."""
        (h,) = state
        z = self.gate(x).sigmoid()
        return ((1 - z) * h + z * self.candidate(x),)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T, F) to outputs (B, T, H) and the state after the last of them."""
        gate = at_least_float32(self.gate(x))
        outputs = linear_recurrence(
            torch.sigmoid(-gate), gate.sigmoid() * self.candidate(x), None if state is None else state[0]
        )
        return outputs, (outputs[:, -1],)


class Bidirectional(nn.Module):
    """Two layers side by side, one of which reads from the end.

    M. Schuster & K. Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing 45 (11),
    1997.
    """

    def __init__(self, ahead: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.ahead = ahead
        self.back = back

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) to (B, T, 2 H): what is known from the left, then what is known from the right."""
        ahead, _ = self.ahead(x)
        back, _ = self.back(reverse(x, lengths))
        return torch.cat([ahead, reverse(back, lengths)], dim=-1)


class Recurrent(nn.Module):
    """A stack of layers.

    Args:
        num_hidden: units a layer has in each direction.
        dropout: variational, between layers.
        residual: a layer's input is normalised (RMSNorm), and added to its output where the two are of one width: what
            lets many layers learn.

    Raises:
        OptionError: weight dropout is asked of minGRU, which has no hidden-to-hidden weights.
    """

    def __init__(
        self,
        cell: CellName,
        num_inputs: int,
        num_hidden: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        weight_dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.num_features = num_hidden * (2 if bidirectional else 1)
        self.bidirectional = bidirectional
        self.residual = residual
        widths = [num_inputs] + [self.num_features] * (num_layers - 1)
        self.layers = nn.ModuleList()
        for width in widths:
            directions = [_layer(cell, width, num_hidden, weight_dropout) for _ in range(2 if bidirectional else 1)]
            self.layers.append(Bidirectional(*directions) if bidirectional else directions[0])
        self.norms = nn.ModuleList(nn.RMSNorm(width) if residual else nn.Identity() for width in widths)
        self.dropout = VariationalDropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, F) with (B,) lengths to (B, T, num_features); what stands past a length means nothing."""
        for index, layer in enumerate(self.layers):
            its = self.norms[index](x if index == 0 else self.dropout(x))
            outputs = layer(its, lengths) if self.bidirectional else layer(its)[0]
            x = self._joined(x, outputs)
        return x

    def stream(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """(B, T, F), which goes on from `states`, to (B, T, num_features) and each layer's state: a text in pieces.

        For stacks in one direction only; there is no padding.
        """
        assert not self.bidirectional, "who reads backwards cannot begin before the end is there"
        after = []
        for index, layer in enumerate(self.layers):
            its = self.norms[index](x if index == 0 else self.dropout(x))
            outputs, state = layer(its, None if states is None else states[index])
            after.append(state)
            x = self._joined(x, outputs)
        return x, after

    def _joined(self, x: Tensor, outputs: Tensor) -> Tensor:
        return x + outputs if self.residual and x.shape == outputs.shape else outputs


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, F) with each row's first `lengths` moments in reverse and the padding where it was; its own inverse."""
    moments = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None] - 1 - moments
    return x.gather(1, torch.where(mirrored >= 0, mirrored, moments)[..., None].expand_as(x))


def _layer(cell: CellName, num_inputs: int, num_hidden: int, weight_dropout: float) -> nn.Module:
    if cell == "mingru":
        if weight_dropout:
            raise OptionError("weight_dropout drops hidden-to-hidden weights, and minGRU has none; use dropout for it.")
        return MinGRU(num_inputs, num_hidden)
    layers: dict[str, type[Layer]] = {"elman": Elman, "lstm": LSTM, "gru": GRU}
    return layers[cell](num_inputs, num_hidden, weight_dropout=weight_dropout)
