"""What a table is: its rows, what they mean, what makes them good, and which are held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import Figure
from pandera.errors import SchemaErrors

from . import Refused

EXAMPLES = 5  # bad rows shown for each problem
ABSENT = {"column_in_dataframe": "the column is missing", "column_in_schema": "the column is not in the schema"}


class BadData(Refused):
    """Rows that break their schema; `problems` has a line for each column and check: rows, example values."""

    def __init__(self, table: str, problems: pd.DataFrame, total: int) -> None:
        self.problems = problems
        lines = [
            f"  {row.column}: {row.check}, {row.rows} of {total} rows, e.g. {row.examples}"
            for row in problems.itertuples()
        ]
        super().__init__("\n".join([f"table {table} breaks its schema in src/*/data.py:", *lines]))


@dataclass(frozen=True)
class Table:
    """A table that models learn from, as data.py declares it.

    `load` gives one row per `key`. Rows are held out by `time` if there is one, else by a hash of `group` or `key`;
    rows of one `group` (a patient, a shop) stay on one side and are resampled together.
    """

    name: str
    load: Callable[[], pd.DataFrame]
    schema: pa.DataFrameSchema
    target: str
    key: str | tuple[str, ...]
    time: str | None = None
    group: str | None = None
    holdout: float = 0.2
    pictures: Callable[[pd.DataFrame], dict[str, Figure]] | None = None  # more pictures of good rows, for the report

    @property
    def keys(self) -> list[str]:
        return [self.key] if isinstance(self.key, str) else list(self.key)

    @property
    def features(self) -> list[str]:
        """The columns a model may use: those of the schema that are not key, group, time or target."""
        return [name for name in self.schema.columns if name not in {*self.keys, self.group, self.time, self.target}]

    def rows(self) -> pd.DataFrame:
        """All rows, proven good, in the order of time and key; raises BadData."""
        rows = self.load()
        return checked(self, rows).sort_values([*([self.time] if self.time else []), *self.keys], ignore_index=True)


def checked(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the schema's types, once every check holds; raises BadData naming column, count and examples."""
    if rows.empty:
        raise Refused(f"table {table.name} is empty: look at its source in data/catalog.yaml")
    named = [*table.keys, table.target, table.time, table.group]
    if lost := [name for name in named if name and name not in table.schema.columns]:
        raise Refused(f"table {table.name} names {lost[0]!r}, which is not in its schema: see data.py")
    problems, loaded = [], rows
    try:
        rows = table.schema.validate(loaded, lazy=True)
        problems += [*_altered(loaded, rows), *_unusable(table, rows)]
    except SchemaErrors as errors:
        problems.append(_problems(errors.failure_cases, rows, table.keys))
    problems += [
        _problem(name, "missing, though it is key, target, time or group", rows[name].isna().sum(), ["no value"])
        for name in dict.fromkeys(filter(None, named))
        if name in rows and table.schema.columns[name].nullable and rows[name].isna().any()
    ]
    present = [name for name in table.keys if name in rows]
    doubles = rows[rows.duplicated(present, keep=False)] if len(present) == len(table.keys) else rows[:0]
    if len(doubles):
        examples = doubles[present].drop_duplicates().head(EXAMPLES).to_numpy().tolist()
        problems.append(_problem(" and ".join(present), "duplicate keys", len(doubles), examples))
    if problems:
        raise BadData(table.name, pd.concat(problems, ignore_index=True), len(rows))
    return rows


def _altered(loaded: pd.DataFrame, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A problem for each column in which the schema's type has made other values of those loaded."""
    if not loaded.index.equals(rows.index):  # the schema leaves rows out
        return
    for name in rows.columns.intersection(loaded.columns):
        before, after = loaded[name], rows[name]
        if (filled := before.isna() & after.notna()).any():
            yield _problem(
                name, f"missing, and made a value by the type {after.dtype}", filled.sum(), after[filled].head(1)
            )
        elif pd.api.types.is_float_dtype(before) and pd.api.types.is_integer_dtype(after):
            cut = before.notna() & (before != after)
            if cut.any():
                yield _problem(name, f"cut by the type {after.dtype}", cut.sum(), before[cut].head(EXAMPLES))


def _unusable(table: Table, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A problem for each column whose values have no plain type, or that cannot tell what comes later."""
    for name in rows[table.features].select_dtypes(object):
        kind = pd.api.types.infer_dtype(rows[name], skipna=True)
        if kind not in {"string", "bytes", "empty"}:
            advice = f"holds values of kind {kind}: make it a float, boolean, datetime64[ns] or text"
            yield _problem(name, advice, rows[name].notna().sum(), rows[name].dropna().head(EXAMPLES))
    times = rows[table.time] if table.time else pd.Series(dtype=float)
    if not (pd.api.types.is_datetime64_any_dtype(times) or pd.api.types.is_numeric_dtype(times)):
        advice = "names times, but is text: make it datetime64[ns]"
        yield _problem(table.time, advice, len(rows), times.head(EXAMPLES))


def is_holdout(table: Table, rows: pd.DataFrame) -> pd.Series:
    """Which rows no model may learn from (boolean, by the rows' index).

    With a time column: the newest share of the distinct times, so that a row may leave the holdout when newer ones
    arrive, but never enters it after a model has learned from it. Otherwise a row's side is fixed for ever by a hash.
    """
    if table.time:
        times = rows[table.time].drop_duplicates().sort_values()
        return rows[table.time] > times.iloc[max(int(len(times) * (1 - table.holdout)) - 1, 0)]
    columns = [texts(rows[name]) for name in ([table.group] if table.group else table.keys)]
    held = [_share("\x1f".join(name)) < table.holdout for name in zip(*columns, strict=True)]
    return pd.Series(held, rows.index, dtype=bool)


def key_hashes(table: Table, rows: pd.DataFrame) -> np.ndarray:
    """A number (uint64) for each row's key, by which a version remembers what it has learned from."""
    names = pd.DataFrame({name: texts(rows[name]) for name in table.keys}, dtype="string")
    return pd.util.hash_pandas_object(names, index=False).to_numpy()


def texts(values: pd.Series) -> list[str]:
    """Each value of a key as text that depends on nothing else: not on the other rows, nor on how pandas holds it."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values, utc=True).dt.as_unit("us").astype("int64").astype(str).tolist()
    if pd.api.types.is_float_dtype(values):
        return [str(int(value)) if float(value).is_integer() else str(value) for value in values]
    return values.astype("string").tolist()


def _share(name: str) -> float:
    """A number in [0, 1) that is the same for a name on every machine and in every year."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def _problems(cases: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Pandera's failure cases, one line per column and check."""
    checks = cases["check"].astype(str)
    uncoerced = cases["column"].isin(cases["column"][checks.str.startswith("coerce_dtype")])
    cases = cases[~uncoerced | checks.str.startswith(("coerce_dtype", "not_nullable"))]  # the rest only follows from it
    lines = []
    for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        if check in ABSENT:
            lines += [_problem(name, ABSENT[check], len(rows), []) for name in group["failure_case"]]
        else:
            shown = group.head(EXAMPLES)
            pairs = zip(shown["index"], shown["failure_case"], strict=True)
            examples = [_example(rows, i, value, keys) for i, value in pairs]
            lines.append(_problem(column, str(check), len(group), examples))
    return pd.concat(lines, ignore_index=True)


def _example(rows: pd.DataFrame, row: int, value: object, keys: list[str]) -> str:
    """Where the bad value stands, and the value; a file is named by its key."""
    if isinstance(value, bytes) and set(keys) <= set(rows):
        return f"{' '.join(map(str, rows.loc[row, keys]))} ({len(value):,} bytes)"
    return f"row {row}: {value}"


def _problem(column: str, check: str, rows: int, examples: list) -> pd.DataFrame:
    shown = "; ".join(map(str, examples)) or "all"
    return pd.DataFrame([{"column": column, "check": check, "rows": rows, "examples": shown}])
