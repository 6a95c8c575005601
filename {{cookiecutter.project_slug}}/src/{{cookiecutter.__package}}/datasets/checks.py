"""What can be wrong with rows: each check returns its findings, one for every column and reason."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from .. import ROOT, Refused, atomic_write
from .personal import masked

FINDINGS = ROOT / "reports" / "findings.csv"
QUARANTINE = ROOT / "data" / "quarantine"  # a file for each table of which rows are set aside
EXAMPLES = 5  # bad rows shown for each finding
PRINTED = 8  # warnings of a table; the file has all
SHOWN = 80  # characters of a value
ABSENT = {"column_in_dataframe": "the column is missing", "column_in_schema": "the column is not in the schema"}


@dataclass(frozen=True)
class Finding:
    """What a check found in a column.

    Attributes:
        column: Its name; several are joined by " and ", and it is empty for the table as a whole.
        check: What is wrong, in words.
        rows: How many rows are concerned.
        examples: Up to five of them: the values of the key, and of the column where they say more.
        severity: An "error" refuses the data, a "warning" is to be looked at.
        index: Of all rows concerned, None where rows are not the matter: a column that is missing.
    """

    column: str
    check: str
    rows: int
    examples: tuple[Mapping[str, Any], ...] = ()
    severity: Literal["error", "warning"] = "error"
    index: pd.Index | None = field(default=None, repr=False, compare=False)

    @property
    def shown(self) -> list[str]:
        """The examples as text, as in `patient=17 age=-3`."""
        return [" ".join(f"{name}={shown(value, name)}" for name, value in each.items()) for each in self.examples]

    def line(self, total: int) -> str:
        """Return the finding as a line of text about a table of `total` rows."""
        examples = f", e.g. {'; '.join(self.shown)}" if self.examples else ""
        column = f"{self.column}: " if self.column else ""
        rows = f", {self.rows:,} of {total:,} rows" if self.severity == "error" or self.rows < total else ""
        return f"{column}{self.check}{rows}{examples}"


class BadData(Refused):
    """Say that rows break their schema; `findings` has one for each column and check."""

    def __init__(self, table: str, findings: list[Finding], total: int) -> None:
        """Keep the findings on a table of `total` rows and put them into the message."""
        self.table, self.findings, self.total = table, findings, total
        lines = [f"  {finding.line(total)}" for finding in findings]
        super().__init__("\n".join([f"table {table} breaks its schema in src/*/data.py:", *lines]))


def write_findings(findings: Mapping[str, list[Finding]]) -> None:
    """Write, for whoever owns the source, a line for each example, or for a finding that has none.

    Args:
        findings: By the name of the table.
    """
    with atomic_write(FINDINGS) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["table", "severity", "column", "check", "rows", "example"])
        for table, own in findings.items():
            for each in own:
                for example in each.shown or [""]:
                    writer.writerow([table, each.severity, each.column, each.check, each.rows, example])


def set_aside(table: str, aside: pd.DataFrame, findings: list[Finding]) -> list[Finding]:
    """Write the rows that the quarantine of a table takes, each with the reasons, and return these as warnings.

    Without such rows there is no file.
    """
    path = QUARANTINE / f"{table}.csv"
    if aside.empty:
        path.unlink(missing_ok=True)
        return []
    reasons = [(index, f"{each.column}: {each.check}") for each in findings for index in each.index]
    why = pd.DataFrame(reasons, columns=["row", "why"]).groupby("row")["why"].agg("; ".join)
    texts = {name: aside[name].map(shown) for name in aside if pd.api.types.infer_dtype(aside[name]) == "bytes"}
    with atomic_write(path) as part:
        aside.assign(**texts, why=why.reindex(aside.index)).to_csv(part, index=False)
    where = f"set aside in data/quarantine/{table}.csv"
    return [replace(each, check=f"{where}: {each.check}", severity="warning") for each in findings]


def verdict(table: str, warnings: list[Finding], total: int) -> list[str]:
    """Return what to print about a table of `total` good rows: a line, and one for each of the first warnings."""
    more = f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    left = [f"  ... and more in reports/{FINDINGS.name}"] if len(warnings) > PRINTED else []
    lines = [f"  warning: {each.line(total)}" for each in warnings[:PRINTED]]
    return [f"{table}: all checks hold{more}", *lines, *left]


def shown(value: object, column: str = "") -> str:
    """Return a value as a short text: a file by its size, a day without a time, personal data masked."""
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    text = str(masked(value, column))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def finding(
    column: str, check: str, bad: pd.DataFrame, keys: list[str], severity: Literal["error", "warning"] = "error"
) -> Finding:
    """Return a finding on the rows `bad`, with the keys of the first ones as examples."""
    names = list(dict.fromkeys([*keys, column]))
    first = bad.head(EXAMPLES)
    if not {*keys} <= {*bad}:
        first = first.assign(row=first.index)
        names = ["row", column]
    examples = first[[name for name in names if name in first]].to_dict("records")
    return Finding(column, check, len(bad), tuple(examples), severity, bad.index)


def schema_failures(cases: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> list[Finding]:
    """Return a finding per column and check for pandera's failure cases."""
    checks = cases["check"].astype(str)
    uncoerced = cases["column"].isin(cases["column"][checks.str.startswith("coerce_dtype")])
    cases = cases[~uncoerced | checks.str.startswith(("coerce_dtype", "not_nullable"))]  # others follow from these
    files = cases["failure_case"].map(lambda value: isinstance(value, bytes))
    if files.any():
        told = _image_reasons(cases["failure_case"][files], pd.Series(False, cases.index[files]))
        cases = cases.assign(check=told[told != ""].reindex(cases.index).fillna(cases["check"].astype(str)))
    found = []
    for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        if check in ABSENT:
            found += [Finding(str(name), ABSENT[check], len(rows)) for name in group["failure_case"]]
        else:
            pairs = zip(group["index"].head(EXAMPLES), group["failure_case"].head(EXAMPLES), strict=True)
            examples = tuple(_example(rows, index, str(column), value, keys) for index, value in pairs)
            index = pd.Index(group["index"]) if group["index"].isin(rows.index).all() else None
            found.append(Finding(str(column), str(check), len(group), examples, index=index))
    return found


def altered_values(loaded: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> Iterator[Finding]:
    """Yield a finding for each column whose values the schema's type has changed.

    Args:
        loaded: The rows before the schema's types were applied.
        rows: The rows afterwards.
        keys: The columns that identify a row.
    """
    if not loaded.index.equals(rows.index):  # the schema leaves rows out
        return
    for name in rows.columns.intersection(loaded.columns):
        before, after = loaded[name], rows[name]
        if (filled := before.isna() & after.notna()).any():
            yield finding(name, f"missing, and made a value by the type {after.dtype}", rows[filled], keys)
            continue
        if pd.api.types.is_string_dtype(before) and getattr(after.dtype, "kind", "") == "M" and _offsets(before) > 1:
            advice = f"mixes time zones, which the type {after.dtype} drops: make it datetime64[ns, UTC] in the schema"
            yield finding(name, advice, loaded, keys)
        whole = pd.api.types.is_float_dtype(before) and pd.api.types.is_integer_dtype(after)
        if whole and (cut := before.notna() & (before != after)).any():
            yield finding(name, f"cut by the type {after.dtype}", loaded[cut], keys)


def _offsets(times: pd.Series) -> int:
    """Return how many different time zones stand at the end of texts."""
    return times.str.extract(r":\d\d(?:\.\d+)? ?(Z|[+-]\d\d:?\d\d)$", expand=False).nunique()


def unusable_values(rows: pd.DataFrame, features: list[str], time: str | None, keys: list[str]) -> Iterator[Finding]:
    """Yield a finding for each feature whose values have no plain type, and for a time column that has no order."""
    for name in (each for each in features if rows[each].dtype == object):
        kind = pd.api.types.infer_dtype(rows[name], skipna=True)
        if kind not in {"string", "bytes", "empty"}:
            advice = f"holds values of kind {kind}: make it a float, boolean, datetime64[ns] or text"
            yield finding(name, advice, rows[rows[name].notna()], keys)
    times = rows[time] if time else pd.Series(dtype=float)
    if not (pd.api.types.is_datetime64_any_dtype(times) or pd.api.types.is_numeric_dtype(times)):
        yield finding(time, "names times, but is text: make it datetime64[ns]", rows, keys)


def unusable_files(rows: pd.DataFrame, features: list[str], keys: list[str], held: pd.Series) -> Iterator[Finding]:
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
                yield finding(name, reason, own, keys)


def missing_values(rows: pd.DataFrame, nullable: list[str], keys: list[str]) -> Iterator[Finding]:
    """Yield a finding for each of these columns, nullable by their schema, that has a missing value all the same."""
    for name in nullable:
        if name in rows and rows[name].isna().any():
            yield finding(name, "missing, though it is key, target, time or group", rows[rows[name].isna()], keys)


def duplicate_keys(rows: pd.DataFrame, keys: list[str]) -> Iterator[Finding]:
    """Yield a finding if several rows have the same key."""
    if not set(keys) <= set(rows):
        return
    doubles = rows[rows.duplicated(keys, keep=False)]
    if len(doubles):
        examples = tuple(doubles[keys].drop_duplicates().head(EXAMPLES).to_dict("records"))
        yield Finding(" and ".join(keys), "duplicate keys", len(doubles), examples, index=doubles.index)


def _example(rows: pd.DataFrame, index: object, column: str, value: object, keys: list[str]) -> dict[str, object]:
    """Return the key of the row that has this index, or its number where it has none, and the value."""
    if index is None or index not in rows.index:
        return {column: value}
    if not {*keys} <= {*rows}:
        return {"row": index, column: value}
    return {**rows.loc[index, keys].to_dict(), column: value}


def _image_reasons(contents: pd.Series, held: pd.Series) -> pd.Series:
    """Return why each file is no usable image; nothing where the project has no module for images."""
    try:
        from .images import reasons
    except ModuleNotFoundError:
        return pd.Series("", contents.index)
    return reasons(contents, held)
