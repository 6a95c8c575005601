"""Measure the columns of a table: counts by bin, missing patterns, associations, extremes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

BINS = 30  # of numbers, dates and lengths of texts
VALUES, FEW = 8, 12  # most common values counted apart from the others; all, if there are few
ENOUGH = 5  # learning rows of a bin whose mean outcome is shown
CATEGORIES = 50  # distinct values up to which a text is a category, whatever its share
QUANTILES = 8  # bins of a number where associations are measured
SAMPLE, ASSOCIATED = 20_000, 120  # rows and columns that associations are measured on, by seed

Kind = Literal["number", "date", "category", "text", "file", "nothing"]


@dataclass(frozen=True)
class Bins:
    """Where values are counted: between edges, or by value.

    Attributes:
        edges: Of the bins of numbers, ascending; dates are microseconds, texts their lengths. The outer bins also
            hold what lies beyond them.
        values: The values counted apart; a last bin has all others.
    """

    edges: np.ndarray = field(default_factory=lambda: np.zeros(0))
    values: pd.Index = field(default_factory=lambda: pd.Index([]))

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.values) + 1 if len(self.values) else max(len(self.edges) - 1, 0)

    def codes(self, values: pd.Series) -> np.ndarray:
        """Return the bin of each value (int, -1 if it is missing)."""
        if not len(self.values):
            numbers = as_numbers(values)
            return np.where(np.isnan(numbers), -1, np.searchsorted(self.edges[1:-1], numbers, side="right"))
        codes, distinct = pd.factorize(_hashable(values))
        places = self.values.get_indexer(pd.Index(distinct))
        return np.append(np.where(places < 0, len(self.values), places), -1)[codes]

    def count(self, values: pd.Series) -> np.ndarray:
        """Return the number of values in each bin; their sum is that of the values that are not missing."""
        codes = self.codes(values)
        return np.bincount(codes[codes >= 0], minlength=len(self))


@dataclass(frozen=True)
class Column:
    """What is measured of a column.

    Attributes:
        role: What the table declares it as: target, key, time, group, or nothing for a feature.
        distinct: The number of distinct values; -1 if they were not compared, as for files.
        counts: By side of the split, the number of values in each bin `(bins,)`.
        summary: Lowest, quartiles, mean and highest by name, of numbers and dates; of texts, of their lengths.
        rates: The mean outcome of the learning rows in each bin `(bins,)`, NaN where they are too few; None if there is
            no outcome.
        scale: The range that these are drawn in.
        masked: Whether its values are not to be shown.
    """

    name: str
    kind: Kind
    dtype: str
    role: str
    rows: int
    missing: int
    distinct: int
    bins: Bins
    counts: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]
    rates: np.ndarray | None = None
    scale: tuple[float, float] = (0.0, 1.0)
    masked: bool = False


@dataclass(frozen=True)
class Outcome:
    """The target as a number per row, so that it has a mean.

    Attributes:
        label: What its mean is.
        values: The numbers `(rows,)`, NaN where the target is missing.
        scale: The range that means are drawn in: all of a share, that of most rows for numbers.
    """

    label: str
    values: np.ndarray
    scale: tuple[float, float] = (0.0, 1.0)


def kind_of(values: pd.Series) -> Kind:
    """Return what kind of values a column has."""
    if not values.notna().any():
        return "nothing"
    types = pd.api.types
    if types.is_datetime64_any_dtype(values):
        return "date"
    if types.is_numeric_dtype(values) and not types.is_bool_dtype(values) and not types.is_complex_dtype(values):
        return "number"
    if values.dtype == object and types.infer_dtype(values, skipna=True) == "bytes":
        return "file"
    return "category"


def as_numbers(values: pd.Series) -> np.ndarray:
    """Return numbers as they are, dates as microseconds, texts and files as their lengths (float, NaN if missing)."""
    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = pd.to_datetime(values, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
        return np.where(np.isnat(stamps), np.nan, stamps.astype("int64"))
    if kind_of(values) == "number":
        return values.to_numpy(float, na_value=np.nan)
    if kind_of(values) == "file":
        return values.map(len, na_action="ignore").to_numpy(float, na_value=np.nan)
    return as_text(values).str.len().to_numpy(float, na_value=np.nan)


def as_text(values: pd.Series) -> pd.Series:
    """Return values as text, missing ones as such."""
    return values.astype("str").where(values.notna())


def outcome(target: pd.Series) -> Outcome | None:
    """Return the target as a number: itself, or whether it is 1, True or the rarer of two classes; None if neither."""
    classes = _hashable(target).value_counts()
    if kind_of(target) == "number" and len(classes) > 2:
        numbers = as_numbers(target)
        low, high = np.nanquantile(numbers, [0.05, 0.95])
        return Outcome(f"mean {target.name}", numbers, (float(low), float(high)))
    if len(classes) != 2:
        return None
    one = max(classes.index) if {*classes.index} == {0, 1} else classes.index[-1]
    hit = (target == one).fillna(False).to_numpy(bool)
    return Outcome(f"share of {one}", np.where(target.isna(), np.nan, hit))


@np.errstate(over="ignore", invalid="ignore")  # of the largest doubles, and of infinite ones
def measure(
    values: pd.Series, role: str, sides: Mapping[str, np.ndarray], found: Outcome | None = None, masked: bool = False
) -> Column:
    """Return what is measured of a column.

    Args:
        values: The column.
        role: What the table declares it as.
        sides: The rows of each side of the split, as masks; the first is what models learn from.
        found: The target as a number, for the rates.
        masked: Whether the values are not to be shown.
    """
    counted = as_text(values) if masked else values
    kind, distinct, bins, summary = _binned(counted, masked)
    codes = bins.codes(counted) if len(bins) else np.full(len(counted), -1)
    counts = {name: np.bincount(codes[side & (codes >= 0)], minlength=len(bins)) for name, side in sides.items()}
    rates, scale = None, (0.0, 1.0)
    if found and len(bins) > 1 and role != "target":
        rates, scale = _rates(codes, found.values, next(iter(sides.values())), len(bins)), found.scale
    return Column(
        name=str(values.name),
        kind=kind,
        dtype=str(values.dtype),
        role=role,
        rows=len(values),
        missing=int(values.isna().sum()),
        distinct=distinct,
        bins=bins,
        counts=counts,
        summary=summary,
        rates=rates,
        scale=scale,
        masked=masked,
    )


def _binned(values: pd.Series, masked: bool) -> tuple[Kind, int, Bins, dict[str, Any]]:
    """Return kind, number of distinct values, bins and summary of a column; a masked one is binned by lengths."""
    kind = kind_of(values)
    if kind == "nothing":
        return kind, 0, Bins(), {}
    if kind == "file":
        return kind, -1, _edges(as_numbers(values)), _summary(pd.Series(as_numbers(values)))
    distinct = _hashable(values).nunique()
    if kind == "date" or (kind == "number" and distinct > 2):
        return kind, distinct, _edges(as_numbers(values)), _summary(values)
    counts = _hashable(values).value_counts()
    if masked or (distinct > CATEGORIES and counts.iloc[:VALUES].sum() < 0.2 * counts.sum()):
        lengths = as_numbers(as_text(values))
        return "text", distinct, _edges(lengths), _summary(pd.Series(lengths))
    return "category", distinct, Bins(values=counts.index[: FEW if distinct <= FEW else VALUES]), {}


def _rates(codes: np.ndarray, outcome: np.ndarray, side: np.ndarray, bins: int) -> np.ndarray:
    """Return the mean outcome of a side's rows in each bin `(bins,)`."""
    known = side & (codes >= 0) & ~np.isnan(outcome)
    rows = np.bincount(codes[known], minlength=bins)
    return np.divide(
        np.bincount(codes[known], outcome[known], minlength=bins), rows, out=np.full(bins, np.nan), where=rows >= ENOUGH
    )


def _edges(numbers: np.ndarray) -> Bins:
    """Return bins of equal width: a whole number each where there are few, none far out in a tail."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return Bins(np.array([-np.inf, np.inf]))
    low, high = finite.min(), finite.max()
    if low == high:
        return Bins(np.array([low, high]))
    if high - low < BINS and (finite == np.floor(finite)).all():
        return Bins(np.arange(low, high + 2) - 0.5)
    inner_low, inner_high = np.quantile(finite, [0.005, 0.995])
    reach = inner_high - inner_low
    if reach > 0:
        low = inner_low if inner_low - low > reach else low
        high = inner_high if high - inner_high > reach else high
    return Bins(np.unique(2 * np.linspace(low / 2, high / 2, BINS + 1)))  # halves: a double has no number beyond


def _summary(values: pd.Series) -> dict[str, Any]:
    """Return the five numbers of a column, and the mean of numbers."""
    present = values.dropna()
    if kind_of(values) == "date":
        return {"lowest": present.min(), "median": present.quantile(), "highest": present.max()}
    numbers = present.astype(float)
    lower, middle, upper = numbers.quantile([0.25, 0.5, 0.75]).tolist()
    found = {"lowest": numbers.min(), "25 %": lower, "median": middle, "75 %": upper, "highest": numbers.max()}
    return found | {"mean": numbers.mean()}


def _hashable(values: pd.Series) -> pd.Series:
    """Return values that can be compared: lists and dictionaries as text."""
    try:
        pd.factorize(values.head(1000))
    except TypeError:
        return values.astype("str")
    return values


def missing_patterns(rows: pd.DataFrame, shown: int = 10) -> list[tuple[int, list[str]]]:
    """Return the most common sets of columns that are missing together, with their numbers of rows."""
    gaps = {name: missing.to_numpy() for name in rows if (missing := rows[name].isna()).any()}
    weights = np.random.default_rng(0).integers(1, 2**63, len(gaps), dtype=np.uint64)
    sums = np.zeros(len(rows), np.uint64)
    for weight, gap in zip(weights, gaps.values(), strict=True):
        sums += gap * weight  # wraps: a sum of its own for each set of columns
    _, first, counts = np.unique(sums, return_index=True, return_counts=True)
    found = [
        (int(count), [str(name) for name, gap in gaps.items() if gap[row]])
        for row, count in zip(first, counts, strict=True)
    ]
    return sorted([each for each in found if each[1]], key=lambda each: -each[0])[:shown]


def associations(rows: pd.DataFrame, target: str, features: list[str]) -> pd.DataFrame:
    """Return how much any two columns tell of each other, by Cramér's V without its bias: 0 nothing, 1 all.

    Numbers are taken in quantiles, other values by the most common ones, a missing value as one more; measured on a
    seeded sample.

    Returns:
        `one`, `other` and `strength`, the strongest first.
    """
    part = rows.sample(min(len(rows), SAMPLE), random_state=0) if len(rows) > SAMPLE else rows
    named = [target, *[name for name in features if kind_of(rows[name]) not in ("file", "nothing")]]
    coded = {name: codes for name in named if (codes := _coded(part[name])).max(initial=0) > 0}
    names = list(coded)[:ASSOCIATED]
    if len(names) < 2:
        return pd.DataFrame(columns=["one", "other", "strength"])
    sizes = [int(coded[name].max()) + 1 for name in names]
    starts = np.cumsum([0, *sizes[:-1]])
    table = np.zeros((len(part), sum(sizes)), np.float32)
    for name, start in zip(names, starts, strict=True):
        table[np.arange(len(part)), start + coded[name]] = 1
    strength = _cramers_v(table, starts, np.array(sizes), len(part))
    one, other = np.triu_indices(len(names), 1)
    found = pd.DataFrame(
        {"one": np.array(names)[one], "other": np.array(names)[other], "strength": strength[one, other]}
    )
    return found.sort_values("strength", ascending=False, kind="stable", ignore_index=True)


def _coded(values: pd.Series) -> np.ndarray:
    """Return values as small whole numbers `(rows,)` from 0 on, all of which occur."""
    if kind_of(values) in ("number", "date"):
        numbers = as_numbers(values)
        cuts = np.unique(np.quantile(numbers[~np.isnan(numbers)], np.arange(1, QUANTILES) / QUANTILES))
        codes = np.where(np.isnan(numbers), -1, np.searchsorted(cuts, numbers, side="right"))
    else:
        codes = Bins(values=_hashable(values).value_counts().index[:VALUES]).codes(values)
    return np.unique(codes, return_inverse=True)[1]


def _cramers_v(table: np.ndarray, starts: np.ndarray, sizes: np.ndarray, rows: int) -> np.ndarray:
    """Return Cramér's V of every two columns, with the correction of Bergsma (2013).

    Args:
        table: Columns as indicators of their codes `(rows, codes of all columns)`.
        starts: The first code of each column.
        sizes: The number of codes of each.
        rows: How many there are.
    """
    together, totals = (table.T @ table).astype(float), table.sum(axis=0, dtype=float)
    parts = together**2 / np.outer(totals, totals)
    phi = np.add.reduceat(np.add.reduceat(parts, starts, axis=0), starts, axis=1) - 1
    free = np.maximum(sizes - 1, 1)
    fewer = sizes - (sizes - 1) ** 2 / max(rows - 1, 1) - 1
    most = np.maximum(np.minimum.outer(fewer, fewer), 1e-9)
    return np.sqrt(np.clip((phi - np.outer(free, free) / max(rows - 1, 1)) / most, 0, 1))


@np.errstate(over="ignore", invalid="ignore")
def extremes(rows: pd.DataFrame, columns: list[Column], shown: int) -> pd.Series:
    """Return which feature makes a row unusual, by the row's index: the one farthest from its median, in IQRs."""
    farthest, names = np.zeros(len(rows)), np.full(len(rows), "", object)
    for column in columns:
        if column.kind == "number" and not column.role and not column.masked:
            low, middle, high = (column.summary[name] for name in ("25 %", "median", "75 %"))
            if high > low:
                numbers = as_numbers(rows[column.name])
                distance = np.nan_to_num(np.abs(numbers - middle) / (high - low), posinf=np.inf)
                farther = distance > farthest
                farthest[farther], names[farther] = distance[farther], column.name
    places = np.argsort(-farthest, kind="stable")[:shown]
    return pd.Series(names[places], rows.index[places])[farthest[places] > 0]
