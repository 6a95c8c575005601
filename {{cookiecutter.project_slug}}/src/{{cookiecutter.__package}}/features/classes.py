"""Labels, predicted probabilities, losses, metrics and plots of classification models."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import (
    RocCurveDisplay,
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from ..datasets.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOOR = 1e-6  # probabilities are clipped to at least this, so that no loss is infinite
BINS = 10  # bins of the calibration error, with equally many rows each
PREFIX = "probability_"
MANY = 12  # classes from which on the confusion matrix shows no counts
FREQUENT = 10  # confusions listed
LABEL = 16  # characters of a class in a plot


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


def loss_units(loss: float, table: Table) -> dict[str, float]:
    """Return a mean loss by the name of its unit."""
    return {"log loss": loss}


def tables(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, pd.DataFrame]:
    """Return count, precision and recall of each class and, for more than two, the most frequent confusions."""
    truth, guess, known = _compared(rows, predictions, table)
    precision, recall, _, counts = precision_recall_fscore_support(truth, guess, labels=known, zero_division=np.nan)
    each = {"class": known, "rows": counts, "predicted": [np.sum(guess == label) for label in known]}
    found = {"Classes": pd.DataFrame(each | {"precision": precision, "recall": recall})}
    wrong = pd.DataFrame({"class": truth, "predicted": guess})[truth != guess].value_counts().head(FREQUENT)
    if len(known) > 2 and len(wrong):
        frequent = wrong.rename("rows").reset_index()
        shares = frequent["rows"] / frequent["class"].map(dict(zip(known, counts, strict=True)))
        found["Most frequent confusions"] = frequent.assign(**{"share of the class": shares})
    return found


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "dict[str, Figure]"]:
    """Return the confusion matrix, the calibration and, for two classes, the ROC curve."""
    from matplotlib.figure import Figure  # only reports plot: the service must not load it

    truth, guess, known = _compared(rows, predictions, table)
    pair, side = _pair(rows, predictions, table), float(np.clip(2 + 0.3 * len(known), 3.75, 7.5))
    confusion, calibration, ranking = (Figure((size, size), layout="constrained") for size in (side, 3.75, 3.75))
    _plot_confusion(confusion.subplots(), confusion_matrix(truth, guess, labels=known), known)
    figures = {"Confusion: rows of each true class by predicted class, coloured by their share of it": confusion}
    if pair is None:
        top = predictions.filter(regex=f"^{PREFIX}").max(axis=1).to_numpy()
        words = "the predicted class's probability", "share of correct predictions"
        _plot_calibration(calibration.subplots(), top, truth == guess, *words)
    else:
        second = known[-1]
        words = f"predicted probability of {second[:LABEL]}", f"share of {second[:LABEL]}"
        _plot_calibration(calibration.subplots(), pair[1].to_numpy(), pair[0], *words)
        axis = ranking.subplots()
        RocCurveDisplay.from_predictions(*pair, ax=axis, plot_chance_level=True, name="model")
        axis.set(xlabel="false positive rate", ylabel=f"true positive rate ({second[:LABEL]})")
        figures["ROC: how well the classes are ranked"] = ranking
    figures["Calibration: groups of rows with similar probabilities, with standard errors"] = calibration
    return {"Confusion and calibration on held-out rows": figures}


def _plot_confusion(axis: Any, counts: np.ndarray, known: list[str]) -> None:
    """Plot a confusion matrix, `(classes, classes)`: shares of the true class as colours, counts if they fit."""
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(known) <= MANY:
        for (i, j), count in np.ndenumerate(counts):
            axis.text(j, i, count, ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    every, size = -(-len(known) // 60), 9 if len(known) <= MANY else 7
    places, words = range(0, len(known), every), [label[:LABEL] for label in known[::every]]
    crowded = len(known) > 2 and max(map(len, words)) > 2
    axis.set_xticks(places, words, rotation=90 if crowded else 0, fontsize=size)
    axis.set_yticks(places, words, fontsize=size)
    axis.set(xlabel="predicted class", ylabel="true class")


def _plot_calibration(axis: Any, chances: np.ndarray, hits: np.ndarray, xlabel: str, ylabel: str) -> None:
    """Plot how often rows of similar probability are hits, and the diagonal on which they are as often as predicted."""
    edges = np.unique(np.quantile(chances, np.arange(1, BINS) / BINS))
    bins = pd.DataFrame({"chance": chances, "hit": hits}).groupby(np.searchsorted(edges, chances, side="right"))
    chance, share, count = bins["chance"].mean(), bins["hit"].mean(), bins.size()
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--", label="perfectly calibrated")
    axis.errorbar(chance, share, np.sqrt(share * (1 - share) / count), marker="o", capsize=2, label="model")
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axis.legend()


pictures = plots  # former name, removed in 1.0


def _compared(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the true and the predicted classes as texts, `(rows,)`, and all classes, in the model's order."""
    names = [column.removeprefix(PREFIX) for column in predictions.filter(regex=f"^{PREFIX}")]
    alike = {_value(name): name for name in names}
    truth, guess = (
        np.array([str(label) if str(label) in names else alike.get(_value(label), str(label)) for label in each], str)
        for each in (labels(rows, table), predictions["prediction"])
    )
    return truth, guess, list(dict.fromkeys([*names, *sorted({*truth, *guess})]))


def _pair(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> tuple[np.ndarray, pd.Series] | None:
    """Return whether each row is of the second class, and its predicted probability; None unless both of two occur."""
    chances = predictions.filter(regex=f"^{PREFIX}")
    codes, truths = pd.factorize(labels(rows, table))
    second = np.array([f"{PREFIX}{truth}" == chances.columns[-1] for truth in truths], bool)[codes]
    if chances.shape[1] != 2 or len(np.unique(second)) != 2:
        return None
    return second, chances.iloc[:, 1]


def _value(label: object) -> str:
    """Return a class as text that is the same for 1, 1.0 and True."""
    plain = str(label).removesuffix(".0")
    return {"True": "1", "False": "0"}.get(plain, plain)
