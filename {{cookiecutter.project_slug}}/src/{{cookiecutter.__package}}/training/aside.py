"""Rows that keep their schema and are not learned from all the same: a list by key, in data/quarantine/models/."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .. import atomic_write
from ..datasets.table import Table, key_text

FIELDS = ["key", "batch", "column", "why"]  # of a line: the row's key as text, with which rows it came, what is wrong


def read(path: Path) -> pd.DataFrame:
    """Return the lines of a list, as text; none where there is no list."""
    return pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame(columns=FIELDS)


def write(path: Path, lines: pd.DataFrame) -> None:
    """Write a list; an empty one is no file."""
    if lines.empty:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as part:
        lines[FIELDS].to_csv(part, index=False)


def suspect(path: Path, keys: Iterable[str], batch: str, column: str, why: str) -> None:
    """Add rows to a list that may not have arrived yet, unless they are there: the next retrain judges them."""
    known = read(path)
    new = pd.DataFrame({"key": sorted({*keys} - {*known["key"]}), "batch": batch, "column": column, "why": why})
    if len(new):
        write(path, pd.concat([known, new], ignore_index=True))


def keys_of(table: Table, rows: pd.DataFrame) -> pd.Series:
    """Return the key of each row as text, by the rows' index; None where a part of it is missing."""
    texts = [key_text([*values]) for values in zip(*(rows[name] for name in table.keys), strict=True)]
    return pd.Series(texts, rows.index, dtype=object)


def left(table: Table, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the rows that are not in a list, in their order."""
    if (listed := read(path)).empty:
        return rows
    return rows[~keys_of(table, rows).isin(listed["key"])].reset_index(drop=True)
