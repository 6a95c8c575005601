"""How much a model relies on each feature: the rise of its loss where the feature's values are shuffled."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..datasets.charts import number
from . import artifact
from .contract import Model

ROWS = 1000  # held-out rows at most, a sample
REPEATS = 5  # shuffles of a feature at most
PREDICTED = 20_000  # rows in all from which on fewer rows and repeats are used
FEWEST = 100  # rows, however many features there are
AT_ONCE = 5000  # rows predicted in one call


@dataclass(frozen=True)
class Importance:
    """The importance of each feature.

    Attributes:
        rises: The rise of the mean loss by feature (index) and shuffle (columns).
        rows: How many held-out rows were shuffled.
    """

    rises: pd.DataFrame
    rows: int

    def table(self, unit: str, limit: int) -> pd.DataFrame:
        """Return a line for each of the `limit` most important features: the mean rise, lowest and highest."""
        found = self.rises.agg(["mean", "min", "max"], axis=1).nlargest(limit, "mean")
        words = [f"{number(mean)} ({number(low)} to {number(high)})" for mean, low, high in found.to_numpy()]
        return pd.DataFrame({"feature": found.index, f"rise of {unit} (lowest to highest)": words})


def permutation_importance(model: Model, rows: pd.DataFrame, seed: int = 0) -> Importance | None:
    """Return the permutation importance of the features on a sample of held-out rows; None without such features.

    See Breiman (2001), "Random forests". Columns of files are left out.

    Raises:
        Refused: The model does not take rows whose values are shuffled.
    """
    features = [name for name in model.table.features if name in rows and not _is_files(rows[name])]
    if not features:
        return None
    random = np.random.default_rng(seed)
    count = min(len(rows), ROWS, max(FEWEST, PREDICTED // len(features)))
    repeats = int(np.clip(PREDICTED // (count * len(features)), 1, REPEATS))
    part = rows.iloc[np.sort(random.choice(len(rows), count, replace=False))].reset_index(drop=True)
    shuffles = [(name, random.permutation(count)) for name in features for _ in range(repeats)]
    estimator = artifact.load(model.files.model, model.module.TRUSTED)
    together, found = max(AT_ONCE // count, 1), []
    for i in range(0, len(shuffles), together):
        changed = [part.assign(**{name: part[name].array[order]}) for name, order in shuffles[i : i + together]]
        found.append(_mean_losses(model, estimator, changed))
    rises = np.concatenate(found) - _mean_losses(model, estimator, [part])
    return Importance(pd.DataFrame(rises.reshape(len(features), repeats), features), count)


def _mean_losses(model: Model, estimator: object, parts: list[pd.DataFrame]) -> np.ndarray:
    """Return the mean loss on each of some frames of equally many rows, `(frames,)`."""
    rows = pd.concat(parts, ignore_index=True)
    predictions = model.module.predict(estimator, rows)
    return np.asarray(model.module.losses(rows, predictions, model.table), float).reshape(len(parts), -1).mean(axis=1)


def _is_files(values: pd.Series) -> bool:
    return pd.api.types.infer_dtype(values, skipna=True) == "bytes"
