"""A table that models learn from: its rows, their meaning, their schema, and which of them are held out."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from .. import Refused
from .checks import (
    BadData,
    Finding,
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


MIDNIGHT = re.compile(r"[T ]00:00:00(\.0+)?(Z|\+00:00)?$")
AS_OF, ROW = "time of as_of", "row of as_of"  # names of columns that no table has


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
        out_of_range: What becomes of a request that breaks a simple check of the schema: "warn" answers it with a
            warning, "refuse" does not.
        request: The columns that a caller gives of a row, if those are not the features: `load` returns them, and
            `prepare` makes the features of them.
        prepare: Returns requests with the columns that it adds, for training as for asking. A function of a module
            beside data.py, such as preparation.py, since the service imports no data.py.
        lookups: The sources whose snapshots `prepare` gets, by name. A version keeps those it was made with.
        plots: Returns further figures of good rows for the report, by title: of Matplotlib, or HTML as `Markup`.
        quarantine: The share of the rows that may be set aside where they break the schema; at 0, one bad row stops.
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
    out_of_range: Literal["warn", "refuse"] = "warn"
    request: "pa.DataFrameSchema | None" = None
    prepare: Callable[[pd.DataFrame, dict[str, pd.DataFrame]], pd.DataFrame] | None = None
    lookups: tuple[str, ...] = ()
    plots: "Callable[[pd.DataFrame], dict[str, Figure]] | None" = None
    quarantine: float = 0.0
    pictures: "Callable[[pd.DataFrame], dict[str, Figure]] | None" = None  # former name of plots, removed in 1.0

    def __post_init__(self) -> None:
        """Accept `plots` under its former name; refuse what cannot be."""
        if self.out_of_range not in ("warn", "refuse"):
            raise Refused(f"table {self.name}: out_of_range is {self.out_of_range!r}, but can be 'warn' or 'refuse'")
        if not 0 <= self.quarantine < 1:
            raise Refused(f"table {self.name}: quarantine is {self.quarantine!r}, but is a share of the rows, below 1")
        if bool(self.request) != bool(self.prepare):
            raise Refused(f"table {self.name} has one of request and prepare: it needs both, or neither")
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

    @property
    def requested(self) -> list[str]:
        """The columns that a caller gives of a row: the features, unless the table prepares them."""
        return list(self.request.columns) if self.request else self.features

    def predicting(self, target: str) -> "Table":
        """Return the table with one of its targets as the one to predict; the others stay no features."""
        if target == self.target:
            return self
        return replace(self, target=target, targets=(self.target, *self.targets), pictures=None)

    def rows(self) -> pd.DataFrame:
        """Return all good rows in the order of time and key; raise BadData if others may not be set aside."""
        return self.sifted()[0]

    def sifted(self) -> tuple[pd.DataFrame, pd.DataFrame, list[Finding]]:
        """Return the good rows in the order of time and key, those that the quarantine sets aside, and why.

        Raises:
            BadData: If rows break the schema that may not be set aside: a column as a whole, or too many rows.
        """
        rows, aside, findings = self.loaded(), [], []
        total = len(rows)
        while True:
            try:
                rows = checked(self, rows)  # under the same name: those that were read are let go before the next copy
            except BadData as bad:
                indexes = [each.index for each in bad.findings]
                own = rows.index.isin(np.concatenate(indexes)) if all(each is not None for each in indexes) else None
                if own is None or sum(map(len, aside)) + own.sum() > self.quarantine * total:
                    raise
                aside.append(rows[own])
                findings += bad.findings
                rows = rows[~own]
            else:
                break
        rows = _sorted(rows, list(dict.fromkeys([*([self.time] if self.time else []), *self.keys])))
        return rows, pd.concat(aside) if aside else rows.head(0), findings

    def loaded(self) -> pd.DataFrame:
        """Return the rows as they are read, and prepared if the table does, unchecked."""
        rows = self.load()
        if not rows.index.is_unique:  # as of a concat: the index is what tells a bad row
            rows = rows.reset_index(drop=True)
        return self._prepared(rows) if self.prepare else rows

    def read_lookups(self) -> dict[str, pd.DataFrame]:
        """Return the rows of the sources that `prepare` looks something up in, by name."""
        from .catalog import read  # the service reads no snapshot

        return {name: read(name) for name in self.lookups}

    def _prepared(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with what `prepare` makes of the columns that a caller would give, and of no others."""
        from pandera.errors import SchemaErrors

        if lost := [name for name in self.requested if name not in rows]:
            raise Refused(f"table {self.name}: a request has {lost[0]!r}, which its rows lack: see data.py")
        try:
            requests = self.request.validate(rows[self.requested], lazy=True)
        except SchemaErrors as errors:
            raise BadData(self.name, schema_failures(errors.failure_cases, rows, self.keys), len(rows)) from errors
        made = prepared(self.prepare, requests, self.read_lookups())
        if clash := ({*made} - {*self.requested}) & {*rows}:
            raise Refused(f"table {self.name}: prepare adds {min(clash)!r}, which its rows have already: see data.py")
        return rows.assign(**made)


def prepared(
    prepare: Callable[[pd.DataFrame, dict[str, pd.DataFrame]], pd.DataFrame],
    requests: pd.DataFrame,
    lookups: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """Return the requests with the columns that `prepare` adds.

    Raises:
        Refused: If it returns other rows, or changes what was given: a row would not mean the same in training.
    """
    given = requests.reset_index(drop=True)
    made = prepare(given.copy(), lookups)
    if not (isinstance(made, pd.DataFrame) and made.index.equals(given.index)):
        raise Refused(f"{prepare.__name__} must return a row for each request, with the index of the requests")
    if changed := [name for name in given if name not in made or not made[name].equals(given[name])]:
        raise Refused(f"{prepare.__name__} changes {changed[0]!r}, or the order of the rows: give what it makes a name")
    return made.set_index(requests.index)


def as_of(
    rows: pd.DataFrame, lookup: pd.DataFrame, time: str, known: str, by: str | list[str] | None = None
) -> pd.DataFrame:
    """Return the rows with the newest line of a lookup that was known at each row's time, by `pandas.merge_asof`.

    Args:
        rows: The rows, whose index stays.
        lookup: Lines with the time from which each is known.
        time: The rows' column of times.
        known: The lookup's column of times, which is not added.
        by: The column or columns that both have and that must be equal.
    """
    left = rows.assign(**{AS_OF: _instants(rows[time]), ROW: range(len(rows))})
    right = lookup.drop(columns=known).assign(**{AS_OF: _instants(lookup[known])}).dropna(subset=AS_OF)
    left, right = (each.sort_values(AS_OF, kind="stable") for each in (left.dropna(subset=AS_OF), right))
    found = pd.merge_asof(left, right, on=AS_OF, by=by).set_index(ROW).drop(columns=AS_OF)
    added = found[[name for name in found if name not in rows]].reindex(range(len(rows)))
    return rows.join(added.set_index(rows.index))


def _instants(times: pd.Series) -> pd.Series:
    """Return times of any unit and zone as the same kind, so that they can be compared."""
    return pd.to_datetime(times, utc=True).dt.as_unit("ns")


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
    asked = rows[[name for name in table.requested if name not in table.schema.columns and name in rows]]
    findings, loaded = [], rows.drop(columns=asked.columns)
    try:
        rows = table.schema.validate(loaded.copy(deep=False), lazy=True, inplace=True)  # copies what it changes, only
        findings += altered_values(loaded, rows, table.keys)
        findings += unusable_values(rows, table.features, table.time, table.keys)
        findings += unusable_files(rows, table.features, table.keys, is_holdout(table, rows))
    except SchemaErrors as errors:
        findings += schema_failures(errors.failure_cases, rows, table.keys)
    findings += missing_values(rows, [name for name in named if table.schema.columns[name].nullable], table.keys)
    findings += duplicate_keys(rows, table.keys)
    if findings:
        raise BadData(table.name, findings, len(rows))
    return rows.join(asked)


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


def _sorted(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the rows in the order of these columns, numbered from 0; the frame given is empty afterwards.

    Each column is let go as soon as it is sorted, so that a large table is not in memory twice.
    """
    places = rows[names].reset_index(drop=True).sort_values(names).index
    if places.is_monotonic_increasing:
        return rows.reset_index(drop=True)
    return pd.DataFrame({name: rows.pop(name).array.take(places.to_numpy()) for name in [*rows]}, copy=False)


def key_hashes(table: Table, rows: pd.DataFrame) -> np.ndarray:
    """Return a number per row (uint64) that identifies its key; a version keeps those of its training rows."""
    names = pd.DataFrame({name: texts(rows[name]) for name in table.keys}, dtype="string")
    return pd.util.hash_pandas_object(names, index=False).to_numpy()


def key_text(values: list[Any]) -> str | None:
    """Return a key as one text, however its parts were written; None if a part is missing."""
    if not values or any(value is None or value != value for value in values):
        return None
    parts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]
    return " | ".join(MIDNIGHT.sub("", part) for part in parts)


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
