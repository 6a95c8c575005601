"""What a column that a model takes may hold, and rows <-> JSON: the contract with whoever asks a model."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .. import BadRows
from .ranges import simple_checks
from .table import Table

LARGEST = float(np.finfo(np.float32).max)  # number that models can compute with: trees do so in single precision
SHOWN, WIDTH = 3, 60  # bad values shown in a message, and characters of each


@dataclass(frozen=True)
class Input:
    """A column that a model takes; `kind` is number, text, boolean, date, file or list of numbers."""

    name: str
    kind: str
    nullable: bool
    optional: bool = False  # may be left out of a row altogether
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the schema, by name: see datasets/ranges.py


def inputs(rows: pd.DataFrame, table: Table, names: list[str] | None = None) -> list[Input]:
    """Return the inputs for what a caller gives of a row, or for the columns named, with kinds read from good rows."""
    found = []
    for name in table.requested if names is None else names:
        asked = table.request.columns if table.request else {}
        described = asked[name] if name in asked else table.schema.columns[name]
        kind, nullable = kind_of(rows[name]), bool(described.nullable)
        checks = simple_checks(described.checks) if kind in ("number", "text", "boolean") else {}
        found.append(Input(name, kind, nullable, checks=checks))
    return found


def typed(rows: pd.DataFrame, inputs: list[Input]) -> pd.DataFrame:
    """Return the rows with these columns converted to the kinds that the model learned from, others as they are.

    Raises:
        BadRows: If a column is missing or holds other values; the message names it with examples.
    """
    found = {}
    for column in inputs:
        if column.name not in rows and not column.optional:
            raise BadRows(f"column {column.name!r} is missing")
        found[column.name] = _typed(rows.get(column.name, pd.Series(None, rows.index, object)), column)
    return rows.assign(**found)


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows in JSON's types: numbers, texts, booleans, ISO dates, null; files in base64."""
    files = {name: rows[name].map(_base64, na_action="ignore") for name in rows if kind_of(rows[name]) == "file"}
    rows = rows.assign(**files)
    return json.loads(rows.to_json(orient="records", date_format="iso", double_precision=15))


def _typed(values: pd.Series, column: Input) -> pd.Series:
    """Return the values as the column's kind; raise BadRows if some are not."""
    present = values.notna()
    if not column.nullable and not present.all():
        raise BadRows(f"column {column.name!r} may not be empty, but is in {(~present).sum()} rows")
    if column.kind == "number":
        typed = values if values.dtype == float else _floats(values)
        if (np.abs(typed.to_numpy()) > LARGEST).any():
            typed = typed.where(np.isfinite(typed))
            if len(large := typed[typed.abs() > LARGEST]):
                raise BadRows(
                    f"column {column.name!r} is {large.iloc[0]:g} in {len(large)} rows, but at most {LARGEST:g}"
                )
    elif column.kind == "date":
        stamps = values.where(~values.map(_is_number))
        typed = pd.to_datetime(stamps, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    elif column.kind == "file":
        typed = values.map(_bytes).astype(object)
    elif column.kind == "list of numbers":
        typed = values.map(_numbers).astype(object)
    elif column.kind == "boolean":
        typed = values.where(values.isin([True, False])).astype("boolean")
    else:
        typed = values.where(values.map(lambda value: isinstance(value, str))).astype("str")
    if (wrong := present & typed.isna()).any():
        shown = ", ".join(repr(value)[:WIDTH] for value in values[wrong].head(SHOWN))
        kind = "file in base64" if column.kind == "file" else column.kind
        raise BadRows(f"column {column.name!r} must be a {kind}, but {wrong.sum()} rows hold e.g. {shown}")
    return typed


def _floats(values: pd.Series) -> pd.Series:
    """Return the values as floats, NaN for what is no number."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    typed = values if numeric else pd.to_numeric(values.where(~values.map(_is_text)), errors="coerce")
    return typed.astype("Float64").astype(float)


def kind_of(values: pd.Series) -> str:
    """Return the kind of the values, in the words of `Input.kind`."""
    plain = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    if pd.api.types.is_bool_dtype(plain):
        return "boolean"
    if pd.api.types.is_numeric_dtype(plain):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(plain):
        return "date"
    return "file" if pd.api.types.infer_dtype(plain, skipna=True) == "bytes" else "text"


def _numbers(value: Any) -> list[float | None] | None:
    """Return the numbers, gaps among them as None; None for a value that is no list of numbers."""
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    plain = [None if item is None or item != item else item for item in value]
    numbers = all(item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in plain)
    good = numbers and all(item is None or abs(item) <= LARGEST for item in plain)
    return [item if item is None else float(item) for item in plain] if good else None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(value: Any) -> bytes | None:
    """Return the bytes, decoded from base64 if they are text; None for anything else."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
