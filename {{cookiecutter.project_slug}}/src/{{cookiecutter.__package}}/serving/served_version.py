"""A version as the service answers with it: by plain arrays where these have proven equal to the ordinary way."""

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .. import BadRows, first_line
from ..datasets import columns, ranges
from ..registry.loading import TOLERANCE, LoadedVersion
from ..training.artifact import EXAMPLES
from ..training.modules import optional
from .arrays import ArrayPipeline
from .plain_rows import Columns, Reader

log = logging.getLogger(__name__)

PROBES = 200  # rows on which both ways must give the same answers, made of the version's examples
QUICK, QUICK_ROWS = 0.01, 64  # seconds, and rows, of a call that the service's own loop may wait for

Records = list[dict[str, Any]]


class Answer(NamedTuple):
    """What a request is answered: a prediction in JSON's types for each row, and what is out of range."""

    predictions: Records
    warnings: list[str]


@dataclass(frozen=True)
class ServedVersion:
    """A version, and the short ways that it can be asked by.

    Attributes:
        version: The version, which can always be asked in the ordinary way.
        reader: Reads plain rows without pandas; None if an input needs the ordinary way.
        estimator: What predicts these rows: the fitted model, or its array operations.
        is_quick: Whether QUICK_ROWS of them take so little time that no thread is worth it.
    """

    version: LoadedVersion
    reader: Reader | None = None
    estimator: Any = None
    is_quick: bool = False

    @property
    def number(self) -> str:
        """The version's number."""
        return self.version.number

    @property
    def ways(self) -> dict[str, str]:
        """How its rows are read, and how its model is asked."""
        rows = "arrays" if self.reader else "frames"
        return {"rows": rows, "model": "arrays" if isinstance(self.estimator, ArrayPipeline) else "as fitted"}

    def read(self, records: Records) -> Columns | None:
        """Return the rows of a request that can be answered with others; None if it has to be answered alone."""
        rows = self.reader.read(records) if self.reader else None
        warns = self.version.signature.out_of_range == "warn"
        return rows if rows and (rows.in_range or warns) else None

    def answer_together(self, parts: list[Columns]) -> list[Answer]:
        """Return the answers to several requests, by one call of the model."""
        rows, module = self.reader.frame(Columns.of(parts)), self.version.module
        own = optional(module, "prediction_responses")
        found = own(self.estimator, rows) if own else plain_records(module.predict(self.estimator, rows))
        ends = np.cumsum([len(part.numbers) for part in parts])
        if len(found) != ends[-1]:
            raise ValueError(f"{ends[-1]} rows have {len(found)} answers")
        places = zip([0, *ends[:-1]], ends, parts, strict=True)
        return [Answer(found[start:end], self._warnings(part)) for start, end, part in places]

    def answer_alone(self, records: Records) -> Answer:
        """Return the answer of the ordinary way; raise BadRows if a row does not fit."""
        return Answer(*self.version.answered(records))

    def _warnings(self, part: Columns) -> list[str]:
        return [] if part.in_range else ranges.sentences(self.reader.frame(part), self.version.signature.inputs)


def served(version: LoadedVersion) -> ServedVersion:
    """Return the version with the shortest way that answers as the ordinary one does."""
    ordinary = ServedVersion(version)
    if version.prepare:
        return ordinary
    try:
        rows, wanted = _probes(version)
        reader = Reader(version.signature.inputs)
    except (BadRows, ValueError) as error:
        log.info("%s: version %s reads rows as frames: %s", version.model, version.number, first_line(error))
        return ordinary
    for make in (ArrayPipeline, lambda estimator: estimator):
        try:
            found = ServedVersion(version, reader, make(version.estimator))
            if _same_answers(found, rows, wanted):
                return replace(found, is_quick=_seconds(found, rows) < QUICK)
        except Exception as error:  # whatever a model of the team's own leads to, the ordinary way is there
            log.info("%s: version %s has no shorter way: %s", version.model, version.number, first_line(error))
    return ordinary


def plain_records(frame: pd.DataFrame) -> Records:
    """Return the rows in JSON's types as `columns.records` does, faster where all values are plain."""
    values = []
    for name in frame:
        if not isinstance(frame[name].dtype, np.dtype | pd.StringDtype) or frame[name].dtype.kind in "mMc":
            return columns.records(frame)
        values.append([_plain(value) for value in frame[name].tolist()])
    names = [str(name) for name in frame]
    if any(type(value) not in (float, int, str, bool, type(None)) for column in values for value in column):
        return columns.records(frame)
    return [dict(zip(names, line, strict=True)) for line in zip(*values, strict=True)]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _probes(version: LoadedVersion) -> tuple[Records, Records]:
    """Return rows to compare both ways on, and their answers in the ordinary way.

    They are the version's examples, and rows whose every value is of some example, some moved, unknown or missing.
    """
    examples, random = version.signature.examples, np.random.default_rng(0)
    made = [{} for _ in range(PROBES)]
    for column in version.signature.inputs:
        for row in made:
            value = examples[random.integers(len(examples))].get(column.name)
            if column.kind == "number" and value is not None:
                value = float(value * random.choice([1, 1, random.lognormal(0, 0.3)]))
            if column.kind == "text" and random.random() < 0.1:
                value = "of no row"
            row[column.name] = None if column.nullable and random.random() < 0.1 else value
    try:
        rows = [*examples, *made]
        return rows, version.responses(rows)
    except BadRows:  # a model of the team's own may want more of a row
        return examples, version.responses(examples)


def _same_answers(found: ServedVersion, rows: Records, wanted: Records) -> bool:
    """Return whether these rows are answered so, all at once and the first ones by themselves."""
    parts = [found.reader.read([row]) for row in rows]
    if None in parts:
        raise ValueError(f"row {parts.index(None)} of its examples is not plain")
    alone = [found.answer_together([part])[0] for part in parts[:EXAMPLES]]
    answers = zip([*found.answer_together(parts), *alone], [*wanted, *wanted[:EXAMPLES]], strict=True)
    return all(_alike(answer.predictions, [row]) for answer, row in answers)


def _seconds(found: ServedVersion, rows: Records) -> float:
    """Return how long it takes to answer QUICK_ROWS of these rows, the best of three times."""
    times, parts = [], [found.reader.read([row]) for row in (rows * QUICK_ROWS)[:QUICK_ROWS]]
    for _ in range(3):
        start = time.perf_counter()
        found.answer_together(parts)
        times.append(time.perf_counter() - start)
    return min(times)


def _alike(found: Any, wanted: Any) -> bool:
    """Return whether two values of JSON's types are the same, numbers but for rounding."""
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_alike, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_alike(found[key], wanted[key]) for key in found)
    if isinstance(found, float) and isinstance(wanted, float | int) and not isinstance(wanted, bool):
        return math.isclose(found, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return type(found) is type(wanted) and found == wanted
