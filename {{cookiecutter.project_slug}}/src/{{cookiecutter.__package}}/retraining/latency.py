"""Whether a version predicts in time, one row and many."""

import time

import numpy as np
import pandas as pd

from ..registry.loading import LoadedVersion
from .conditions import Condition, Contender
from .limits import Limits

BATCH = 1000  # rows of the larger request
ROUNDS, SECONDS = 15, 5.0  # of predictions, of which the median counts, and how long they may take in all
FAST = {1: 50.0, BATCH: 500.0}  # milliseconds up to which a request of so many rows is never too slow for a successor


def latency(challenger: Contender, served: Contender | None, rows: pd.DataFrame, allowed: Limits) -> list[Condition]:
    """Require that requests are answered in time, also compared with the champion.

    Args:
        challenger: The version in question.
        served: The champion, timed in turn with the challenger, so that both meet the same load; None without one.
        rows: Rows to predict, repeated until there are enough.
        allowed: The limits.
    """
    requests = [rows.iloc[np.resize(np.arange(len(rows)), size)].reset_index(drop=True) for size in FAST]
    versions = [challenger.version, *([served.version] if served else [])]
    times = milliseconds(versions, requests)
    longest = (allowed.max_milliseconds, allowed.max_batch_seconds and 1000 * allowed.max_batch_seconds)
    return [
        in_time(size, found, limit, allowed.max_slowdown)
        for size, found, limit in zip(FAST, times, longest, strict=True)
    ]


def in_time(size: int, found: np.ndarray, limit: float | None, slowdown: float | None) -> Condition:
    """Require that a request takes at most `limit` milliseconds, and at most `slowdown` times the champion's.

    Args:
        size: How many rows it has.
        found: The milliseconds of the challenger and, if there is one, of the champion.
        limit: The longest for any version; None for any.
        slowdown: How many times longer than the champion's; None for any. What is FAST is not compared.
    """
    limits, said = [limit] if limit else [], f"{found[0]:,.1f} ms"
    if len(found) > 1:
        said += f", the champion {found[1]:,.1f} ms"
        limits += [max(slowdown * found[1], FAST[size])] if slowdown else []
    wanted = f"at most {min(limits):,.0f} ms" if limits else "any"
    name = f"latency of {size:,} row{'s' * (size > 1)}"
    return Condition(name, bool(found[0] <= min(limits, default=np.inf)), said, wanted, True)


def milliseconds(versions: list[LoadedVersion], requests: list[pd.DataFrame]) -> np.ndarray:
    """Return the median time that each version takes for each request, (requests, versions)."""
    start, rounds = time.perf_counter(), []
    while not rounds or (len(rounds) < ROUNDS and time.perf_counter() - start < SECONDS):
        rounds.append([[_milliseconds(version, rows) for version in versions] for rows in requests])
    return np.median(rounds, axis=0)


def _milliseconds(version: LoadedVersion, rows: pd.DataFrame) -> float:
    start = time.perf_counter()
    version.predict(rows)
    return 1000 * (time.perf_counter() - start)
