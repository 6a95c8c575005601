"""Classify rows: a blend of logistic regression, boosted trees and a forest, with weights chosen by validation."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from ..datasets.table import Table
from ..features import blend, classes, tabular
from ..features.blend import Member

PRIMARY = "log_loss"
TRUSTED = (*tabular.TRUSTED, *blend.TRUSTED)
losses, metrics, plots = classes.losses, classes.metrics, classes.plots
tables, loss_units = classes.tables, classes.loss_units


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.1
    rounds: PositiveInt = 100  # boosted trees, for each class if there are more than two
    leaves: Annotated[int, Field(ge=2)] | Literal[0] = 0  # of a boosted tree at most; 0: by the number of rows


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit the class frequencies, a logistic regression, boosted trees and a forest, those that validation weighs."""
    boosted = HistGradientBoostingClassifier(**tabular.boosting(params, len(rows)))
    forest = ExtraTreesClassifier(**tabular.forest(params))
    members = {**_simple(), "boosted": Member(boosted), "forest": Member(forest, tabular.FOREST_ROWS)}
    recipe = blend.Recipe(members, _encoder(rows, table), _log_loss, params.seed)
    return recipe.fit(rows, classes.labels(rows, table), table)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the class frequencies (`naive`), a logistic regression (`linear`) and default boosted trees (`boosted`)."""
    members = {**_simple(), "boosted": Member(HistGradientBoostingClassifier(random_state=params.seed))}
    recipe = blend.Recipe(members, _encoder(rows, table), _log_loss, params.seed)
    return recipe.fit_each(rows, classes.labels(rows, table))


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most probable class as `prediction`, and `probability_<class>` for each class."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def _encoder(rows: pd.DataFrame, table: Table) -> object:
    return tabular.encoder(rows, table, "binary" if rows[table.target].nunique() == 2 else "multiclass")


def _log_loss(probabilities: np.ndarray, _: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(probabilities, classes.FLOOR, 1))


def _simple() -> dict[str, Member]:
    logistic = make_pipeline(tabular.scaler(), LogisticRegression(max_iter=1000))
    return {"naive": Member(DummyClassifier(strategy="prior")), "linear": Member(logistic, tabular.LINEAR_ROWS)}
