"""Fits a language model to a running text, beside what counting alone can tell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from earnest.api.language_model import LanguageModel
from earnest.api.language_recipes import AN_EPOCH, seconds_for
from earnest.api.language_text import Part, Text
from earnest.api.networks import Fit, Within, fit_network
from earnest.api.question import Bench, Floats
from earnest.api.recipes import reserve
from earnest.core.progress import duration
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data.windows import AskingWindows, LearningWindows
from earnest.evaluation.ngrams import NGrams
from earnest.tasks.language_model import LanguageModelling
from earnest.training import processes

MOST_CHECKED = 50_000
"""Tokens at the beginning of the validation part that are told after an epoch."""
MOST_COUNTED = 5_000_000
"""Tokens at the end of the training part that n-grams are counted in, at most."""
LONGEST_GRAM = 6
SHORT_GRAMS = {1: "unigram", 2: "bigram", 3: "trigram"}
REACH, LEAST_CONTEXT = 512, 128
"""Tokens that a window shows when a part is told, for networks that know no limit of their own; and how many of a
window's come before those that are asked for, or half of a shorter window."""
TELLING_SHARE, FEWEST_TOLD = 0.25, 2000
"""Of the time that is left, what telling both parts may take: where they would take more, only their beginnings are
told, of this many tokens at least."""
ASKED_TOGETHER = 32
"""Windows."""


@dataclass(frozen=True)
class Teller:
    """A fitted model that says how likely each token was."""

    name: str
    tell: Callable[[Part], Floats]
    """-log p of each token of a part, in order."""
    seconds: float
    note: str = ""


def as_time_allows(bench: Bench, text: Text, recipe: Recipe) -> Text:
    """The text, of whose parts as much is told in the end as there is time for; decided once and kept in run.json."""
    most = processes.of_first(bench.run.facts().get("most_told"))
    if most is None:
        most, left = text.most_told, bench.clock.left() - reserve(bench.request)
        if math.isfinite(left):
            affordable = TELLING_SHARE * left / 2 / _seconds_a_token(_network(text, recipe), text)
            most = processes.of_first(max(FEWEST_TOLD, min(most, int(affordable))))
        bench.run.update(most_told=most)
    return replace(text, most_told=most)


def count(bench: Bench, text: Text) -> list[Teller]:
    """The n-gram models: the short ones, and the one of those up to `LONGEST_GRAM` that tells validation best."""
    started = time.monotonic()
    model = NGrams(text.learned_from[-MOST_COUNTED:], text.tokenizer.vocab_size, LONGEST_GRAM)
    seconds = time.monotonic() - started

    def teller(order: int) -> Teller:
        def tell(part: Part) -> Floats:
            start, end = text.span(part)
            return model.nats(text.ids[:end], start, order=order)

        return Teller(SHORT_GRAMS.get(order, f"{order}-gram"), tell, seconds, "all orders counted together")

    orders = range(1, min(LONGEST_GRAM, len(text.learned_from)) + 1)
    told = {order: float(teller(order).tell("validation").sum()) for order in orders}
    best = min(orders, key=lambda order: told[order])
    shown = [teller(order) for order in orders if order in SHORT_GRAMS or order == best]
    bench.screen.say(f"counted: {', '.join(one.name for one in shown)}, {duration(seconds)}")
    return shown


def learn(bench: Bench, text: Text, recipe: Recipe) -> tuple[LanguageModel, Teller]:
    """The network, trained within the time that telling both parts afterwards leaves."""
    started = time.monotonic()
    recipe.but(tokens=text.tokenizer.kind).write(bench.run.path / "recipe.toml")
    told = sum(end - start for start, end in (text.span("validation"), text.span("test")))
    price = min(_seconds_a_token(_network(text, recipe), text) * told, 2 * TELLING_SHARE * bench.clock.left())
    most = max(1, AN_EPOCH // recipe.window)
    state = fit_network(
        replace(bench, clock=Within(bench.clock, price)),
        Fit(
            name=recipe.model,
            build=lambda: _network(text, recipe),
            task=LanguageModelling(characters=text.tokenizer.characters.tolist()),
            source=LearningWindows(text.learned_from, length=recipe.window, batch_size=recipe.batch_size, most=most),
            validation=_asking(text, "validation", recipe.window, most=MOST_CHECKED),
            recipe=recipe,
            seconds=seconds_for(bench.request, len(text.learned_from)),
        ),
    )
    network = state.model.to("cpu").eval()
    about = {"name": recipe.model, "data": text.corpus.fingerprint}
    model = LanguageModel(network, recipe.model, _options(recipe), _spec(text, recipe), text.tokenizer, about)

    def tell(part: Part) -> Floats:
        return LanguageModelling().nats(network, _asking(text, part, _reach(network)), Step())

    return model, Teller(recipe.model, tell, time.monotonic() - started)


def _options(recipe: Recipe) -> dict[str, Any]:
    return {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}


def _spec(text: Text, recipe: Recipe) -> InputSpec:
    return InputSpec("tokens", (recipe.window,), (text.tokenizer.vocab_size,))


def _network(text: Text, recipe: Recipe) -> nn.Module:
    """Untrained."""
    build = models[recipe.model].build
    network: nn.Module = build(_spec(text, recipe), text.tokenizer.vocab_size, **_options(recipe))
    return network


def _seconds_a_token(network: nn.Module, text: Text) -> float:
    """What telling a token takes, from a try on a piece of the validation part."""
    source = _asking(text, "validation", _reach(network), most=ASKED_TOGETHER * _reach(network) // 4)
    started = time.monotonic()
    told = len(LanguageModelling().nats(network.eval(), source, Step()))
    return (time.monotonic() - started) / told


def _reach(network: nn.Module) -> int:
    """Tokens that a window shows: what a Transformer learned with is its limit."""
    return int(getattr(network, "max_length", REACH))


def _asking(text: Text, part: Part, length: int, *, most: int | None = None) -> AskingWindows:
    """Windows over a part, or its first `most` tokens."""
    start, end = text.span(part)
    end = end if most is None else min(end, start + most)
    context = min(length // 2, LEAST_CONTEXT)
    return AskingWindows(text.ids, start, end, length=length, context=context, batch_size=ASKED_TOGETHER)
