"""Transformers that read from left to right: language models, which say what comes next.

A. Radford et al., "Language models are unsupervised multitask learners" (GPT-2), OpenAI, 2019. The modern variant has
no biases, rotary positions and GeGLU: H. Touvron et al., "LLaMA", arXiv:2302.13971.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.nn.attention import KeysAndValues, Rotary
from earnest.nn.dropout import Dropout
from earnest.nn.init import narrow_normal
from earnest.nn.inputs import text_shape
from earnest.nn.packing import Packing, last_token
from earnest.nn.tied import TiedLinear
from earnest.nn.transformer import BlockOptions, EncoderBlock

GPT2 = "Radford et al., Language models are unsupervised multitask learners, OpenAI, 2019"
LLAMA = "Touvron et al., LLaMA, arXiv:2302.13971"
POSITIONS = 1024
"""Places that GPT-2 has embeddings for."""


class Transformer(nn.Module):
    """Causal blocks with norms before each part, and a head.

    With as many outputs as there are tokens it is a language model, and its head shares the embedding's weights.

    Args:
        vocabulary: tokens that there are; id 0 is padding.
        width: features of a token, a multiple of `heads`.
        max_length: tokens of the longest text, which generation keeps within.
        modern: no biases, rotary positions and GeGLU; otherwise GPT-2, which learns a vector for each place.
        dropout: share of embeddings and of what each part adds that is dropped in training.
    """

    def __init__(
        self,
        vocabulary: int,
        num_outputs: int,
        *,
        width: int,
        depth: int,
        heads: int,
        max_length: int,
        modern: bool = True,
        dropout: float = 0.1,
        unpad: bool = True,
    ) -> None:
        super().__init__()
        options = BlockOptions(
            norm_first=True,
            activation="geglu" if modern else "gelu-tanh",
            bias=not modern,
            causal=True,
            dropout=dropout,
        )
        hidden = -(-width * 8 // 3 // 64) * 64 if modern else 4 * width
        self.max_length = max_length
        self.unpad = unpad
        self.word = nn.Embedding(vocabulary, width)
        self.position = None if modern else nn.Embedding(POSITIONS, width)
        self.rotary = Rotary(width // heads) if modern else None
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, hidden, options) for _ in range(depth))
        self.norm = options.norm(width)
        self.num_features = width
        self.head = TiedLinear(self.word) if num_outputs == vocabulary else nn.Linear(width, num_outputs)
        self.initialise()

    def initialise(self) -> None:
        """Weights from N(0, 0.02^2); what is added to the residual stream 2 * depth times, narrower by that root."""
        narrow_normal(self)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
                with torch.no_grad():
                    parameter.div_((2 * len(self.blocks)) ** 0.5)

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T) ids and (B,) lengths to (B, T, width), each token's from itself and those before; padding is zeros."""
        ids, lengths = inputs
        packing = Packing.of(lengths, ids.shape[1], unpad=self.unpad)
        x = self._embed(packing.pack(ids), packing.positions)
        rotation = self.rotary(packing.positions) if self.rotary is not None else None
        for block in self.blocks:
            x = block(x, packing, rotation)
        return packing.pad(self.norm(x))

    def features(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """The last token's, (B, width), which has seen all of the text."""
        return last_token(self.tokens(inputs), inputs[1])

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, num_outputs): of a language model, the logits of the token that follows the text."""
        return self.head(self.features(inputs))

    def logits(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T, num_outputs): of a language model, the logits of the token that follows each."""
        return self.head(self.tokens(inputs))

    def stream(self, ids: Tensor, states: list[KeysAndValues] | None = None) -> tuple[Tensor, list[KeysAndValues]]:
        """As `tokens` for the ids (B, T) that follow those of `states`, in rows without padding; and the new states.

        Only what is new is computed, so that a text is generated in time linear in its length, attention apart.
        """
        before = states[0].keys.shape[2] if states is not None else 0
        lengths = torch.full((len(ids),), ids.shape[1], device=ids.device)
        packing = Packing.of(lengths, ids.shape[1])
        positions = packing.positions + before
        x = self._embed(ids.flatten(), positions)
        rotation = self.rotary(positions) if self.rotary is not None else None
        after = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, EncoderBlock)
            x, kept = block.extend(x, packing, rotation, states[index] if states is not None else None)
            after.append(kept)
        return self.norm(packing.pad(x)), after

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        x = self.word(ids)
        return self.dropout(x if self.position is None else x + self.position(positions))


PARTS = {
    "ln_1": "attention_norm",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "feed_forward_norm",
    "mlp.c_fc": "feed_forward.up",
    "mlp.c_proj": "feed_forward.down",
}
OUTER = {"wte": "word", "wpe": "position", "ln_f": "norm"}
"""Hugging Face's names of a layer's parts, and of the rest."""


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `Transformer` from that of transformers' GPT2Model or GPT2LMHeadModel.

    Its linear layers hold their weights transposed; its head is the embedding, and masks are no weights.
    """
    renamed = {}
    for name, tensor in state.items():
        stem, _, kind = name.removeprefix("transformer.").rpartition(".")
        if match := re.fullmatch(r"h\.(\d+)\.(.+)", stem):
            number, part = match.groups()
            if part in PARTS:
                transposed = kind == "weight" and not part.startswith("ln")
                renamed[f"blocks.{number}.{PARTS[part]}.{kind}"] = tensor.T.contiguous() if transposed else tensor
        elif stem in OUTER:
            renamed[f"{OUTER[stem]}.{kind}"] = tensor
    return renamed


def _preset(
    name: str, *, depth: int, width: int, heads: int, modern: bool = True, default_dropout: float = 0.1, **about: Any
) -> None:
    """Register one size. Its parameters are counted as a language model's, the tied weights once."""

    def build(
        spec: InputSpec, num_outputs: int, *, dropout: float = default_dropout, unpad: bool = True
    ) -> Transformer:
        most, vocabulary = text_shape(spec, model=name, longest=None if modern else POSITIONS)
        return Transformer(
            vocabulary,
            num_outputs,
            width=width,
            depth=depth,
            heads=heads,
            max_length=most,
            modern=modern,
            dropout=dropout,
            unpad=unpad,
        )

    known = {"family": "transformer", "input": (POSITIONS,), "kinds": ("tokens",), "tiny": name.endswith("-tiny")}
    known |= {"num_outputs": about["vocabulary"], "generates": True}
    models.register(name, **(known | about))(build)


_preset(
    "gpt2",
    title="GPT-2, small",
    year=2019,
    paper=GPT2,
    depth=12,
    width=768,
    heads=12,
    modern=False,
    vocabulary=50257,
    parameters=124_439_808,
    reference="perplexity 29.41 on WikiText-2, untrained on it",
    reproduced="parameters equal those of transformers, and outputs to 1e-5",
    layouts={"huggingface": from_huggingface},
)
_preset(
    "transformer-mini",
    title="Transformer decoder, mini",
    year=2023,
    paper=LLAMA,
    depth=4,
    width=256,
    heads=4,
    vocabulary=8192,
    parameters=5_310_720,
    reference="none of this size",
    reproduced="nothing yet",
)
_preset(
    "transformer-micro",
    title="Transformer decoder, for characters and minutes on a CPU",
    year=2023,
    paper=LLAMA,
    depth=4,
    width=128,
    heads=4,
    vocabulary=256,
    parameters=885_888,
    reference="none of this size",
    reproduced="nothing yet",
)
_preset(
    "transformer-tiny",
    title="Transformer decoder, tiny",
    year=2023,
    paper=LLAMA,
    depth=2,
    width=64,
    heads=2,
    default_dropout=0.0,
    vocabulary=256,
    parameters=123_200,
    reference="none; for tests and first tries",
    reproduced="",
)
