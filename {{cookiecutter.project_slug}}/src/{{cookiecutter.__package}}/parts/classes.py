"""What models of classes share: labels, probabilities, their losses, metrics and pictures."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    RocCurveDisplay,
    accuracy_score,
    average_precision_score,
    roc_auc_score,
)

from ..table import Table

FLOOR = 1e-6  # the least probability a class is given, so that no loss is infinite
BINS = 10  # of equally many rows, in which chances are compared with shares
PREFIX = "probability_"


def labels(rows: pd.DataFrame, table: Table) -> np.ndarray:
    """The rows' true classes as plain booleans, numbers or texts, whatever pandas holds them as."""
    values = rows[table.target]
    if pd.api.types.is_bool_dtype(values):
        return values.to_numpy(bool)
    if pd.api.types.is_numeric_dtype(values):
        return values.to_numpy(int if pd.api.types.is_integer_dtype(values) else float)
    return values.astype("string").to_numpy(object)


def predicted(chances: np.ndarray, classes: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """The most probable class, and `probability_<class>` for each."""
    frame = pd.DataFrame(chances, index=index, columns=[f"{PREFIX}{label}" for label in classes])
    frame.insert(0, "prediction", classes[chances.argmax(axis=1)])
    return frame


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """Minus the logarithm of the probability that the true class was given, one per row."""
    chances = predictions.filter(regex=f"^{PREFIX}")
    places = chances.columns.get_indexer([f"{PREFIX}{label}" for label in labels(rows, table)])
    given = np.where(places < 0, 0.0, chances.to_numpy()[np.arange(len(rows)), places])
    return -np.log(np.clip(given, FLOOR, 1))


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Shares in [0, 1], higher is better but for the calibration error; ranking only where both of two classes occur.

    The calibration error is the mean distance between the chance given to the predicted class and how often it is
    the true one, over BINS bins of equally many rows.
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


def pictures(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, Figure]:
    """Where the classes are confused; for two classes, also how they are ranked and how far the chances are true."""
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
    axes[1].set(xlabel="share of the others taken for it", ylabel=f"share of {second} found")
    axes[2].set(xlabel=f"mean chance given to {second}", ylabel=f"share of {second}")
    return {"Confusion, ranking and calibration on held-out rows": figure}


def _pair(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> tuple[np.ndarray, pd.Series] | None:
    """For two classes that both occur: whether a row is of the second one, and the chance it was given."""
    chances = predictions.filter(regex=f"^{PREFIX}")
    second = [f"{PREFIX}{label}" == chances.columns[-1] for label in labels(rows, table)]
    if chances.shape[1] != 2 or len(set(second)) != 2:
        return None
    return np.array(second), chances.iloc[:, 1]
