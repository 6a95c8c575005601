"""Split a table and fit a model: the stages `split` and `fit`, files in, files out."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from .. import Refused
from ..datasets import columns
from ..datasets.catalog import content_hash
from ..datasets.table import is_holdout, key_hashes
from . import artifact
from .contract import Model
from .copies import copied_rows
from .modules import responses
from .workspace import read_rows


def split(model: Model) -> None:
    """Write train.parquet and holdout.parquet, the keys of the training rows, and facts about the table.

    Held-out rows that are copies of training rows are in neither.
    """
    rows, files = model.table.rows(), model.files
    held = is_holdout(model.table, rows)
    copies = copied_rows(model.table, rows, held)
    files.rows.mkdir(parents=True, exist_ok=True)
    rows[~held].reset_index(drop=True).to_parquet(files.train)
    model.prediction_requests(rows, held & ~copies).reset_index(drop=True).to_parquet(files.holdout)
    np.save(files.train_keys, np.sort(key_hashes(model.table, rows[~held])))
    facts = {name: getattr(model.table, name) for name in ("name", "target", "keys", "time", "group", "features")}
    code = Path(model.module.__file__).read_bytes().replace(b"\r\n", b"\n")
    facts |= {  # for dvc.yaml: a change of any refits
        "sha256": content_hash(rows),
        "module": sha256(code).hexdigest(),
        "nullable": [name for name in model.table.features if model.table.schema.columns[name].nullable],
        "copies": int(copies.sum()),
    }
    files.table_facts.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def fit(model: Model) -> None:
    """Fit the model on train.parquet and write the model file with its signature and a few examples."""
    rows = read_rows(model.files.train)
    if rows[model.table.target].nunique() < 2:
        raise Refused(f"{model.name} has only one value of {model.table.target} to learn from: it needs more rows")
    fit_rows(model, rows, model.files.model)


def fit_rows(model: Model, rows: pd.DataFrame, folder: Path) -> None:
    """Fit the model on these rows and write its file, its signature and examples of requests to a folder."""
    estimator = model.module.fit(rows, model.table, model.params)
    inputs = model.inputs(rows)
    examples = model.prediction_requests(rows, pd.Series(True, rows.index)).tail(artifact.EXAMPLES)
    examples = columns.records(examples[[column.name for column in inputs]])
    requests = columns.typed(pd.DataFrame.from_records(examples), inputs)  # as the service will be asked
    described = {
        "model": model.name,
        "table": model.table.name,
        "inputs": inputs,
        "examples": examples,
        "predictions": responses(model.module, estimator, requests),
    }
    artifact.save(folder, estimator, described, model.module.TRUSTED)
