"""Linear models that go on learning from rows as they come: bounded inputs, bounded steps, scales that stay."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDRegressor
from sklearn.pipeline import Pipeline

FENCE = 10  # interquartile ranges beyond the quartiles at which a value is cut
FURTHEST = 10.0  # standard deviations from the mean that a scaled value may be
STEPS, FEWEST, MOST = 200_000, 5, 200  # rows that a first fit takes in all, and how often it takes each row
SMALLEST = 1e-12  # spread below which a column is constant
TRUSTED = tuple(f"{__name__}.{name}" for name in ("BoundedScaler", "ScaledTarget"))


class BoundedScaler(TransformerMixin, BaseEstimator):
    """Cut values far from the others, then scale to mean 0 and standard deviation 1, as the rows of the fit were.

    Rows that come later change nothing of it: what a weight means stays the same while the model learns.
    """

    def fit(self, values: np.ndarray, _: Any = None) -> Self:
        """Learn fences, means and standard deviations of columns, (rows, columns)."""
        low, quarter, three_quarters, high = np.quantile(values, [0, 0.25, 0.75, 1], axis=0)
        wide = FENCE * (three_quarters - quarter)
        mixed = wide > 0
        self.low_ = np.where(mixed, np.maximum(low, quarter - wide), low)
        self.high_ = np.where(mixed, np.minimum(high, three_quarters + wide), high)
        inside = np.clip(values, self.low_, self.high_)
        self.mean_, spread = inside.mean(axis=0), inside.std(axis=0)
        self.spread_ = np.where(spread > SMALLEST * np.maximum(np.abs(self.mean_), 1), spread, 1.0)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return scaled values, none of them beyond FURTHEST, (rows, columns)."""
        scaled = (np.clip(values, self.low_, self.high_) - self.mean_) / self.spread_
        return np.clip(scaled, -FURTHEST, FURTHEST)


class ScaledTarget(RegressorMixin, BaseEstimator):
    """Predict a number by a model of its scaled value, whose scale is that of the rows of the fit.

    Attributes:
        model: Has `fit`, `partial_fit` and `predict`.
    """

    def __init__(self, model: SGDRegressor) -> None:
        self.model = model

    def fit(self, encoded: np.ndarray, truth: np.ndarray) -> Self:
        """Learn the scale of the target, (rows,), and the model."""
        self.scaler_ = BoundedScaler().fit(truth[:, None])
        self.model.fit(encoded, self._scaled(truth))
        return self

    def partial_fit(self, encoded: np.ndarray, truth: np.ndarray) -> Self:
        """Take a step of the model for each row."""
        self.model.partial_fit(encoded, self._scaled(truth))
        return self

    def predict(self, encoded: np.ndarray) -> np.ndarray:
        """Return predictions in the target's unit, (rows,)."""
        return self.model.predict(encoded) * self.scaler_.spread_[0] + self.scaler_.mean_[0]

    def _scaled(self, truth: np.ndarray) -> np.ndarray:
        """Return scaled targets that may be beyond those of the fit: only the step is bounded, by the loss."""
        return (truth - self.scaler_.mean_[0]) / self.scaler_.spread_[0]


def fit(encoder: BaseEstimator, model: Any, rows: pd.DataFrame, truth: np.ndarray, rate: float) -> Pipeline:
    """Fit encoder, scaler and a linear model that learns by gradient descent.

    Args:
        encoder: Makes numbers of rows.
        model: An SGD estimator, or a ScaledTarget of one.
        rows: The training rows.
        truth: The target, (rows,).
        rate: The share of its error on an average row that a step takes away from it.
    """
    prepare = _preparation(encoder)
    encoded = prepare.fit_transform(rows, truth)
    descent = model.model if isinstance(model, ScaledTarget) else model
    size = np.square(encoded).sum(axis=1).mean() + 1  # of an average row, with the intercept
    times = int(np.clip(STEPS // len(rows), FEWEST, MOST))
    descent.set_params(learning_rate="constant", eta0=rate / size, max_iter=times, tol=None, shuffle=True)
    model.fit(encoded, truth)
    descent.set_params(shuffle=False)  # from now on in the order of time
    return Pipeline([*prepare.steps, ("linear", model)])


def fit_each(
    encoder: BaseEstimator, models: dict[str, Any], rows: pd.DataFrame, truth: np.ndarray
) -> dict[str, Pipeline]:
    """Fit simpler models on the same numbers, as baselines, by their names."""
    prepare = _preparation(encoder)
    encoded = prepare.fit_transform(rows, truth)
    return {name: Pipeline([*prepare.steps, (name, model.fit(encoded, truth))]) for name, model in models.items()}


def learn(fitted: Pipeline, rows: pd.DataFrame, truth: np.ndarray) -> Pipeline:
    """Take a step for each row, in their order; neither encoder nor scales change."""
    fitted[-1].partial_fit(fitted[:-1].transform(rows), truth)
    return fitted


def _preparation(encoder: BaseEstimator) -> Pipeline:
    """Return the unfitted steps before a linear model; what was missing is a number of its own."""
    imputer = SimpleImputer(keep_empty_features=True, add_indicator=True)
    return Pipeline([("encoder", encoder), ("imputer", imputer), ("scaler", BoundedScaler())])
