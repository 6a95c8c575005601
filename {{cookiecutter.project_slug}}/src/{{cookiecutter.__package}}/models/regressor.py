"""Predict a number: a blend of ridge regression, boosted trees and a forest, with weights chosen by validation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline

from ..datasets.table import Table
from ..features import blend, tabular
from ..features.blend import Member

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRIMARY = "squared_error"  # the loss that the model minimises; the absolute error would favour the median
TRUSTED = (*tabular.TRUSTED, *blend.TRUSTED)
CAUTION = 0.2  # see blend.Recipe; boosted trees cannot follow a trend, and lines not always
PENALTIES = np.logspace(-1, 3, 9)  # alphas of the ridge regression, chosen by leave-one-out cross-validation


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.1
    rounds: PositiveInt = 300  # boosted trees
    leaves: Annotated[int, Field(ge=2)] = 15  # of a boosted tree at most


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a ridge regression, boosted trees and, without a time, a forest and the mean, those that validation weighs.

    Neither of the latter two can follow a trend.
    """
    members = {"linear": _ridge(), "boosted": Member(HistGradientBoostingRegressor(**tabular.boosting(params)))}
    if not table.time:
        forest = ExtraTreesRegressor(**tabular.forest(params))
        members |= {"naive": _naive(), "forest": Member(forest, tabular.FOREST_ROWS)}
    encoder = tabular.encoder(rows, table, "continuous")
    recipe = blend.Recipe(members, encoder, _squared_error, params.seed, CAUTION)
    return recipe.fit(rows, _truth(rows, table), table)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the mean of the target (`naive`), a ridge regression (`linear`) and default boosted trees (`boosted`).

    There are no boosted trees for a table with a time, where the model may stay behind them to be safe from a trend.
    """
    members = {"naive": _naive(), "linear": _ridge()}
    if not table.time:
        members["boosted"] = Member(HistGradientBoostingRegressor(random_state=params.seed))
    recipe = blend.Recipe(members, tabular.encoder(rows, table, "continuous"), _squared_error, params.seed)
    return recipe.fit_each(rows, _truth(rows, table))


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the expected value as `prediction`, in the target's unit."""
    return pd.DataFrame({"prediction": estimator.predict(rows)}, index=rows.index)


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """Return the squared error of each row, `(rows,)`, in the target's unit squared."""
    return _squared_error(predictions["prediction"].to_numpy(), _truth(rows, table))


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Return the MAE and RMSE, in the target's unit, and for more than one row R2."""
    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    found = {"mae": np.abs(guess - truth).mean(), "rmse": np.sqrt(np.square(guess - truth).mean())}
    if len(truth) > 1:
        found["r2"] = r2_score(truth, guess)
    return {name: float(value) for name, value in found.items()}


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "Figure"]:
    """Return a figure of actual against predicted values, residuals by prediction, and their histogram."""
    from matplotlib.figure import Figure  # only reports plot: the service must not load it

    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    figure = Figure(figsize=(12, 4), layout="constrained")
    actual, residuals, histogram = figure.subplots(1, 3)
    actual.scatter(guess, truth, s=12, alpha=0.6)
    actual.axline((truth.mean(), truth.mean()), slope=1, color="grey", linewidth=1)
    actual.set(xlabel="predicted", ylabel=f"actual {table.target}")
    residuals.scatter(guess, truth - guess, s=12, alpha=0.6)
    residuals.axhline(0, color="grey", linewidth=1)
    residuals.set(xlabel="predicted", ylabel="actual - predicted")
    histogram.hist(truth - guess, bins=30)
    histogram.axvline(0, color="grey", linewidth=1)
    histogram.set(xlabel="actual - predicted", ylabel="rows")
    return {"Predictions and errors on held-out rows": figure}


def _naive() -> Member:
    return Member(DummyRegressor(strategy="mean"))


def _ridge() -> Member:
    return Member(make_pipeline(tabular.scaler(), RidgeCV(alphas=PENALTIES)), tabular.LINEAR_ROWS)


def _squared_error(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return (predicted - truth) ** 2


def _truth(rows: pd.DataFrame, table: Table) -> np.ndarray:
    return rows[table.target].to_numpy(float)
