"""What is odd about rows that keep their schema, or jumped since the last snapshot: warnings; nothing is refused."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import numpy as np
import pandas as pd

from .. import now as time_now
from . import catalog, personal, skill
from .checks import EXAMPLES, Finding, finding, shown
from .history import Earlier, gaps
from .table import Table, is_holdout

ENOUGH = 50  # rows from which on a column may be called constant, or an id
RARE_ROWS, RARE = 20, 0.01  # a class of fewer rows, or of a smaller share, is rare
CHANCE = 2.0  # bits beyond those that tell all pairs of rows apart, from which on equal rows are no chance
ZEROS = 0.5  # share of a series' values that are zero
COMPARED = 30  # rows, or values of a column, from which on two snapshots are compared
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


def suspects(table: Table, rows: pd.DataFrame) -> list[Finding]:
    """Return the warnings on good rows of a table: what may spoil a model first."""
    if len(rows) < ENOUGH:
        return []
    private = personal.suspected(rows)
    return [
        *leaking_columns(table, rows),
        *useless_columns(rows, [name for name in table.features if name not in private]),
        *duplicates(table, rows),
        *(odd_series(table, rows) if is_series(table) else rare_classes(table, rows)),
        *personal_columns(table, private, len(rows)),
    ]


def is_series(table: Table) -> bool:
    """Return whether a row is a point of a series: its key is a time, and the group it belongs to."""
    return bool(table.time) and {*table.keys} <= {table.time, table.group}


def leaking_columns(table: Table, rows: pd.DataFrame) -> Iterator[Finding]:
    """Yield a warning for each feature that tells nearly all of the target."""
    looked_at = f" (of {skill.SAMPLE:,} rows)" if len(rows) > skill.SAMPLE else ""
    for name, told in skill.skills(table, rows).items():
        if told > skill.SUSPECT:
            check = f"tells {told:.0%} of {table.target} by itself{looked_at}: is it known before {table.target} is?"
            yield warning(name, check, len(rows))


def useless_columns(rows: pd.DataFrame, features: list[str]) -> Iterator[Finding]:
    """Yield a warning for each feature with one value, and for each with another value in every row."""
    for name in features:
        values = rows[name]
        if values.isna().all():
            yield warning(name, "has no value at all", len(rows))
        elif values.head(ENOUGH).nunique(dropna=False) == 1 and values.nunique(dropna=False) == 1:
            yield warning(name, "has the same value in every row", len(rows), ({name: values.iloc[0]},))
        elif _is_id(values):
            yield warning(
                name, "has another value in every row, as an id has: a model learns nothing from it", len(rows)
            )


def duplicates(table: Table, rows: pd.DataFrame) -> Iterator[Finding]:
    """Yield a warning for rows that are equal but for their key, and for each column that is equal to one before it."""
    others = [name for name in rows if name not in table.keys]
    each_row, known, bits = np.zeros(len(rows), "uint64"), {}, 0.0
    for name in others:
        hashes = _hashes(rows[name])
        shares = (
            rows[name].iloc[: skill.SAMPLE].value_counts(normalize=True, dropna=False).to_numpy()
            if bits < 64
            else np.ones(1)
        )
        bits -= np.log2(shares @ shares)  # how seldom two rows have the same value
        first = known.setdefault((hashes[:: max(1, len(hashes) // 1000)].tobytes(), hash(hashes.tobytes())), name)
        if first != name and rows[name].nunique() > 1:
            yield warning(f"{first} and {name}", "hold the same values", len(rows))
        each_row = each_row * np.uint64(0x100000001B3) ^ hashes
    doubled = pd.Series(each_row).duplicated(keep=False).to_numpy()
    if doubled.any() and bits > 2 * np.log2(len(rows)) + CHANCE:
        own = rows[table.keys].assign(same=each_row)[doubled].sort_values("same", kind="stable").drop(columns="same")
        yield finding("", "rows are equal but for their key", own, table.keys, "warning")


def rare_classes(table: Table, rows: pd.DataFrame) -> Iterator[Finding]:
    """Yield a warning for each class of a target that has few rows, or none to learn from."""
    held = is_holdout(table, rows)
    for name in (table.target, *table.targets):
        if not skill.is_class(rows[name]) or rows[name].nunique() > ENOUGH:
            continue
        counts, learned = rows[name].value_counts(), rows.loc[~held, name].value_counts()
        for value, count in counts.items():
            if value not in learned.index or learned[value] == 0:
                yield finding(
                    name,
                    f"the class {value} is only in held-out rows",
                    rows[rows[name] == value],
                    table.keys,
                    "warning",
                )
            elif count < max(RARE_ROWS, RARE * len(rows)):
                yield finding(name, f"the class {value} is rare", rows[rows[name] == value], table.keys, "warning")


def odd_series(table: Table, rows: pd.DataFrame) -> Iterator[Finding]:
    """Yield warnings on series: late starts, early ends, gaps, those that never change, zeros."""
    series = rows[table.group].astype(str) if table.group else pd.Series("", rows.index)
    times = rows[table.time].groupby(series)
    first, last = times.min(), times.max()
    learned = rows[table.time][~is_holdout(table, rows)].max()
    late, ended = first[first > learned], last[last <= learned]
    yield from _about_series(table, series, f"start after {shown(learned)}: none of their rows is learned from", late)
    yield from _about_series(table, series, f"end by {shown(ended.max())}, before the held-out time", ended)
    if (wide := gaps(table, rows)).any():
        yield finding(table.time, "times are missing before these rows of a series", rows[wide], table.keys, "warning")
    target = rows[table.target]
    if pd.api.types.is_numeric_dtype(target):
        still = target.groupby(series).nunique()
        yield from _about_series(table, series, "never change", still[still <= 1])
        if (target == 0).mean() > ZEROS:
            yield finding(table.target, "is zero", rows[target == 0], table.keys, "warning")


def personal_columns(table: Table, private: dict[str, str], total: int) -> Iterator[Finding]:
    """Yield a warning for each column that may hold personal data, of these kinds."""
    for name, kind in private.items():
        advice = (
            "drop it in data.py unless a prediction needs it" if name in table.features else "keep it out of reports"
        )
        yield warning(name, f"may hold personal data ({kind}): {advice}", total)


def stale_sources() -> dict[str, Finding]:
    """Return a warning by source whose content has not changed for longer than its `refresh` lets expect."""
    entries, found = catalog.current(), {}
    for source in [each for each in catalog.sources() if each.name in entries]:
        days = STALE.get(source.refresh.strip().lower(), np.inf)
        taken = datetime.fromisoformat(entries[source.name]["taken"])
        if (age := (time_now() - taken).total_seconds() / 86_400) > days:
            check = f"its refresh is {source.refresh}, but its content is the same for {age:,.1f} days"
            found[source.name] = warning("", check, entries[source.name]["rows"])
    return found


def jumps(table: Table, rows: pd.DataFrame, earlier: Earlier | None) -> list[Finding]:
    """Return the warnings on what changed between two snapshots of a table; chance alone gives none."""
    if earlier is None or min(len(rows), len(earlier.rows)) < COMPARED:
        return []
    found = []
    if not FEWER <= len(rows) / len(earlier.rows) <= MORE:
        found.append(warning("", f"{len(rows):,} rows, before {len(earlier.rows):,}", len(rows)))
    drawn = _drawn(rows), _drawn(earlier.rows), _drawn(rows, np.flatnonzero(earlier.places < 0))
    for name in [table.target, *table.targets, *table.features]:
        if name in earlier.rows:
            found += _moved(table, name, *drawn)
    return found


def _is_id(values: pd.Series) -> bool:
    """Return whether these are ids: words, or whole numbers close together, of which none comes twice."""
    few = values.head(ENOUGH)
    if pd.api.types.is_integer_dtype(values):
        return few.is_unique and values.is_unique and values.max() - values.min() < 2 * len(values)
    words = pd.api.types.is_string_dtype(values) and few.is_unique and not few.str.contains(r"\s", na=False).any()
    return words and values.is_unique


def _hashes(values: pd.Series) -> np.ndarray:
    """Return a number for each value (uint64): the same for 1, 1.0 and True."""
    if pd.api.types.is_numeric_dtype(values):
        values = pd.Series(values.to_numpy(float, na_value=np.nan))
    return pd.util.hash_pandas_object(values, index=False).to_numpy()


def _about_series(table: Table, series: pd.Series, check: str, found: pd.Series) -> Iterator[Finding]:
    """Yield a warning on the rows of the series that are the index of `found`."""
    if len(found) and table.group:
        examples = tuple({table.group: each} for each in found.index[:EXAMPLES])
        yield warning(table.group, f"{len(found)} series {check}", int(series.isin(found.index).sum()), examples)


def _drawn(rows: pd.DataFrame, places: np.ndarray | None = None) -> pd.DataFrame:
    """Return a sample, by seed, of the rows at these places, else of all; all of them if they are few."""
    total = len(rows) if places is None else len(places)
    if total > SAMPLE:
        drawn = np.random.default_rng(0).choice(total, SAMPLE, replace=False)
        places = drawn if places is None else places[drawn]
    return rows if places is None else rows.iloc[places]


def _moved(table: Table, name: str, rows: pd.DataFrame, earlier: pd.DataFrame, new: pd.DataFrame) -> Iterator[Finding]:
    """Yield the warnings on one column: of its missing values, else of its values."""
    chance = np.sqrt(1 / len(rows) + 1 / len(earlier))
    now, then = rows[name], earlier[name]
    missing, before = now.isna().mean(), then.isna().mean()
    if missing - before > max(MISSING, SURE * chance):
        check = f"missing in {missing:.0%} of the rows, before in {before:.0%}"
        yield finding(name, check, rows[now.isna()][table.keys], table.keys, "warning")
    now, then, added = now.dropna(), then.dropna(), new[name].dropna()
    if min(len(now), len(then)) < COMPARED or now.dtype == object:
        return
    if pd.api.types.is_numeric_dtype(now) and pd.api.types.is_numeric_dtype(then) and then.nunique() > 2:
        yield from _numbers(name, now, then, added, SURE * chance)
    elif not pd.api.types.is_datetime64_any_dtype(now) and now.dtype == then.dtype and then.nunique() <= FEW:
        yield from _values(table, name, rows, then, SURE * chance)


def _numbers(name: str, now: pd.Series, then: pd.Series, added: pd.Series, chance: float) -> Iterator[Finding]:
    """Yield a warning if numbers have another unit, all or those of new rows, or else another distribution."""
    now, then, added = (each.astype(float) for each in (now, then, added))
    for values, which in ((now, "the values are"), (added, "those of new rows are")):
        if len(values) >= COMPARED and (factor := _factor(values, then)):
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
    if min(map(len, sizes)) < COMPARED:
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
