"""How sure a mean loss is: units that are independent of each other, and intervals by resampling them."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from ..datasets.table import Table

CUT, DOUBT = 0.01, 0.8  # share of the largest gains that are cut, and the level of the interval without cuts
RESAMPLES = 2000  # of the held-out units, for every interval
POOLS = 1000  # of units, if there are more
BLOCKS = 30  # of time, over all groups, if there are fewer groups
LEVEL = 0.95  # of every interval
SMALL = 30  # rows, or groups of rows, below which neither a holdout nor a slice is judged
FEW = 8  # groups below which a holdout is not judged, however many rows they have


def resampling_units(rows: pd.DataFrame, table: Table) -> np.ndarray:
    """Return for each row the number of the unit that is resampled as a whole: its group, or the row itself.

    Rows that follow each other in time are alike: where there are few groups, or none, a unit is a block of time.

    Returns:
        Integers from 0 on, (rows,).
    """
    groups = rows[table.group].factorize()[0] if table.group else np.zeros(len(rows), int)
    known = groups.max(initial=0) + 1
    if table.time is None:
        return groups if table.group else np.arange(len(rows))
    if known >= BLOCKS:
        return groups
    steps = rows[table.time].rank(method="dense").to_numpy(int) - 1
    wanted = min(steps.max(initial=0) + 1, -(-BLOCKS // known))
    return pd.factorize(groups * wanted + steps * wanted // (steps.max(initial=0) + 1))[0]


def independent(rows: pd.DataFrame, table: Table) -> int:
    """Return how many units of rows are independent of each other."""
    return int(resampling_units(rows, table).max(initial=-1)) + 1


def interval(losses: np.ndarray, units: np.ndarray, level: float = LEVEL, seed: int = 0) -> list[float]:
    """Return the bounds of the mean loss.

    On each side the wider of a t interval and a bootstrap over units that is widened as t is: a bootstrap alone is too
    narrow where there are few units, or where few of them make the difference.

    Args:
        losses: One per row, (rows,).
        units: The unit that each row belongs to, (rows,).
        level: The share of such intervals that hold the true mean.
        seed: Of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    sums, counts = _unit_sums(losses, units, generator)
    size = len(sums)
    if size < 2:
        return [-np.inf, np.inf]
    lowest, highest = _t_interval(sums, counts, level)
    drawn = generator.integers(size, size=(RESAMPLES, size))
    tail = ndtr(np.sqrt(size / (size - 1)) * stdtrit(size - 1, (1 - level) / 2))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [tail, 1 - tail])
    return [float(min(low, lowest)), float(max(high, highest))]


def gain_interval(gain: np.ndarray, units: np.ndarray, level: float = LEVEL) -> list[float]:
    """Return the bounds of the mean gain, the same as those of a mean loss but where a few rows make the difference.

    One row in a hundred is cut to the largest gain or loss of the others, which narrows the interval under heavy tails.
    The interval of all rows as they are counts as well, at a level of 80 %: what is cut may be what matters.

    Args:
        gain: The loss of one model minus that of another, one per row, (rows,).
        units: The unit that each row belongs to, (rows,).
        level: The share of such intervals that hold the true mean.
    """
    most = np.quantile(np.abs(gain), 1 - CUT)
    low, high = interval(np.clip(gain, -most, most), units, level)
    lowest, highest = _t_interval(*_unit_sums(gain, units, np.random.default_rng(0)), min(level, DOUBT))
    return [min(low, lowest), max(high, highest)]


def gain_over(baseline: np.ndarray, ours: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """Return a baseline's mean loss, and how much lower ours is on the same rows, with its interval."""
    gain = baseline - ours
    return {"value": float(baseline.mean()), "gain": float(gain.mean()), "interval": interval(gain, units)}


def _unit_sums(losses: np.ndarray, units: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the losses of each unit and its rows; of random pools of units if there are very many."""
    sums, counts = np.bincount(units, losses), np.bincount(units).astype(float)
    if len(sums) > POOLS:  # pools tell as much, a thousand times faster
        pool = generator.permutation(len(sums)) % POOLS
        sums, counts = np.bincount(pool, sums), np.bincount(pool, counts)
    return sums, counts


def _t_interval(sums: np.ndarray, counts: np.ndarray, level: float) -> tuple[float, float]:
    """Return the bounds of the mean by Student's t over units."""
    size, mean = len(sums), sums.sum() / counts.sum()
    if size < 2:
        return -np.inf, np.inf
    quantile = -stdtrit(size - 1, (1 - level) / 2) * np.sqrt(size / (size - 1))
    spread = float(quantile * np.sqrt(((sums - mean * counts) ** 2).sum()) / counts.sum())
    return float(mean) - spread, float(mean) + spread
