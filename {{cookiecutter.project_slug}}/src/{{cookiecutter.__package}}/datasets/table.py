"""A table that models learn from: its rows, their meaning, their schema, and which of them are held out."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import Refused
from .checks import (
    BadData,
    altered_values,
    duplicate_keys,
    missing_values,
    schema_failures,
    unusable_files,
    unusable_values,
)

if TYPE_CHECKING:  # the service needs neither
    import pandera.pandas as pa
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table that models learn from, as data.py declares it.

    Rows are held out by `time` if there is one, else by a hash of `group` or `key`. Rows of one `group` (a patient,
    a shop) stay on one side of the split and are resampled together.

    Attributes:
        name: Its name in params.yaml, messages and reports.
        load: Returns one row per key.
        schema: Columns, types and checks; a column that is not key, group, time or a target is a feature.
        target: The column to predict.
        key: The column or columns that identify a row.
        time: The column by whose newest values rows are held out.
        group: The column of what several rows belong to; for a forecaster, the series.
        holdout: The share of rows, or of distinct times, that is held out.
        targets: Further columns to predict, which a block of params.yaml may name as its `target`.
        plots: Returns further figures of good rows for the report, by title.
    """

    name: str
    load: Callable[[], pd.DataFrame]
    schema: "pa.DataFrameSchema"
    target: str
    key: str | tuple[str, ...]
    time: str | None = None
    group: str | None = None
    holdout: float = 0.2
    targets: tuple[str, ...] = ()
    plots: "Callable[[pd.DataFrame], dict[str, Figure]] | None" = None
    pictures: "Callable[[pd.DataFrame], dict[str, Figure]] | None" = None  # former name of plots, removed in 0.5

    def __post_init__(self) -> None:
        """Accept `plots` under its former name."""
        if self.pictures is not None:
            warnings.warn("pictures= of a Table is called plots= now", FutureWarning, stacklevel=3)
            object.__setattr__(self, "plots", self.plots or self.pictures)

    @property
    def keys(self) -> list[str]:
        """The key's columns."""
        return [self.key] if isinstance(self.key, str) else list(self.key)

    @property
    def features(self) -> list[str]:
        """The columns a model may use: those of the schema that are not key, group, time or a target."""
        others = {*self.keys, self.group, self.time, self.target, *self.targets}
        return [name for name in self.schema.columns if name not in others]

    def predicting(self, target: str) -> "Table":
        """Return the table with one of its targets as the one to predict; the others stay no features."""
        if target == self.target:
            return self
        return replace(self, target=target, targets=(self.target, *self.targets), pictures=None)

    def rows(self) -> pd.DataFrame:
        """Return all rows in the order of time and key; raise BadData if they break the schema."""
        rows = self.load()
        return checked(self, rows).sort_values([*([self.time] if self.time else []), *self.keys], ignore_index=True)


def checked(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the schema's types.

    Raises:
        Refused: If there is no row, or the table names a column that its schema lacks.
        BadData: If a check fails; its message names column, count and examples.
    """
    from pandera.errors import SchemaErrors  # with the schema, but not with every module that names a Table

    if rows.empty:
        raise Refused(f"table {table.name} is empty: look at its source in data/catalog.yaml")
    named = list(
        dict.fromkeys(name for name in [*table.keys, table.target, *table.targets, table.time, table.group] if name)
    )
    if lost := [name for name in named if name not in table.schema.columns]:
        raise Refused(f"table {table.name} names {lost[0]!r}, which is not in its schema: see data.py")
    findings, loaded = [], rows
    try:
        rows = table.schema.validate(loaded, lazy=True)
        findings += [*altered_values(loaded, rows), *unusable_values(rows, table.features, table.time)]
        findings += unusable_files(rows, table.features, table.keys, is_holdout(table, rows))
    except SchemaErrors as errors:
        findings.append(schema_failures(errors.failure_cases, rows, table.keys))
    findings += missing_values(rows, [name for name in named if table.schema.columns[name].nullable])
    findings += duplicate_keys(rows, table.keys)
    if findings:
        raise BadData(table.name, pd.concat(findings, ignore_index=True), len(rows))
    return rows


def is_holdout(table: Table, rows: pd.DataFrame) -> pd.Series:
    """Return which rows no model may learn from (boolean, by the rows' index).

    With a time column: the newest share of the distinct times, so that a row may leave the holdout when newer ones
    arrive, but never enters it after a model has learned from it. Otherwise a hash fixes a row's side for ever.
    """
    if table.time:
        times = rows[table.time].drop_duplicates().sort_values()
        return rows[table.time] > times.iloc[max(int(len(times) * (1 - table.holdout)) - 1, 0)]
    columns = [texts(rows[name]) for name in ([table.group] if table.group else table.keys)]
    held = [_share("\x1f".join(name)) < table.holdout for name in zip(*columns, strict=True)]
    return pd.Series(held, rows.index, dtype=bool)


def key_hashes(table: Table, rows: pd.DataFrame) -> np.ndarray:
    """Return a number per row (uint64) that identifies its key; a version keeps those of its training rows."""
    names = pd.DataFrame({name: texts(rows[name]) for name in table.keys}, dtype="string")
    return pd.util.hash_pandas_object(names, index=False).to_numpy()


def texts(values: pd.Series) -> list[str]:
    """Return each value of a key as text that depends neither on the other rows nor on the column's dtype."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.as_unit("us").astype("int64").astype(str).tolist()
    if pd.api.types.is_float_dtype(values):
        return [str(int(value)) if float(value).is_integer() else str(value) for value in values]
    return values.astype("string").tolist()


def _share(name: str) -> float:
    """Return a number in [0, 1) that is the same for a name on every machine."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
