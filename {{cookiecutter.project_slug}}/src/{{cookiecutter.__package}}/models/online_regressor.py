"""Predict a number by a linear regression that goes on learning, row by row, as labels of its answers arrive."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV, SGDRegressor
from sklearn.pipeline import Pipeline

from ..datasets.table import Table
from ..features import online, tabular
from . import regressor

PRIMARY = regressor.PRIMARY
TRUSTED = (*tabular.TRUSTED, *online.TRUSTED)
predict, losses, metrics, plots = regressor.predict, regressor.losses, regressor.metrics, regressor.plots
tables, loss_units = regressor.tables, regressor.loss_units
FAR = 3.0  # standard deviations of the target: an error beyond that moves the model no further


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    seed: NonNegativeInt = 0
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1  # higher follows changes faster, and errs more otherwise
    penalty: Annotated[float, Field(ge=0, le=1)] = 1e-4  # on the squares of the weights


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a linear regression by gradient descent; beyond FAR the loss is linear, so that no row can move it far."""
    descent = SGDRegressor(loss="huber", epsilon=FAR, alpha=params.penalty, random_state=params.seed)
    encoder, truth = tabular.encoder(rows, table, "continuous"), rows[table.target].to_numpy(float)
    return online.fit(encoder, online.ScaledTarget(descent), rows, truth, params.learning_rate)


def learn(estimator: Pipeline, rows: pd.DataFrame, table: Table) -> Pipeline:
    """Learn from rows, in their order."""
    return online.learn(estimator, rows, rows[table.target].to_numpy(float))


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the mean of the target (`naive`) and a ridge regression that learns no further (`linear`)."""
    simple = {"naive": DummyRegressor(strategy="mean"), "linear": RidgeCV(alphas=np.logspace(-1, 3, 9))}
    encoder, truth = tabular.encoder(rows, table, "continuous"), rows[table.target].to_numpy(float)
    return online.fit_each(encoder, simple, rows, truth)
