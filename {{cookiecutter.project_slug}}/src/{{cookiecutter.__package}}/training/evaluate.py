"""Score a fitted model on rows it never saw: metrics, baselines, slices (the stage `score`)."""

import json
from typing import Any

import numpy as np
import pandas as pd

from .. import Refused, first_line
from ..datasets.catalog import content_hash
from ..features.progress import watched
from . import artifact
from .contract import Model
from .folds import FOLDS, Tested, refitted
from .statistics import FEW as FEW_UNITS
from .statistics import SMALL, gain_over, independent, interval, resampling_units
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
    with watched():
        baselines = model.module.baselines(train, model.table, model.params)
    simpler = {
        name: model.module.losses(rows, model.module.predict(baseline, rows), model.table)
        for name, baseline in baselines.items()
    }
    held_out = Tested(rows, predictions, simpler)
    in_folds = _in_folds(model, train, rows)
    scores = scores_of(model, in_folds or held_out)
    scores["rows"] |= {"train": len(train), "holdout": len(rows), "copies": facts.get("copies", 0)}
    scores["prediction_hash"] = content_hash(predictions.reset_index(drop=True))
    if in_folds:
        own = scores_of(model, held_out)["baselines"]["naive"]
        scores |= {"folds": FOLDS, "held_out": own | {"rows": len(rows)}}
    predictions.to_parquet(model.files.predictions)
    model.files.metrics.write_text(json.dumps(scores, indent=1), encoding="utf-8")


def scores_of(model: Model, tested: Tested, units: np.ndarray | None = None) -> dict[str, Any]:
    """Return the scores on these rows; the units of the intervals, (rows,), are those of the table unless given."""
    rows, predictions = tested.rows, tested.predictions
    losses = model.module.losses(rows, predictions, model.table)
    units = resampling_units(rows, model.table) if units is None else units
    baselines = {name: gain_over(theirs, losses, units) for name, theirs in tested.baselines.items()}
    columns = slice_columns(model, rows)
    return {
        "primary": model.module.PRIMARY,
        "value": float(losses.mean()),
        "interval": interval(losses, units),
        "metrics": model.module.metrics(rows, predictions, model.table),
        "baselines": baselines,
        "best_baseline": min(baselines, key=lambda name: baselines[name]["value"]),
        "slices": [line for column in columns for line in slice_losses(column, rows[column], losses)],
        "rows": {"tested": len(rows), "independent": int(units.max(initial=-1)) + 1},
        "holdout_hash": content_hash(rows[[name for name in (*model.table.keys, model.table.target) if name in rows]]),
    }


def _in_folds(model: Model, train: pd.DataFrame, held: pd.DataFrame) -> Tested | None:
    """Return the test in folds of all rows if too few are held out, and the folds are large enough to learn from."""
    if len(held) >= SMALL and independent(held, model.table) >= FEW_UNITS:
        return None
    try:
        with watched():
            return refitted(model, pd.concat([train, held[train.columns]], ignore_index=True))
    except Exception as error:  # a model is somebody's code, and may need more rows than a fold has
        print(f"{model.name}: scored on {len(held)} held-out rows only, not in folds: {first_line(error)}", flush=True)
        return None


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
    """Return the scores in a line: the primary metric, its interval, and the best baseline."""
    low, high = scores["interval"]
    value = f"{scores['primary']} {scores['value']:.4g} ({low:.4g} to {high:.4g}; {best_baseline(scores)})"
    return value + (f" in {scores['folds']} folds, each refitted" if "folds" in scores else "")


def best_baseline(scores: dict[str, Any]) -> str:
    """Return the best baseline's name and its mean loss."""
    name = scores["best_baseline"]
    return f"best baseline: {name} {scores['baselines'][name]['value']:.4g}"
