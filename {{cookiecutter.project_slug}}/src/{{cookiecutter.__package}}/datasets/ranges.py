"""The simple checks of a schema as plain values: written to a model's signature, and asked of every request."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from .columns import Input

LISTED = 1000  # allowed values up to which a list of them is kept
SHOWN, WIDTH = 3, 60  # values shown of a column or a list, and characters of them
PLAIN = str | bool | int | float | None

CHECKS: dict[str, tuple[str, Callable[..., Any]]] = {  # by pandera's names: in words, and whether each value holds
    "greater_than_or_equal_to": ("at least {min_value}", lambda v, min_value: v >= min_value),
    "greater_than": ("above {min_value}", lambda v, min_value: v > min_value),
    "less_than_or_equal_to": ("at most {max_value}", lambda v, max_value: v <= max_value),
    "less_than": ("below {max_value}", lambda v, max_value: v < max_value),
    "in_range": (
        "from {min_value} to {max_value}",
        lambda v, min_value, max_value, include_min=True, include_max=True: (
            ((v >= min_value) if include_min else (v > min_value))
            & ((v <= max_value) if include_max else (v < max_value))
        ),
    ),
    "equal_to": ("{value}", lambda v, value: v == value),
    "not_equal_to": ("other than {value}", lambda v, value: v != value),
    "isin": ("one of {allowed_values}", lambda v, allowed_values: _among(v, allowed_values)),
    "notin": ("none of {forbidden_values}", lambda v, forbidden_values: ~_among(v, forbidden_values)),
    "str_matches": ("a text like {pattern}", lambda v, pattern: v.str.match(pattern)),
    "str_contains": ("a text with {pattern}", lambda v, pattern: v.str.contains(pattern)),
    "str_startswith": ("a text that starts with {string}", lambda v, string: v.str.startswith(string)),
    "str_endswith": ("a text that ends with {string}", lambda v, string: v.str.endswith(string)),
}


def simple_checks(checks: list[Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments, by name, of those checks of a schema's column that this module knows, in JSON's types."""
    found = {}
    for check in checks:
        arguments = {name: _plain(value) for name, value in (check.statistics or {}).items()}
        if check.name in CHECKS and all(_is_plain(value) for value in arguments.values()):
            with suppress(TypeError):  # a check of the team's own by such a name
                signature(CHECKS[check.name][1]).bind(None, **arguments)
                found[check.name] = arguments
    return found


def out_of_range(rows: pd.DataFrame, inputs: "list[Input]") -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield for each column and check that does not hold: the column, what it should be, and which rows, `(rows,)`."""
    for column in inputs:
        for name, arguments in column.checks.items():
            _, holds = CHECKS[name]
            values, present = rows[column.name], rows[column.name].notna().to_numpy()
            if column.kind == "number":
                values = values.to_numpy()  # a hundred times faster for a single row
            wrong = present & ~np.asarray(holds(values, **arguments), bool)
            if wrong.any():
                yield column.name, in_words(name, arguments), wrong


def in_words(name: str, arguments: dict[str, Any]) -> str:
    """Return what a check asks of a value, in words that follow "should be"."""
    return CHECKS[name][0].format_map({key: _shown(each) for key, each in arguments.items()})


def sentences(rows: pd.DataFrame, inputs: "list[Input]") -> list[str]:
    """Return a sentence for each column and check that does not hold, with the rows and some of the values."""
    found = []
    for name, words, wrong in out_of_range(rows, inputs):
        shown = ", ".join(repr(value)[:WIDTH] for value in rows[name][wrong].head(SHOWN).tolist())
        where = ", ".join(map(str, np.flatnonzero(wrong)[:SHOWN])) + (", ..." if wrong.sum() > SHOWN else "")
        found.append(f"column {name!r} should be {words}, but holds {shown} (rows from 0: {where})")
    return found


def by_row(rows: pd.DataFrame, inputs: "list[Input]") -> list[str]:
    """Return for each row what is out of range, empty for a good row, `(rows,)`."""
    found = [""] * len(rows)
    for name, words, wrong in out_of_range(rows, inputs):
        for i in np.flatnonzero(wrong):
            found[i] += f"{'; ' if found[i] else ''}{name} should be {words}"
    return found


def _plain(value: Any) -> Any:
    """Return a value of a check in JSON's types, itself if it has none."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(item) for item in value] if isinstance(value, list | tuple | set | frozenset | np.ndarray) else value


def _among(values: np.ndarray | pd.Series, listed: list[Any]) -> np.ndarray | pd.Series:
    return np.isin(values, listed) if isinstance(values, np.ndarray) else values.isin(listed)


def _is_plain(value: Any) -> bool:
    """Return whether a value of a check can be kept: a scalar of JSON's types, or a list of them that is not long."""
    if isinstance(value, list):
        return len(value) <= LISTED and all(isinstance(item, PLAIN) for item in value)
    return isinstance(value, PLAIN)


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
