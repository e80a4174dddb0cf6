"""Fits taggers to sentences, simplest first: counted tags, a linear model, a BiLSTM-CRF, a pretrained encoder."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable

from earnest.api import reading, recipes
from earnest.api.deadline import has_time
from earnest.api.networks import a_while
from earnest.api.question import Bench
from earnest.api.tag_networks import fine_tuned, recurrent
from earnest.api.tag_parts import CommonestPart, LinearTagsPart, TagPart
from earnest.api.tag_question import TagCandidate, TagQuestion, f1
from earnest.core import vectors as known_vectors
from earnest.core.progress import duration
from earnest.core.registry import models
from earnest.core.vectors import Vectors
from earnest.evaluation.tag_baselines import CommonestTags, LinearTags

RECURRENT_SHARE = 0.6
"""Of the time that is left, what the BiLSTM-CRF may take where an encoder follows."""


def fit_taggers(bench: Bench, question: TagQuestion) -> list[TagCandidate]:
    """The candidates, simplest first, each with what its answers cost."""
    request, screen = bench.request, bench.screen
    candidates: list[TagCandidate] = []
    train, tags = question.words(question.split.train), question.codes(question.split.train)

    def rung(name: str, fit: Callable[[], TagPart]) -> None:
        candidates.append(_candidate(bench, question, name, fit))

    def linear() -> TagPart:
        fitted = LinearTags.fit(train, tags, len(question.labels), seed=bench.seed % 2**63)
        return LinearTagsPart(fitted, question.labels)

    rung("commonest tag of each word", lambda: CommonestPart(CommonestTags.fit(train, tags), question.labels))
    rung("linear on words and neighbours", linear)
    weights = None if request.from_scratch else reading.suited(request)
    if (request.model is None or weights is None) and has_time(bench, "a network of words"):
        name = recipes.for_tagging(request, len(train), has_vectors=False).model
        vectors = _vectors(bench, name)
        within = bench if weights is None else a_while(bench, RECURRENT_SHARE)
        name += " from scratch" if vectors is None else f" on {known_vectors.available()[0].name}"
        rung(name, lambda: recurrent(within, question, vectors))
    if weights is not None and has_time(bench, "a pretrained encoder"):
        screen.say(f"starting from {weights.name} ({weights.licence}); --from-scratch does without")
        reader = reading.encoder(weights, request, screen)
        rung(f"fine-tuned {reader.architecture}", lambda: fine_tuned(bench, question, reader))
    return candidates


def _candidate(bench: Bench, question: TagQuestion, name: str, fit: Callable[[], TagPart]) -> TagCandidate:
    """One rung with its answers for validation, logged and told."""
    started = time.monotonic()
    part = fit()
    fitted = time.monotonic()
    rows = question.split.validation
    answers = part.answer(question.words(rows))
    a_thousand = 1000 * (time.monotonic() - fitted) / len(rows)
    score, seconds = f1(question.tags(rows), answers), fitted - started
    bench.run.log("rung", name=name, score=score, seconds=seconds)
    bench.screen.say(f"{name}: F1 {score:.4g}, {duration(seconds)}")
    return TagCandidate(name, part, answers, score, seconds, f"{a_thousand:.2g} s for 1,000 sentences")


def _vectors(bench: Bench, model: str) -> Vectors | None:
    """Pretrained word vectors, where some are on this machine and wanted, and the model can be as wide as they are."""
    here = known_vectors.available()
    fits = "embedding_width" in inspect.signature(models[model].build).parameters
    if bench.request.from_scratch or not here or not fits:
        return None
    return known_vectors.load(here[0].name, offline=bench.request.offline, announce=bench.screen.say)
