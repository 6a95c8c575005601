"""Predict a number: a blend of ridge regression, boosted trees and a forest, with weights chosen by validation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

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
from ..features.blend import Corrected, Member

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRIMARY = "squared_error"  # the loss that the model minimises; the absolute error would favour the median
TRUSTED = (*tabular.TRUSTED, *blend.TRUSTED)
CAUTION = 0.5  # see blend.Recipe; boosted trees cannot follow a trend, and lines not always
PRIOR = {"linear": 0.2, "boosted": 0.4, "corrected": 0.4}  # weights where a table has a time; see blend.Recipe
PARTS = 5  # of the held-out rows, by predicted value, for which the report tells error and bias
DOTS = 3000  # rows plotted, a sample
HEAVY = 50  # times the median target from which on plots are logarithmic
LABEL = 30  # characters of the target in a plot
PENALTIES = np.logspace(-1, 3, 9)  # alphas of the ridge regression, chosen by leave-one-out cross-validation


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.1
    rounds: PositiveInt = 300  # boosted trees
    leaves: Annotated[int, Field(ge=2)] | Literal[0] = 0  # of a boosted tree at most; 0: by the number of rows


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a ridge regression, boosted trees, and two more, those that validation weighs.

    With a time: trees that correct a ridge regression, which follows a trend. Without: a forest, and the mean.
    """
    trees = HistGradientBoostingRegressor(**tabular.boosting(params, len(rows)))
    members = {"linear": _ridge(), "boosted": Member(trees)}
    if table.time:
        corrected = Corrected(_ridge().estimator, trees, tabular.LINEAR_ROWS, params.seed)
        members["corrected"] = Member(corrected)
    else:
        forest = ExtraTreesRegressor(**tabular.forest(params))
        members |= {"naive": _naive(), "forest": Member(forest, tabular.FOREST_ROWS)}
    encoder = tabular.encoder(rows, table, "continuous")
    prior = PRIOR if table.time else blend.PLAIN
    recipe = blend.Recipe(members, encoder, _squared_error, params.seed, CAUTION, prior)
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


def loss_units(loss: float, table: Table) -> dict[str, float]:
    """Return a mean loss as squared error, and its root in the target's unit."""
    return {"squared error": loss, f"RMSE in the unit of {table.target}": float(np.sqrt(loss))}


def tables(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, pd.DataFrame]:
    """Return the sizes of the errors in the target's unit, and error and bias by predicted value."""
    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    errors = guess - truth
    sizes = {"mean error (bias)": errors.mean(), "mean absolute error (MAE)": np.abs(errors).mean()}
    sizes |= {"root mean squared error (RMSE)": np.sqrt(np.square(errors).mean())}
    sizes |= {f"{share:.0%} of the errors are at most": np.quantile(np.abs(errors), share) for share in (0.5, 0.9)}
    sizes |= {"largest error": np.abs(errors).max()}
    parts = pd.qcut(guess, PARTS, labels=False, duplicates="drop") if np.ptp(guess) > 0 else np.zeros(len(guess), int)
    found = pd.DataFrame({"guess": guess, "truth": truth, "error": errors, "size": np.abs(errors)}).groupby(parts)
    lines = {"predicted from": found["guess"].min(), "to": found["guess"].max(), "rows": found.size()}
    lines |= {f"mean {table.target}": found["truth"].mean(), "bias": found["error"].mean(), "MAE": found["size"].mean()}
    return {
        f"Errors in the unit of {table.target}": pd.DataFrame({"error": list(sizes), "value": list(sizes.values())}),
        "Errors by predicted value": pd.DataFrame(lines),
    }


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "dict[str, Figure]"]:
    """Return figures of actual against predicted values, errors by prediction, and their histogram."""
    from matplotlib.figure import Figure  # only reports plot: the service must not load it

    truth, guess = _truth(rows, table), predictions["prediction"].to_numpy()
    errors, target = guess - truth, table.target[:LABEL]
    figures = [Figure(figsize=(3.75, 3.4), layout="constrained") for _ in range(3)]
    actual, by_value, histogram = (figure.subplots() for figure in figures)
    dots = blend.sample(len(truth), DOTS, 0)
    actual.scatter(guess[dots], truth[dots], s=12, alpha=0.6)
    actual.plot([guess.min(), guess.max()], [guess.min(), guess.max()], color="grey", ls="--", label="no error")
    actual.set(xlabel=f"predicted {target}", ylabel=f"actual {target}")
    by_value.scatter(guess[dots], errors[dots], s=12, alpha=0.6)
    by_value.axhline(0, color="grey", linestyle="--", label="no error")
    by_value.set(xlabel=f"predicted {target}", ylabel="predicted - actual")
    if (middle := np.median(np.abs(truth))) and np.abs(truth).max() > HEAVY * middle:
        _to_logarithms(actual, middle)
        _to_logarithms(by_value, middle)
    histogram.hist(errors, bins=30, range=tuple(np.quantile(errors, [0.005, 0.995])))
    histogram.axvline(0, color="grey", linestyle="--", label="no error")
    histogram.axvline(errors.mean(), color="C1", label=f"bias {errors.mean():.4g}")
    histogram.set(xlabel="predicted - actual", ylabel="rows")
    for axis in (actual, by_value, histogram):
        axis.legend(fontsize=8)
    captions = ("Actual by predicted value", "Errors by predicted value", "The middle 99 % of the errors")
    return {"Predictions and errors on held-out rows": dict(zip(captions, figures, strict=True))}


def _to_logarithms(axes: "Axes", start: float) -> None:
    """Give a plot logarithmic scales on both sides of 0, linear up to `start`, with a few plain labels."""
    axes.set_xscale("symlog", linthresh=start)
    axes.set_yscale("symlog", linthresh=start)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(numticks=5)
        axis.set_major_formatter("{x:g}")


def _naive() -> Member:
    return Member(DummyRegressor(strategy="mean"))


def _ridge() -> Member:
    return Member(make_pipeline(tabular.scaler(), RidgeCV(alphas=PENALTIES)), tabular.LINEAR_ROWS)


def _squared_error(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return (predicted - truth) ** 2


def _truth(rows: pd.DataFrame, table: Table) -> np.ndarray:
    return rows[table.target].to_numpy(float)
