"""Texts as networks read them: their tokens, and what a pretrained network makes of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earnest.api import recipes
from earnest.api.encoder_folder import PretrainedEncoder
from earnest.api.frozen import Frozen
from earnest.api.model_folder import Shipped
from earnest.api.parts import Inputs, NetworkPart
from earnest.api.question import Bench, Question, Rows, Unlabelled
from earnest.api.request import Request
from earnest.core import vectors as known_vectors
from earnest.core import weights as known_weights
from earnest.core.progress import Screen
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.seeds import derive
from earnest.core.weights import Weights
from earnest.core.words import InputSpec, Step
from earnest.data.cache import cache_folder, load_array, store_array
from earnest.data.corrupt import EditTokens, edited
from earnest.data.dataset import Dataset
from earnest.data.ragged import Ragged
from earnest.data.text import joined
from earnest.data.text_batches import TextBatches
from earnest.data.tokenizers import Encoded, Tokenizer
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training import processes
from earnest.training.linear_head import LinearHead

MAX_LENGTH = 256
"""Tokens of a text that a network reads, unless its weights know fewer places: attention to twice as many costs more
than it tells."""
LOOK_BATCH = 32
FEW_LOOKS = 64
"""Texts from which a network's pace is told."""
LOOK_SHARE = 1 / 3
"""Of the time that is left, what the looks may take; where they would take more, less is read of each text."""
MOST_LEARNED_FROM = 5000
"""Training texts that a linear model on an encoder's features learns from: more cost more than they gain, where the
encoder itself goes on to learn from all of them."""


@dataclass(frozen=True)
class Texts:
    """The text columns of a data set, joined, as tokens, row for row."""

    columns: tuple[str, ...]
    raw: tuple[str, ...]
    tokenizer: Tokenizer
    tokens: Encoded
    max_length: int

    @classmethod
    def of(cls, dataset: Dataset, tokenizer: Tokenizer, *, max_length: int = MAX_LENGTH) -> Texts:
        """The texts of all rows, cut to `max_length` tokens."""
        columns = tuple(column.name for column in dataset.inputs("text"))
        raw = joined(dataset.frame, columns)
        return cls(columns, tuple(raw), tokenizer, tokenizer.encode(raw, max_length=max_length), max_length)

    @property
    def spec(self) -> InputSpec:
        """What a model is told."""
        return InputSpec("tokens", (self.max_length,), (self.tokenizer.vocab_size,))

    @property
    def cut(self) -> str:
        """What was left unread, in words; empty where nothing was."""
        if not self.tokens.truncated:
            return ""
        share = self.tokens.lost / (self.tokens.lost + len(self.tokens.ids.values))
        return (
            f"{self.tokens.truncated:,} of {len(self.raw):,} texts are longer than {self.max_length} tokens: their "
            f"middle, {share:.0%} of all tokens, is not read"
        )

    def inputs(self, rows: Rows) -> Inputs:
        """Some of the rows, as parts take them."""
        return Inputs(texts=[self.raw[row] for row in rows])

    def shipped(self, part: NetworkPart) -> Shipped:
        """The part as something to ship."""
        return Shipped((part,), texts=self.columns)

    def batches(self, question: Question, rows: Rows, recipe: Recipe, *, learning: bool = False) -> TextBatches:
        """The rows as a source."""
        size = recipe.batch_size if learning else LOOK_BATCH
        return TextBatches(self.tokens.ids, question.truth, rows, batch_size=size, shuffle=learning)


@dataclass(frozen=True)
class Reader:
    """A pretrained network for texts."""

    architecture: str
    network: nn.Module
    """With a head that is not used."""
    options: dict[str, Any]
    """Of its builder."""
    tokenizer: Tokenizer
    max_length: int
    learns: bool
    """Whether it can learn on, and not its head alone."""

    def with_head(self, head: LinearHead, spec: InputSpec) -> nn.Module:
        """A copy whose head is the linear model."""
        network: nn.Module = models[self.architecture].build(spec, len(head.bias), **self.options)
        state = {name: tensor for name, tensor in self.network.state_dict().items() if not name.startswith("head.")}
        network.load_state_dict(state, strict=False)
        assert isinstance(network.head, nn.Linear)
        head.install(network.head)
        return network


def word_vectors(request: Request, screen: Screen) -> Reader | None:
    """The average of pretrained word vectors, where some are on this machine."""
    here = known_vectors.available()
    if not here:
        return None
    known = here[0]
    vectors = known_vectors.load(known.name, offline=request.offline, announce=screen.say)
    tokenizer = Tokenizer.of_words(vectors.words, lowercase=known.lowercase)
    options = {"embedding_width": vectors.array.shape[1]}
    spec = InputSpec("tokens", (MAX_LENGTH,), (tokenizer.vocab_size,))
    network = models["word-average"].build(spec, 1, **options)
    ids = torch.arange(tokenizer.vocab_size - len(vectors.words), tokenizer.vocab_size)
    network.set_embeddings(torch.from_numpy(vectors.array), ids)
    return Reader("word-average", network, options, tokenizer, 10 * MAX_LENGTH, learns=False)


def suited(request: Request) -> Weights | None:
    """The encoder's weights to start from: those the user named, or the first on this machine."""
    if request.model is not None:
        return known_weights.of(request.model, "tokens")
    here = known_weights.available("tokens")
    return here[0] if here else None


def encoder(weights: Weights, request: Request, screen: Screen) -> Reader:
    """The network with its weights and its tokenizer, both verified.

    Raises:
        OptionError: a file is not here and may not be fetched; the message says how to get it.
        DataError: the vocabulary does not fit the weights.
    """
    state = known_weights.load_state_dict(weights.name, offline=request.offline, announce=screen.say)
    file = known_weights.tokenizer_path(weights.name, offline=request.offline, announce=screen.say)
    tokenizer = Tokenizer.load(file)
    entry = models[weights.architecture]
    renamed = entry.about["layouts"][weights.layout](state)
    tokenizer.check_fits(len(renamed["embedding.word.weight"]), vocabulary=file, weights=weights.name)
    renamed["embedding.word.weight"] = renamed["embedding.word.weight"][: tokenizer.vocab_size]  # without spare rows
    network = entry.build(InputSpec("tokens", (MAX_LENGTH,), (tokenizer.vocab_size,)), 1)
    network.load_encoder(renamed)
    return Reader(weights.architecture, network, {}, tokenizer, MAX_LENGTH, learns=True)


def pretrained_here(run: Path) -> Reader:
    """The encoder that a run shipped.

    Raises:
        RunError: there is none, or its files are damaged.
    """
    found = PretrainedEncoder.of_run(run)
    return Reader(found.name, found.network, found.options, found.tokenizer, found.spec.shape[0], learns=True)


class FrozenTexts(Frozen):
    """A pretrained network and what it makes of the texts."""

    forward_cost, backward_cost = 1.2, 2.2

    def __init__(self, bench: Bench, question: Question, reader: Reader) -> None:
        super().__init__()
        self.bench = bench
        self.reader = reader
        self.architecture = reader.architecture
        self.recipe = Recipe(model=self.architecture)
        started = time.monotonic()
        self.rows = self._looked_at(question)
        self.texts = self._in_time(question)
        ids = self.texts.tokens.ids.take(self.rows)
        with bench.screen.bar(f"features of {self.architecture}", len(ids)) as bar:
            seen = features(reader.network, ids, device=bench.device, progress=lambda done, total: bar(done))
        self.features = np.full((len(self.texts.raw), seen.shape[1]), np.nan, np.float32)
        self.features[self.rows] = seen
        self.seconds = time.monotonic() - started

    def known(self, rows: Rows) -> Rows:
        return np.intersect1d(rows, self.rows)

    def model(self, name: str) -> nn.Module:
        return self.reader.with_head(self.heads[name], self.texts.spec)

    def part(self, model: nn.Module, task: Classification | Regression) -> NetworkPart:
        reader = self.reader
        spec, tokenizer = self.texts.spec, reader.tokenizer
        return NetworkPart(model, task, self.architecture, reader.options, spec, tokenizer=tokenizer)

    def shipped(self, part: NetworkPart) -> Shipped:
        return self.texts.shipped(part)

    def inputs(self, rows: Rows) -> Inputs:
        return self.texts.inputs(rows)

    def batches(self, question: Question, rows: Rows, recipe: Recipe, *, learning: bool = False) -> TextBatches:
        return self.texts.batches(question, rows, recipe, learning=learning)

    def altered(self, rows: Rows) -> NDArray[np.float32]:
        return self._of_copies(self.texts.tokens.ids.take(rows))

    def of_unlabelled(self, unlabelled: Unlabelled, rows: Rows) -> NDArray[np.float32]:
        dataset = unlabelled.dataset.take(rows)
        ids = Texts.of(dataset, self.reader.tokenizer, max_length=self.texts.max_length).tokens.ids
        with self.bench.screen.bar(f"features of {self.architecture}, without an answer", len(ids)) as bar:
            seen = features(self.reader.network, ids, device=self.bench.device, progress=lambda done, total: bar(done))
        return np.stack([seen, self._of_copies(ids)], axis=1)

    def _of_copies(self, ids: Ragged) -> NDArray[np.float32]:
        """Features of texts of which tokens were deleted, masked and swapped."""
        tokenizer = self.reader.tokenizer
        mask = tokenizer.unknown_id if tokenizer.mask_id is None else tokenizer.mask_id
        copies = edited(ids, EditTokens(mask, tokenizer.special_ids), seed=self.bench.seed)
        return features(self.reader.network, copies, device=self.bench.device)

    def recipes(self, question: Question) -> list[Recipe]:
        return recipes.for_fine_tuning_texts(self.bench.request, self.architecture, len(question.split.train))

    def seconds_a_look(self) -> float:
        return self._pace(self.texts.tokens.ids)

    def _looked_at(self, question: Question) -> Rows:
        """The rows whose features are wanted: all that are scored or tested, and of the others as many as pay."""
        split, train = question.split, question.split.train
        if self.reader.learns and not question.folds and len(train) > MOST_LEARNED_FROM:
            generator = np.random.default_rng(derive(self.bench.seed, "texts to look at"))
            train = generator.choice(train, MOST_LEARNED_FROM, replace=False)
        return np.sort(np.concatenate([train, split.validation, split.test]))

    def _in_time(self, question: Question) -> Texts:
        """As much of a text as the network reads, or a half, or a quarter of it; decided once, kept in run.json."""
        reader, bench = self.reader, self.bench
        decided = processes.of_first(bench.run.facts().get("max_length", {}))
        if reader.architecture in decided:
            return Texts.of(question.dataset, reader.tokenizer, max_length=decided[reader.architecture])
        seconds = min(recipes.fine_tuning_seconds(bench.request), bench.clock.left() - recipes.reserve(bench.request))
        length = reader.max_length
        texts = Texts.of(question.dataset, reader.tokenizer, max_length=length)
        while length > reader.max_length // 4:
            late = self._pace(texts.tokens.ids) * len(self.rows) > LOOK_SHARE * seconds
            if not processes.of_first(late):
                break
            length //= 2
            texts = Texts.of(question.dataset, reader.tokenizer, max_length=length)
        bench.run.update(max_length={**decided, reader.architecture: length})
        return texts

    def _pace(self, ids: Ragged) -> float:
        """Seconds that a text takes, by a few that are like all of them."""
        some = ids.take(np.argsort(ids.lengths)[np.linspace(0, len(ids) - 1, FEW_LOOKS).astype(np.int64)])
        started = time.monotonic()
        features(self.reader.network, some, device=self.bench.device, cache=False)
        return (time.monotonic() - started) / len(some)


@torch.inference_mode()
def features(
    network: nn.Module,
    ids: Ragged,
    *,
    device: str,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """The network's features (N, F) of texts, which are kept in the cache under a digest of both."""
    path = cache_folder() / f"{_key(network, ids)}.npy" if cache else None
    if path is not None and (found := load_array(path, memory_limit=1 << 30)) is not None:
        return np.asarray(found[0])
    network = network.to(device).eval()
    seen: NDArray[np.float32] | None = None
    done = 0
    for batch in TextBatches(ids, None, np.arange(len(ids)), batch_size=LOOK_BATCH).batches(Step()):
        assert batch.rows is not None
        answers = network.features(batch.to(device).inputs).float().cpu().numpy()  # type: ignore[operator]
        if seen is None:
            seen = np.empty((len(ids), answers.shape[1]), np.float32)
        seen[batch.rows.numpy()] = answers
        done += len(batch)
        if progress is not None:
            progress(done, len(ids))
    assert seen is not None
    if path is not None:
        with suppress(OSError):  # The disk is full or read-only: the next run computes them again.
            store_array(path, seen, {})
    return seen


def _key(network: nn.Module, ids: Ragged) -> str:
    """A digest of everything that the features depend on."""
    digest = hashlib.sha256(json.dumps([str(network), len(ids)]).encode())
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    digest.update(np.ascontiguousarray(ids.values).data)
    digest.update(ids.offsets.data)
    return "read-" + digest.hexdigest()[:32]
