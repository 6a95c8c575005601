"""What a simulation shows: days to find and to recover from each fault, false alarms, promotions, rows lost, losses."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .plan import BROKEN, CONCEPT, SHIFT, Fault
from .policies import BLIND, FROZEN, SERVED

FOUND_BY = {BROKEN: "quality", CONCEPT: "performance", SHIFT: "drift"}
BEFORE, TOGETHER = 14, 3  # days whose mean is the loss before a fault; days whose mean is compared with it
PART = 0.25  # of what a fault adds to the loss that may be left where it is called recovered from


@dataclass(frozen=True)
class Found:
    """What came of a fault: the days until it was found and recovered from; None if it was not until the end."""

    fault: Fault
    detected: int | None
    recovered: int | None


@dataclass(frozen=True)
class Findings:
    """What a simulation shows.

    Attributes:
        found: What came of each fault.
        false_alarms: Of the control run; None without one.
        promotions: After the first version.
        kept_back: Versions that the gate refused.
        by_hand: Deployments that a person made.
        lost: Rows asked that are not in the log, of both runs.
        learned: Rows with the broken column that a version was trained on.
        losses: The mean loss over all rows, by policy.
    """

    found: list[Found]
    false_alarms: int | None
    promotions: int
    kept_back: int
    by_hand: int
    lost: int
    learned: int
    losses: dict[str, float]


def findings(runs: dict[str, dict[str, Any]]) -> Findings:
    """Return what the runs show, as `simulate` returns them."""
    run, control = runs["faults"], runs.get("control")
    days, plan = run["days"], run["plan"]
    made, promoted = (sum(len(each[name]) for each in days) for name in ("versions", "promoted"))
    return Findings(
        [_found(Fault(**each), days, plan["faults"]) for each in plan["faults"]],
        sum(len(each["alarms"]) for each in control["days"]) if control else None,
        promoted,
        made - promoted,
        run["by_hand"],
        sum(each["sent"] - each["logged"] for each in runs.values()),
        sum(run["broken_rows_learned"].values()),
        {policy: float(np.mean(losses(run, policy))) for policy in (SERVED, FROZEN, BLIND)},
    )


def losses(run: dict[str, Any], policy: str) -> np.ndarray:
    """Return the loss of each day under a policy, `(days,)`."""
    return np.array([each["losses"].get(policy, np.nan) for each in run["days"]])


def together(values: np.ndarray) -> np.ndarray:
    """Return the mean of each day and the two before it, `(days,)`."""
    return np.array([values[max(i - TOGETHER + 1, 0) : i + 1].mean() for i in range(len(values))])


def _found(fault: Fault, days: list[dict[str, Any]], others: list[dict[str, Any]]) -> Found:
    """Return when a fault was found, and when the loss was near what it was before."""
    raised = [
        each["number"] - fault.first
        for each in days[fault.first + 1 :]
        for kind, column, _ in each["alarms"]
        if kind == FOUND_BY[fault.kind] and (fault.kind != BROKEN or column == fault.column)
    ]
    served = np.array([each["losses"][SERVED] for each in days])
    broken = {day for each in others if each["kind"] == BROKEN for day in range(each["first"], each["end"])}
    before = [served[day] for day in range(max(fault.first - BEFORE, 0), fault.first) if day not in broken]
    end = min([each["first"] for each in others if each["first"] > fault.first], default=len(days))
    after = together(served)[fault.first + TOGETHER - 1 : end] if fault.kind != BROKEN else served[fault.first : end]
    if not before or not len(after):
        return Found(fault, raised[0] if raised else None, None)
    limit = np.mean(before) + PART * max(after.max() - np.mean(before), 0)
    late = np.flatnonzero((after <= limit) & (np.arange(len(after)) >= after.argmax()))
    first = 0 if fault.kind == BROKEN else TOGETHER - 1
    recovered = int(late[0]) + first if len(late) else None
    return Found(fault, raised[0] if raised else None, recovered)
