"""What else could have been done with the same rows: never retrain, or retrain every night and ask no gate."""

from typing import Any

import numpy as np
import pandas as pd

from ..datasets.table import is_holdout
from ..training.contract import Model

SERVED, FROZEN, BLIND = "served", "nobody retrains", "blindly every night"


def row_losses(model: Model, truth: pd.DataFrame, predictions: pd.DataFrame) -> np.ndarray:
    """Return the loss of each prediction, `(rows,)`."""
    truth, predictions = (each.reset_index(drop=True) for each in (truth, predictions))
    return np.asarray(model.module.losses(truth, predictions, model.table), float)


class Blind:
    """The project's own fit, every night, of whatever the source holds: it serves the next day, whatever it does."""

    def __init__(self, model: Model) -> None:
        self.model, self.estimator = model, None

    def fit(self, rows: pd.DataFrame) -> None:
        """Learn from these rows, those held out apart, as `just train` does."""
        held = is_holdout(self.model.table, rows)
        learned = rows if self.model.table.time else rows[~held]
        self.estimator: Any = self.model.module.fit(learned.reset_index(drop=True), self.model.table, self.model.params)

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return its answers."""
        return self.model.module.predict(self.estimator, rows.reset_index(drop=True))
