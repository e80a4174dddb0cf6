"""The fitted taggers that are shipped: counted tags, a linear model, a network, each as facts and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.api.parts import spec_of
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data import tag_schemes
from earnest.data.ragged import Ragged
from earnest.data.text_batches import TextBatches
from earnest.data.tokenizers import Tokenizer
from earnest.data.words import WordEncoder
from earnest.evaluation.tag_baselines import CommonestTags, LinearTags
from earnest.models.tagger import EncoderTagger
from earnest.tasks.tagging import Tagging

Sentences = Sequence[Sequence[str]]

MOST_WORDS = 128
"""Of a sentence that a network sees at a time; a longer one is cut there."""
MOST_PIECES = 256
"""Of these words, for an encoder of pieces; a word beyond them is answered by what the sentence begins with."""
PREDICTION_BATCH = 32
SCHEME = "BIOES"
"""What networks learn: telling a span's end from its inside helps them. Answers are IOB2."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one sentence."""

    tags: list[str]
    """IOB2."""
    confidence: NDArray[np.float64]
    """(words,)"""


class TagPart(Protocol):
    """A fitted tagger that can be written as facts and tensors."""

    kind: ClassVar[str]

    def answer(self, sentences: Sentences) -> list[Answer]:
        """Tags for every word; sentences of no word have none."""

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Facts for model.json and tensors for model.safetensors."""


@dataclass(frozen=True)
class CommonestPart:
    """Each word's commonest tag."""

    counted: CommonestTags
    tags: tuple[str, ...]
    kind: ClassVar[str] = "commonest tags"

    def answer(self, sentences: Sentences) -> list[Answer]:
        return _in_words(self.counted.predict(sentences), self.tags)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {"tags": self.tags, "vocabulary": {"words": self.counted.words}}
        tensors = {"tags": torch.from_numpy(self.counted.tags), "shares": torch.from_numpy(self.counted.shares)}
        return facts, tensors

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> CommonestPart:
        words = tuple(facts["vocabulary"]["words"])
        counted = CommonestTags(words, tensors["tags"].numpy(), tensors["shares"].numpy())
        return cls(counted, tuple(facts["tags"]))


@dataclass(frozen=True)
class LinearTagsPart:
    """A linear model on hashed features."""

    linear: LinearTags
    tags: tuple[str, ...]
    kind: ClassVar[str] = "linear tags"

    def answer(self, sentences: Sentences) -> list[Answer]:
        return _in_words(self.linear.predict(sentences), self.tags)

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"tags": self.tags, "vocabulary": None}, {"weights": torch.from_numpy(self.linear.weights)}

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> LinearTagsPart:
        return cls(LinearTags(tensors["weights"].numpy()), tuple(facts["tags"]))


@dataclass(frozen=True)
class NetworkTagsPart:
    """A network of words, or one with a head on an encoder of their pieces, where `vocabulary` is a tokenizer."""

    model: nn.Module
    tags: tuple[str, ...]
    """As the network learned them."""
    name: str
    options: dict[str, Any]
    spec: InputSpec
    vocabulary: WordEncoder | Tokenizer
    kind: ClassVar[str] = "tagger"

    def answer(self, sentences: Sentences) -> list[Answer]:
        pieces, owners = windows(sentences)
        answers = [Answer([], np.zeros(0)) for _ in sentences]
        if not pieces:
            return answers
        source = batches(self.vocabulary, pieces, None, np.arange(len(pieces)), batch_size=PREDICTION_BATCH)
        task = Tagging(self.tags)
        self.model.eval()
        found = task.predict(self.model, source, Step())
        for owner, names, sure in zip(owners, task.names(found.tags), found.confidence, strict=True):
            before = answers[owner]
            answers[owner] = Answer([*before.tags, *names], np.concatenate([before.confidence, sure]))
        return [replace(one, tags=as_iob2(one.tags)) for one in answers]

    def pack(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        facts = {
            "model": self.name,
            "options": self.options,
            "spec": asdict(self.spec),
            "tags": self.tags,
            "in_pieces": isinstance(self.vocabulary, Tokenizer),
            "vocabulary": self.vocabulary.to_state(),
        }
        return facts, dict(self.model.state_dict())

    @classmethod
    def unpack(cls, facts: dict[str, Any], tensors: dict[str, Tensor]) -> NetworkTagsPart:
        spec, tags = spec_of(facts["spec"]), tuple(facts["tags"])
        vocabulary: WordEncoder | Tokenizer
        if facts["in_pieces"]:
            vocabulary = Tokenizer.from_state(facts["vocabulary"])
            model: nn.Module = on_encoder(models[facts["model"]].build(spec, 1, **facts["options"]), len(tags))
        else:
            vocabulary = WordEncoder.from_state(facts["vocabulary"])
            model = models[facts["model"]].build(spec, len(tags), **facts["options"])
        model.load_state_dict(tensors)
        return cls(model, tags, facts["model"], facts["options"], spec, vocabulary)


TAG_PARTS: dict[str, Any] = {part.kind: part for part in (CommonestPart, LinearTagsPart, NetworkTagsPart)}


def on_encoder(encoder: Any, num_tags: int) -> EncoderTagger:
    """A head and a CRF for tags on an encoder, whose own head goes."""
    encoder.head = nn.Identity()
    return EncoderTagger(encoder, num_tags, crf=True)


def windows(sentences: Sentences) -> tuple[list[Sequence[str]], list[int]]:
    """Sentences cut to what a network sees at a time, and the number of the sentence that each piece belongs to."""
    pieces: list[Sequence[str]] = []
    owners: list[int] = []
    for number, words in enumerate(sentences):
        for start in range(0, len(words), MOST_WORDS):
            pieces.append(words[start : start + MOST_WORDS])
            owners.append(number)
    return pieces, owners


def batches(
    vocabulary: WordEncoder | Tokenizer,
    sentences: Sentences,
    tags: Ragged | None,
    rows: NDArray[np.int64],
    *,
    batch_size: int,
    shuffle: bool = False,
) -> TextBatches:
    """Sentences of one word at least, as a network takes them."""
    if isinstance(vocabulary, WordEncoder):
        words = vocabulary.encode(sentences)
        beside = (words.characters, words.shapes)
        return TextBatches(words.ids, tags, rows, batch_size=batch_size, beside=beside, shuffle=shuffle)
    encoded = vocabulary.encode_words(sentences, max_length=MOST_PIECES)
    assert encoded.starts is not None
    first = Ragged(np.maximum(encoded.starts.values, 0), encoded.starts.offsets)
    places = (first, first.lengths)
    return TextBatches(encoded.ids, tags, rows, batch_size=batch_size, beside=places, shuffle=shuffle)


def as_iob2(tags: Sequence[str]) -> list[str]:
    """Tags of any scheme, well-formed or not, as IOB2 of the same spans."""
    return tag_schemes.write(tag_schemes.spans(tags), len(tags))


def as_learned(tags: Sequence[str]) -> list[str]:
    """IOB2 tags as networks learn them."""
    return tag_schemes.write(tag_schemes.spans(tags), len(tags), SCHEME)


def _in_words(found: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]], tags: Sequence[str]) -> list[Answer]:
    return [Answer(as_iob2([tags[code] for code in codes]), sure) for codes, sure in found]
