"""BERT: a Transformer encoder that reads a text in both directions at once, and its modern variant.

J. Devlin, M.-W. Chang, K. Lee & K. Toutanova, "BERT: pre-training of deep bidirectional transformers for language
understanding", arXiv:1810.04805; the small sizes: I. Turc et al., "Well-read students learn better", arXiv:1908.08962.
The modern variant has no biases, rotary positions, GeGLU and norms before each part: J. Portes et al., "MosaicBERT",
arXiv:2312.17482; B. Warner et al., "ModernBERT", arXiv:2412.13663.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from earnest.core.errors import RunError
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.models.bert_names import from_huggingface
from earnest.nn.attention import Rotary
from earnest.nn.dropout import Dropout
from earnest.nn.init import narrow_normal
from earnest.nn.inputs import text_shape
from earnest.nn.packing import Packing, mean_of_tokens
from earnest.nn.tied import TiedLinear
from earnest.nn.transformer import BlockOptions, EncoderBlock

PAPER = "Devlin, Chang, Lee & Toutanova, BERT: pre-training of deep bidirectional transformers, arXiv:1810.04805"
TURC = "Turc, Chang, Lee & Toutanova, Well-read students learn better, arXiv:1908.08962"
MODERN = (
    "Warner et al., Smarter, better, faster, longer (ModernBERT), arXiv:2412.13663; Portes et al., MosaicBERT, "
    "arXiv:2312.17482"
)
POSITIONS = 512
"""Places that the original architecture has embeddings for."""


class Embedding(nn.Module):
    """Tokens as vectors, normalised; the original adds one for the token's place and one for its segment.

    Every text here is one segment, the first.
    """

    def __init__(self, vocabulary: int, width: int, options: BlockOptions, *, modern: bool) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = None if modern else nn.Embedding(POSITIONS, width)
        self.segment = None if modern else nn.Embedding(2, width)
        self.norm = options.norm(width)
        self.dropout = Dropout(options.dropout)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Token ids and places, (N,) each, to (N, width)."""
        x = self.word(ids)
        if self.position is not None and self.segment is not None:
            x = x + self.position(positions) + self.segment.weight[0]
        return self.dropout(self.norm(x))


class Bert(nn.Module):
    """The encoder, pooled, and a head.

    Args:
        vocabulary: tokens that there are; id 0 is padding.
        width: features of a token, a multiple of `heads`.
        modern: the modern variant; see the module's docstring.
        pooling: what stands for a text: the "mean" of its tokens, or "cls", a layer with tanh on its first token, which
            the original trained on telling whether two sentences follow one another.
        dropout: share of embeddings, of what each part adds and of the pooled features that is dropped in training.
        attention_dropout: share of attention weights dropped, 0.1 in the original; more than 0 costs the fused kernel.
        unpad: whether padding is cut out of what works on tokens one by one; the answers are the same.
    """

    def __init__(
        self,
        vocabulary: int,
        num_outputs: int,
        *,
        width: int,
        depth: int,
        heads: int,
        modern: bool = False,
        pooling: Literal["mean", "cls"] = "mean",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        unpad: bool = True,
    ) -> None:
        super().__init__()
        options = BlockOptions(
            norm_first=modern,
            activation="geglu" if modern else "gelu",
            bias=not modern,
            eps=1e-5 if modern else 1e-12,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )
        hidden = -(-width * 8 // 3 // 64) * 64 if modern else 4 * width
        self.options = options
        self.unpad = unpad
        self.embedding = Embedding(vocabulary, width, options, modern=modern)
        self.rotary = Rotary(width // heads) if modern else None
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, hidden, options) for _ in range(depth))
        self.norm = options.norm(width) if modern else None
        if modern:
            self.blocks[0].attention_norm = nn.Identity()  # the embedding has just been normalised
        self.pooler = nn.Linear(width, width) if pooling == "cls" else None
        self.num_features = width
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)
        narrow_normal(self)

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T) ids and (B,) lengths to what the encoder makes of each token, (B, T, width); padding is zeros."""
        packing = Packing.of(inputs[1], inputs[0].shape[1], unpad=self.unpad)
        return packing.pad(self._encoded(inputs[0], packing, first=False))

    def features(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """What stands for each text, (B, width)."""
        if self.pooler is None:
            return mean_of_tokens(self.tokens(inputs), inputs[1])
        packing = Packing.of(inputs[1], inputs[0].shape[1], unpad=self.unpad)
        return self.pooler(self._encoded(inputs[0], packing, first=True)).tanh()

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        return self.head(self.dropout(self.features(inputs)))

    def _encoded(self, ids: Tensor, packing: Packing, *, first: bool) -> Tensor:
        """(N, width), or of each text's first token alone, (B, width), which spares the last block most of its work."""
        x = self.embedding(packing.pack(ids), packing.positions)
        rotation = self.rotary(packing.positions) if self.rotary is not None else None
        for number, block in enumerate(self.blocks, 1):
            assert isinstance(block, EncoderBlock)
            last = first and number == len(self.blocks)
            x = block.first(x, packing, rotation) if last else block(x, packing, rotation)
        return x if self.norm is None else self.norm(x)

    def load_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Take everything but the head from `state`, which may hold more than is asked for, and may lack a pooler.

        Raises:
            RunError: `state` lacks a tensor, or one has another shape, as with a vocabulary that is not the weights'.
        """
        own = self.state_dict()
        wanted = [name for name in own if not name.startswith("head.") and (name in state or "pooler." not in name)]
        for name in wanted:
            if name not in state:
                raise RunError(f"the weights lack {name}: they are not of this architecture.")
            theirs, ours = tuple(state[name].shape), tuple(own[name].shape)
            if name == "embedding.word.weight" and theirs[0] != ours[0] and theirs[1] == ours[1]:
                raise RunError(
                    f"the weights know {theirs[0]} tokens and the tokenizer {ours[0]}: take the tokenizer file that "
                    "belongs to the weights."
                )
            if theirs != ours:
                raise RunError(f"{name} is {theirs} in the weights and {ours} here: they are of another architecture.")
        self.load_state_dict({name: state[name] for name in wanted}, strict=False)


class MaskedLanguageModel(nn.Module):
    """An encoder that tells what token was where: BERT as it is pretrained. Its head and pooler are taken off."""

    def __init__(self, encoder: Bert) -> None:
        super().__init__()
        encoder.head, encoder.pooler = nn.Identity(), None  # type: ignore[assignment]
        width, options = encoder.num_features, encoder.options
        self.encoder = encoder
        self.transform = nn.Linear(width, width, bias=options.bias)
        self.norm = options.norm(width)
        self.output = TiedLinear(encoder.embedding.word, bias=True)
        narrow_normal(self.transform)

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """What the encoder makes of each token, (B, T, width)."""
        return self.encoder.tokens(inputs)

    def vocabulary(self, hidden: Tensor) -> Tensor:
        """Logits (..., vocabulary) of the token at places where the encoder gave `hidden` (..., width)."""
        logits: Tensor = self.output(self.norm(nn.functional.gelu(self.transform(hidden))))
        return logits

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Logits (B, T, vocabulary)."""
        return self.vocabulary(self.tokens(inputs))


def _preset(
    name: str, *, depth: int, width: int, heads: int, parameters: int, modern: bool = False, **about: Any
) -> None:
    """Register one size. Its parameters are counted with two outputs and without the pooler."""

    def build(
        spec: InputSpec,
        num_outputs: int,
        *,
        pooling: Literal["mean", "cls"] = "mean",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        unpad: bool = True,
    ) -> Bert:
        _, vocabulary = text_shape(spec, model=name, longest=None if modern else POSITIONS)
        return Bert(
            vocabulary,
            num_outputs,
            width=width,
            depth=depth,
            heads=heads,
            modern=modern,
            pooling=pooling,
            dropout=dropout,
            attention_dropout=attention_dropout,
            unpad=unpad,
        )

    known: dict[str, Any] = {
        "family": "bert-modern" if modern else "bert",
        "input": (POSITIONS,),
        "vocabulary": 30522,
        "num_outputs": 2,
        "parameters": parameters,
        "kinds": ("tokens",),
        "tiny": name.endswith("-tiny"),
    }
    if not modern:
        known["layouts"] = {"huggingface": from_huggingface}
        known["reproduced"] = "parameters equal those of transformers, and outputs to 1e-5"
    models.register(name, **(known | about))(build)


_preset(
    "bert-base",
    title="BERT-base, uncased",
    year=2018,
    paper=PAPER,
    depth=12,
    width=768,
    heads=12,
    parameters=108_893_186,
    reference="79.6 on the GLUE test, 93.5% on SST-2",
    weights="bert-base",
)
_preset(
    "bert-large",
    title="BERT-large, uncased",
    year=2018,
    paper=PAPER,
    depth=24,
    width=1024,
    heads=16,
    parameters=334_094_338,
    reference="82.1 on the GLUE test, 94.9% on SST-2",
)
_preset(
    "bert-medium",
    title="BERT-medium",
    year=2019,
    paper=TURC,
    depth=8,
    width=512,
    heads=8,
    parameters=41_111_554,
    reference="73.5 on the GLUE test, 89.6% on SST-2",
)
_preset(
    "bert-small",
    title="BERT-small",
    year=2019,
    paper=TURC,
    depth=4,
    width=512,
    heads=8,
    parameters=28_502_018,
    reference="71.2 on the GLUE test, 89.7% on SST-2",
)
_preset(
    "bert-mini",
    title="BERT-mini",
    year=2019,
    paper=TURC,
    depth=4,
    width=256,
    heads=4,
    parameters=11_105_282,
    reference="65.8 on the GLUE test, 85.9% on SST-2",
)
_preset(
    "bert-tiny",
    title="BERT-tiny",
    year=2019,
    paper=TURC,
    depth=2,
    width=128,
    heads=2,
    parameters=4_369_666,
    reference="64.2 on the GLUE test, 83.2% on SST-2",
)
_preset(
    "minilm-l6",
    title="MiniLM, 6 layers, trained on a billion pairs of sentences",
    year=2020,
    paper="Wang et al., MiniLM: deep self-attention distillation, arXiv:2002.10957; all-MiniLM-L6-v2, "
    "Sentence-Transformers, 2021",
    depth=6,
    width=384,
    heads=12,
    parameters=22_566_146,
    reference="88.0% on AG News from 1,000 examples (SetFit, arXiv:2209.11055)",
    weights="minilm-l6",
)
_preset(
    "bert-modern-base",
    title="BERT-base, modern",
    year=2024,
    paper=MODERN,
    depth=12,
    width=768,
    heads=12,
    modern=True,
    parameters=108_396_290,
    reference="none of this size; MosaicBERT-base, with more units, 79.6 on GLUE's development sets after 1.13 hours",
    reproduced="nothing yet",
)
_preset(
    "bert-modern-mini",
    title="BERT-mini, modern",
    year=2024,
    paper=MODERN,
    depth=4,
    width=256,
    heads=4,
    modern=True,
    parameters=11_027_714,
    reference="none of this size",
    reproduced="nothing yet",
)
_preset(
    "bert-modern-tiny",
    title="BERT-tiny, modern",
    year=2024,
    paper=MODERN,
    depth=2,
    width=128,
    heads=2,
    modern=True,
    parameters=4_333_698,
    reference="none; for tests and first tries",
    reproduced="",
)
