"""Classify images: features from a backbone or a network, then a logistic regression of validated strength."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from .. import BadRows, Refused
from ..datasets import images
from ..datasets.table import Table
from ..features import blend, classes
from ..features.backbones import gradients, loaded_network, pixels, read_network
from ..features.progress import progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRIMARY = "log_loss"
TRUSTED = (f"{__name__}.Features",)
BATCH = 256  # images decoded at a time
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # to choose from
SIMPLE = 1e-2  # of the baseline
VALIDATED = 10_000  # images that the strength is chosen on at most
WORST = 20  # images of the largest losses plotted
losses, metrics = classes.losses, classes.metrics
tables, loss_units = classes.tables, classes.loss_units


BACKBONES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"gradients": gradients, "pixels": pixels}
# For features of your own, add a function from a batch, (n, side, side, 3) of uint8, to features, (n, k), and set its
# name as `backbone` in params.yaml. A pretrained network needs none: set its file as `network`.


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    backbone: str = "gradients"
    side: PositiveInt = 32  # pixels; images are resized to a square of this side, a multiple of 8
    network: str = ""  # an ONNX file, from the project's folder, whose output is used instead of the backbone's
    strength: PositiveFloat | None = None  # C of the logistic regression; unless set, chosen by cross-validation
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        """Raise Refused for an unknown backbone or a side that is not a multiple of 8."""
        if self.backbone not in BACKBONES:
            raise Refused(f"params.yaml: no backbone {self.backbone!r}, use one of {', '.join(BACKBONES)}")
        if self.side < 8 or self.side % 8:
            raise Refused(f"params.yaml: side {self.side} is not a positive multiple of 8, such as 32")


class Features(TransformerMixin, BaseEstimator):
    """A transformer from rows with a column of image files to features, BATCH images at a time.

    Attributes:
        least_: The smallest side of an accepted image, in pixels.
        most_: The largest side of an accepted image, in pixels.
        weights_: The bytes of the network's file, uint8; empty without one.
        digest_: Their SHA-256.
    """

    def __init__(self, column: str, backbone: str, side: int, network: str = "") -> None:
        self.column, self.backbone, self.side, self.network = column, backbone, side, network

    def fit(self, rows: pd.DataFrame, labels: np.ndarray | None = None) -> "Features":
        """Set the accepted sizes from those of the training images, and read the network."""
        self.least_, self.most_ = images.accepted_sides(rows[self.column])
        self.weights_ = read_network(self.network) if self.network else np.empty(0, np.uint8)
        self.digest_ = sha256(self.weights_).hexdigest()
        return self

    def transform(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the features, `(rows, features)`; raise BadRows naming the first row without a usable image."""
        parts = []
        for i in range(0, len(rows), BATCH):
            progress(f"features from image {i + 1:,} of {len(rows):,} on")
            parts.append(self._batch(rows[self.column].iloc[i : i + BATCH], i))
        return np.concatenate(parts)

    def _batch(self, contents: pd.Series, start: int) -> np.ndarray:
        """Return the features of a batch of files that starts at row `start`: `(files, features)`."""
        compute = loaded_network(self.weights_, self.digest_) if self.network else BACKBONES[self.backbone]
        side = getattr(compute, "side", None) or self.side
        batch = np.empty((len(contents), side, side, 3), np.uint8)
        for i, content in enumerate(contents):
            try:
                if unusual := images.unusual_size(content, self.least_, self.most_):
                    raise BadRows(unusual)
                batch[i] = images.pixels(content, side)
            except BadRows as bad:
                raise BadRows(f"column {self.column!r}, row {start + i}: {bad}") from bad
        return compute(batch)


def fit(rows: pd.DataFrame, table: Table, params: Params) -> Pipeline:
    """Fit a logistic regression on the standardised features of the backbone or network."""
    features = Features(_column(rows, table), params.backbone, params.side, params.network)
    labels, found = classes.labels(rows, table), features.fit(rows).transform(rows)
    strength = params.strength or _strength(found, rows, labels, table, params.seed)
    return _pipeline(features, _logistic(strength).fit(found, labels))


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, Pipeline]:
    """Fit the class frequencies (`naive`) and a logistic regression on 8 x 8 pixels (`linear`)."""
    features, labels = Features(_column(rows, table), "pixels", 8), classes.labels(rows, table)
    found = features.fit(rows).transform(rows)
    simple = {"naive": DummyClassifier(strategy="prior"), "linear": _logistic(SIMPLE)}
    return {name: _pipeline(features, classifier.fit(found, labels)) for name, classifier in simple.items()}


def predict(estimator: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the most probable class as `prediction`, and `probability_<class>` for each class; raise BadRows."""
    return classes.predicted(estimator.predict_proba(rows), estimator.classes_, rows.index)


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "dict[str, Figure]"]:
    """Return the figures of a classifier, and the images of the largest losses in descending order."""
    lost, top = losses(rows, predictions, table), predictions.filter(regex=f"^{classes.PREFIX}").max(axis=1).to_numpy()
    truth, guess = classes.labels(rows, table), predictions["prediction"].to_numpy()
    worst = np.argsort(-lost, kind="stable")[:WORST]
    captions = [
        f"{place}. {truth[i]} ({np.exp(-lost[i]):.2g}), predicted {guess[i]} ({top[i]:.2g})"
        for place, i in enumerate(worst, 1)
    ]
    mistakes = images.thumbnails(rows[_column(rows, table)].iloc[worst], captions)
    title = "Images with the largest losses: true and predicted class (and their probabilities)"
    return classes.plots(rows, predictions, table) | {title: mistakes}


def _logistic(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def _strength(found: np.ndarray, rows: pd.DataFrame, labels: np.ndarray, table: Table, seed: int) -> float:
    """Return the strength with the lowest log loss on images that a fold held out; a weak one without any fold."""
    part = blend.sample(len(rows), VALIDATED, seed)
    found, rows, labels = found[part], rows.iloc[part], labels[part]
    known, totals = np.unique(labels), np.zeros(len(STRENGTHS))
    for number, (learned, held) in enumerate(blend.folds(rows, labels, table, seed), 1):
        progress(f"choosing the strength: fold {number} of {blend.FOLDS}")
        if len(held) and len(np.unique(labels[learned])) > 1:
            true = np.arange(len(held)), np.searchsorted(known, labels[held])
            for i, strength in enumerate(STRENGTHS):
                classifier = _logistic(strength).fit(found[learned], labels[learned])
                chances = blend.probabilities(classifier, found[held], known)[true]
                totals[i] -= np.log(np.clip(chances, classes.FLOOR, 1)).sum()
    return STRENGTHS[totals.argmin()] if totals.any() else SIMPLE


def _pipeline(features: Features, classifier: Pipeline) -> Pipeline:
    return Pipeline([("features", features), ("classifier", classifier)])


def _column(rows: pd.DataFrame, table: Table) -> str:
    """Return the table's only feature; raise Refused if there are more, or if it does not hold files."""
    if len(table.features) != 1 or not rows[table.features[0]].map(lambda value: isinstance(value, bytes)).all():
        raise Refused(
            f"table {table.name} must have one feature, a column of image files, but has {table.features}: see data.py"
        )
    return table.features[0]
