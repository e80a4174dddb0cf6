"""`earnest.Classifier` and `earnest.Regressor`: scikit-learn estimators for tables and pictures in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from earnest.api.memory import SIMPLE, Inputs, learn
from earnest.api.model_folder import ModelFolder
from earnest.api.request import Request
from earnest.core.errors import DataError, OptionError
from earnest.data.frames import as_frame, is_frame
from earnest.data.image_arrays import as_images
from earnest.data.pixels import fit

Floats = NDArray[np.float64]


class _Estimator(BaseEstimator):
    """What the two have in common; see `Classifier`."""

    model_: ModelFolder
    model_name_: str
    scores_: dict[str, float]
    n_features_in_: int
    image_shape_: tuple[int, ...] | None

    def __init__(
        self,
        *,
        model: str = "auto",
        minutes: float | None = None,
        epochs: int | None = None,
        metric: str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.minutes = minutes
        self.epochs = epochs
        self.metric = metric
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def save(self, folder: str | Path) -> None:
        """Write the fitted model as a model folder, which `earnest.load(folder)` reads.

        Raises:
            OptionError: there is something in the folder already.
        """
        check_is_fitted(self)
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OptionError(f"{folder} exists already and is not empty; choose another folder.")
        self.model_.save(folder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags

    def _learn(self, inputs: Inputs, truth: NDArray[Any], labels: tuple[str, ...]) -> Self:
        named = self.model not in ("auto", *SIMPLE)
        request = Request(
            data="X",
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            minutes=self.minutes,
            epochs=self.epochs,
            model=self.model if named else None,
            from_scratch=self.model in SIMPLE,
            metric=self.metric,
            device=self.device,
        )
        learned = learn(inputs, truth, labels, request, model=self.model, verbose=self.verbose)
        self.model_ = learned.model
        self.model_name_ = learned.name
        self.scores_ = learned.scores
        return self

    def _answers(self, X: Any) -> Floats:
        """Probabilities (N, C) or values (N,)."""
        check_is_fitted(self)
        inputs = self._inputs(X, reset=False)
        shipped = self.model_.shipped
        if isinstance(inputs, pl.DataFrame):
            return self.model_.predict(shipped.inputs(inputs))
        (column,) = shipped.pictures
        fitted = np.stack([fit(image, column.size, column.channels) for image in inputs])
        return self.model_.predict(shipped.inputs(None, [fitted]))

    def _inputs(self, X: Any, *, reset: bool) -> Inputs:
        """`X` as a table or as pictures, checked as scikit-learn's contract asks; `reset` when it is to be fitted."""
        pictures = _pictures(X)
        shape = None if pictures is None else pictures.shape[1:]
        if not reset and shape != self.image_shape_:
            raise DataError(
                f"X holds {_named(shape)}, and this {type(self).__name__} was fitted to {_named(self.image_shape_)}."
            )
        least = 2 if reset else 1
        if pictures is None and is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            if len(X) < least:
                raise DataError(f"X has {len(X)} rows, and {least} are the least.")
        else:
            X = X if pictures is None else pictures.reshape(len(pictures), -1)
            X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=least)
        if reset:
            self.image_shape_ = shape
        if pictures is not None:
            return pictures
        return as_frame(X, list(getattr(self, "feature_names_in_", [f"x{i}" for i in range(self.n_features_in_)])))

    def _target(self, X: Any, y: Any) -> NDArray[Any]:
        """`y` as one value a row of `X`, none of them missing."""
        if y is None:
            raise DataError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        return np.asarray(y)


class Classifier(ClassifierMixin, _Estimator):
    """A classifier of table rows or of pictures, which chooses its model itself.

    `X` is a table or pictures:

    - a 2-D array, or a pandas or polars frame. Numeric columns are taken as numbers; columns of strings become
      numbers, dates, categories or texts as in a file that `earnest.fit` reads. Missing values may be NaN or None.
    - a uint8 array (N, H, W) or (N, H, W, C) of pictures of one size, C 1 or 3.

    `y` holds one label a row. Rows are held out to choose by, to stop by and to calibrate the probabilities by: all in
    turn (three-fold cross-fitting, then a fit to all of them) for fewer than 1,000 rows and no network, else one in
    seven. No row is kept as a test: score the estimator on rows that `fit` was not given.

    Args:
        model: "auto" takes the best of a linear model, LightGBM and, from 1,000 rows on, the network "tabm" and its
            average with LightGBM; of pictures, the best of a linear model and networks. "linear" and "lightgbm" take
            that one, and any architecture that `earnest.zoo()` lists takes that network.
        minutes: budget for `fit`; by default a network has one to ten minutes, by the number of rows.
        epochs: passes over the rows for a network, in place of what the budget allows.
        metric: what to choose by: "accuracy" (unless given), "balanced_accuracy", "f1_macro", "log_loss" or "roc_auc".
        random_state: an int makes `fit` repeatable, unless the clock cuts it short.
        verbose: whether to tell on standard error what is being done.
        device: such as "cpu" or "cuda"; a GPU, where there is one, unless given.

    Attributes:
        classes_: the labels, sorted.
        model_: what was fitted, as `save` writes it.
        model_name_: the name of the candidate that was chosen.
        scores_: `metric` of each candidate, by name, on rows that it had not seen.
        n_features_in_: columns of `X`, or values in a picture.
        feature_names_in_: names of the columns, where `X` was a frame with names.
        image_shape_: (H, W, C) of the pictures, None for a table.
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the candidates and choose among them.

        Raises:
            ValueError: `X` or `y` cannot be used; the message says why.
        """
        y = self._target(X, y)
        check_classification_targets(y)
        inputs = self._inputs(X, reset=True)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(f"y has one class, {self.classes_[0]!r}, in all rows; there is nothing to tell apart.")
        return self._learn(inputs, codes.astype(np.int64), tuple(str(label) for label in self.classes_))

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each row, (N,)."""
        codes = self.predict_proba(X).argmax(1)
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> Floats:
        """Calibrated probabilities (N, C), in the order of `classes_`."""
        return self._answers(X)


class Regressor(RegressorMixin, _Estimator):
    """A regressor of table rows or of pictures, which chooses its model itself.

    Like `Classifier`, but `y` holds one finite number a row, and `metric` is "rmse" (unless given), "mae" or "r2".
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the candidates and choose among them.

        Raises:
            ValueError: `X` or `y` cannot be used; the message says why.
        """
        y = self._target(X, y).astype(np.float64)
        return self._learn(self._inputs(X, reset=True), y, ())

    def predict(self, X: Any) -> Floats:
        """The expected value of each row, (N,)."""
        return self._answers(X)


def _pictures(X: Any) -> NDArray[np.uint8] | None:
    """`X` as pictures (N, H, W, C), or None when it is none."""
    if not isinstance(X, np.ndarray) or X.ndim not in (3, 4) or X.dtype != np.uint8 or len(X) == 0:
        return None
    return as_images(X, [])


def _named(shape: tuple[int, ...] | None) -> str:
    """What there is in `X`, in words."""
    return "a table" if shape is None else f"pictures of {' x '.join(map(str, shape))}"
