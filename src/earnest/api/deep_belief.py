"""`earnest.DBN`: a deep belief net as a scikit-learn estimator; its score is a lower bound of the log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from earnest.api.boltzmann_rows import as_rows, generator, read_folder, seed_of, shuffled, whole_number, write_folder
from earnest.core.progress import Screen
from earnest.evaluation.boltzmann import MOST_COUNTED, Partition, counted, estimated
from earnest.nn.belief import BeliefNet
from earnest.nn.chains import Persistent
from earnest.tasks.ascent import Ascent
from earnest.tasks.contrast import Contrasting
from earnest.tasks.up_down import UpDown

Floats = NDArray[np.float32]
DRAWS = 10
"""Of the hidden units, for each row whose bound is asked for."""
LOOKED_AT = 5000
"""Rows from which it is told how often units are on."""
WEIGHT_COST, AVERAGE, UP_DOWN_SHARE = 1e-4, 0.999, 0.1


class DBN(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A deep belief net: learns how rows of values from 0 to 1 are distributed, layer upon layer.

    Args:
        num_hidden: units of each hidden layer, from the lowest up.
        epochs: passes over the rows for each layer, which learns what the one below draws.
        fine_tuning_epochs: passes of up-down over the whole net afterwards; 0 for none.
        batch_size: rows an update.
        learning_rate: of a layer; falls to nothing over the last half of its epochs. Up-down's is a tenth.
        num_steps: steps of Gibbs sampling an update.
        random_state: an int makes `fit` repeatable.
        verbose: whether to show progress.
        device: such as "cpu" or "cuda".

    Attributes:
        net_: the parameters, an `earnest.nn.belief.BeliefNet`.
        partition_: log Z of the top machine, between what bounds; there once `score` was asked for.
    """

    net_: BeliefNet
    partition_: Partition

    def __init__(
        self,
        num_hidden: Sequence[int] = (500, 500, 2000),
        *,
        epochs: int = 20,
        fine_tuning_epochs: int = 10,
        batch_size: int = 100,
        learning_rate: float = 0.05,
        num_steps: int = 1,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        device: str = "cpu",
    ) -> None:
        self.num_hidden = num_hidden
        self.epochs = epochs
        self.fine_tuning_epochs = fine_tuning_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.num_steps = num_steps
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the rows of `X`, layer by layer, then all of it by up-down.

        Raises:
            DataError: a value is missing or not between 0 and 1, or there is nothing to learn.
            OptionError: an argument of the estimator makes no sense.
        """
        for name, least in (("epochs", 1), ("fine_tuning_epochs", 0), ("batch_size", 1), ("num_steps", 1)):
            whole_number(name, getattr(self, name), least)
        sizes = tuple(whole_number("num_hidden", size) for size in self.num_hidden)
        rows = torch.from_numpy(as_rows(self, X, reset=True)).to(self.device)
        self._seed, self._num_draws = seed_of(self.random_state), 0
        self.__dict__.pop("partition_", None)
        self.net_ = BeliefNet(rows.shape[1], sizes).to(self.device)
        total = len(sizes) * self.epochs + self.fine_tuning_epochs
        with Screen(quiet=not self.verbose).bar("DBN", total) as bar:
            for layer in range(len(sizes)):
                self._teach(layer, rows, lambda epoch, layer=layer: bar(layer * self.epochs + epoch))  # type: ignore[misc]
            self._rates = self._top_rates(rows)
            if self.fine_tuning_epochs and len(sizes) > 1:
                self._fine_tune(rows, lambda epoch: bar(len(sizes) * self.epochs + epoch))
        return self

    def transform(self, X: Any) -> Floats:
        """Probabilities (N, num_hidden[-1]) that the units of the highest layer are on."""
        with torch.no_grad():
            return self.net_.upward(self._rows(X)).cpu().numpy()

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """A lower bound of log p(row), nats (N,), as an average over draws of the hidden units.

        The first call finds the top machine's log Z: exactly with at most 20 hidden units, else by annealed importance
        sampling; `partition_` says between what bounds.
        """
        rows = self._rows(X)
        if not hasattr(self, "partition_"):
            self.partition_ = self._partition()
        its = generator(self.device, self._seed, "bound")
        bound = self.net_.unnormalised_bound(rows, draws=DRAWS, generator=its)
        return bound.double().cpu().numpy() - self.partition_.value

    def score(self, X: Any, y: Any = None) -> float:
        """The mean lower bound of the rows' log-likelihood, nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n: int = 1, *, steps: int = 1000) -> Floats:
        """Probabilities (n, columns) of the units after `steps` of Gibbs sampling in the top machine."""
        check_is_fitted(self)
        self._num_draws += 1
        its = generator(self.device, self._seed, "sample", self._num_draws)
        return self.net_.sample(whole_number("n", n), steps=whole_number("steps", steps), generator=its).cpu().numpy()

    def save(self, folder: str | Path) -> None:
        """Write the fitted net: model.safetensors and model.json; `DBN.load(folder)` reads it.

        Raises:
            OptionError: there is something in the folder already.
        """
        check_is_fitted(self)
        options = {**self.get_params(), "num_hidden": list(self.num_hidden), "random_state": None}
        columns = list(getattr(self, "feature_names_in_", []))
        facts = {"kind": "DBN", "options": options, "columns": columns, "untied": bool(len(self.net_.generative))}
        write_folder(folder, facts, {"rates": self._rates} | {f"net.{k}": v for k, v in self.net_.state_dict().items()})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The net that `save` wrote there.

        Raises:
            RunError: there is none, or it is damaged.
        """
        facts, tensors = read_folder(folder, "DBN")
        dbn = cls(**facts["options"])
        dbn.n_features_in_ = tensors["net.layers.0.weight"].shape[1]
        dbn.net_ = BeliefNet(dbn.n_features_in_, dbn.num_hidden, untied=facts["untied"])
        dbn.net_.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")})
        dbn.net_.to(dbn.device)
        dbn._rates = tensors["rates"].to(dbn.device)
        if facts["columns"]:
            dbn.feature_names_in_ = np.array(facts["columns"], dtype=object)
        dbn._seed, dbn._num_draws = seed_of(None), 0
        return dbn

    @property
    def _n_features_out(self) -> int:
        return len(self.net_.top.hidden_bias)

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return torch.from_numpy(as_rows(self, X, reset=False)).to(self.device)

    def _teach(self, layer: int, rows: Tensor, told: Callable[[int], None]) -> None:
        """Let one machine learn what those below it draw."""
        machine, its = self.net_.machines[layer], generator(self.device, self._seed, "layer", layer)
        rates = self.net_.states(rows[:LOOKED_AT], its, layers=layer)[-1].mean(0)
        machine.start_from(rates, generator=its)
        contrasting = Contrasting(machine, Persistent(self.batch_size, len(machine.hidden_bias), steps=self.num_steps))
        contrasting.centre_on(rates)
        ascent = Ascent(machine, contrasting.to(self.device), weight_cost=WEIGHT_COST, average=AVERAGE)
        for epoch in range(self.epochs):
            lr = self.learning_rate * min(1.0, 2 * (1 - epoch / self.epochs))
            for v in shuffled(rows, self.batch_size, its):
                below = self.net_.states(v, its, layers=layer)[-1]
                ascent.step(below, lr=lr, momentum=0.5, generator=its)
            told(epoch + 1)
        ascent.finish()

    def _fine_tune(self, rows: Tensor, told: Callable[[int], None]) -> None:
        up_down = UpDown(self.net_, num_chains=self.batch_size)
        for epoch in range(self.fine_tuning_epochs):
            its = generator(self.device, self._seed, "up-down", epoch)
            lr = UP_DOWN_SHARE * self.learning_rate * (1 - epoch / self.fine_tuning_epochs)
            for v in shuffled(rows, self.batch_size, its):
                up_down.step(v, lr=lr, generator=its)
            told(epoch + 1)

    def _top_rates(self, rows: Tensor) -> Tensor:
        """How often the units that the top machine sees are on."""
        its = generator(self.device, self._seed, "rates")
        return self.net_.states(rows[:LOOKED_AT], its)[-1].mean(0)

    def _partition(self) -> Partition:
        top = self.net_.top
        if min(top.weight.shape) <= MOST_COUNTED:
            return counted(top)
        return estimated(top, self._rates, generator=generator(self.device, self._seed, "partition"))
