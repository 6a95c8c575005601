"""What jumped since the last snapshot: rows, missing values, distributions, units; chance alone gives no warning."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd

from .. import Refused
from .. import now as time_now
from . import catalog
from .checks import Finding, finding
from .table import Table, key_hashes

ENOUGH = 30  # rows from which on two snapshots are compared
FEWER, MORE = 0.8, 2.0  # times the rows there were: outside of this is a jump
MISSING, MOVED = 0.1, 0.2  # of all rows: missing by so many more, or so many elsewhere in the distribution
SURE = 2.5  # times the spread that chance gives: one false alarm in 100,000 columns
FEW = 50  # distinct values up to which a column's values are counted one by one
NEW, COMMON = 0.01, 0.05  # share of the rows of a value that had none, or that has none now
SAMPLE = 50_000  # rows compared, by seed
FACTORS = (10, 100, 1000)  # of units that are mistaken for each other
LEVEL, SPREAD = 0.15, 0.25  # decimal logarithms by which median and spread may miss a factor
STALE = {"hourly": 0.25, "daily": 5, "weekly": 15, "monthly": 62, "yearly": 400}  # days without a change, by refresh

warning = partial(Finding, severity="warning")


def stale_sources(now: datetime | None = None) -> dict[str, Finding]:
    """Return a warning by source whose content has not changed for longer than its `refresh` lets expect."""
    entries, found = catalog.current(), {}
    for source in catalog.sources():
        days = STALE.get(source.refresh.strip().lower(), np.inf)
        taken = datetime.fromisoformat(entries[source.name]["taken"])
        if (age := ((now or time_now()) - taken).total_seconds() / 86_400) > days:
            check = f"its refresh is {source.refresh}, but its content is the same for {age:,.1f} days"
            found[source.name] = warning("", check, entries[source.name]["rows"])
    return found


def earlier_rows(table: Table) -> pd.DataFrame | None:
    """Return the table's rows as they were before the newest change of a source; None if they are not here."""
    with catalog.before() as there:
        try:
            return table.rows() if there else None
        except (Refused, KeyError, ValueError):  # of another schema: data.py has changed since
            return None


def jumps(table: Table, rows: pd.DataFrame, earlier: pd.DataFrame | None) -> list[Finding]:
    """Return the warnings on what changed between two snapshots of a table."""
    if earlier is None or min(len(rows), len(earlier)) < ENOUGH:
        return []
    found = []
    if not FEWER <= len(rows) / len(earlier) <= MORE:
        found.append(warning("", f"{len(rows):,} rows, before {len(earlier):,}", len(rows)))
    new = rows[~np.isin(key_hashes(table, rows), key_hashes(table, earlier))]
    names = [name for name in [table.target, *table.targets, *table.features] if name in earlier]
    drawn = [each.sample(SAMPLE, random_state=0) if len(each) > SAMPLE else each for each in (rows, earlier, new)]
    for name in names:
        found += _moved(table, name, *drawn)
    return found


def _moved(table: Table, name: str, rows: pd.DataFrame, earlier: pd.DataFrame, new: pd.DataFrame) -> Iterator[Finding]:
    """Yield the warnings on one column: of its missing values, else of its values."""
    chance = np.sqrt(1 / len(rows) + 1 / len(earlier))
    now, then = rows[name], earlier[name]
    missing, before = now.isna().mean(), then.isna().mean()
    if missing - before > max(MISSING, SURE * chance):
        check = f"missing in {missing:.0%} of the rows, before in {before:.0%}"
        yield finding(name, check, rows[now.isna()][table.keys], table.keys, "warning")
    now, then, added = now.dropna(), then.dropna(), new[name].dropna()
    if min(len(now), len(then)) < ENOUGH or now.dtype == object:
        return
    if pd.api.types.is_numeric_dtype(now) and pd.api.types.is_numeric_dtype(then) and then.nunique() > 2:
        yield from _numbers(name, now, then, added, SURE * chance)
    elif not pd.api.types.is_datetime64_any_dtype(now) and now.dtype == then.dtype and then.nunique() <= FEW:
        yield from _values(table, name, rows, then, SURE * chance)


def _numbers(name: str, now: pd.Series, then: pd.Series, added: pd.Series, chance: float) -> Iterator[Finding]:
    """Yield a warning if numbers have another unit, all or those of new rows, or else another distribution."""
    now, then, added = (each.astype(float) for each in (now, then, added))
    for values, which in ((now, "the values are"), (added, "those of new rows are")):
        if len(values) >= ENOUGH and (factor := _factor(values, then)):
            medians = f"median {values.median():.4g}, before {then.median():.4g}"
            yield warning(name, f"{which} {factor} what they were ({medians}): another unit?", len(values))
            return
    grid = np.unique(np.concatenate([now, then]))
    shares = [np.searchsorted(np.sort(each), grid, side="right") / len(each) for each in (now, then)]
    if (far := np.abs(shares[0] - shares[1]).max()) > max(MOVED, chance):  # as Kolmogorov and Smirnov measure it
        medians = f"median {now.median():.4g}, before {then.median():.4g}"
        yield warning(name, f"the distribution has moved, {far:.0%} of it ({medians})", len(now))


def _factor(now: pd.Series, then: pd.Series) -> str:
    """Return by which factor both the level and the spread have grown or shrunk, if a unit does that; else nothing."""
    sizes = [each[each != 0].abs() for each in (now, then)]
    if min(map(len, sizes)) < ENOUGH:
        return ""
    level, spread = (
        np.log10(measure(sizes[0]) / measure(sizes[1])) if measure(sizes[1]) and measure(sizes[0]) else 0.0
        for measure in (np.median, lambda each: np.subtract(*np.quantile(each, [0.9, 0.1])))
    )
    for factor in FACTORS:
        for sign, text in ((1, f"{factor:,} times"), (-1, f"a {factor:,}th of")):
            size = sign * np.log10(factor)
            if abs(level - size) < LEVEL and abs(spread - size) < SPREAD:
                return text
    return ""


def _values(table: Table, name: str, rows: pd.DataFrame, then: pd.Series, chance: float) -> Iterator[Finding]:
    """Yield warnings on values that are new or gone, else one if their shares have moved."""
    now, before = (each.value_counts(normalize=True) for each in (rows[name], then))
    sure = max(NEW, 20 / len(then))
    if unknown := [value for value in now.index if now[value] > sure and value not in before.index]:
        found = rows[rows[name].isin(unknown)]
        yield finding(name, f"has values that were not there before, as {unknown[0]}", found, table.keys, "warning")
    gone = [value for value in before.index if before[value] > max(COMMON, chance) and value not in now.index]
    for value in gone:
        yield warning(name, f"no row has the value {value} any more, before {before[value]:.0%}", len(rows))
    far = now.sub(before, fill_value=0).abs().sum() / 2
    if not gone and not unknown and far > max(MOVED, chance * max(0.9, np.sqrt(len(before)) / 4)):
        yield warning(name, f"the shares of its values have moved, {far:.0%} of the rows", len(rows))
