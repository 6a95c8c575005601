"""What is odd about rows that keep their schema: warnings, to be looked at; nothing is refused."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from . import personal, skill
from .checks import EXAMPLES, Finding, finding, shown
from .table import Table, is_holdout

ENOUGH = 50  # rows from which on a column may be called constant, or an id
RARE_ROWS, RARE = 20, 0.01  # a class of fewer rows, or of a smaller share, is rare
CHANCE = 2.0  # bits beyond those that tell all pairs of rows apart, from which on equal rows are no chance
REGULAR = 0.1  # share of the steps from which on a longer one is the calendar, as weekends are, and no gap
ZEROS = 0.5  # share of a series' values that are zero

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
        shares = rows[name].iloc[: skill.SAMPLE].value_counts(normalize=True).to_numpy() if bits < 64 else np.ones(1)
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
    yield from _gaps(table, rows, series)
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


def _gaps(table: Table, rows: pd.DataFrame, series: pd.Series) -> Iterator[Finding]:
    """Yield a warning for times that a series lacks between its first and its last."""
    times = rows[table.time]
    if alone := series.nunique() == 1:  # no other tells the calendar
        times = pd.to_numeric(times)
    steps = pd.DataFrame({"series": series, "time": times if alone else times.rank(method="dense")})
    step = steps.sort_values(["series", "time"]).groupby("series")["time"].diff()
    kinds = (
        rows[table.time].dt.day_of_week if alone and pd.api.types.is_datetime64_any_dtype(rows[table.time]) else series
    )
    long = step > 1.5 * step.groupby(kinds).transform("median")  # Monday's step is longer where weekends have no row
    if long.any() and (long.mean() < REGULAR or not alone):
        own = rows.loc[long[long].index]
        yield finding(table.time, "times are missing before these rows of a series", own, table.keys, "warning")


def _about_series(table: Table, series: pd.Series, check: str, found: pd.Series) -> Iterator[Finding]:
    """Yield a warning on the rows of the series that are the index of `found`."""
    if len(found) and table.group:
        examples = tuple({table.group: each} for each in found.index[:EXAMPLES])
        yield warning(table.group, f"{len(found)} series {check}", int(series.isin(found.index).sum()), examples)
