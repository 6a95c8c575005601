"""What late labels say: the loss of the newest days against what was promised at promotion, with honest intervals."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.special import stdtr, stdtrit

from .days import Outcome

SHARE = 0.5  # of the rows of a day that must have a label for the day to count
WEEK, ENOUGH = 7, 5  # days that are tested together, and how many of them must count
BLOCKS = 4  # weeks of the interval
LIMIT = 1 / 365  # p below which a week is worse than promised
WORSE = 0.05  # and by how much at least, as a share
LEVEL = 0.95
SUDDEN, KNOWN = 2, 7  # newest days that are each far worse than all days before, and how many of these there must be
RARELY, BEYOND = 0.1 / 365, 0.5  # p below which one is, and by how much at least above the worst before, as a share


@dataclass(frozen=True)
class Performance:
    """The loss that labels tell, and what it is compared with.

    Attributes:
        days: The mean loss of each day that counts, oldest first.
        share: The share of the newest four weeks' rows that have a label.
        promised: The loss on the rows held out, and its interval.
        now: The mean of the newest week; None if too few days count.
        interval: Of the mean of the newest four weeks; None with fewer than two.
        p: How rarely a week is as bad as the newest if the promise holds; None if that cannot be told.
        alarm: Whether that is too rare, and the loss is worse by more than a little.
        sudden: The mean of the newest two days, if each is far worse than all before; that alarms at once.
    """

    days: dict[date, float]
    share: float
    promised: tuple[float, float, float]
    now: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    alarm: bool = False
    sudden: float | None = None


def judged(
    outcomes: dict[date, Outcome],
    promised: tuple[float, float, float],
    today: date,
    served: dict[date, Outcome] | None = None,
) -> Performance:
    """Return what the labels say of the newest days.

    Args:
        outcomes: Of the champion, by day.
        promised: The loss on the rows held out, and the bounds of its interval.
        today: The day after the newest.
        served: Of whichever version served, by day, for what is sudden; by default of the champion.
    """
    recent = {day: each for day, each in outcomes.items() if (today - day).days <= BLOCKS * WEEK}
    rows, labelled = (sum(getattr(each, name) for each in recent.values()) for name in ("rows", "labelled"))
    days = _losses(outcomes)
    share = labelled / rows if rows else 0.0
    sudden = sudden_loss(_losses(served or outcomes), promised)
    found = Performance(days, share, promised, alarm=sudden is not None, sudden=sudden)
    if not days:
        return found
    newest = max(days)
    week = np.array([loss for day, loss in days.items() if (newest - day).days < WEEK])
    if len(week) < ENOUGH:
        return found
    p, now = _rarity(week, promised), float(week.mean())
    alarm = found.alarm or (p < LIMIT and now > promised[0] + WORSE * abs(promised[0]))
    return Performance(days, share, promised, now, block_interval(days), p, alarm, sudden)


def _losses(outcomes: dict[date, Outcome]) -> dict[date, float]:
    """Return the mean loss of each day that has enough labels."""
    return {
        day: each.loss / each.labelled for day, each in outcomes.items() if each.labelled >= max(SHARE * each.rows, 1)
    }


def sudden_loss(days: dict[date, float], promised: tuple[float, float, float]) -> float | None:
    """Return the mean loss of the newest two days if each is far worse than all days before, and than promised.

    A week is surer of a small change; a large one needs not wait for it.
    """
    losses = np.array([*days.values()])[-BLOCKS * WEEK :]
    newest, before = losses[-SUDDEN:], losses[:-SUDDEN]
    if len(before) < KNOWN:
        return None
    least, wide = newest.min(), before.std(ddof=1) * np.sqrt(1 + 1 / len(before))
    if least <= max(before.max() + BEYOND * abs(before.max()), np.nanmax([promised[0], promised[2]])):
        return None
    rare = not wide or stdtr(len(before) - 1, -(least - before.mean()) / wide) < RARELY
    return float(newest.mean()) if rare else None


def block_interval(days: dict[date, float]) -> tuple[float, float] | None:
    """Return the bounds of the mean loss of the newest four weeks, by t over weeks: days of one week are alike."""
    newest = max(days)
    blocks = []
    for i in range(BLOCKS):
        end = newest - timedelta(WEEK * i)
        own = [loss for day, loss in days.items() if 0 <= (end - day).days < WEEK]
        blocks += [float(np.mean(own))] if len(own) >= ENOUGH else []
    if len(blocks) < 2:
        return None
    wide = -stdtrit(len(blocks) - 1, (1 - LEVEL) / 2) * np.std(blocks, ddof=1) / np.sqrt(len(blocks))
    return float(np.mean(blocks) - wide), float(np.mean(blocks) + wide)


def _rarity(week: np.ndarray, promised: tuple[float, float, float]) -> float:
    """Return how rarely a week is as bad if the promise holds, whose own doubt counts as well."""
    value, low, high = promised
    doubt = (high - low) / 2 / 1.96 if np.isfinite(high - low) else 0.0
    error = float(np.sqrt(week.var(ddof=1) / len(week) + doubt**2))
    if not error:
        return 0.0 if week.mean() > value else 1.0
    return float(stdtr(len(week) - 1, -(week.mean() - value) / error))
