"""Classify rows by a logistic regression that goes on learning, row by row, as labels of its answers arrive."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline

from ..datasets.table import Table
from ..features import classes, online, tabular

PRIMARY = "log_loss"
TRUSTED = (*tabular.TRUSTED, *online.TRUSTED)
losses, metrics, plots = classes.losses, classes.metrics, classes.plots
tables, loss_units, predicted = classes.tables, classes.loss_units, classes.predicted


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.5  # higher follows changes faster, and errs more otherwise
    penalty: Annotated[float, Field(ge=0, le=1)] = 1e-4  # on the squares of the weights


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a logistic regression by gradient descent."""
    model = SGDClassifier(loss="log_loss", alpha=params.penalty, random_state=params.seed)
    return online.fit(_encoder(rows, table), model, rows, classes.labels(rows, table), params.learning_rate)


def learn(estimator: Pipeline, rows: pd.DataFrame, table: Table) -> Pipeline:
    """Learn from rows, in their order; those of a class that it does not know are left to the next fit."""
    truth = classes.labels(rows, table)
    known = np.isin(truth, estimator.classes_)
    return online.learn(estimator, rows[known], truth[known]) if known.any() else estimator


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most probable class as `prediction`, and `probability_<class>` for each class."""
    return predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the class frequencies (`naive`) and a logistic regression that learns no further (`linear`)."""
    simple = {"naive": DummyClassifier(strategy="prior"), "linear": LogisticRegression(max_iter=1000)}
    return online.fit_each(_encoder(rows, table), simple, rows, classes.labels(rows, table))


def _encoder(rows: pd.DataFrame, table: Table) -> object:
    return tabular.encoder(rows, table, "binary" if rows[table.target].nunique() == 2 else "multiclass")
