"""Which tag has each word of a sentence?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from earnest.core.recipe import Recipe
from earnest.core.words import Batch, Loss, Source, Stage, Step, Task
from earnest.data.batches import RowBatches
from earnest.data.tag_schemes import LETTERS, is_tag, spans
from earnest.nn.crf import PADDING


@dataclass(frozen=True, slots=True)
class Tagged:
    """Tags by number, one array a sentence, in the order of the source's rows."""

    tags: list[NDArray[np.int64]]
    confidence: list[NDArray[np.float64]]
    """Each chosen tag's probability, given the whole sentence."""
    truth: list[NDArray[np.int64]]
    """Empty where the source has no targets."""


class Tagging(Task):
    """A CRF's negative log-likelihood, or cross-entropy where the model has none; its weight is the number of tokens.

    A model answers with scores (B, T, K), has a `crf` or None there, and tells `num_words(inputs)` (B,). Targets are
    (B, T) numbers of tags, -100 where there is none; or (B, T, 1 + C), with those of C further columns behind the tag,
    whose cross-entropies count `beside` times in training, and nowhere else. The scores are entities' precision, recall
    and F1 as the CoNLL-2000 scorer counts them, exact in type and extent, and the share of tokens whose tag is right;
    tags that mark no spans, such as parts of speech, have the last alone.
    """

    higher_is_better = True

    def __init__(self, tags: Sequence[str], *, beside: float = 0.0) -> None:
        super().__init__()
        self.beside = beside
        self.tags = tuple(tags)
        self.of_spans = all(is_tag(tag) for tag in tags)
        self.metric = "f1" if self.of_spans else "accuracy"

    def stages(self, model: nn.Module, recipe: Recipe) -> list[Stage]:
        return [Stage(epochs=recipe.epochs)]

    def loss(self, model: Any, batch: Batch, step: Step) -> Loss:
        assert batch.targets is not None
        tags, *columns = batch.targets.unbind(2) if batch.targets.ndim == 3 else (batch.targets,)
        scores, others = model.tell_beside(batch.inputs) if columns else (model(batch.inputs), [])
        if model.crf is None:
            total = _cross_entropy(scores, tags)
        else:
            total = model.crf.nll(scores, tags, model.num_words(batch.inputs)).sum()
        for theirs, column in zip(others, columns, strict=True):
            total = total + self.beside * _cross_entropy(theirs, column)
        return Loss(total, (tags != PADDING).sum())

    @torch.no_grad()
    def validate(self, model: Any, source: Source, step: Step) -> dict[str, float]:
        predicted, truth = [], []
        for batch in _placed(source, model, step):
            assert batch.targets is not None
            predicted += _cut(self.choose(model, model(batch.inputs), batch), model.num_words(batch.inputs))
            truth += _cut(batch.targets, model.num_words(batch.inputs))
        right = sum(int((ours == theirs).sum()) for ours, theirs in zip(predicted, truth, strict=True))
        scores = {"accuracy": right / sum(map(len, truth))}
        if self.of_spans:
            counts = entity_counts(self.names(truth), self.names(predicted)).sum(0, keepdims=True)
            scores |= {name: float(value[0]) for name, value in ratios(counts).items()}
        return scores

    @torch.no_grad()
    def predict(self, model: Any, source: RowBatches, step: Step) -> Tagged:
        """The best tags of every sentence, how sure they are, and the true ones."""
        rows: list[int] = []
        tags, confidence, truth = [], [], []
        for batch in _placed(source, model, step):
            assert batch.rows is not None
            scores, lengths = model(batch.inputs), model.num_words(batch.inputs)
            chosen = self.choose(model, scores, batch)
            probabilities = scores.float().softmax(-1) if model.crf is None else model.crf.marginals(scores, lengths)
            sure = probabilities.gather(2, chosen.clamp_min(0)[..., None])[..., 0].double()
            rows += batch.rows.tolist()
            tags += _cut(chosen, lengths)
            confidence += _cut(sure, lengths)
            truth += [] if batch.targets is None else _cut(batch.targets, lengths)
        place = {row: index for index, row in enumerate(rows)}
        order = [place[row] for row in source.rows.tolist()]
        return Tagged(*([its[index] for index in order] if its else [] for its in (tags, confidence, truth)))

    def choose(self, model: Any, scores: Tensor, batch: Batch) -> Tensor:
        """The best tags (B, T) for a model's scores (B, T, K)."""
        return scores.argmax(-1) if model.crf is None else model.crf.decode(scores, model.num_words(batch.inputs))

    def names(self, sentences: Sequence[NDArray[np.int64]]) -> list[list[str]]:
        """Sentences' tags in the user's words."""
        return [[self.tags[number] for number in sentence] for sentence in sentences]

    def decode(self, output: Tensor) -> Any:
        """Tags (B, T) in the user's words, a list a sentence; -100 is left out."""
        return [[self.tags[number] for number in row if number != PADDING] for row in output.tolist()]


def entity_counts(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """(N, 3): entities found rightly, entities found, and true entities of each sentence."""
    counts = np.zeros((len(truth), 3), np.int64)
    for row, (its, found) in enumerate(zip(map(spans, truth), map(spans, predicted), strict=True)):
        counts[row] = len(set(its) & set(found)), len(found), len(its)
    return counts


def ratios(counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 (R,) of counts (R, 3); 0 where nothing can be divided by, as the CoNLL scorer has it."""
    right, found, true = counts.T

    def share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
        return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)

    return {"precision": share(right, found), "recall": share(right, true), "f1": share(2 * right, found + true)}


def allowed(tags: Sequence[str], scheme: str) -> tuple[Tensor, Tensor, Tensor]:
    """Which tags may start a sentence, (K,), follow one another, (K, K), and end it, (K,), in a scheme.

    For `LinearChainCRF.constrain`. In IOB1 every tag may stand anywhere.
    """
    if scheme == "IOB1":
        any_tag = torch.ones(len(tags), dtype=torch.bool)
        return any_tag, any_tag.expand(len(tags), -1), any_tag
    first, inside, last, _ = tuple(LETTERS[scheme])
    with_ends = last != inside

    def may_follow(tag: str, following: str) -> bool:
        letter, _, kind = tag.partition("-")
        next_letter, _, next_kind = following.partition("-")
        is_open = letter in (first, inside)
        if next_letter in (inside, last):
            return is_open and kind == next_kind
        return not (with_ends and is_open)

    follows = torch.tensor([[may_follow(tag, following) for following in tags] for tag in tags])
    starts = torch.tensor([may_follow("O", tag) for tag in tags])
    ends = torch.tensor([may_follow(tag, "O") for tag in tags])
    return starts, follows, ends


def _placed(source: Source, model: nn.Module, step: Step) -> Iterator[Batch]:
    """The source's batches on the model's device, without further columns."""
    device = next(model.parameters()).device
    for batch in source.batches(step.at(index=0)):
        if batch.targets is not None and batch.targets.ndim == 3:
            batch = replace(batch, targets=batch.targets[..., 0])
        yield batch.to(device)


def _cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Summed over all places (B, T) that have a target."""
    return F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten(), ignore_index=PADDING, reduction="sum")


def _cut(padded: Tensor, lengths: Tensor) -> list[NDArray[Any]]:
    """One array a row, without its padding."""
    rows = padded.cpu().numpy()
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
