"""The models: one module each, found by the name of its block in params.yaml, and the contract that each keeps.

A module has these names. Rows are frames with the columns of the table's schema, one row per key; predictions are
frames with the same index and at least a column `prediction`; losses have one number per row, lower is better, and
their mean is the primary metric, because that is what the gate can resample.

    PRIMARY: str                                        the name of the primary metric
    TRUSTED: tuple[str, ...]                            types the model file may hold besides skops' own
    class Params                                        a frozen dataclass: what the block in params.yaml may say
    fit(rows, table, params) -> estimator               scikit-learn compatible
    baselines(rows, table, params) -> dict[str, estimator]  fitted; `naive` at least
    predict(estimator, rows) -> DataFrame
    losses(rows, predictions, table) -> ndarray
    metrics(rows, predictions, table) -> dict[str, float]
    pictures(rows, predictions, table) -> dict[str, Figure]

and, where a row of the table is not yet what a model is asked (a forecaster needs to know what came before):

    questions(rows, held, table, params) -> DataFrame   the held-out rows as they would have been asked
    inputs(rows, table) -> list[Input]                  the columns of a question
    answers(estimator, rows) -> list[dict]              what the service says to each row
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock, Timeout

from .. import ROOT, Refused, artifact
from ..artifact import Input
from ..data import TABLES
from ..table import Table

CONTRACT = ("PRIMARY", "TRUSTED", "Params", "fit", "baselines", "predict", "losses", "metrics", "pictures")


@dataclass(frozen=True)
class Model:
    """A block of params.yaml: the module, the table it learns from, its parameters, and what others need to know."""

    name: str
    module: ModuleType
    table: Table
    params: Any
    slices: list[str] = field(default_factory=list)
    gate: dict[str, Any] = field(default_factory=dict)

    def questions(self, rows: pd.DataFrame, held: pd.Series) -> pd.DataFrame:
        """The held-out rows, as the model would have been asked for them."""
        own = getattr(self.module, "questions", None)
        return own(rows, held, self.table, self.params) if own else rows[held]

    def inputs(self, rows: pd.DataFrame) -> list[Input]:
        """The columns that the model takes."""
        return getattr(self.module, "inputs", artifact.inputs)(rows, self.table)

    def answers(self, estimator: Any, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """What the service says to each row."""
        own = getattr(self.module, "answers", None)
        return own(estimator, rows) if own else artifact.records(self.module.predict(estimator, rows))

    @property
    def folder(self) -> Path:
        """Where the machine keeps what it made for this model: rows, model file, metrics, predictions."""
        return ROOT / "artifacts" / self.name


def chosen(names: list[str]) -> list[Model]:
    """The models of these names, or all of params.yaml if there is none."""
    return [_model(name, block) for name, block in blocks(names).items()]


def one(names: list[str]) -> Model:
    """The model of this name, or the only one there is."""
    if len(found := blocks(names)) > 1:
        raise Refused(f"say which model: {', '.join(found)}")
    return chosen(names)[0]


def blocks(names: list[str]) -> dict[str, dict]:
    """The blocks of params.yaml of these names, or all, as they stand there; no module is imported."""
    found = _blocks()
    if unknown := [name for name in names if name not in found]:
        raise Refused(f"params.yaml has no model {unknown[0]!r}, only {', '.join(found)}")
    return {name: found[name] or {} for name in names or found}


def named(name: str) -> Model:
    """The model of this name."""
    return chosen([name])[0]


def module(name: str) -> ModuleType:
    """The model's module, which keeps the contract."""
    try:
        found = import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise Refused(f"params.yaml names model {name!r}, but there is no src/*/models/{name}.py") from error
    if lacks := [part for part in CONTRACT if not hasattr(found, part)]:
        raise Refused(f"models/{name}.py lacks {', '.join(lacks)}: see the contract in models/__init__.py")
    return found


@contextmanager
def alone() -> Iterator[None]:
    """No other command trains in this project's folder meanwhile; one that tries is told at once."""
    try:
        with FileLock(ROOT / ".training.lock", timeout=0):
            yield
    except Timeout as error:
        raise Refused("another training is at work in this folder: wait for it to end") from error


def _blocks() -> dict[str, dict]:
    try:
        content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        return {str(name): block for name, block in content["models"].items()}
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise Refused(f"params.yaml cannot be read as blocks under `models:` ({type(error).__name__})") from error


def _model(name: str, block: dict) -> Model:
    found = module(name)
    own = {key: value for key, value in block.items() if key not in {"table", "slices", "gate"}}
    known = {each.name for each in fields(found.Params)}
    if unknown := set(own) - known:
        raise Refused(f"params.yaml: {name} has an unknown key {min(unknown)!r}, use {', '.join(sorted(known))}")
    for each in fields(found.Params):
        if each.name in own and not _fits(own[each.name], each.default):
            kind = type(each.default).__name__
            raise Refused(
                f"params.yaml: {each.name} of {name} must be a {kind} like {each.default!r}, not {own[each.name]!r}"
            )
    table = table_of(name, block)
    slices = block.get("slices") or []
    if lost := [column for column in slices if column not in table.schema.columns]:
        raise Refused(f"params.yaml: {name} slices by {lost[0]!r}, which is no column of {table.name}")
    return Model(name, found, table, found.Params(**own), slices, block.get("gate") or {})


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the kind that its default has, if it has a plain one; a whole number is a float, too."""
    if type(default) not in (bool, int, float, str):
        return True
    return type(value) is type(default) or (type(value) is int and type(default) is float)


def table_of(name: str, block: dict) -> Table:
    """The table that the model of this block learns from."""
    wanted = block.get("table", TABLES[0].name)
    for table in TABLES:
        if table.name == wanted:
            return table
    raise Refused(f"params.yaml: {name} learns from table {wanted!r}, but data.py has {[t.name for t in TABLES]}")
