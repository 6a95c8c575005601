"""A new champion answers what the old one was asked lately before it takes over."""

import math
import time
from typing import Any

from .. import BadRows, Refused, first_line
from .served_version import Records, ServedVersion

NEWEST, BYTES = 50, 50_000  # requests kept of each model, and the size of one
FARTHEST = 10  # times the spread of the old one's predictions that a new one may be beyond them
SLOWER, SECONDS = 10, 0.2  # times as slow as the old one, where all requests together take longer than this


def try_out(new: ServedVersion, old: ServedVersion, requests: list[Records]) -> None:
    """Raise Refused unless the new version answers these requests: all, with finite numbers, in range and in time.

    Where it takes other columns than the old one, it may refuse them.
    """
    found, wanted, seconds = [], [], [0.0, 0.0]
    for records in requests:
        for i, (version, answers) in enumerate([(new, found), (old, wanted)]):
            start = time.perf_counter()
            answers.append(_answered(version, records, may_refuse=version is old or _columns(new) != _columns(old)))
            seconds[i] += time.perf_counter() - start
    numbers, known = _numbers(found), [value for value in _numbers(wanted) if value is not None]
    start = f"version {new.number} takes no requests: of the newest {len(requests)} it answers"
    if strange := [value for value in numbers if value is None or not math.isfinite(value)]:
        raise Refused(f"{start} some with {strange[0]}, which is no number")
    if numbers and known:
        spread = FARTHEST * (max(known) - min(known) or abs(known[0]) or 1)
        if far := [value for value in numbers if not min(known) - spread <= value <= max(known) + spread]:
            raise Refused(
                f"{start} some with {far[0]:g}, far from version {old.number}'s {min(known):g} to {max(known):g}"
            )
    if seconds[0] > max(SLOWER * seconds[1], SECONDS):
        raise Refused(f"{start} all in {seconds[0]:.2g} s, but version {old.number} in {seconds[1]:.2g} s")


def _answered(version: ServedVersion, records: Records, may_refuse: bool) -> Records:
    """Return the predictions for a request."""
    try:
        return version.answer(records).predictions
    except Exception as error:
        if may_refuse and isinstance(error, BadRows):
            return []
        raise Refused(
            f"version {version.number} takes no requests: it fails at one of the newest: {first_line(error)}"
        ) from error


def _columns(version: ServedVersion) -> list[tuple[str, str, bool]]:
    return sorted((column.name, column.kind, column.nullable) for column in version.version.signature.inputs)


def _numbers(answers: list[Records]) -> list[Any]:
    """Return the predicted numbers, None for a missing one; nothing of classes."""
    lines = [line for answer in answers for row in answer for line in row.get("forecast", [row])]
    values = [line.get("prediction", 0.0) for line in lines]
    return [value for value in values if value is None or type(value) in (int, float)]
