"""Rows from JSON straight to arrays: only those that are surely good; any other request is left to `Signature.typed`.

So whatever is refused is refused by one piece of code, in the same words, and what is accepted here is what that code
would have accepted too.
"""

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.columns import Input

EXACT = 2.0**53  # up to which a whole number is a float
DATE = re.compile(r"(1[7-9]|2[01])\d\d-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?", re.ASCII)  # without a zone, or UTC
BOUNDS = {  # checks that are bounds: the arguments of the least and of the greatest value, and whether that is good
    "greater_than_or_equal_to": ("min_value", "", True),
    "greater_than": ("min_value", "", False),
    "less_than_or_equal_to": ("", "max_value", True),
    "less_than": ("", "max_value", False),
    "in_range": ("min_value", "max_value", True),
}
KINDS = {"text": {str}, "boolean": {bool}, "date": {str}}
DTYPES = {"text": "str", "boolean": "boolean", "date": "datetime64[us]"}


@dataclass(frozen=True)
class Columns:
    """Rows by column.

    Attributes:
        names: Of the columns of numbers.
        numbers: Their values, `(rows, numbers)`, NaN where missing.
        others: The values of each other column by its name, `(rows,)`, None where missing.
        kinds: The kind of each other column.
        in_range: Whether no check of the schema is broken for sure.
    """

    names: list[str]
    numbers: np.ndarray
    others: dict[str, list[Any]]
    kinds: dict[str, str]
    in_range: bool = True

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)

    def floats(self, names: list[str]) -> np.ndarray:
        """Return numbers and booleans, `(rows, names)`; raise KeyError for any other column."""
        if names == self.names:
            return self.numbers
        return np.column_stack([self._floats(name) for name in names])

    def texts(self, name: str) -> list[str | None]:
        """Return a column of texts; raise KeyError for any other."""
        return self._others(name, "text")

    def dates(self, name: str) -> np.ndarray:
        """Return a column of dates, `(rows,)`, NaT where missing; raise KeyError for any other."""
        return np.array(self._others(name, "date"), "datetime64[us]")

    def frame(self, names: list[str] | None = None) -> pd.DataFrame:
        """Return these columns, or all with the numbers first, as `Signature.typed` does."""
        found = pd.DataFrame(self.numbers, columns=self.names)
        for name, values in self.others.items():
            found[name] = pd.array(values, dtype=DTYPES[self.kinds[name]])
        return found if names is None else found[names]

    def _floats(self, name: str) -> np.ndarray:
        if name in self.kinds:
            return np.array(self._others(name, "boolean"), float)
        return self.numbers[:, self.names.index(name)]

    def _others(self, name: str, kind: str) -> list[Any]:
        if self.kinds.get(name) != kind:
            raise KeyError(name)
        return self.others[name]


class Reader:
    """Read the rows of requests to one version."""

    def __init__(self, inputs: list[Input]) -> None:
        """Raise ValueError for a kind of column that only `Signature.typed` knows."""
        self.numbers = [column for column in inputs if column.kind == "number"]
        self.others = [column for column in inputs if column.kind != "number"]
        if unknown := {column.kind for column in self.others} - {*KINDS}:
            raise ValueError(f"an input is a {min(unknown)}")
        self.names = [column.name for column in self.numbers]
        self.kinds = {column.name: column.kind for column in self.others}
        self.nullable = np.array([column.nullable for column in self.numbers], bool)
        self.least, self.greatest = np.array([_bounds(column) for column in self.numbers]).reshape(-1, 2).T
        listed = {column.name: _listed(column) for column in self.others}
        self.listed = {name: allowed for name, allowed in listed.items() if allowed is not None}

    def read(self, records: list[dict[str, Any]]) -> Columns | None:
        """Return the rows, if all of their values are plain and of the right kind; else None."""
        try:
            numbers = self._numbers(records)
            others = {column.name: self._values(column, records) for column in self.others}
        except (KeyError, ValueError, OverflowError):
            return None
        good = (np.isnan(numbers) | ((numbers >= self.least) & (numbers <= self.greatest))).all()
        listed = all(each.issuperset(others[name]) for name, each in self.listed.items())
        return Columns(self.names, numbers, others, self.kinds, bool(good) and listed)

    def _numbers(self, records: list[dict[str, Any]]) -> np.ndarray:
        """Return the numbers, `(rows, numbers)`; raise KeyError or ValueError unless all are plain."""
        flat = [value for record in records for value in map(record.__getitem__, self.names)]
        if not {*map(type, flat)} <= {float, int, type(None)}:
            raise ValueError("not a number")
        found = np.array(flat, float).reshape(len(records), len(self.names))
        missing = np.isnan(found)
        if (missing.any(axis=0) & ~self.nullable).any() or not (missing | (np.abs(found) <= EXACT)).all():
            raise ValueError("missing, or not exact")
        return found

    def _values(self, column: Input, records: list[dict[str, Any]]) -> list[Any]:
        """Return the values of a column that holds no numbers; raise as `_numbers` does."""
        values = [*map(itemgetter(column.name), records)]
        present = [value for value in values if value is not None]
        lost = len(present) < len(values) and not column.nullable
        if lost or not {*map(type, present)} <= KINDS[column.kind]:
            raise ValueError("missing, or of another kind")
        if column.kind != "date":
            return values
        if not all(map(DATE.fullmatch, present)):
            raise ValueError("not a plain date")
        return [value if value is None else np.datetime64(value.removesuffix("Z"), "us") for value in values]


def _bounds(column: Input) -> tuple[float, float]:
    """Return the least and the greatest number that surely breaks no check; none does if a check is no bound."""
    least, greatest = -np.inf, np.inf
    for name, arguments in column.checks.items():
        low, high, included = BOUNDS.get(name, (None, None, False))
        limits = [arguments.get(low, -np.inf), arguments.get(high, np.inf)]
        if low is None or not all(isinstance(limit, int | float) for limit in limits):
            return np.inf, -np.inf
        closed = [included and arguments.get(side, True) for side in ("include_min", "include_max")]
        least = max(least, limits[0] if closed[0] else np.nextafter(limits[0], np.inf))
        greatest = min(greatest, limits[1] if closed[1] else np.nextafter(limits[1], -np.inf))
    return least, greatest


def _listed(column: Input) -> frozenset[Any] | None:
    """Return the values that surely break no check, None for any; none does if a check is no list."""
    found = None
    for name, arguments in column.checks.items():
        allowed = arguments["allowed_values"] if name == "isin" and column.kind == "text" else []
        values = frozenset([*allowed, None])
        found = values if found is None else found & values
    return found
