"""Held-out rows that are copies of training rows: a model that learned the one by heart knows the other."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..datasets.table import Table

FINE = 1000  # steps of a number's standard deviation that are told apart
RARE = 10  # copies are called so only if they are this many times more than chance makes


def copied_rows(table: Table, rows: pd.DataFrame, held: pd.Series) -> pd.Series:
    """Return which held-out rows equal a training row in every feature and the target, under another key.

    Rows of few and coarse columns are equal by chance. How many are, those tell that agree in all columns but one: as
    many times as two rows agree in that one, they would agree in all. Where copies are not RARE times more than that,
    none is called a copy. A table with a time has none: there, the newest rows are what a model will be asked.

    Args:
        table: Of the rows.
        rows: All rows.
        held: Which of them are held out (boolean).

    Returns:
        Booleans by the rows' index.
    """
    copied = pd.Series(False, rows.index)
    if table.time or not table.features:
        return copied
    names = [*table.features, table.target]
    whole = np.zeros(len(rows), np.uint64)  # a hash of the row
    for part in _parts(rows, names):
        whole += part  # overflows as it should
    copied[:] = held.to_numpy() & np.isin(whole, whole[~held])
    count = len(np.unique(whole[copied]))
    chance = _by_chance(_parts(rows, names), whole, held.to_numpy()) if count else 0.0
    return copied if count and count >= RARE * chance else copied & False


def _parts(rows: pd.DataFrame, names: list[str]) -> Iterator[np.ndarray]:
    """Yield a hash of each value of a column, (rows,), one column after another: all would be a second table."""
    for i, name in enumerate(names):
        yield _hashes(rows[name]) * np.uint64(2 * i + 1)


def _by_chance(parts: Iterator[np.ndarray], whole: np.ndarray, held: np.ndarray) -> float:
    """Return how many pairs of different rows, one held out and one not, would agree in all columns by chance.

    Args:
        parts: A hash of each value of each column, (rows,).
        whole: A hash of each row, (rows,).
        held: Which rows are held out, (rows,).
    """
    ours, theirs = (np.unique(whole[side], return_index=True)[1] for side in (held, ~held))
    ours, theirs = np.flatnonzero(held)[ours], np.flatnonzero(~held)[theirs]
    equal = np.isin(whole[ours], whole[theirs]).sum()
    expected = []
    for column in parts:
        others = whole - column
        near, same = (_pairs(values[ours], values[theirs]) - equal for values in (others, column))
        expected.append(near * same / (len(ours) * len(theirs)))
    return max(expected)


def _pairs(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Return how many pairs, one of each, are equal."""
    theirs = np.sort(theirs)
    return int((np.searchsorted(theirs, ours, "right") - np.searchsorted(theirs, ours, "left")).sum())


def _hashes(values: pd.Series) -> np.ndarray:
    """Return a number for each value, (rows,), the same for numbers that differ by less than a step or so."""
    if pd.api.types.is_float_dtype(values):
        plain = values.to_numpy(float, na_value=np.nan)
        spread = np.nanstd(plain) if np.isfinite(plain).any() else 0.0
        values = pd.Series(np.round(plain * (FINE / spread)) + 0.0 if spread > 0 else plain)  # no -0
    return pd.util.hash_pandas_object(values, index=False).to_numpy()
