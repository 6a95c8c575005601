"""Classify rows: the mean of a logistic regression's and boosted trees' probabilities."""

from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from ..datasets.table import Table
from ..features import classes, tabular

PRIMARY = "log_loss"
TRUSTED = tabular.TRUSTED
losses, metrics, plots = classes.losses, classes.metrics, classes.plots


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.1
    rounds: PositiveInt = 100  # trees, for each class if there are more than two
    leaves: Annotated[int, Field(ge=2)] = 15  # of a tree at most


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit an encoder and a soft vote of logistic regression (for small data) and boosted trees (for large)."""
    trees = HistGradientBoostingClassifier(**tabular.boosting(params))
    return _fitted(VotingClassifier([("linear", _logistic()), ("trees", trees)], voting="soft"), rows, table)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the class frequencies (`naive`) and a logistic regression (`linear`)."""
    naive = DummyClassifier(strategy="prior")
    return {"naive": _fitted(naive, rows, table), "linear": _fitted(_logistic(), rows, table)}


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most probable class as `prediction`, and `probability_<class>` for each class."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def _fitted(estimator: object, rows: pd.DataFrame, table: Table) -> Pipeline:
    labels = classes.labels(rows, table)
    kind = "binary" if len(set(labels)) == 2 else "multiclass"
    return make_pipeline(tabular.encoder(rows, table, kind), estimator).fit(rows, labels)


def _logistic() -> Pipeline:
    return make_pipeline(tabular.scaler(), LogisticRegression(max_iter=1000))
