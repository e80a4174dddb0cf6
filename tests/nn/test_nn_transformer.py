"""Attention and its blocks against torch's own, in float64; and padding, which may change nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earnest.nn.attention import SHORT, Rotary, SelfAttention, attend
from earnest.nn.packing import Packing, last_token, mean_of_tokens
from earnest.nn.transformer import BlockOptions, DecoderBlock, EncoderBlock

WIDTH, HEADS, HIDDEN = 24, 4, 40


def ragged(rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Tokens (rows, width, WIDTH) with garbage for padding, and their lengths; the first row is full."""
    lengths = torch.cat([torch.tensor([width]), torch.randint(1, width + 1, (rows - 1,))])
    return torch.randn(rows, width, WIDTH, dtype=torch.float64), lengths


def real(lengths: Tensor, width: int) -> Tensor:
    return torch.arange(width) < lengths[:, None]


def attention_state(theirs: nn.MultiheadAttention, name: str) -> dict[str, Tensor]:
    return {
        f"{name}.qkv.weight": theirs.in_proj_weight,
        f"{name}.qkv.bias": theirs.in_proj_bias,
        f"{name}.out.weight": theirs.out_proj.weight,
        f"{name}.out.bias": theirs.out_proj.bias,
    }


def cross_state(theirs: nn.MultiheadAttention) -> dict[str, Tensor]:
    query, key_value = theirs.in_proj_weight.split([WIDTH, 2 * WIDTH])
    query_bias, key_value_bias = theirs.in_proj_bias.split([WIDTH, 2 * WIDTH])
    return {
        "cross_attention.query.weight": query,
        "cross_attention.query.bias": query_bias,
        "cross_attention.key_value.weight": key_value,
        "cross_attention.key_value.bias": key_value_bias,
        "cross_attention.out.weight": theirs.out_proj.weight,
        "cross_attention.out.bias": theirs.out_proj.bias,
    }


def module_state(theirs: nn.Module, ours: str) -> dict[str, Tensor]:
    return {f"{ours}.{name}": tensor for name, tensor in theirs.state_dict().items()}


def their_options(norm_first: bool, activation: str) -> dict[str, object]:
    options = {"dim_feedforward": HIDDEN, "dropout": 0.0, "batch_first": True, "dtype": torch.float64}
    return options | {"activation": activation, "norm_first": norm_first}


def randomise(module: nn.Module) -> None:
    """Biases and norms that do something."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("longer", [0, 1])
@pytest.mark.parametrize("looks", ["everywhere", "at real tokens", "back"])
def test_attention_of_short_and_of_long_rows_is_torchs(dtype: torch.dtype, longer: int, looks: str) -> None:
    width = SHORT[dtype] + longer
    query, key, value = (torch.randn(2, 3, width, 8).to(dtype).requires_grad_() for _ in range(3))
    mask = real(torch.tensor([width, width // 3]), width)[:, None, None] if looks == "at real tokens" else None
    found = attend(query, key, value, mask, causal=looks == "back")
    precise = [x.detach().double().requires_grad_() for x in (query, key, value)]
    expected = F.scaled_dot_product_attention(*precise, attn_mask=mask, is_causal=looks == "back")
    slope = torch.randn_like(expected)
    found.backward(slope.to(dtype))
    expected.backward(slope)
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(found.double(), expected, **close)
    for ours, theirs in zip((query, key, value), precise, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, **close)


def test_a_share_of_the_attention_weights_is_dropped() -> None:
    query = key = torch.zeros(1, 1, 40, 4)
    found = attend(query, key, torch.ones(1, 1, 40, 4), None, dropout=0.5)
    assert found.std() > 0.01
    assert abs(float(found.mean()) - 1) < 0.2


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("unpad", [False, True])
def test_the_encoder_block_is_torchs(norm_first: bool, activation: str, unpad: bool) -> None:
    theirs = nn.TransformerEncoderLayer(WIDTH, HEADS, **their_options(norm_first, activation))
    randomise(theirs)
    ours = EncoderBlock(WIDTH, HEADS, HIDDEN, BlockOptions(norm_first=norm_first, activation=activation)).double()
    state = attention_state(theirs.self_attn, "attention")
    state |= module_state(theirs.norm1, "attention_norm") | module_state(theirs.norm2, "feed_forward_norm")
    state |= module_state(theirs.linear1, "feed_forward.up") | module_state(theirs.linear2, "feed_forward.down")
    ours.load_state_dict(state)
    x, lengths = ragged(5, 9)
    packing = Packing.of(lengths, 9, unpad=unpad)
    found = packing.pad(ours(packing.pack(x), packing))
    expected = theirs.train()(x, src_key_padding_mask=~real(lengths, 9))
    torch.testing.assert_close(found[real(lengths, 9)], expected[real(lengths, 9)], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("unpad", [False, True])
def test_the_decoder_block_is_torchs(norm_first: bool, unpad: bool) -> None:
    theirs = nn.TransformerDecoderLayer(WIDTH, HEADS, **their_options(norm_first, "gelu"))
    randomise(theirs)
    options = BlockOptions(norm_first=norm_first, causal=True)
    ours = DecoderBlock(WIDTH, HEADS, HIDDEN, options).double()
    state = attention_state(theirs.self_attn, "attention") | cross_state(theirs.multihead_attn)
    state |= module_state(theirs.norm1, "attention_norm") | module_state(theirs.norm2, "cross_attention_norm")
    state |= module_state(theirs.norm3, "feed_forward_norm")
    state |= module_state(theirs.linear1, "feed_forward.up") | module_state(theirs.linear2, "feed_forward.down")
    ours.load_state_dict(state)
    (x, lengths), (memory, memory_lengths) = ragged(5, 9), ragged(5, 13)
    packing, memory_packing = Packing.of(lengths, 9, unpad=unpad), Packing.of(memory_lengths, 13, unpad=unpad)
    found = packing.pad(ours(packing.pack(x), packing, memory_packing.pack(memory), memory_packing))
    expected = theirs.train()(
        x,
        memory,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64),
        tgt_key_padding_mask=torch.zeros(5, 9, dtype=torch.float64).masked_fill(~real(lengths, 9), -torch.inf),
        memory_key_padding_mask=~real(memory_lengths, 13),
    )
    torch.testing.assert_close(found[real(lengths, 9)], expected[real(lengths, 9)], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_do_not_depend_on_unpadding(causal: bool) -> None:
    block = EncoderBlock(WIDTH, HEADS, HIDDEN, BlockOptions(activation="geglu", causal=causal, bias=False)).double()
    x, lengths = ragged(4, 7)
    direction = torch.randn(4, 7, WIDTH, dtype=torch.float64) * real(lengths, 7)[..., None]
    gradients = []
    for unpad in (False, True):
        packing = Packing.of(lengths, 7, unpad=unpad)
        x.grad = None
        x.requires_grad_()
        block.zero_grad()
        (packing.pad(block(packing.pack(x), packing)) * direction).sum().backward()
        gradients.append([x.grad, *(parameter.grad for parameter in block.parameters())])
    for padded, unpadded in zip(*gradients, strict=True):
        torch.testing.assert_close(padded, unpadded, rtol=1e-10, atol=1e-10)


def test_without_bias_there_is_none() -> None:
    block = EncoderBlock(WIDTH, HEADS, HIDDEN, BlockOptions(bias=False))
    assert not [name for name, _ in block.named_parameters() if "bias" in name]


def test_a_causal_block_sees_nothing_of_the_future() -> None:
    block = EncoderBlock(WIDTH, HEADS, HIDDEN, BlockOptions(norm_first=True, causal=True)).double()
    x, _ = ragged(3, 8)
    packing = Packing.of(torch.full((3,), 8), 8)
    before = packing.pad(block(packing.pack(x), packing))
    x[:, 5:] = torch.randn(3, 3, WIDTH, dtype=torch.float64)
    after = packing.pad(block(packing.pack(x), packing))
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(after[:, 5:], before[:, 5:])


def test_token_by_token_is_the_same_as_at_once() -> None:
    block = EncoderBlock(WIDTH, HEADS, HIDDEN, BlockOptions(norm_first=True, causal=True)).double()
    x, _ = ragged(2, 6)
    rotary = Rotary(WIDTH // HEADS).double()
    whole = Packing.of(torch.full((2,), 6), 6)
    expected = whole.pad(block(whole.pack(x), whole, rotary(whole.positions)))
    past, found = None, []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        part = Packing.of(torch.full((2,), end - start), end - start)
        out, past = block.extend(part.pack(x[:, start:end]), part, rotary(part.positions + start), past)
        found.append(part.pad(out))
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-10, atol=1e-10)


def test_rotary_attention_depends_on_distance_alone() -> None:
    rotary = Rotary(8).double()
    query, key = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    scores = [
        (rotary(torch.tensor([place]))(query) * rotary(torch.tensor([place + 5]))(key)).sum() for place in (0, 3, 200)
    ]
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(3), rtol=1e-6, atol=1e-8)
    other = (rotary(torch.tensor([0]))(query) * rotary(torch.tensor([6]))(key)).sum()
    assert abs(other - scores[0]) > 1e-6


def test_rotary_turns_planes_by_their_frequencies() -> None:
    """Against complex multiplication, RoFormer's equation 13."""
    x = torch.randn(6, 3, 8, dtype=torch.float64)
    positions = torch.randint(100, (6,))
    frequencies = 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 4)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.exp(1j * positions[:, None, None] * frequencies)
    found = Rotary(8).double()(positions)(x)
    torch.testing.assert_close(found, torch.cat([turned.real, turned.imag], -1), rtol=1e-5, atol=1e-5)


def test_packing_goes_there_and_back() -> None:
    x, lengths = ragged(5, 9)
    packing = Packing.of(lengths, 9)
    assert len(packing.pack(x)) == int(lengths.sum())
    assert torch.equal(packing.pad(packing.pack(x)), torch.where(real(lengths, 9)[..., None], x, 0))
    assert torch.equal(packing.positions, torch.cat([torch.arange(length) for length in lengths.tolist()]))


def test_pools_look_at_real_tokens_only() -> None:
    x, lengths = ragged(5, 9)
    rows = [row[:length] for row, length in zip(x, lengths.tolist(), strict=True)]
    x[~real(lengths, 9)] = torch.nan
    torch.testing.assert_close(mean_of_tokens(x, lengths), torch.stack([row.mean(0) for row in rows]))
    assert torch.equal(last_token(x, lengths), torch.stack([row[-1] for row in rows]))


def test_dropout_of_attention_is_off_in_evaluation() -> None:
    attention = SelfAttention(WIDTH, HEADS, dropout=0.9).double()
    x, lengths = ragged(3, 8)
    packing = Packing.of(lengths, 8)
    attention.eval()
    assert torch.equal(attention(packing.pack(x), packing), attention(packing.pack(x), packing))
    attention.train()
    assert not torch.equal(attention(packing.pack(x), packing), attention(packing.pack(x), packing))
