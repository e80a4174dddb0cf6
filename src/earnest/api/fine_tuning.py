"""The upper rungs of transfer: fine-tuning from the linear solution, the blocks next to the head first, then all.

The head itself was the rung below: its best values given the features are known, so it needs no epochs of its own.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
from torch import nn

from earnest.api import recipes
from earnest.api.frozen import Frozen
from earnest.api.networks import Fit, fit_network
from earnest.api.parts import NetworkPart
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Predict, Question, Rows, cross_fitted
from earnest.core.progress import duration
from earnest.core.recipe import Recipe
from earnest.core.seeds import derive
from earnest.training import processes

NOBODY = np.empty(0, np.int64)
LEAST_SHARE = 0.2
"""Of what the recipe plans, what there has to be time for: fewer epochs, or one of fewer rows, where all are not
cross-fitted."""
SAFETY = 0.9
"""Of the time that there is, what is planned with."""
Start = Callable[[str], nn.Module]
"""From the name of a fit to the network that it starts from."""


def climb(bench: Bench, question: Question, frozen: Frozen, below: Candidate) -> Iterator[Candidate]:
    """Fine-tuned candidates, each from the weights of the one before, while that pays and there is time.

    To pay is to have the better score on the scored rows. Where those are cross-fitted, a rung that is not better on
    the first fold alone is left there: the other folds would cost five times as much, and could only say that little
    was gained.
    """
    start: Start = frozen.model
    for recipe in frozen.recipes(question):
        rung = Rung(bench, question, frozen, recipe, start)
        if not (_leaves_room(question, below) and rung.fits() and rung.pays_on_a_fold(below)):
            return
        candidate = rung.candidate()
        yield candidate
        if not question.metric.better(question.score(candidate.predictions), question.score(below.predictions)):
            return
        recipe.write(bench.run.path / "recipe.toml")
        below, start = candidate, rung.model


class Rung:
    """One depth of fine-tuning, fitted once a fold and once to ship."""

    def __init__(self, bench: Bench, question: Question, frozen: Frozen, recipe: Recipe, below: Start) -> None:
        self.bench = bench
        self.question = question
        self.frozen = frozen
        self.recipe = recipe
        self.below = below
        self.name = "fine-tuned" if recipe.unfreeze == 1 else "fine-tuned-top"
        self.title = f"fine-tuned {recipe.model}" + (f", top {recipe.unfreeze:.0%}" if recipe.unfreeze < 1 else "")
        self.parts: dict[str, NetworkPart] = {}
        self.spent = 0.0
        self.share = 0.0
        """Of the looks that the recipe plans, what there is time for."""

    def model(self, name: str) -> nn.Module:
        """For the next rung: a copy of what the fit of that name came to."""
        return copy.deepcopy(self.parts[name].model)

    def fits(self) -> bool:
        """Whether there is time for enough of it; decided once and kept in run.json."""
        decisions = processes.of_first(self.bench.run.facts().get("fine_tune", {}))
        if self.name in decisions:
            self.share = decisions[self.name]
            return self.share > 0
        needed = self.needs()
        share = self.has() / needed
        share = float(share >= 1) if self.question.folds else min(1.0, SAFETY * share)
        self.share = processes.of_first(share if share >= LEAST_SHARE else 0.0)
        self.bench.run.update(fine_tune={**decisions, self.name: self.share})
        if not self.share:
            self.bench.screen.say(
                f"{self.title} would take about {duration(needed)}, which is more than there is: left out"
            )
        elif self.share < 1:
            self.bench.screen.say(f"{self.title}: time for {self.share:.0%} of what would take {duration(needed)}")
        return self.share > 0

    def has(self) -> float:
        """Seconds that there are."""
        request, left = self.bench.request, self.bench.clock.left()
        return min(recipes.fine_tuning_seconds(request), left - recipes.reserve(request))

    def needs(self) -> float:
        """Seconds that all fits are predicted to take, from the pace of a few looks."""
        question, frozen = self.question, self.frozen
        sizes = [len(train) for train, _ in question.folds]
        sizes.append(len(question.scored) if question.folds else len(question.split.train))
        looks = sum(sizes) * (frozen.forward_cost + frozen.backward_cost * self.recipe.unfreeze)
        if not question.folds:
            looks += frozen.forward_cost * len(question.scored)
        return looks * self.recipe.epochs * frozen.seconds_a_look()

    def pays_on_a_fold(self, below: Candidate) -> bool:
        """Whether the first fold's held-out rows are answered better than by `below`; True without folds."""
        question = self.question
        if not question.folds:
            return True
        train, held_out = question.folds[0]
        ours = question.metric(question.truth[held_out], self.fit("fold-1", train, NOBODY)(held_out))
        theirs = question.metric(
            question.truth[held_out], below.predictions[np.searchsorted(question.scored, held_out)]
        )
        pays = question.metric.better(ours, theirs)
        if not pays:
            self.bench.screen.say(
                f"{self.title}: {question.metric.name} {ours:.4g} on the first fold against {theirs:.4g} before, "
                f"{duration(self.spent)}: left there"
            )
        self.bench.run.log(
            "tried", name=self.title, score=ours, before=theirs, rows=len(held_out), seconds=self.spent, pays=pays
        )
        return pays

    def candidate(self) -> Candidate:
        """The rung as something to compare and to ship."""
        predictions, predict = cross_fitted(self.question, self.fit)
        return Candidate(self.title, predictions, predict, self.frozen.shipped(self.parts[""]), self.spent)

    def fit(self, name: str, train: Rows, validation: Rows) -> Predict:
        """Fine-tune on `train`, unless that is done."""
        if name not in self.parts:
            started = time.monotonic()
            self.parts[name] = self._fit(name, train, validation)
            self.spent += time.monotonic() - started
        part = self.parts[name]
        return lambda rows: part.predict(self.frozen.inputs(rows))

    def _fit(self, name: str, train: Rows, validation: Rows) -> NetworkPart:
        question, frozen = self.question, self.frozen
        epochs = self.share * self.recipe.epochs
        recipe = self.recipe.but(epochs=math.ceil(epochs))
        if epochs < 1:
            generator = np.random.default_rng(derive(self.bench.seed, "rows to fine-tune on"))
            train = generator.choice(train, int(epochs * len(train)), replace=False)
        task = task_for(question, recipe, train)
        source = frozen.batches(question, train, recipe, learning=True)
        held = frozen.batches(question, validation, recipe) if len(validation) else None
        state = fit_network(
            self.bench,
            Fit(
                name="-".join(filter(None, (self.name, name))),
                build=lambda: self.below(name),
                task=task,
                source=source,
                validation=held,
                recipe=recipe,
                seconds=self.has() / (len(question.folds) + 1),
                paced_as=f"{self.name}-fold-1" if question.folds else None,
            ),
        )
        return frozen.part(state.model, task)


def _leaves_room(question: Question, candidate: Candidate) -> bool:
    """Whether its score could be better."""
    best = question.metric.limits[1] if question.metric.higher_is_better else question.metric.limits[0]
    return question.score(candidate.predictions) != best
