"""What a frozen pretrained network makes of rows, and a linear model on that: the rung below fine-tuning."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import nn

from earnest.api.model_folder import Shipped
from earnest.api.parts import Inputs, NetworkPart
from earnest.api.pictures import task_for
from earnest.api.question import Bench, Candidate, Floats, Predict, Question, Rows, Unlabelled, cross_fitted
from earnest.core.recipe import Recipe
from earnest.core.words import Source
from earnest.tasks.classification import Classification
from earnest.tasks.regression import Regression
from earnest.training.linear_head import LinearHead, fit_linear_head


class Frozen(ABC):
    """A pretrained network, its features of all rows, and the linear models fitted to them."""

    architecture: str
    recipe: Recipe
    """How its answers are read."""
    features: NDArray[np.float32]
    """(N, F); NaN for rows that were not looked at."""
    seconds: float
    """That the features took."""
    forward_cost, backward_cost = 1.5, 1.0
    """Seconds to learn from a row in each direction, as a multiple of the seconds of a look at it, which is done with
    norms folded; the backward pass goes only as deep as parameters move."""

    def __init__(self) -> None:
        self.heads: dict[str, LinearHead] = {}
        """By the name of the fit."""

    def known(self, rows: Rows) -> Rows:
        """Those of the rows whose features there are."""
        return rows

    @abstractmethod
    def model(self, name: str) -> nn.Module:
        """The network with the head of the fit of that name."""

    @abstractmethod
    def part(self, model: nn.Module, task: Classification | Regression) -> NetworkPart:
        """`model`, which has this network's architecture, as something to predict with."""

    @abstractmethod
    def shipped(self, part: NetworkPart) -> Shipped:
        """The part as something to ship."""

    @abstractmethod
    def inputs(self, rows: Rows) -> Inputs:
        """Some of the rows, as parts take them."""

    @abstractmethod
    def batches(self, question: Question, rows: Rows, recipe: Recipe, *, learning: bool = False) -> Source:
        """The rows as a source: shuffled for learning, in order and as they are for validation."""

    @abstractmethod
    def altered(self, rows: Rows) -> NDArray[np.float32]:
        """Features (N, F) of copies of some of the rows, altered so that they mean the same."""

    @abstractmethod
    def of_unlabelled(self, unlabelled: Unlabelled, rows: Rows) -> NDArray[np.float32]:
        """Features (N, 2, F) of some rows without an answer, and of altered copies of them."""

    @abstractmethod
    def recipes(self, question: Question) -> list[Recipe]:
        """To learn on by, each deeper than the one before."""

    @abstractmethod
    def seconds_a_look(self) -> float:
        """Seconds to see a row once, measured now on a few: the features may have come from the cache."""

    def fit_head(self, question: Question, task: Classification | Regression, train: Rows, *, seed: int) -> LinearHead:
        """A linear model on the training rows' features, its penalty chosen among them, as a head for `task`."""
        train = self.known(train)
        wanted = question.truth[train]
        if isinstance(task, Regression):
            wanted = task.standardise(torch.from_numpy(wanted)).numpy()
        return fit_linear_head(self.features[train], wanted, num_classes=question.num_classes, seed=seed % 2**32)

    def answers(self, head: LinearHead, task: Classification | Regression, rows: Rows) -> Floats:
        """What a head says of rows: probabilities (N, C) or values (N,)."""
        outputs = head(self.features[rows])
        if isinstance(task, Regression):
            values: Floats = task.decode(torch.from_numpy(outputs)).numpy()
            return values
        return softmax(outputs, axis=1)


def linear_on_features(bench: Bench, question: Question, frozen: Frozen) -> Candidate:
    """Frozen features and a linear model: the rung that costs one look at each row."""
    started = time.monotonic()
    fitted: list[NetworkPart] = []

    def fit(name: str, train: Rows, validation: Rows) -> Predict:
        task = task_for(question, frozen.recipe, train)
        head = frozen.heads[name] = frozen.fit_head(question, task, train, seed=bench.seed)
        fitted.append(frozen.part(frozen.model(name), task))
        return lambda rows: frozen.answers(head, task, rows)

    predictions, predict = cross_fitted(question, fit)
    seconds = frozen.seconds + time.monotonic() - started
    name = f"frozen {frozen.architecture} + linear"
    return Candidate(name, predictions, predict, frozen.shipped(fitted[-1]), seconds)
