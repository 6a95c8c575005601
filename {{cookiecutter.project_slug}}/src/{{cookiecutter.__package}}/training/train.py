"""Split a table and fit a model: the stages `split` and `fit`, files in, files out."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from .. import Refused
from ..datasets import columns
from ..datasets.catalog import content_hash
from ..datasets.table import is_holdout, key_hashes, prepared
from ..features.progress import watched
from . import artifact, aside
from .contract import Model
from .copies import copied_rows
from .modules import responses
from .workspace import read_rows

BLOCK = 30  # rows over which the target's level is taken
FEW = 12  # distinct values up to which a target is no measurement
LOOKUP_BYTES = 100_000_000  # of a table that every version of a model keeps


def split(model: Model) -> None:
    """Write train.parquet and holdout.parquet, the keys of the training rows, and facts about the table.

    Held-out rows that are copies of training rows are in neither.
    """
    every, files = model.table.rows(), model.files
    rows = aside.left(model.table, every, files.set_aside)
    held = is_holdout(model.table, rows)
    copies = copied_rows(model.table, rows, held)
    files.rows.mkdir(parents=True, exist_ok=True)
    rows[~held].reset_index(drop=True).to_parquet(files.train)
    model.prediction_requests(rows, held & ~copies).reset_index(drop=True).to_parquet(files.holdout)
    _keep_lookups(model)
    keys = key_hashes(model.table, rows)
    np.save(files.train_keys, np.sort(keys[~held]))
    np.save(files.holdout_keys, np.sort(keys[held]))
    facts = {name: getattr(model.table, name) for name in ("name", "target", "keys", "time", "group", "features")}
    measured = is_numeric_dtype(rows[model.table.target]) and rows[model.table.target].nunique() > FEW
    facts["target_levels"] = target_levels(rows[model.table.target].to_numpy(float)) if measured else None
    code = Path(model.module.__file__).read_bytes().replace(b"\r\n", b"\n")
    facts |= {  # for dvc.yaml: a change of any refits
        "sha256": content_hash(rows),
        "module": sha256(code).hexdigest(),
        "nullable": [name for name in model.table.features if model.table.schema.columns[name].nullable],
        "copies": int(copies.sum()),
        "set_aside": len(every) - len(rows),
    }
    files.table_facts.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def target_levels(values: np.ndarray, block: int = BLOCK) -> dict[str, Any]:
    """Return the range of a target's size and middle over blocks of rows, and its spread.

    Args:
        values: The target in the order of the table, (rows,).
        block: Rows of a block.

    Returns:
        `size`: the smallest and the largest 0.9 quantile of a block's absolute values; `middle`: the lowest and the
        highest median of a block; `spread`: from the 0.05 to the 0.95 quantile of all values.
    """
    count = max(len(values) // block, 1)
    blocks = values[-count * block :].reshape(count, -1)  # (blocks, rows of a block)
    sizes, middles = np.quantile(np.abs(blocks), 0.9, axis=1), np.median(blocks, axis=1)
    low, high = np.quantile(values, [0.05, 0.95])
    ranges = {name: [float(each.min()), float(each.max())] for name, each in (("size", sizes), ("middle", middles))}
    return {**ranges, "spread": float(high - low)}


def _keep_lookups(model: Model) -> None:
    """Write the tables that the preparation of requests looks something up in; raise Refused for a large one."""
    for name, lookup in model.table.read_lookups().items():
        path = model.files.rows / artifact.LOOKUP.format(name)
        lookup.to_parquet(path)
        if path.stat().st_size > LOOKUP_BYTES:
            raise Refused(f"lookup {name} has over {LOOKUP_BYTES:,} bytes, too much for every version: make it smaller")


def fit(model: Model) -> None:
    """Fit the model on train.parquet and write the model file with its signature and a few examples."""
    rows = read_rows(model.files.train)
    if rows[model.table.target].nunique() < 2:
        raise Refused(f"{model.name} has only one value of {model.table.target} to learn from: it needs more rows")
    fit_rows(model, rows, model.files.model)


def fit_rows(model: Model, rows: pd.DataFrame, folder: Path) -> None:
    """Fit the model on these rows and write its file, its signature and examples of requests to a folder."""
    with watched():
        estimator = model.module.fit(rows, model.table, model.params)
    inputs = model.inputs(rows)
    examples = model.prediction_requests(rows, pd.Series(True, rows.index)).tail(artifact.EXAMPLES)
    examples = columns.records(examples[[column.name for column in inputs]])
    requests = columns.typed(pd.DataFrame.from_records(examples), inputs)  # as the service will be asked
    lookups = {name: read_rows(model.files.rows / artifact.LOOKUP.format(name)) for name in model.table.lookups}
    if model.table.prepare:
        requests = prepared(model.table.prepare, requests, lookups)
    described = {
        "model": model.name,
        "table": model.table.name,
        "inputs": inputs,
        "examples": examples,
        "out_of_range": model.table.out_of_range,
        "preparation": model.preparation,
        "keys": model.table.keys,
        "predictions": responses(model.module, estimator, requests),
    }
    artifact.save(folder, estimator, described, model.module.TRUSTED, lookups=lookups)
