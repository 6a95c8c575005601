"""Whether rows are what a version learned from: gaps, constants, units, unknown values."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .profiles import Column, Counts

FEW = 20  # rows below which nothing can be told
CONSTANT = 30  # rows that cannot have one value by chance
MORE_GAPS, MORE_OUTSIDE, MORE_UNKNOWN = 0.1, 0.2, 0.05  # shares of the rows, above that of the rows learned from
SURE = 4.0  # standard errors by which a share must be above its limit
FACTORS = {10.0: "10", 100.0: "100", 1000.0: "1,000", 2.54: "2.54 (inches)", 2.2046: "2.2 (pounds)", 60.0: "60"}
ALIKE = 0.15  # relative difference from a factor that is called by its name


@dataclass(frozen=True)
class Problem:
    """What is wrong with a column of some rows: the column, the kind of problem, and a sentence."""

    column: str
    kind: str
    words: str


def problems(column: Column, found: Counts) -> list[Problem]:
    """Return what is wrong with a column in these rows, compared with those that a version learned from."""
    if found.rows < FEW:
        return []
    checks = {"missing": _gaps, "constant": _constant, "unit": _range, "unknown value": _unknown}
    said = {kind: check(column, found) for kind, check in checks.items()}
    return [Problem(column.name, kind, f"{column.name}: {words}") for kind, words in said.items() if words]


def concerned(problem: Problem, column: Column, values: pd.Series) -> np.ndarray:
    """Return which of the rows with a problem are bad (boolean, (rows,)): all with a value, where none can be told."""
    missing = values.isna().to_numpy()
    if problem.kind == "missing":
        return missing
    if problem.kind == "unknown value":
        return ~missing & ~values.astype(str).isin(column.values).to_numpy()
    return ~missing


def _gaps(column: Column, found: Counts) -> str:
    before, now = column.counts.missing / max(column.counts.rows, 1), found.missing / found.rows
    if not _surely_more(now, before, MORE_GAPS, found.rows):
        return ""
    return f"{now:.0%} of the values are missing, of those learned from {before:.0%}"


def _constant(column: Column, found: Counts) -> str:
    if column.kind == "other" or found.present < CONSTANT:
        return ""
    share = max(column.counts.cells) / max(column.counts.present, 1)
    one = found.low == found.high if column.kind == "number" else max(found.cells) == found.present
    if not one or share**found.present > 1e-6 or len([each for each in column.counts.cells if each]) < 2:
        return ""
    value = f"{found.low:g}" if column.kind == "number" else [*column.values, "another"][int(np.argmax(found.cells))]
    return f"every value is {value}"


def _range(column: Column, found: Counts) -> str:
    now = _newly_outside(column, found, MORE_OUTSIDE) if column.kind == "number" else 0.0
    if not now:
        return ""
    means = found.total / found.present, column.counts.total / max(column.counts.present, 1)
    return f"{now:.0%} of the values are outside of what was learned from{_factor(*means)}"


def _unknown(column: Column, found: Counts) -> str:
    now = _newly_outside(column, found, MORE_UNKNOWN) if column.kind == "text" else 0.0
    return f"{now:.0%} of the values were never seen in training" if now else ""


def _newly_outside(column: Column, found: Counts, limit: float) -> float:
    """Return the share of values beyond those learned from, 0 unless that is surely more than it was by a limit."""
    if not column.closed or not found.present:
        return 0.0
    before, now = column.counts.outside / max(column.counts.present, 1), found.outside / found.present
    return now if _surely_more(now, before, limit, found.present) else 0.0


def _surely_more(now: float, before: float, limit: float, rows: int) -> bool:
    """Return whether a share is above the one before by more than the limit, and not by chance."""
    wide = SURE * np.sqrt(max(before * (1 - before), 0.01) / rows)
    return now - before >= max(limit, wide)


def _factor(now: float, before: float) -> str:
    """Return by what factor the mean changed, if it is one that a change of unit has."""
    if not before or not now or now / before <= 0:
        return ""
    ratio = now / before
    for factor, name in FACTORS.items():
        if abs(ratio / factor - 1) < ALIKE:
            return f"; the mean is about {name} times as large"
        if abs(ratio * factor - 1) < ALIKE:
            return f"; the mean is divided by about {name}"
    return ""
