"""Score a recipe instead of one model, where the held-out rows are too few: refit it on folds of all rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from ..datasets.table import Table
from ..features.progress import progress
from .contract import Model
from .statistics import resampling_units

FOLDS = 5


@dataclass(frozen=True)
class Tested:
    """Rows as they were requested, what was predicted for them, and the losses of each baseline, (rows,)."""

    rows: pd.DataFrame
    predictions: pd.DataFrame
    baselines: dict[str, np.ndarray]


def refitted(model: Model, rows: pd.DataFrame) -> Tested:
    """Return the rows of all folds, each predicted by a model and by baselines that were fitted without it."""
    module, table, parts = model.module, model.table, []
    for number, (learned, held) in enumerate(folds(rows, table), 1):
        progress(f"scoring: fold {number} of {FOLDS}")
        known = rows[learned | held]
        requests = model.prediction_requests(known, pd.Series(held[learned | held], known.index))
        predictions = module.predict(module.fit(rows[learned], table, model.params), requests)
        simpler = module.baselines(rows[learned], table, model.params).items()
        losses = {name: module.losses(requests, module.predict(each, requests), table) for name, each in simpler}
        parts.append(Tested(requests, predictions, losses))
    return Tested(
        pd.concat([part.rows for part in parts], ignore_index=True),
        pd.concat([part.predictions for part in parts], ignore_index=True),
        {name: np.concatenate([part.baselines[name] for part in parts]) for name in parts[0].baselines},
    )


def folds(rows: pd.DataFrame, table: Table) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield which rows to learn from and which to predict, by fold (boolean, (rows,)).

    With a time column each fold is a part of the later half of the times, learned from all that came before it.
    Otherwise each holds a fifth of the groups, or of the rows, and is learned from all others.
    """
    if table.time:
        times = rows[table.time].rank(method="dense").to_numpy(int) - 1
        edges = np.linspace((times.max() + 1) // 2, times.max() + 1, FOLDS + 1).astype(int)
        yield from ((times < start, (start <= times) & (times < end)) for start, end in pairwise(edges))
        return
    units = resampling_units(rows, table)
    fold = np.random.default_rng(0).permutation(units.max() + 1)[units] % FOLDS
    yield from ((fold != each, fold == each) for each in range(FOLDS))
