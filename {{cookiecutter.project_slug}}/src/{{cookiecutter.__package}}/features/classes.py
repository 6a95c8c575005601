"""Labels, predicted probabilities, losses, metrics and plots of classification models."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    RocCurveDisplay,
    accuracy_score,
    average_precision_score,
    roc_auc_score,
)

from ..datasets.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOOR = 1e-6  # probabilities are clipped to at least this, so that no loss is infinite
BINS = 10  # bins of the calibration error, with equally many rows each
PREFIX = "probability_"


def labels(rows: pd.DataFrame, table: Table) -> np.ndarray:
    """Return the true classes, `(rows,)`, as plain booleans, numbers or texts, whatever dtype pandas holds them as."""
    values = rows[table.target]
    if pd.api.types.is_bool_dtype(values):
        return values.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(int if pd.api.types.is_integer_dtype(values) else float)
    return values.astype("string").to_numpy(object)


def predicted(chances: np.ndarray, classes: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Return the predictions frame of a classifier.

    Args:
        chances: Probabilities, `(rows, classes)`.
        classes: The class of each column, `(classes,)`.
        index: The index of the predicted rows.

    Returns:
        The columns `prediction`, the most probable class, and `probability_<class>` for each class.
    """
    frame = pd.DataFrame(chances, index=index, columns=[f"{PREFIX}{label}" for label in classes])
    frame.insert(0, "prediction", classes[chances.argmax(axis=1)])
    return frame


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """Return the log loss of each row, `(rows,)`; a class unknown to the model has probability FLOOR.

    Classes are compared as values: a model that learned 0 and 1 knows 0.0 and 1.0, and False and True.
    """
    chances = predictions.filter(regex=f"^{PREFIX}")
    exact = {column.removeprefix(PREFIX): i for i, column in enumerate(chances)}
    alike = {_value(name): i for name, i in exact.items()}
    codes, truths = pd.factorize(labels(rows, table))
    places = np.array([exact.get(str(truth), alike.get(_value(truth), -1)) for truth in truths], int)[codes]
    given = np.where(places < 0, 0.0, chances.to_numpy()[np.arange(len(rows)), places])
    return -np.log(np.clip(given, FLOOR, 1))


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Return accuracy, balanced accuracy, calibration error and, where both of two classes occur, ranking metrics.

    All are in [0, 1]; higher is better except for the calibration error. That is the mean absolute difference between
    the predicted class's probability and its accuracy, over BINS bins of equally many rows.
    """
    truth, guess = labels(rows, table), predictions["prediction"].to_numpy()
    top = predictions.filter(regex=f"^{PREFIX}").max(axis=1).to_numpy()
    order = np.argsort(top, kind="stable")
    off = [abs(np.mean(top[part] - (truth == guess)[part])) for part in np.array_split(order, BINS) if len(part)]
    shares = {label: np.mean(guess[truth == label] == label) for label in np.unique(truth)}
    found = {
        "accuracy": accuracy_score(truth, guess),
        "balanced_accuracy": np.mean(list(shares.values())),
        "calibration_error": np.mean(off),
    }
    if (pair := _pair(rows, predictions, table)) is not None:
        found |= {"roc_auc": roc_auc_score(*pair), "average_precision": average_precision_score(*pair)}
    return {name: float(value) for name, value in found.items()}


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "Figure"]:
    """Return a figure with the confusion matrix and, for two classes, the ROC and calibration curves."""
    from matplotlib.figure import Figure  # only reports plot: the service must not load it

    pair, count = _pair(rows, predictions, table), predictions.shape[1] - 1
    figure = Figure(figsize=(12, 4) if pair else (7, 6), layout="constrained")
    axes = figure.subplots(1, 3 if pair else 1, squeeze=False)[0]
    ConfusionMatrixDisplay.from_predictions(
        labels(rows, table),
        predictions["prediction"].to_numpy(),
        ax=axes[0],
        cmap="Blues",
        colorbar=False,
        include_values=count <= 20,
        xticks_rotation=90 if count > 5 else 0,
    )
    if not pair:
        return {"Confusion on held-out rows": figure}
    RocCurveDisplay.from_predictions(*pair, ax=axes[1], plot_chance_level=True)
    CalibrationDisplay.from_predictions(*pair, ax=axes[2], n_bins=8, strategy="quantile", name="model")
    second = predictions.columns[-1].removeprefix(PREFIX)
    axes[1].set(xlabel="false positive rate", ylabel=f"true positive rate ({second})")
    axes[2].set(xlabel=f"mean predicted probability of {second}", ylabel=f"share of {second}")
    return {"Confusion, ranking and calibration on held-out rows": figure}


pictures = plots  # former name, removed in 0.5


def _pair(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> tuple[np.ndarray, pd.Series] | None:
    """Return whether each row is of the second class, and its predicted probability; None unless both of two occur."""
    chances = predictions.filter(regex=f"^{PREFIX}")
    second = [f"{PREFIX}{label}" == chances.columns[-1] for label in labels(rows, table)]
    if chances.shape[1] != 2 or len(set(second)) != 2:
        return None
    return np.array(second), chances.iloc[:, 1]


def _value(label: object) -> str:
    """Return a class as text that is the same for 1, 1.0 and True."""
    plain = str(label).removesuffix(".0")
    return {"True": "1", "False": "0"}.get(plain, plain)
