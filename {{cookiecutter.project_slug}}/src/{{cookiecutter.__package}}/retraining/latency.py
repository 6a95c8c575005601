"""Whether a version predicts in time, and its file is small enough."""

import time

import pandas as pd

from ..registry.loading import LoadedVersion
from .conditions import Condition, Contender
from .limits import Limits

TRIES = 3  # predictions of a row, of which the fastest counts


def within_budget(challenger: Contender, row: pd.DataFrame, allowed: Limits) -> Condition:
    """Require that a row is predicted, and the file kept, within their limits."""
    milliseconds, megabytes = _milliseconds(challenger.version, row), challenger.version.megabytes
    budget = {"ms a row": (milliseconds, allowed.max_milliseconds), "MB": (megabytes, allowed.max_megabytes)}
    holds = all(limit is None or found <= limit for found, limit in budget.values())
    wanted = ", ".join(f"at most {limit:g} {unit}" for unit, (_, limit) in budget.items() if limit) or "any"
    return Condition("latency and size", holds, f"{milliseconds:.1f} ms, {megabytes:.2f} MB", wanted, True)


def _milliseconds(version: LoadedVersion, row: pd.DataFrame) -> float:
    """Return the milliseconds that one row takes, at best."""
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        version.predict(row)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)
