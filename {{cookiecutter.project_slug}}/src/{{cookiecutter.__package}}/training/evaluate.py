"""Score a fitted model on rows it never saw: metrics, baselines, slices (the stage `score`)."""

import json
from typing import Any

import numpy as np
import pandas as pd

from .. import Refused
from ..datasets.catalog import content_hash
from . import artifact
from .contract import Model
from .statistics import gain_over, interval, resampling_units
from .workspace import read_rows

FEW = 12  # distinct values up to which a column is sliced by default


def score(model: Model) -> None:
    """Predict the held-out rows and write predictions.parquet and metrics.json."""
    train, rows = read_rows(model.files.train), read_rows(model.files.holdout)
    facts = json.loads(model.files.table_facts.read_text(encoding="utf-8"))
    if rows.empty:
        raise Refused(f"no row of {model.table.name} is held out: it needs more rows, or more times or groups")
    estimator = artifact.load(model.files.model, model.module.TRUSTED)
    predictions = model.module.predict(estimator, rows)
    if wrong := int((~is_finite(predictions)).sum()):
        raise Refused(f"{model.name} predicts missing or infinite values for {wrong} of {len(rows)} held-out rows")
    losses, units = model.module.losses(rows, predictions, model.table), resampling_units(rows, model.table)
    simpler = {
        name: model.module.losses(rows, model.module.predict(baseline, rows), model.table)
        for name, baseline in model.module.baselines(train, model.table, model.params).items()
    }
    scores = {
        "primary": model.module.PRIMARY,
        "value": float(losses.mean()),
        "interval": interval(losses, units),
        "metrics": model.module.metrics(rows, predictions, model.table),
        "baselines": {name: gain_over(theirs, losses, units) for name, theirs in simpler.items()},
        "slices": [
            line for column in slice_columns(model, rows) for line in slice_losses(column, rows[column], losses)
        ],
        "rows": {"train": len(train), "holdout": len(rows), "copies": facts.get("copies", 0)},
        "holdout_hash": content_hash(rows[[*model.table.keys, model.table.target]]),
        "prediction_hash": content_hash(predictions.reset_index(drop=True)),
    }
    predictions.to_parquet(model.files.predictions)
    model.files.metrics.write_text(json.dumps(scores, indent=1), encoding="utf-8")


def read_scores(model: Model) -> dict[str, Any]:
    """Return what the last scoring found."""
    return json.loads(model.files.metrics.read_text(encoding="utf-8"))


def is_finite(predictions: pd.DataFrame) -> np.ndarray:
    """Return for each row whether nothing predicted is missing and every number is finite (boolean, (rows,))."""
    numbers = predictions.select_dtypes("number").to_numpy(float)
    return np.isfinite(numbers).all(axis=1) & predictions.notna().all(axis=1).to_numpy()


def slice_columns(model: Model, rows: pd.DataFrame) -> list[str]:
    """Return the columns to slice by: those in params.yaml, and features of few values that are no measurements."""
    kinds = rows[model.table.features].select_dtypes(exclude=["float", "datetime", "datetimetz"])
    return list(dict.fromkeys([*model.slices, *(name for name in kinds if 2 <= kinds[name].nunique() <= FEW)]))


def slice_names(values: pd.Series) -> np.ndarray:
    """Return the slice that each row is in: the column's value as text, (rows,)."""
    return values.astype("string").fillna("(missing)").to_numpy()


def slice_losses(column: str, values: pd.Series, losses: np.ndarray) -> list[dict[str, Any]]:
    """Return a line per value of the column: how many rows, and their mean loss."""
    groups = pd.Series(losses).groupby(slice_names(values))
    return [{"column": column, "value": name, "rows": len(each), "loss": float(each.mean())} for name, each in groups]


def summary(scores: dict[str, Any]) -> str:
    """Return the scores in a line: the primary metric, its interval, and the naive baseline."""
    low, high = scores["interval"]
    naive = scores["baselines"]["naive"]["value"]
    return f"{scores['primary']} {scores['value']:.4g} ({low:.4g} to {high:.4g}; naive {naive:.4g})"
