"""Fit a scored model again on all rows, and bring what it keeps of them up to date: what serves knows the newest."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from .. import Refused
from ..datasets.catalog import content_hash
from . import artifact, evaluate, train
from .artifact import Signature
from .contract import Model
from .modules import optional, responses
from .workspace import read_rows

WORSE = 0.1  # share of the scored model's skill that a refit may lose on the held-out rows, which it has seen


def is_refitted(model: Model) -> bool:
    """Return whether the model serves fitted on all rows: where the held-out ones are the newest."""
    return model.table.time is not None


def refit(model: Model) -> None:
    """Fit the model on training and held-out rows alike, and write its file and signature to `refit`.

    Raises:
        Refused: The rows have changed since they were split, or the refit is not close to the scored model.
    """
    rows = model.rows()
    if content_hash(rows) != json.loads(model.files.table_facts.read_text(encoding="utf-8"))["sha256"]:
        raise Refused(f"the rows of {model.table.name} have changed since {model.name} was trained: train it again")
    train.fit_rows(model, rows, model.files.refit)
    _check(model)


def update(model: Model) -> None:
    """Bring the refit, or the scored model where there is none, up to date with all rows as they are now."""
    files, module = model.files, model.module
    folder = files.refit if files.refit.exists() else files.model
    estimator = optional(module, "update")(artifact.load(folder, module.TRUSTED), model.rows(), model.table)
    save_update(artifact.signature(folder), module, estimator, files.refit, module.TRUSTED)


def save_update(
    signature: Signature,
    module: ModuleType,
    estimator: Any,
    folder: Path,
    trusted: tuple[str, ...],
    packages: tuple[str, str] | None = None,
) -> None:
    """Write a model that was brought up to date; it takes what it took before, and has the same examples.

    Args:
        signature: Of the model before.
        module: The model's code.
        estimator: The model now.
        folder: Where to write it.
        trusted: The types its file may hold.
        packages: As `artifact.save` takes them.
    """
    requests = signature.typed(pd.DataFrame.from_records(signature.examples))
    described = vars(signature) | {"predictions": responses(module, estimator, requests)}
    del described["sha256"]
    artifact.save(folder, estimator, described, trusted, packages)


def _check(model: Model) -> None:
    """Raise Refused unless the refit takes what the scored model takes and predicts its held-out rows as well."""
    served, scored = (artifact.signature(folder) for folder in (model.files.refit, model.files.model))
    kinds = [[(column.name, column.kind) for column in each.inputs] for each in (served, scored)]
    if kinds[0] != kinds[1]:
        raise Refused(f"{model.name}, fitted on all rows, takes other columns than the scored one")
    rows, scores = read_rows(model.files.holdout), evaluate.read_scores(model)
    predictions = model.module.predict(artifact.load(model.files.refit, model.module.TRUSTED), rows)
    if not evaluate.is_finite(predictions).all():
        raise Refused(f"{model.name}, fitted on all rows, predicts missing or infinite values")
    loss = float(np.mean(model.module.losses(rows, predictions, model.table)))
    skill = max(scores["baselines"]["naive"]["value"] - scores["value"], 0.0)
    if loss > (allowed := scores["value"] + WORSE * skill):
        found = f"{scores['primary']} {loss:.4g} on the held-out rows"
        raise Refused(f"{model.name}, fitted on all rows, has a {found}, wanted at most {allowed:.4g}")
