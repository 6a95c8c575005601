"""Drift by days: whether a day, or a week, differs from the days before by more than these differ from each other.

A test of rows would fire on every day, since days are never quite alike. So a day is one number for each property of a
column, and is compared with at least REFERENCE such numbers. The template's docs/monitoring.md tells what was measured.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.special import fdtrc, stdtr

from ..retraining.profiles import Column, Counts

REFERENCE = 56  # days needed to compare with
LONGEST = 180  # days compared with, the newest
WEEK = 7  # days that are tested, and so no days to compare with
SPANS = {"day": 1, "3 days": 3, "week": 7}  # whose means are tested; two thirds of the days must have rows
FEW = 20  # rows below which a day is not counted
DAILY = 0.4 / 365  # share of the days on which chance may alarm, divided by columns and spans
WEEKDAYS, WEEKENDS = 0.001, 0.01  # p below which days of the week, or else weekends, differ
DOUBT = 1.5  # standard errors by which a week's days may be more alike than the days before tell
CLOSEST = 0.9  # correlation of days next to each other, at most
COMMON = 5  # values of a text that are watched
FLOORS = {  # of each span: a smaller change is none, however sure
    "level": (0.05, 0.04, 0.03),
    "spread": (0.05, 0.04, 0.03),
    "share": (0.08, 0.06, 0.05),
}
MISSING = "share missing"


@dataclass(frozen=True)
class Change:
    """How a property of a column differs from the days before.

    Attributes:
        column: Of which column.
        what: The property in words, such as "level".
        span: One of SPANS.
        before: Its mean over the reference days, as a share or a mid-rank.
        now: Its value in the span.
        p: How rarely so many days are as far off.
        alarm: Whether that is too rare, and the change is not too small to matter.
    """

    column: str
    what: str
    span: str
    before: float
    now: float
    p: float
    alarm: bool


def properties(column: Column, counts: Counts) -> dict[str, float]:
    """Return the numbers that stand for a column on a day; nothing for a day of few rows."""
    if counts.rows < FEW:
        return {}
    found = {MISSING: _arcsine(counts.missing / counts.rows)}
    if counts.present < FEW or column.kind == "other" or column.moving:
        return found
    shares = np.array(counts.cells) / counts.present
    if column.kind == "number":
        ranks = column.ranks
        return found | {"level": float(shares @ ranks), "spread": float(shares @ np.abs(ranks - 0.5))}
    names = [f"share of {value}" for value in column.values[:COMMON]]
    return found | {name: _arcsine(share) for name, share in zip(names, shares[:COMMON], strict=False)}


def changes(
    column: str, history: dict[date, dict[str, float]], counts: Counts, reference: list[date], tested: int
) -> list[Change]:
    """Return how the newest day, and the days up to it, differ from the reference days.

    Args:
        column: Its name.
        history: The properties of each day, oldest first.
        counts: Of the newest day.
        reference: The days to compare with, none of the newest week.
        tested: The number of columns, which share the false alarms.
    """
    newest, found = max(history), []
    for what in history[newest]:
        before = {day: history[day][what] for day in reference if what in history.get(day, {})}
        days = [newest - timedelta(ago) for ago in range(WEEK + 1)]
        recent = {day: history[day][what] for day in days if what in history.get(day, {})}
        if len(before) >= REFERENCE:
            noise = _noise(what, counts.rows if what == MISSING else counts.present)
            found += _compared(column, what, before, recent, noise, DAILY / len(SPANS) / max(tested, 1))
    return found


def reference_days(days: list[date], promoted: date) -> list[date]:
    """Return the days to compare with: those before the champion was promoted or, if these are few, the first ones.

    Args:
        days: All days with rows, oldest first.
        promoted: When the champion began to serve.
    """
    if not days:
        return []
    older = [day for day in days if (days[-1] - day).days >= WEEK]
    before = [day for day in older if day < promoted]
    return before[-LONGEST:] if len(before) >= REFERENCE else older[:REFERENCE]


def _compared(
    column: str, what: str, before: dict[date, float], recent: dict[date, float], noise: float, limit: float
) -> list[Change]:
    """Return how the newest days differ from the days before, by a t distribution for a step of so many more days."""
    newest, (effects, spent) = max(recent), _weekday_effects(before)
    usual = np.array([value - effects[day.weekday()] for day, value in before.items()])
    deviation, alike = max(float(usual.std(ddof=1 + spent)), noise), _autocorrelation(usual)
    centre, base, found = float(usual.mean()), float(np.mean(list(before.values()))), []
    own = {(newest - day).days: value - effects[day.weekday()] - centre for day, value in recent.items()}
    for (span, length), floor in zip(SPANS.items(), FLOORS.get(what, FLOORS["share"]), strict=True):
        days = [value for ago, value in own.items() if ago < length]
        if len(days) * 3 < length * 2:
            continue
        doubt = DOUBT * np.sqrt((1 - alike**2) / len(usual)) if length == WEEK else 0.0
        rho = min(alike + doubt, CLOSEST)
        means, spreads = (len(usual) * (1 - each) / (1 + each) for each in (rho, rho**2))  # as many independent days
        step, error = _step(own, length, rho)
        t = abs(step) / (deviation * np.sqrt(error**2 + 1 / means))
        p = float(2 * stdtr(max(spreads - 1 - spent, 1), -t))
        gap = float(np.mean(days))
        shown = _back(what, base), _back(what, base + gap)
        found.append(Change(column, what, span, *shown, p, p < limit and abs(gap) >= floor))
    return found


def _step(own: dict[int, float], length: int, rho: float) -> tuple[float, float]:
    """Return by how much the newest days differ, and the standard error of that, in deviations of a day.

    By generalised least squares: days are alike, so the day before the newest ones tells where these would have been.

    Args:
        own: What a day is above the usual, by how many days ago it was.
        length: How many days are the newest.
        rho: How much a day is like the day before it.
    """
    ago = np.array([each for each in sorted(own) if each <= length])  # (days,)
    inside = (ago < length).astype(float)
    weights = np.linalg.solve(rho ** np.abs(ago[:, None] - ago), inside)
    known = weights @ inside
    return float(weights @ [own[each] for each in ago]) / known, float(1 / np.sqrt(known))


def _autocorrelation(values: np.ndarray) -> float:
    """Return how much a day is like the day before it, from 0 to CLOSEST."""
    if not values.std():
        return 0.0
    return float(np.clip(np.corrcoef(values[1:], values[:-1])[0, 1], 0, CLOSEST))


def _weekday_effects(before: dict[date, float]) -> tuple[np.ndarray, int]:
    """Return what to take from a value by its day of the week, `(7,)`, and the degrees of freedom that this costs."""
    days, values = np.array([day.weekday() for day in before]), np.array(list(before.values()))
    for groups, limit in ((np.arange(7), WEEKDAYS), (np.arange(7) // 5, WEEKENDS)):
        places = groups[days]
        used = np.unique(places)
        means = {each: values[places == each].mean() for each in used}
        within = sum(((values[places == each] - mean) ** 2).sum() for each, mean in means.items())
        total = ((values - values.mean()) ** 2).sum()
        free, rest = len(used) - 1, len(values) - len(used)
        if free < 1 or rest < 1 or within <= 0:
            continue
        if fdtrc(free, rest, (total - within) / free / (within / rest)) < limit:
            return np.array([means[each] - values.mean() if each in means else 0.0 for each in groups]), free
    return np.zeros(7), 0


def _noise(what: str, rows: int) -> float:
    """Return the standard error that so many independent rows have: no day is surer than that."""
    spreads = {"level": 0.289, "spread": 0.144}
    return spreads.get(what, 0.5) / np.sqrt(max(rows, 1))


def _arcsine(share: float) -> float:
    """Return a share on a scale where its standard error does not depend on it."""
    return float(np.arcsin(np.sqrt(share)))


def _back(what: str, value: float) -> float:
    """Return a property as a share, or as a mid-rank."""
    return value if what in ("level", "spread") else float(np.sin(np.clip(value, 0, np.pi / 2)) ** 2)
