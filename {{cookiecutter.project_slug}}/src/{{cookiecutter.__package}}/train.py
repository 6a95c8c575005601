"""Fit the named models, score them, and record each as a version; `split` and `fit` are files in, files out."""

import json
import time

import numpy as np
import pandas as pd

from . import Refused, artifact, catalog, evaluate, run, state
from .models import Model, alone, chosen
from .table import is_holdout, key_hashes


def main(arguments: list[str]) -> None:
    """Every model named, or all, is trained on the snapshots as they are and recorded; nothing is promoted."""
    from . import registry  # the stages, which record nothing, do not wait for it

    for model in chosen(arguments):
        start = time.perf_counter()
        with alone():
            made_of = state.now()
            split(model)
            fit(model)
            evaluate.score(model)
            evaluate.report(model)
            version, fresh = registry.record(model, made_of)
        novelty = "is new" if fresh else "already holds exactly this model"
        words = evaluate.summary(evaluate.metrics(model))
        print(f"{model.name}: version {version} {novelty}; {words}; {time.perf_counter() - start:.1f} s")
        print(f"  report: reports/{model.name}.html; to serve it: uv run just promote {version} {model.name}")


def split(model: Model) -> None:
    """The model's rows stand in its folder, those to learn from apart from those held out."""
    rows = model.table.rows()
    held = is_holdout(model.table, rows)
    folder = model.folder / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    rows[~held].reset_index(drop=True).to_parquet(folder / "train.parquet")
    model.questions(rows, held).reset_index(drop=True).to_parquet(folder / "holdout.parquet")
    np.save(folder / "train_keys.npy", np.sort(key_hashes(model.table, rows[~held])))
    facts = {name: getattr(model.table, name) for name in ("name", "target", "keys", "time", "group", "features")}
    facts["sha256"] = catalog.content_hash(rows)
    (folder / "table.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def fit(model: Model) -> None:
    """A fitted model stands in the model's folder, with its signature and a few examples."""
    rows = pd.read_parquet(model.folder / "rows" / "train.parquet")
    if rows[model.table.target].nunique() < 2:
        raise Refused(f"{model.name} has only one value of {model.table.target} to learn from: it needs more rows")
    estimator = model.module.fit(rows, model.table, model.params)
    columns = model.inputs(rows)
    examples = model.questions(rows, pd.Series(True, rows.index)).tail(artifact.EXAMPLES)
    examples = artifact.records(examples[[column.name for column in columns]])
    asked = artifact.typed(pd.DataFrame.from_records(examples), columns)  # as the service will be asked
    described = {
        "model": model.name,
        "table": model.table.name,
        "inputs": columns,
        "examples": examples,
        "predictions": model.answers(estimator, asked),
    }
    artifact.save(model.folder / "model", estimator, described, model.module.TRUSTED)


if __name__ == "__main__":
    run(main)
