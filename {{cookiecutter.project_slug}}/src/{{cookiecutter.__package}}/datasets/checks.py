"""What can be wrong with rows: each check returns its findings, a line for every column and reason."""

from collections.abc import Iterator

import pandas as pd

from .. import Refused

EXAMPLES = 5  # bad rows shown for each finding
ABSENT = {"column_in_dataframe": "the column is missing", "column_in_schema": "the column is not in the schema"}


class BadData(Refused):
    """Say that rows break their schema; `problems` has a line per column and check: rows, example values."""

    def __init__(self, table: str, problems: pd.DataFrame, total: int) -> None:
        """Keep the findings on a table of `total` rows and put them into the message."""
        self.problems = problems
        lines = [
            f"  {row.column}: {row.check}, {row.rows} of {total} rows, e.g. {row.examples}"
            for row in problems.itertuples()
        ]
        super().__init__("\n".join([f"table {table} breaks its schema in src/*/data.py:", *lines]))


def finding(column: str, check: str, rows: int, examples: list) -> pd.DataFrame:
    """Return one finding: a frame of one line."""
    shown = "; ".join(map(str, examples)) or "all"
    return pd.DataFrame([{"column": column, "check": check, "rows": rows, "examples": shown}])


def schema_failures(cases: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a finding per column and check for pandera's failure cases."""
    checks = cases["check"].astype(str)
    uncoerced = cases["column"].isin(cases["column"][checks.str.startswith("coerce_dtype")])
    cases = cases[~uncoerced | checks.str.startswith(("coerce_dtype", "not_nullable"))]  # others follow from these
    files = cases["failure_case"].map(lambda value: isinstance(value, bytes))
    if files.any():
        told = _image_reasons(cases["failure_case"][files], pd.Series(False, cases.index[files]))
        cases = cases.assign(check=told[told != ""].reindex(cases.index).fillna(cases["check"].astype(str)))
    lines = []
    for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        if check in ABSENT:
            lines += [finding(name, ABSENT[check], len(rows), []) for name in group["failure_case"]]
        else:
            shown = group.head(EXAMPLES)
            pairs = zip(shown["index"], shown["failure_case"], strict=True)
            examples = [_example(rows, i, value, keys) for i, value in pairs]
            lines.append(finding(column, str(check), len(group), examples))
    return pd.concat(lines, ignore_index=True)


def altered_values(loaded: pd.DataFrame, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a finding for each column whose values the schema's type has changed.

    Args:
        loaded: The rows before the schema's types were applied.
        rows: The rows afterwards.
    """
    if not loaded.index.equals(rows.index):  # the schema leaves rows out
        return
    for name in rows.columns.intersection(loaded.columns):
        before, after = loaded[name], rows[name]
        if (filled := before.isna() & after.notna()).any():
            check = f"missing, and made a value by the type {after.dtype}"
            yield finding(name, check, filled.sum(), after[filled].head(1))
        elif pd.api.types.is_float_dtype(before) and pd.api.types.is_integer_dtype(after):
            cut = before.notna() & (before != after)
            if cut.any():
                yield finding(name, f"cut by the type {after.dtype}", cut.sum(), before[cut].head(EXAMPLES))


def unusable_values(rows: pd.DataFrame, features: list[str], time: str | None) -> Iterator[pd.DataFrame]:
    """Yield a finding for each feature whose values have no plain type, and for a time column that has no order."""
    for name in rows[features].select_dtypes(object):
        kind = pd.api.types.infer_dtype(rows[name], skipna=True)
        if kind not in {"string", "bytes", "empty"}:
            advice = f"holds values of kind {kind}: make it a float, boolean, datetime64[ns] or text"
            yield finding(name, advice, rows[name].notna().sum(), rows[name].dropna().head(EXAMPLES))
    times = rows[time] if time else pd.Series(dtype=float)
    if not (pd.api.types.is_datetime64_any_dtype(times) or pd.api.types.is_numeric_dtype(times)):
        yield finding(time, "names times, but is text: make it datetime64[ns]", len(rows), times.head(EXAMPLES))


def unusable_files(rows: pd.DataFrame, features: list[str], keys: list[str], held: pd.Series) -> Iterator[pd.DataFrame]:
    """Yield a finding for each reason why files are no images that a model can use, with the keys of the files.

    Args:
        rows: Rows of the schema's types.
        features: The columns to look at: those that hold files.
        keys: The columns that identify a row.
        held: Which rows no model learns from.
    """
    for name in features:
        if pd.api.types.infer_dtype(rows[name], skipna=False) == "bytes":
            reasons = _image_reasons(rows[name], held)
            for reason, own in rows[reasons != ""].groupby(reasons):
                examples = own[keys].head(EXAMPLES).astype(str).agg(" ".join, axis=1)
                yield finding(name, reason, len(own), list(examples))


def missing_values(rows: pd.DataFrame, nullable: list[str]) -> Iterator[pd.DataFrame]:
    """Yield a finding for each of these columns, nullable by their schema, that has a missing value all the same."""
    for name in nullable:
        if name in rows and rows[name].isna().any():
            advice = "missing, though it is key, target, time or group"
            yield finding(name, advice, rows[name].isna().sum(), ["no value"])


def duplicate_keys(rows: pd.DataFrame, keys: list[str]) -> Iterator[pd.DataFrame]:
    """Yield a finding if several rows have the same key."""
    if not set(keys) <= set(rows):
        return
    doubles = rows[rows.duplicated(keys, keep=False)]
    if len(doubles):
        examples = doubles[keys].drop_duplicates().head(EXAMPLES).to_numpy().tolist()
        yield finding(" and ".join(keys), "duplicate keys", len(doubles), examples)


def _example(rows: pd.DataFrame, row: int, value: object, keys: list[str]) -> str:
    """Return where the bad value is, and the value; a file is named by its key."""
    if isinstance(value, bytes) and set(keys) <= set(rows):
        return f"{' '.join(map(str, rows.loc[row, keys]))} ({len(value):,} bytes)"
    return f"row {row}: {value}"


def _image_reasons(contents: pd.Series, held: pd.Series) -> pd.Series:
    """Return why each file is no usable image; nothing where the project has no module for images."""
    try:
        from .images import reasons
    except ModuleNotFoundError:
        return pd.Series("", contents.index)
    return reasons(contents, held)
