"""How sure a mean loss is: units that are independent of each other, and intervals by resampling them."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from ..datasets.table import Table

RESAMPLES = 2000  # of the held-out units, for every interval
POOLS = 1000  # of units, if there are more
BLOCKS = 30  # of time, over all groups, if there are fewer groups
LEVEL = 0.95  # of every interval


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
    sums, counts = np.bincount(units, losses), np.bincount(units).astype(float)
    generator = np.random.default_rng(seed)
    if len(sums) > POOLS:  # random pools of units tell as much, a thousand times faster
        pool = generator.permutation(len(sums)) % POOLS
        sums, counts = np.bincount(pool, sums), np.bincount(pool, counts)
    size, mean = len(sums), sums.sum() / counts.sum()
    if size < 2:
        return [-np.inf, np.inf]
    wider, quantile = np.sqrt(size / (size - 1)), -stdtrit(size - 1, (1 - level) / 2)
    spread = wider * quantile * np.sqrt(((sums - mean * counts) ** 2).sum()) / counts.sum()
    drawn = generator.integers(size, size=(RESAMPLES, size))
    tail = ndtr(-wider * quantile)
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [tail, 1 - tail])
    return [float(min(low, mean - spread)), float(max(high, mean + spread))]


def gain_over(baseline: np.ndarray, ours: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """Return a baseline's mean loss, and how much lower ours is on the same rows, with its interval."""
    gain = baseline - ours
    return {"value": float(baseline.mean()), "gain": float(gain.mean()), "interval": interval(gain, units)}
