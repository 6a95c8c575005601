"""Measure a table over time: rows a period, series with their gaps, and what changed since the last snapshot."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import Refused
from . import catalog
from .personal import masked
from .profile import Column, Outcome, as_numbers, as_text, kind_of
from .table import Table, key_hashes

UNITS = {
    "s": "second",
    "min": "minute",
    "h": "hour",
    "D": "day",
    "W": "week",
    "M": "month",
    "Q": "quarter",
    "Y": "year",
}
PERIODS = 200  # at most
LATE = 0.02  # of the whole time by which a series starts late or ends early
STEPS = 1.5  # usual steps without a row from which on there is a gap
REGULAR = 0.1  # share of the steps from which on a longer one is the calendar, as weekends are, and no gap


@dataclass(frozen=True)
class Periods:
    """How many rows there are in each period of time, from the first to the last.

    Attributes:
        unit: What a period is.
        labels: The name of each `(periods,)`.
        rows: The rows in each `(periods,)`.
        held: Those held out `(periods,)`.
        outcome: The mean outcome in each `(periods,)`, NaN for an empty one; None if the target has no mean.
    """

    unit: str
    labels: list[str]
    rows: np.ndarray
    held: np.ndarray
    outcome: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Series:
    """One series: its values in the order of time.

    Attributes:
        times: As numbers `(steps,)`, see `as_numbers`.
        values: The target `(steps,)`.
        gaps: The times at which each gap begins and ends `(gaps, 2)`.
        late, early: Whether it starts later, or ends earlier, than the table.
        lacking: For how long it has no values, in gaps, and before and after where that is long.
    """

    name: str
    times: np.ndarray
    values: np.ndarray
    gaps: np.ndarray
    late: bool
    early: bool
    lacking: float


@dataclass(frozen=True, eq=False)
class Earlier:
    """The rows of a table before the newest change of a source.

    Attributes:
        rows: In the order of time and key.
        places: Where each row of now is among them, by key; -1 if it is new `(rows of now,)`.
    """

    rows: pd.DataFrame
    places: np.ndarray


@dataclass(frozen=True)
class Changes:
    """What became of the rows of the last snapshot, by key.

    Attributes:
        cells: By column, how many of the rows in both have another value.
        columns: What became of columns: added, removed, of another type.
        moved: By column whose distribution moved, the share of rows that another bin has now, the most first.
        counts: By these columns, the counts of the last snapshot in the bins of now.
    """

    added: int
    changed: int
    removed: int
    cells: dict[str, int]
    columns: list[str]
    moved: dict[str, float]
    counts: dict[str, np.ndarray]


def periods(times: pd.Series, held: np.ndarray, found: Outcome | None) -> Periods:
    """Return the rows in each period: the shortest unit of which there are at most `PERIODS`, no shorter than a step.

    Args:
        times: The time of each row; numbers, such as years, are counted in bins of equal width.
        held: Which rows are held out.
        found: The target as a number, if it has one.
    """
    if kind_of(times) == "number":
        low, high = int(np.floor(times.min())), int(np.floor(times.max()))
        width = -(-(high - low + 1) // PERIODS)
        places = ((np.floor(as_numbers(times)) - low) // width).astype(int)
        unit, labels = f"{width:,}" if width > 1 else "step", [str(low + width * i) for i in range(places.max() + 1)]
    else:
        local = times.dt.tz_localize(None)
        distinct = np.sort(local.unique())
        step = pd.Timedelta(np.median(np.diff(distinct))) if len(distinct) > 1 else pd.Timedelta(0)
        letter = _unit(local.min(), local.max(), step)
        codes, unique = pd.factorize(local)
        ordinals = unique.to_period(letter).asi8 if len(unique) else np.zeros(0, int)
        places, unit = (ordinals - ordinals.min())[codes], UNITS[letter]
        labels = [_label(pd.Period(ordinal=o, freq=letter)) for o in range(ordinals.min(), ordinals.max() + 1)]
    rows, mean = np.bincount(places, minlength=len(labels)), None
    if found:
        known = ~np.isnan(found.values)
        sums = np.bincount(places[known], found.values[known], len(labels))
        many = np.bincount(places[known], minlength=len(labels))
        mean = np.divide(sums, many, out=np.full(len(labels), np.nan), where=many > 0)
    return Periods(unit, labels, rows, np.bincount(places[held], minlength=len(labels)), mean)


def _unit(first: pd.Timestamp, last: pd.Timestamp, step: pd.Timedelta) -> str:
    """Return the letter of the unit that fits."""
    lengths = {
        letter: (pd.Period(first, letter) + 1).start_time - pd.Period(first, letter).start_time for letter in UNITS
    }
    for letter, length in lengths.items():
        if (last - first) / length <= PERIODS and step <= 1.1 * length:
            return letter
    return "Y"


def _label(period: pd.Period) -> str:
    return str(period.start_time.date()) if period.freqstr.startswith("W") else str(period)


def gaps(table: Table, rows: pd.DataFrame) -> np.ndarray:
    """Return before which rows a series lacks times that others, or its own usual step, let expect `(rows,)`."""
    times = rows[table.time]
    groups = rows[table.group].astype(str) if table.group else pd.Series("", rows.index)
    if alone := groups.nunique() == 1:  # no other tells the calendar
        at, dates = pd.to_numeric(times), pd.api.types.is_datetime64_any_dtype(times)
        kinds = times.dt.day_of_week if dates else groups  # Monday's step is longer where weekends have no row
    else:
        at, kinds = times.rank(method="dense"), groups
    step = at.sort_values(kind="stable").groupby(groups).diff()
    wide = (step > STEPS * step.groupby(kinds).transform("median")).reindex(rows.index).to_numpy()
    return wide & (not alone or wide.mean() < REGULAR)


def series(table: Table, rows: pd.DataFrame) -> Iterator[Series]:
    """Yield each series of a table whose rows are points of series, in the order of their names."""
    times = as_numbers(rows[table.time])
    values = as_numbers(rows[table.target])
    lost, wide = np.isnan(values), gaps(table, rows)
    first, last = times.min(), times.max()
    distinct = np.diff(np.unique(times))
    usual = np.quantile(distinct, 0.9) if len(distinct) else 0
    groups = rows.groupby(table.group, sort=True).indices if table.group else {table.target: np.arange(len(rows))}
    for name, places in groups.items():
        own = places[np.argsort(times[places], kind="stable")]
        passed = np.cumsum(wide[own] | lost[own])[~lost[own]]  # gaps and missing values up to each value
        own = own[~lost[own]]
        if not len(own):
            continue
        at, before = times[own], np.flatnonzero(np.diff(passed))
        slack = max(LATE * (last - first), STEPS * usual)
        late, early = at[0] - first > slack, last - at[-1] > slack
        between = np.column_stack([at[before], at[before + 1]])
        lacking = float(np.diff(between).sum() + late * (at[0] - first) + early * (last - at[-1]))
        yield Series(str(masked(name, table.group or "")), at, values[own], between, late, early, lacking)


def telling(found: list[Series], most: int) -> list[Series]:
    """Return some series: those with the longest gaps, then some from the largest to the smallest."""
    if len(found) <= most:
        return found
    odd = sorted((one for one in found if one.lacking), key=lambda one: -one.lacking)[: most // 2]
    others = sorted((one for one in found if one not in odd), key=lambda one: -np.abs(one.values).mean())
    places = np.linspace(0, len(others) - 1, most - len(odd)).round().astype(int)
    return [*odd, *(others[place] for place in places)]


def earlier(table: Table, rows: pd.DataFrame) -> Earlier | None:
    """Return the table's rows as they were before the newest change of a source; None if they are not here."""
    with catalog.before() as there:
        try:
            return matched(table, rows, table.rows()) if there else None
        except (Refused, KeyError, ValueError):  # of another schema: data.py has changed since
            return None


def matched(table: Table, rows: pd.DataFrame, former: pd.DataFrame) -> Earlier:
    """Return former rows with the places of those of now among them."""
    key, kinds = table.keys[0], {each[table.keys[0]].dtype for each in (rows, former)}
    plain = len(table.keys) == len(kinds) == 1 and pd.api.types.is_integer_dtype(kinds.pop())
    now, then = (pd.Index(each[key] if plain else key_hashes(table, each)) for each in (rows, former))
    return Earlier(former, then.get_indexer(now))


def changes(rows: pd.DataFrame, earlier: Earlier, columns: list[Column]) -> Changes:
    """Return what became of the rows of the last snapshot.

    Args:
        rows: The rows of now.
        earlier: Those of the last snapshot.
        columns: What is measured of the columns of now.
    """
    former, kept = earlier.rows, np.flatnonzero(earlier.places >= 0)
    places = earlier.places[kept]
    changed, cells = np.zeros(len(kept), bool), {}
    for name in [each for each in rows if each in former]:
        differs = _differs(rows[name].iloc[kept], former[name].iloc[places])
        changed |= differs
        cells |= {str(name): int(differs.sum())} if differs.any() else {}
    counts = {each.name: _counted(each, former[each.name]) for each in columns if each.name in former}
    moved = {each.name: _distance(each, counts[each.name], len(former)) for each in columns if each.name in counts}
    moved = {name: far for name, far in sorted(moved.items(), key=lambda each: -each[1]) if far > 0}
    structure = [f"{name} is new" for name in rows if name not in former]
    structure += [f"{name} is gone" for name in former if name not in rows]
    ordered = dict(sorted(cells.items(), key=lambda each: -each[1]))
    added, removed = len(rows) - len(kept), len(former) - len(kept)
    return Changes(added, int(changed.sum()), removed, ordered, structure, moved, counts)


def _differs(now: pd.Series, then: pd.Series) -> np.ndarray:
    """Return which values differ, place by place; two that are missing do not."""
    now, then = now.reset_index(drop=True), then.reset_index(drop=True)
    try:
        same = now == then
    except TypeError:  # categories of two kinds
        same = now.astype("str") == then.astype("str")
    return ~(same.fillna(False).to_numpy(bool) | (now.isna() & then.isna()).to_numpy())


def _counted(column: Column, values: pd.Series) -> np.ndarray:
    """Return the counts of other rows in a column's bins; of none where their type does not fit."""
    try:
        return column.bins.count(as_text(values) if column.masked else values)
    except (TypeError, ValueError):
        return np.zeros(len(column.bins), int)


def _distance(column: Column, then: np.ndarray, rows: int) -> float:
    """Return the share of rows that has moved between bins, 0 if that is no more than chance would give."""
    now = sum(column.counts.values())
    if column.role == "key" or not now.sum() or not then.sum():
        return 0.0
    shares, former = np.append(now, column.missing) / column.rows, np.append(then, rows - then.sum()) / rows
    far = np.abs(shares - former).sum() / 2
    chance = np.sqrt((len(now) + 1) / np.pi * (1 / column.rows + 1 / rows))
    return float(far) if far > max(0.01, chance) else 0.0
