"""How much of the target a column tells: 0 is chance, 1 is all. What tells nearly all is a suspect, not a find."""

import numpy as np
import pandas as pd

from .table import Table

CLASSES = 12  # distinct values up to which a number is told apart by its value
SUSPECT = 0.9  # of the target told by one column: worth a look
SAMPLE, BINS = 50_000, 64  # rows drawn by seed, and bins of a column


def is_class(target: pd.Series) -> bool:
    """Return whether a target's values are classes: texts, booleans, or few distinct numbers."""
    return target.nunique() <= CLASSES or not pd.api.types.is_numeric_dtype(target)


def scaled(guess: np.ndarray, truth: np.ndarray, classes: bool) -> float:
    """Return the balanced accuracy of guessed classes, or R2 of guessed ranks, scaled so that 0 is chance and 1 is all.

    Args:
        guess: (rows,).
        truth: (rows,).
        classes: Whether they are classes, else ranks.
    """
    if not classes:
        return float(1 - np.mean((guess - truth) ** 2) / truth.var()) if truth.var() else 0.0
    found = np.unique(truth)
    recall = np.mean([np.mean(guess[truth == each] == each) for each in found])
    return float((recall - 1 / len(found)) / (1 - 1 / len(found))) if len(found) > 1 else 0.0


def changes(table: Table, names: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    """Return numbers as their change since the row before: what both grow with time is no leak, nor what a group is."""
    rows = rows.sort_values([*([table.group] if table.group else []), table.time, *table.keys], ignore_index=True)
    numbers = [name for name in {*names, table.target} if pd.api.types.is_numeric_dtype(rows[name])]
    plain = pd.DataFrame({name: rows[name].to_numpy(float, na_value=np.nan) for name in numbers})
    changed = (plain.groupby(rows[table.group]) if table.group else plain).diff()
    return rows.assign(**changed)[changed[table.target].notna()]


def ranks(values: pd.Series) -> np.ndarray:
    """Return numbers and dates by their rank, empty ones as NaN, and other values by a number each, (rows,)."""
    if pd.api.types.is_numeric_dtype(values):
        return pd.Series(values.to_numpy(float, na_value=np.nan)).rank().to_numpy()
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.rank().to_numpy()
    return values.factorize()[0].astype(float)


def skills(table: Table, rows: pd.DataFrame) -> dict[str, float]:
    """Return by feature how much of the target it tells: binned, learned on half of the groups, asked on the others.

    A quick look without a model; at pipeline-centric the gate asks more closely, and pairs of columns too.
    """
    names = [name for name in table.features if rows[name].dtype != object]
    classes = is_class(rows[table.target])
    if len(rows) > SAMPLE:
        rows = rows.iloc[np.sort(np.random.default_rng(0).choice(len(rows), SAMPLE, replace=False))]
    rows = rows if classes or table.time is None else changes(table, names, rows)
    units = rows[table.group].factorize()[0] if table.group else np.arange(len(rows))
    learned = np.random.default_rng(0).permutation(units.max(initial=0) + 1)[units] % 2 == 0
    truth = rows[table.target].factorize()[0] if classes else ranks(rows[table.target])
    return {name: _skill(_bins(rows[name]), truth, learned, classes) for name in names}


def _bins(values: pd.Series) -> np.ndarray:
    """Return the bin of each value, 0 if it is missing, (rows,): of equal numbers of values, or one for each text."""
    found = ranks(values)
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        bins = min(BINS, max(2, len(found) // 20))
        return np.nan_to_num(1 + np.floor(found * bins / (len(found) + 1))).astype(int)
    return found.astype(int) + 1


def _skill(bins: np.ndarray, truth: np.ndarray, learned: np.ndarray, classes: bool) -> float:
    """Return how well the bins of a column tell the truth of the rows that were not learned from, at most 1."""
    if not learned.any() or learned.all():
        return 0.0
    own = pd.DataFrame({"bin": bins[learned], "truth": truth[learned]})
    if classes:
        counts = pd.crosstab(own["bin"], own["truth"])
        best = (counts / counts.sum()).idxmax(axis=1)  # as if classes were of one size
    else:
        best = own.groupby("bin")["truth"].mean()
    guess = best.reindex(bins[~learned], fill_value=-1 if classes else own["truth"].mean()).to_numpy()
    return scaled(guess, truth[~learned], classes)
