"""Classify images: features computed by a backbone, then a logistic regression."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import BadRows, Refused
from ..datasets import images
from ..datasets.table import Table
from ..features import classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRIMARY = "log_loss"
TRUSTED = (f"{__name__}.Features",)
BATCH = 256  # images decoded at a time
SIZE_FACTOR = 4  # accepted images are at most this many times smaller or larger than all training images
ORIENTATIONS = 9  # bins of the histograms of oriented gradients
WORST = 20  # misclassified images plotted
losses, metrics = classes.losses, classes.metrics


def pixels(batch: np.ndarray) -> np.ndarray:
    """Return the images, `(n, side, side, 3)` of uint8, averaged to 8 x 8 pixels in [0, 1]: `(n, 192)`."""
    count, side = batch.shape[:2]
    coarse = batch.reshape(count, 8, side // 8, 8, side // 8, 3).mean(axis=(2, 4), dtype=np.float32)  # (n, 8, 8, 3)
    return coarse.reshape(count, -1) / 255


def gradients(batch: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients in cells of 8 x 8 pixels, and the coarse pixels: `(n, features)`.

    See Dalal and Triggs (2005), "Histograms of oriented gradients for human detection".
    """
    grey = batch.mean(axis=3, dtype=np.float32) / 255  # (n, side, side)
    count, cells = len(grey), grey.shape[1] // 8
    down, right = np.gradient(grey, axis=(1, 2))
    magnitude, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi * ORIENTATIONS / np.pi
    histograms = np.empty((count, ORIENTATIONS, cells, cells), np.float32)
    for i in range(ORIENTATIONS):
        distance = np.abs(angle - i)  # from the bin, in bins; angles are cyclic
        share = magnitude * np.clip(1 - np.minimum(distance, ORIENTATIONS - distance), 0, 1)
        histograms[:, i] = share.reshape(count, cells, 8, cells, 8).mean(axis=(2, 4))
    edges = histograms.reshape(count, -1)
    return np.hstack([edges / (np.linalg.norm(edges, axis=1, keepdims=True) + 1e-3), pixels(batch)])


BACKBONES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"gradients": gradients, "pixels": pixels}
# To use a pretrained network, add a function here from a batch, (n, side, side, 3) of uint8, to features, (n, k), and
# set its name as `backbone` in params.yaml. Load its weights once, from a file in the project.


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    backbone: str = "gradients"
    side: PositiveInt = 32  # pixels; images are resized to a square of this side, a multiple of 8
    strength: PositiveFloat = 1.0  # C of the logistic regression, its inverse regularization

    def __post_init__(self) -> None:
        """Raise Refused for an unknown backbone or a side that is not a multiple of 8."""
        if self.backbone not in BACKBONES:
            raise Refused(f"params.yaml: no backbone {self.backbone!r}, use one of {', '.join(BACKBONES)}")
        if self.side < 8 or self.side % 8:
            raise Refused(f"params.yaml: side {self.side} is not a positive multiple of 8, such as 32")


class Features(TransformerMixin, BaseEstimator):
    """A transformer from rows with a column of image files to the backbone's features, BATCH images at a time.

    Attributes:
        least_: The smallest side of an accepted image, in pixels.
        most_: The largest side of an accepted image, in pixels.
    """

    def __init__(self, column: str, backbone: str, side: int) -> None:
        self.column, self.backbone, self.side = column, backbone, side

    def fit(self, rows: pd.DataFrame, labels: np.ndarray | None = None) -> "Features":
        """Set the accepted sizes from those of the training images."""
        sides = [side for content in rows[self.column] for side in images.size(content)]
        self.least_, self.most_ = min(sides) / SIZE_FACTOR, max(sides) * SIZE_FACTOR
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the features, `(rows, features)`; raise BadRows naming the first row without a usable image."""
        parts = [self._batch(rows[self.column].iloc[i : i + BATCH], i) for i in range(0, len(rows), BATCH)]
        return np.concatenate(parts)

    def _batch(self, contents: pd.Series, start: int) -> np.ndarray:
        """Return the features of a batch of files that starts at row `start`: `(files, features)`."""
        batch = np.empty((len(contents), self.side, self.side, 3), np.uint8)
        for i, content in enumerate(contents):
            try:
                width, height = images.size(content)
                if not self.least_ <= min(width, height) <= max(width, height) <= self.most_:
                    accepted = f"{self.least_:g} to {self.most_:g}"
                    raise BadRows(f"the image has {width} x {height} pixels, but the model takes {accepted} a side")
                batch[i] = images.pixels(content, self.side)
            except BadRows as bad:
                raise BadRows(f"column {self.column!r}, row {start + i}: {bad}") from bad
        return BACKBONES[self.backbone](batch)


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a logistic regression on the standardised features of the backbone."""
    classifier = _logistic(params.strength)
    return _fitted(classifier, rows, table, params.backbone, params.side)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the class frequencies (`naive`) and a logistic regression on 8 x 8 pixels (`linear`)."""
    linear = _logistic(1.0)
    naive = DummyClassifier(strategy="prior")
    return {
        "naive": _fitted(naive, rows, table, "pixels", 8),
        "linear": _fitted(linear, rows, table, "pixels", 8),
    }


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most probable class as `prediction`, and `probability_<class>` for each class; raise BadRows."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "Figure"]:
    """Return the figures of a classifier, and the images of the largest losses in descending order."""
    found = classes.plots(rows, predictions, table)
    truth, guess = classes.labels(rows, table), predictions["prediction"].to_numpy()
    worst = np.argsort(-losses(rows, predictions, table), kind="stable")[:WORST]
    words = [f"{truth[i]}, predicted {guess[i]}" for i in worst]
    found["Images with the largest losses"] = images.sheet(rows[_column(rows, table)].iloc[worst], words)
    return found


def _logistic(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def _fitted(classifier: object, rows: pd.DataFrame, table: Table, backbone: str, side: int) -> Pipeline:
    features = Features(_column(rows, table), backbone, side)
    return make_pipeline(features, classifier).fit(rows, classes.labels(rows, table))


def _column(rows: pd.DataFrame, table: Table) -> str:
    """Return the table's only feature; raise Refused if there are more, or if it does not hold files."""
    if len(table.features) != 1 or not rows[table.features[0]].map(lambda value: isinstance(value, bytes)).all():
        raise Refused(
            f"table {table.name} must have one feature, a column of image files, but has {table.features}: see data.py"
        )
    return table.features[0]
