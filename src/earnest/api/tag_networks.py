"""The networks among the taggers: a BiLSTM-CRF, with word vectors where there are some, and a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from earnest.api import recipes
from earnest.api.networks import Fit, fit_network
from earnest.api.question import Bench, Rows
from earnest.api.reading import Reader
from earnest.api.tag_parts import (
    MOST_PIECES,
    MOST_WORDS,
    PREDICTION_BATCH,
    SCHEME,
    NetworkTagsPart,
    as_learned,
    batches,
    on_encoder,
    windows,
)
from earnest.api.tag_question import TagQuestion
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.vectors import Vectors
from earnest.core.words import InputSpec
from earnest.data.ragged import Ragged
from earnest.data.tag_schemes import LETTERS
from earnest.data.text_batches import TextBatches
from earnest.data.tokenizers import Tokenizer
from earnest.data.words import WordEncoder
from earnest.tasks.tagging import Tagging, allowed


def recurrent(bench: Bench, question: TagQuestion, vectors: Vectors | None) -> NetworkTagsPart:
    """A BiLSTM-CRF that learns everything from the sentences, or starts from word vectors.

    While it learns it knows the vectors of the data set's own words, and when it is shipped those of all words that
    there are. A vector moves only with a training sentence that has its word, so both answer alike.
    """
    train = question.words(question.split.train)
    recipe = recipes.for_tagging(bench.request, len(train), has_vectors=vectors is not None)
    recipe.write(bench.run.path / "recipe.toml")
    options: dict[str, Any] = {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}
    known: dict[str, int] = {}
    if vectors is not None:
        options["embedding_width"] = vectors.array.shape[1]
        known = {word: number for number, word in enumerate(vectors.words)}
    here = sorted({word.lower() for words in question.sentences for word in words} & known.keys())
    beside = _beside(bench, question) if recipe.beside else {}
    design = Design(recipe.model, options, learned_tags(question), vectors)
    vocabulary = WordEncoder.fit(train, more=here)
    seconds = recipes.tagging_seconds(bench.request)

    def build() -> Any:
        network: Any = design.network(vocabulary)
        if beside:
            network.learn_beside([len(values) for values in beside.values()])
        return network

    model = _trained(bench, question, recipe, vocabulary, design.tags, build, seconds, beside)
    if beside:
        model.learn_beside(())
    if vectors is not None:
        model, vocabulary = design.with_all_words(model, vocabulary)
    return NetworkTagsPart(model, design.tags, design.name, options, design.spec(vocabulary), vocabulary)


def fine_tuned(bench: Bench, question: TagQuestion, reader: Reader) -> NetworkTagsPart:
    """A pretrained encoder with a head on each word's first piece and a CRF, all of which learn."""
    recipe = recipes.for_tagging_by_encoder(bench.request, reader.architecture, len(question.split.train))
    recipe.write(bench.run.path / "recipe.toml")
    tags = learned_tags(question)
    spec = InputSpec("tokens", (MOST_PIECES,), (reader.tokenizer.vocab_size,))

    def build() -> nn.Module:
        encoder = models[reader.architecture].build(spec, 1, **reader.options)
        encoder.load_encoder(reader.network.state_dict())
        return _constrained(on_encoder(encoder, len(tags)), tags)

    seconds = recipes.tagging_seconds(bench.request)
    model = _trained(bench, question, recipe, reader.tokenizer, tags, build, seconds)
    return NetworkTagsPart(model, tags, reader.architecture, reader.options, spec, reader.tokenizer)


def _beside(bench: Bench, question: TagQuestion) -> dict[str, list[str]]:
    """The values that the training sentences have in each further column, which the network learns to tell too."""
    found = {
        name: sorted({value for row in question.split.train for value in column[row]})
        for name, column in question.beside.items()
    }
    if found:
        told = ", ".join(f"{name} ({len(values)} values)" for name, values in found.items())
        bench.screen.say(f"learned beside the tags, as it helps, and not needed afterwards: {told}")
    return found


def learned_tags(question: TagQuestion) -> tuple[str, ...]:
    """The tags that networks learn: O, and each type's for the first word of a span, one inside, the last, the only."""
    types = sorted({label[1:] for label in question.labels if label != "O"})
    return ("O", *(letter + kind for kind in types for letter in LETTERS[SCHEME]))


@dataclass(frozen=True)
class Design:
    """A recurrent tagger to be built for one vocabulary or another."""

    name: str
    options: dict[str, Any]
    tags: tuple[str, ...]
    vectors: Vectors | None

    def spec(self, vocabulary: WordEncoder) -> InputSpec:
        """What the builder is told."""
        return InputSpec("tokens", (MOST_WORDS,), vocabulary.cardinalities)

    def network(self, vocabulary: WordEncoder) -> nn.Module:
        """Untrained, with the vectors of the vocabulary's words that have one."""
        model = models[self.name].build(self.spec(vocabulary), len(self.tags), **self.options)
        if self.vectors is not None:
            ids = vocabulary.words.library.get_vocab()
            rows = [row for row, word in enumerate(self.vectors.words) if word in ids]
            places = torch.tensor([ids[self.vectors.words[row]] for row in rows], dtype=torch.long)
            model.set_embeddings(torch.from_numpy(self.vectors.array[rows]), places)
        return _constrained(model, self.tags)

    def with_all_words(self, model: nn.Module, vocabulary: WordEncoder) -> tuple[nn.Module, WordEncoder]:
        """The trained network with the vectors of the words that no sentence had, too."""
        assert self.vectors is not None
        ids = vocabulary.words.library.get_vocab()
        in_order = sorted((word for word, number in ids.items() if number > 1), key=ids.__getitem__)
        more = [word for word in self.vectors.words if word not in ids]
        wider = WordEncoder(Tokenizer.of_words([*in_order, *more], lowercase=True), vocabulary.characters)
        grown = self.network(wider)
        state = model.state_dict()
        words = grown.state_dict()["words.weight"]
        words[: len(state["words.weight"])] = state["words.weight"].to(words.device)
        grown.load_state_dict({**state, "words.weight": words})
        return grown.to(next(model.parameters()).device), wider


def _constrained(model: Any, tags: tuple[str, ...]) -> nn.Module:
    """The network, whose CRF gives well-formed tags only."""
    if model.crf is not None:
        model.crf.constrain(*allowed(tags, SCHEME))
    network: nn.Module = model
    return network


def _trained(
    bench: Bench,
    question: TagQuestion,
    recipe: Recipe,
    vocabulary: WordEncoder | Tokenizer,
    tags: tuple[str, ...],
    build: Any,
    seconds: float,
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Any:
    """The network after its training, which validation stops."""
    split = question.split
    learns = _source(question, split.train, vocabulary, tags, batch_size=recipe.batch_size, shuffle=True, beside=beside)
    stops = _source(question, split.validation, vocabulary, tags, batch_size=PREDICTION_BATCH, shuffle=False)
    fit = Fit(
        name=recipe.model,
        build=build,
        task=Tagging(tags, beside=recipe.beside),
        source=learns,
        validation=stops,
        recipe=recipe,
        seconds=seconds,
    )
    return fit_network(bench, fit).model


def _source(
    question: TagQuestion,
    rows: Rows,
    vocabulary: WordEncoder | Tokenizer,
    tags: tuple[str, ...],
    *,
    batch_size: int,
    shuffle: bool,
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> TextBatches:
    """The sentences, long ones cut, with their tags as the network learns them, and the columns `beside` them."""
    code = {tag: number for number, tag in enumerate(tags)}
    words, _ = windows(question.words(rows))
    its, _ = windows([as_learned(its) for its in question.tags(rows)])
    codes = Ragged.of([[code[tag] for tag in one] for one in its])
    columns = [codes.values.astype(np.int64)]
    for name, values in beside.items():
        of = {value: number for number, value in enumerate(values)}
        columns.append(np.array([of[value] for row in rows for value in question.beside[name][row]], np.int64))
    codes = Ragged(np.stack(columns, axis=1) if beside else columns[0], codes.offsets)
    return batches(vocabulary, words, codes, np.arange(len(words)), batch_size=batch_size, shuffle=shuffle)
