"""Which class an image belongs to, with a probability for each: features of the image, then a logistic regression."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import BadRows, Refused
from ..parts import classes, images
from ..table import Table

PRIMARY = "log_loss"
TRUSTED = (f"{__name__}.Features",)
BATCH = 256  # images decoded at a time
STRETCH = 4  # how many times smaller or larger than all it has learned from an image may be
TURNS = 9  # directions of an edge that are told apart
WORST = 20  # mistakes shown in the report
losses, metrics = classes.losses, classes.metrics


def pixels(batch: np.ndarray) -> np.ndarray:
    """The images (n x side x side x 3, uint8) in 8 x 8 coarse pixels, each between 0 and 1: n x 192."""
    count, side = batch.shape[:2]
    coarse = batch.reshape(count, 8, side // 8, 8, side // 8, 3).mean(axis=(2, 4), dtype=np.float32)
    return coarse.reshape(count, -1) / 255


def gradients(batch: np.ndarray) -> np.ndarray:
    """How edges are turned in each cell of 8 x 8 pixels (Dalal and Triggs 2005), and the coarse pixels."""
    grey = batch.mean(axis=3, dtype=np.float32) / 255
    count, cells = len(grey), grey.shape[1] // 8
    down, right = np.gradient(grey, axis=(1, 2))
    strength, turn = np.hypot(down, right), np.arctan2(down, right) % np.pi * TURNS / np.pi
    found = np.empty((count, TURNS, cells, cells), np.float32)
    for i in range(TURNS):
        off = np.abs(turn - i)
        share = strength * np.clip(1 - np.minimum(off, TURNS - off), 0, 1)
        found[:, i] = share.reshape(count, cells, 8, cells, 8).mean(axis=(2, 4))
    edges = found.reshape(count, -1)
    return np.hstack([edges / (np.linalg.norm(edges, axis=1, keepdims=True) + 1e-3), pixels(batch)])


BACKBONES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"gradients": gradients, "pixels": pixels}
# A pretrained network goes here: a function that takes a batch (n x side x side x 3, uint8) and gives features (n x k).
# Name it in BACKBONES, and in params.yaml as `backbone`; load its weights once, from a file in the project.


@dataclass(frozen=True)
class Params:
    backbone: str = "gradients"
    side: int = 32  # pixels a side to which images are squeezed, a multiple of 8
    strength: float = 1.0  # of the fit; less is smoother

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise Refused(f"params.yaml: there is no backbone {self.backbone!r}, only {', '.join(BACKBONES)}")
        if self.side < 8 or self.side % 8:
            raise Refused(f"params.yaml: side {self.side} is no multiple of 8")


class Features(TransformerMixin, BaseEstimator):
    """Rows with a column of image files -> what the backbone makes of them, BATCH images at a time."""

    def __init__(self, column: str, backbone: str, side: int) -> None:
        self.column, self.backbone, self.side = column, backbone, side

    def fit(self, rows: pd.DataFrame, labels: np.ndarray | None = None) -> "Features":
        """The sizes of the images are known, by which one of quite another size is refused later."""
        sides = [side for content in rows[self.column] for side in images.size(content)]
        self.least_, self.most_ = min(sides) / STRETCH, max(sides) * STRETCH
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """One line of features per row; raises BadRows naming the row that is no usable image."""
        parts = [self._batch(rows[self.column].iloc[i : i + BATCH], i) for i in range(0, len(rows), BATCH)]
        return np.concatenate(parts)

    def _batch(self, contents: pd.Series, start: int) -> np.ndarray:
        batch = np.empty((len(contents), self.side, self.side, 3), np.uint8)
        for i, content in enumerate(contents):
            try:
                width, height = images.size(content)
                if not self.least_ <= min(width, height) <= max(width, height) <= self.most_:
                    asked = f"{self.least_:g} to {self.most_:g}"
                    raise BadRows(f"the image has {width} x {height} pixels, but was trained for {asked} a side")
                batch[i] = images.pixels(content, self.side)
            except BadRows as bad:
                raise BadRows(f"column {self.column!r}, row {start + i}: {bad}") from bad
        return BACKBONES[self.backbone](batch)


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Files, features, one scale, and a logistic regression on them."""
    classifier = _logistic(params.strength)
    return _fitted(classifier, rows, table, params.backbone, params.side)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """What is simpler: the classes' shares, and a logistic regression on coarse pixels."""
    linear = _logistic(1.0)
    naive = DummyClassifier(strategy="prior")
    return {
        "naive": _fitted(naive, rows, table, "pixels", 8),
        "linear": _fitted(linear, rows, table, "pixels", 8),
    }


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The most probable class, and `probability_<class>` for each; raises BadRows for what is no usable image."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def pictures(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, Figure]:
    """Which classes are confused, and the images whose true class was given the least chance, the worst first."""
    found = classes.pictures(rows, predictions, table)
    truth, guess = classes.labels(rows, table), predictions["prediction"].to_numpy()
    worst = np.argsort(-losses(rows, predictions, table), kind="stable")[:WORST]
    words = [f"{truth[i]}, taken for {guess[i]}" for i in worst]
    found["The worst mistakes, or where there are none the nearest to one"] = images.sheet(
        rows[_column(rows, table)].iloc[worst], words
    )
    return found


def _logistic(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def _fitted(classifier: object, rows: pd.DataFrame, table: Table, backbone: str, side: int) -> Pipeline:
    features = Features(_column(rows, table), backbone, side)
    return make_pipeline(features, classifier).fit(rows, classes.labels(rows, table))


def _column(rows: pd.DataFrame, table: Table) -> str:
    """The one feature of the table, which holds files."""
    if len(table.features) != 1 or not rows[table.features[0]].map(lambda value: isinstance(value, bytes)).all():
        raise Refused(f"table {table.name} must have one feature, a column of image files, not {table.features}")
    return table.features[0]
