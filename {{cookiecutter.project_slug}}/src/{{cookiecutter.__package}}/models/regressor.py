"""How large a number is, on whatever data.py declares: half linear, half trees."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline

from ..parts import tabular
from ..table import Table

PRIMARY = "squared_error"  # what the model minimises: by absolute error a good mean may look worse than the median
TRUSTED = tabular.TRUSTED
PENALTIES = np.logspace(-1, 3, 9)  # of the ridge regression, of which the best by leave-one-out is taken


@dataclass(frozen=True)
class Params:
    seed: int = 0
    learning_rate: float = 0.1
    rounds: int = 100
    leaves: int = 15


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Encoder, then the mean of a ridge regression and boosted trees: sound on small data, able on large."""
    trees = HistGradientBoostingRegressor(**tabular.boosting(params))
    return _fitted(VotingRegressor([("linear", _ridge()), ("trees", trees)]), rows, table)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """What is simpler: the mean, and a ridge regression."""
    naive = DummyRegressor(strategy="mean")
    return {"naive": _fitted(naive, rows, table), "linear": _fitted(_ridge(), rows, table)}


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The mean to expect, in the target's unit."""
    return pd.DataFrame({"prediction": estimator.predict(rows)}, index=rows.index)


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """The squared error of each row, in the target's unit squared."""
    return (predictions["prediction"].to_numpy() - _truth(rows, table)) ** 2


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Mean and root mean square of the errors in the target's unit; r2, the share of the variance explained."""
    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    found = {"mae": np.abs(guess - truth).mean(), "rmse": np.sqrt(np.square(guess - truth).mean())}
    if len(truth) > 1:
        found["r2"] = r2_score(truth, guess)
    return {name: float(value) for name, value in found.items()}


def pictures(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, Figure]:
    """The true values against the predicted ones, and the errors along and around the predictions."""
    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    figure = Figure(figsize=(12, 4), layout="constrained")
    against, along, around = figure.subplots(1, 3)
    against.scatter(guess, truth, s=12, alpha=0.6)
    against.axline((truth.mean(), truth.mean()), slope=1, color="grey", linewidth=1)
    against.set(xlabel="predicted", ylabel=f"true {table.target}")
    along.scatter(guess, truth - guess, s=12, alpha=0.6)
    along.axhline(0, color="grey", linewidth=1)
    along.set(xlabel="predicted", ylabel="true - predicted")
    around.hist(truth - guess, bins=30)
    around.axvline(0, color="grey", linewidth=1)
    around.set(xlabel="true - predicted", ylabel="rows")
    return {"Predictions and errors on held-out rows": figure}


def _fitted(estimator: object, rows: pd.DataFrame, table: Table) -> Pipeline:
    return make_pipeline(tabular.encoder(rows, table, "continuous"), estimator).fit(rows, _truth(rows, table))


def _truth(rows: pd.DataFrame, table: Table) -> np.ndarray:
    return rows[table.target].to_numpy(float)


def _ridge() -> Pipeline:
    return make_pipeline(tabular.scaler(), RidgeCV(alphas=PENALTIES))
