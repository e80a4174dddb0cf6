"""`earnest.RBM`: a restricted Boltzmann machine as a scikit-learn estimator, whose score is a log-likelihood."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from earnest.api.boltzmann_rows import (
    as_rows,
    compared,
    generator,
    number,
    one_of,
    read_folder,
    seed_of,
    shuffled,
    whole_number,
    write_folder,
)
from earnest.core.errors import OptionError
from earnest.core.progress import Screen
from earnest.evaluation.boltzmann import MOST_COUNTED, Partition, counted, estimated
from earnest.nn.boltzmann import BoltzmannMachine
from earnest.nn.chains import Sampler, build
from earnest.tasks.ascent import Ascent
from earnest.tasks.contrast import Contrasting

Floats = NDArray[np.float32]
YOUNG, FIRST_MOMENTUM = 5, 0.5
"""For so many epochs, momentum is no more than this (Hinton's guide, section 9)."""
RATE, REAL_RATE = 0.05, 0.01
"""Learning rates of machines for binary and for real numbers."""


class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A restricted Boltzmann machine: learns how rows are distributed, and what hidden causes tell about them.

    `X` holds values from 0 to 1 (or False and True), each taken for the probability that a binary unit is on; with
    `visible="gaussian"`, any finite numbers, which are standardised by column.

    Args:
        num_hidden: hidden units.
        visible: "bernoulli", or "gaussian" for real numbers.
        epochs: passes over the rows.
        batch_size: rows an update.
        learning_rate: falls to nothing over the last half of the epochs; .05 unless given, .01 of real numbers.
        sampler: "persistent" (PCD), "tempering" (PCD with parallel tempering, slower and surer) or "cd" (CD-k).
        num_steps: steps of Gibbs sampling an update: CD's k.
        momentum: after five epochs; .5 at most before.
        weight_cost: L2 penalty on weights.
        sparsity: how often a hidden unit should be on; None leaves that to the data.
        sparsity_cost: how much that weighs.
        centred: whether units are centred in the gradient, so that it does not matter what is black and what is white.
        averaging: decay of a moving average of the parameters, which is then what is kept; 0 keeps the last ones.
        random_state: an int makes `fit` repeatable.
        verbose: whether to show progress.
        precision: "bfloat16" finds gradients in it, which is faster where the processor has it; parameters stay in
            float32. Binary units only.
        device: such as "cpu" or "cuda".

    Attributes:
        machine_: the parameters, an `earnest.nn.boltzmann.BoltzmannMachine`.
        components_: its weights (num_hidden, columns).
        history_: by epoch, the free energies of rows learned from and of others, and their gap.
        mean_, scale_: by which real numbers were standardised; 0 and 1 of others.
        partition_: log Z, between what bounds; there once `score` or `score_samples` was asked for.
    """

    machine_: BoltzmannMachine
    history_: list[dict[str, float]]
    partition_: Partition
    mean_: Tensor
    scale_: Tensor

    def __init__(
        self,
        num_hidden: int = 500,
        *,
        visible: Literal["bernoulli", "gaussian"] = "bernoulli",
        epochs: int = 20,
        batch_size: int = 100,
        learning_rate: float | None = None,
        sampler: Sampler = "persistent",
        num_steps: int = 1,
        momentum: float = 0.5,
        weight_cost: float = 1e-4,
        sparsity: float | None = None,
        sparsity_cost: float = 0.1,
        centred: bool = True,
        averaging: float = 0.999,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        precision: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
    ) -> None:
        self.num_hidden = num_hidden
        self.visible = visible
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.sampler = sampler
        self.num_steps = num_steps
        self.momentum = momentum
        self.weight_cost = weight_cost
        self.sparsity = sparsity
        self.sparsity_cost = sparsity_cost
        self.centred = centred
        self.averaging = averaging
        self.random_state = random_state
        self.verbose = verbose
        self.precision = precision
        self.device = device

    def fit(self, X: Any, y: Any = None, *, validation: Any = None) -> Self:
        """Learn from the rows of `X`; those of `validation` are looked at only, to see what learning by heart does.

        Raises:
            DataError: a value is missing or not between 0 and 1, or there is nothing to learn.
            OptionError: an argument of the estimator makes no sense.
        """
        rows = self._begin(X)
        others = None if validation is None else self._rows(validation)
        with Screen(quiet=not self.verbose).bar("RBM", self.epochs) as bar:
            for epoch in range(self.epochs):
                lr = self._rate * min(1.0, 2 * (1 - epoch / self.epochs))
                self._pass(rows, lr, self.momentum if epoch >= YOUNG else min(self.momentum, FIRST_MOMENTUM))
                self.history_.append(compared(self.machine_, rows, others))
                if not np.isfinite(self.history_[-1]["free_energy"]):
                    raise OptionError(f"learning_rate={self._rate:g}: the machine ran away; give a smaller one.")
                bar(epoch + 1)
        self._ascent.finish()
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over the rows of `X` at the full learning rate; the parameters are the last ones, not an average.

        Real numbers stay standardised as the first rows were.

        Raises:
            DataError, OptionError: as `fit`.
        """
        if not hasattr(self, "machine_"):
            rows = self._begin(X)
        else:
            rows = self._rows(X)
            if not hasattr(self, "_ascent"):
                self._ascent = self._new_ascent()
        self._pass(rows, self._rate, self.momentum)
        self.__dict__.pop("partition_", None)
        return self

    def transform(self, X: Any) -> Floats:
        """Probabilities (N, num_hidden) that the hidden units are on."""
        with torch.no_grad():
            return self.machine_.hidden(self._rows(X)).cpu().numpy()

    def free_energy(self, X: Any) -> NDArray[np.float64]:
        """(N,) minus the log of each row's unnormalised probability, of real numbers as standardised."""
        with torch.no_grad():
            return self.machine_.free_energy(self._rows(X)).double().cpu().numpy()

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """log p(row), nats (N,); of real numbers, of the density in their own units.

        The first call finds log Z: exactly with at most 20 hidden units, else by annealed importance sampling, which
        takes a minute for 500; `partition_` says between what bounds.
        """
        check_is_fitted(self)
        if not hasattr(self, "partition_"):
            self.partition_ = self._partition()
        shift = float(self.scale_.double().log().sum()) if self.visible == "gaussian" else 0.0
        return -self.free_energy(X) - self.partition_.value - shift

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-likelihood of the rows, nats; see `score_samples`."""
        return float(self.score_samples(X).mean())

    def sample(self, n: int = 1, *, steps: int = 1000) -> Floats:
        """Rows (n, columns) after `steps` of Gibbs sampling from noise; of binary units, their probabilities."""
        check_is_fitted(self)
        whole_number("n", n)
        self._num_draws += 1
        its = generator(self.device, self._seed, "sample", self._num_draws)
        v = self.machine_.sample(n, steps=whole_number("steps", steps), generator=its)
        if self.visible == "gaussian":
            v = v * self.scale_ + self.mean_
        return v.cpu().numpy()

    def save(self, folder: str | Path) -> None:
        """Write the fitted machine: model.safetensors and model.json; `RBM.load(folder)` reads it.

        Raises:
            OptionError: there is something in the folder already.
        """
        check_is_fitted(self)
        facts: dict[str, Any] = {"kind": "RBM", "options": {**self.get_params(), "random_state": None}}
        facts |= {"columns": list(getattr(self, "feature_names_in_", [])), "history": self.history_}
        facts["partition"] = astuple(self.partition_) if hasattr(self, "partition_") else None
        tensors = {"mean": self.mean_, "scale": self.scale_, "rates": self._rates}
        write_folder(folder, facts, tensors | {f"machine.{k}": v for k, v in self.machine_.state_dict().items()})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The machine that `save` wrote there.

        Raises:
            RunError: there is none, or it is damaged.
        """
        facts, tensors = read_folder(folder, "RBM")
        rbm = cls(**facts["options"])
        num_hidden, num_visible = tensors["machine.weight"].shape
        rbm.machine_ = BoltzmannMachine(num_visible, num_hidden, gaussian=rbm.visible == "gaussian")
        rbm.machine_.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("machine.")})
        rbm.machine_.to(rbm.device)
        rbm.mean_, rbm.scale_, rbm._rates = (tensors[name].to(rbm.device) for name in ("mean", "scale", "rates"))
        rbm.n_features_in_, rbm.history_ = num_visible, facts["history"]
        if facts["columns"]:
            rbm.feature_names_in_ = np.array(facts["columns"], dtype=object)
        if facts["partition"] is not None:
            value, low, high = facts["partition"]
            rbm.partition_ = Partition(value, -np.inf if low is None else low, high)
        rbm._seed, rbm._num_passes, rbm._num_draws = seed_of(None), 0, 0
        return rbm

    @property
    def components_(self) -> Floats:
        """The weights (num_hidden, columns), as scikit-learn's BernoulliRBM calls them."""
        return self.machine_.weight.detach().cpu().numpy()

    @property
    def _n_features_out(self) -> int:
        return len(self.machine_.weight)

    @property
    def _rate(self) -> float:
        """The learning rate at its highest."""
        if self.learning_rate is not None:
            return self.learning_rate
        return REAL_RATE if self.visible == "gaussian" else RATE

    def _begin(self, X: Any) -> Tensor:
        """An untrained machine that suits `X`; gives the rows as it sees them."""
        self._check_options()
        gaussian = self.visible == "gaussian"
        X = as_rows(self, X, reset=True, gaussian=gaussian)
        mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if gaussian:
            mean, scale = X.mean(0, dtype=np.float64), X.std(0, dtype=np.float64)
        self.mean_, self.scale_ = (torch.tensor(v, dtype=torch.float32, device=self.device) for v in (mean, scale))
        rows = self._placed(X)
        self._rates = rows.mean(0)
        self.machine_ = BoltzmannMachine(X.shape[1], self.num_hidden, gaussian=gaussian).to(self.device)
        self._seed, self._num_passes, self._num_draws = seed_of(self.random_state), 0, 0
        first = generator(self.device, self._seed, "weights")
        self.machine_.start_from(self._rates, torch.ones_like(self._rates), generator=first)
        self._ascent = self._new_ascent()
        self.history_ = []
        self.__dict__.pop("partition_", None)
        return rows

    def _check_options(self) -> None:
        for name in ("num_hidden", "epochs", "batch_size", "num_steps"):
            whole_number(name, getattr(self, name))
        one_of("visible", self.visible, ("bernoulli", "gaussian"))
        one_of("sampler", self.sampler, ("persistent", "tempering", "cd"))
        one_of("precision", self.precision, ("float32", "bfloat16"))
        if self.precision == "bfloat16" and self.visible == "gaussian":
            raise OptionError('precision="bfloat16" is too coarse for real numbers; leave it out.')
        number("learning_rate", self._rate, 0.0)
        number("weight_cost", self.weight_cost, 0.0)
        number("sparsity_cost", self.sparsity_cost, 0.0)
        for name, share in (
            ("momentum", self.momentum),
            ("averaging", self.averaging),
            ("sparsity", self.sparsity or 0),
        ):
            number(name, share, 0.0, 1.0)

    def _new_ascent(self) -> Ascent:
        chains = build(self.sampler, self.batch_size, self.num_hidden, steps=self.num_steps)
        contrasting = Contrasting(
            self.machine_, chains, centred=self.centred, sparsity=self.sparsity, sparsity_cost=self.sparsity_cost
        )
        contrasting.centre_on(self._rates)
        return Ascent(
            self.machine_,
            contrasting.to(self.device),
            weight_cost=self.weight_cost,
            average=self.averaging,
            low=self.precision == "bfloat16",
        )

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return self._placed(as_rows(self, X, reset=False, gaussian=self.visible == "gaussian"))

    def _placed(self, X: Floats) -> Tensor:
        rows = torch.from_numpy(X).to(self.device)
        return (rows - self.mean_) / self.scale_ if self.visible == "gaussian" else rows

    def _pass(self, rows: Tensor, lr: float, momentum: float) -> None:
        self._num_passes += 1
        its = generator(self.device, self._seed, "pass", self._num_passes)
        rows = rows.to(self._ascent.seen.weight.dtype)
        for v in shuffled(rows, self.batch_size, its):
            self._ascent.step(v, lr=lr, momentum=momentum, generator=its)

    def _partition(self) -> Partition:
        num_hidden, num_visible = self.machine_.weight.shape
        if num_hidden <= MOST_COUNTED or (self.visible == "bernoulli" and num_visible <= MOST_COUNTED):
            return counted(self.machine_)
        its = generator(self.device, self._seed, "partition")
        with Screen(quiet=not self.verbose).bar("log Z", 10_000) as bar:
            return estimated(
                self.machine_, self._rates, torch.ones_like(self._rates), generator=its, progress=lambda step: bar(step)
            )
