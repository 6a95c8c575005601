"""A version as the service answers with it: by plain arrays where these have proven equal to the ordinary way."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, chain, compress, pairwise
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
Ask = Callable[[Columns], Records]


class Answer(NamedTuple):
    """What a request is answered: a prediction in JSON's types for each row, and what is out of range."""

    predictions: Records
    warnings: list[str]


@dataclass(frozen=True)
class ServedVersion:
    """A version, and the short way that it can be asked by.

    Attributes:
        version: The version, which can always be asked in the ordinary way.
        reader: Reads plain rows without pandas; None if an input needs the ordinary way.
        ask: Returns an answer to each of these rows; None if there is no short way.
        model: How `ask` comes by them, for /version.
        is_quick: Whether QUICK_ROWS of them take so little time that no thread is worth it.
    """

    version: LoadedVersion
    reader: Reader | None = None
    ask: Ask | None = None
    model: str = "as fitted"
    is_quick: bool = False

    @property
    def number(self) -> str:
        """The version's number."""
        return self.version.number

    @property
    def ways(self) -> dict[str, str]:
        """How its rows are read, and how its model is asked."""
        return {"rows": "arrays" if self.reader else "frames", "model": self.model}

    def answer_together(self, requests: list[Records]) -> list[Answer | None]:
        """Return the answers to several requests, by one call of the model; None for one to be answered alone."""
        if not (rows := self._read([*chain.from_iterable(requests)])):
            if len(requests) == 1:
                return [None]
            good = [bool(self._read(records)) for records in requests]
            found = iter(self.answer_together([*compress(requests, good)]) if any(good) else [])
            return [next(found) if each else None for each in good]
        answers, starts = self.ask(rows), [0, *accumulate(map(len, requests))]
        if len(answers) != starts[-1]:
            raise ValueError(f"{starts[-1]} rows have {len(answers)} answers")
        warnings = [[]] * len(requests) if rows.in_range else [*map(self._warnings, requests)]
        parts = [answers[start:end] for start, end in pairwise(starts)]
        return [*map(Answer, parts, warnings)]

    def answer_alone(self, records: Records) -> Answer:
        """Return the answer of the ordinary way; raise BadRows if a row does not fit."""
        return Answer(*self.version.answered(records))

    def answer(self, records: Records) -> Answer:
        """Return the answer to a request, by the short way if there is one for it."""
        found = self.answer_together([records])[0] if self.reader else None
        return found or self.answer_alone(records)

    def _read(self, records: Records) -> Columns | None:
        """Return the rows of requests that can be answered with others; None if one has to be answered alone."""
        rows = self.reader.read(records)
        return rows if rows and (rows.in_range or self.version.signature.out_of_range == "warn") else None

    def _warnings(self, records: Records) -> list[str]:
        rows = self.reader.read(records)
        return [] if rows.in_range else ranges.sentences(rows.frame(), self.version.signature.inputs)


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
    for model, way in WAYS:
        try:
            found = ServedVersion(version, reader, way(version), model)
            if _same_answers(found, rows, wanted):
                return replace(found, is_quick=_seconds(found, rows) < QUICK)
        except Exception as error:  # whatever a model of the team's own leads to, the ordinary way is there
            log.info("%s: version %s has no shorter way: %s", version.model, version.number, first_line(error))
    return ordinary


def _by_arrays(version: LoadedVersion) -> Ask:
    """Return what makes the answers of the model's arrays itself, in the form that its examples have."""
    if optional(version.module, "prediction_responses"):
        raise ValueError("its module makes the answers")
    names = [*version.signature.predictions[0]]
    return partial(ArrayPipeline(version.estimator).records, names=names)


def _by_module(version: LoadedVersion, estimator: Any) -> Ask:
    """Return what lets the version's module make the answers, which asks this estimator with frames."""
    own = optional(version.module, "prediction_responses")
    if own:
        return lambda rows: own(estimator, rows.frame())
    return lambda rows: plain_records(version.module.predict(estimator, rows.frame()))


WAYS: list[tuple[str, Callable[[LoadedVersion], Ask]]] = [  # the shortest first
    ("arrays", _by_arrays),
    ("arrays", lambda version: _by_module(version, ArrayPipeline(version.estimator))),
    ("as fitted", lambda version: _by_module(version, version.estimator)),
]


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
    together = found.answer_together([[row] for row in rows])
    if None in together:
        raise ValueError(f"row {together.index(None)} of its examples is not plain")
    alone = [found.answer_together([[row]])[0] for row in rows[:EXAMPLES]]
    answers = zip([*together, *alone], [*wanted, *wanted[:EXAMPLES]], strict=True)
    return all(_alike(answer.predictions, [row]) for answer, row in answers)


def _seconds(found: ServedVersion, rows: Records) -> float:
    """Return how long it takes to answer QUICK_ROWS of these rows, the best of three times."""
    times, requests = [], [[row] for row in (rows * QUICK_ROWS)[:QUICK_ROWS]]
    for _ in range(3):
        start = time.perf_counter()
        found.answer_together(requests)
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
