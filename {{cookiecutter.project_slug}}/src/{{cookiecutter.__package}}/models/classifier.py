"""Which class a row belongs to, with a probability for each, on whatever data.py declares: half linear, half trees."""

from dataclasses import dataclass

import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from ..parts import classes, tabular
from ..table import Table

PRIMARY = "log_loss"
TRUSTED = tabular.TRUSTED
losses, metrics, pictures = classes.losses, classes.metrics, classes.pictures


@dataclass(frozen=True)
class Params:
    seed: int = 0
    learning_rate: float = 0.1
    rounds: int = 100
    leaves: int = 15


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Encoder, then the mean of a logistic regression and boosted trees: sound on small data, able on large."""
    trees = HistGradientBoostingClassifier(**tabular.boosting(params))
    return _fitted(VotingClassifier([("linear", _logistic()), ("trees", trees)], voting="soft"), rows, table)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """What is simpler: the classes' shares, and a logistic regression."""
    naive = DummyClassifier(strategy="prior")
    return {"naive": _fitted(naive, rows, table), "linear": _fitted(_logistic(), rows, table)}


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The most probable class, and `probability_<class>` for each."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def _fitted(estimator: object, rows: pd.DataFrame, table: Table) -> Pipeline:
    labels = classes.labels(rows, table)
    kind = "binary" if len(set(labels)) == 2 else "multiclass"
    return make_pipeline(tabular.encoder(rows, table, kind), estimator).fit(rows, labels)


def _logistic() -> Pipeline:
    return make_pipeline(tabular.scaler(), LogisticRegression(max_iter=1000))
