"""The logged rows of each day as counts, which outlive the rows: of every column, and of what labels said later."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from sqlalchemy import Column as Field
from sqlalchemy import MetaData, String, Table, Text, and_, delete, func, insert, select
from sqlalchemy.engine import Engine

from ..retraining.profiles import Counts, Profile, answers_of
from ..serving.log_store import LABELS, REQUESTS, Logged, first_id, micros_of, read_keys, read_rows
from ..training.contract import Model

KEPT = 365  # days that are looked back at
TABLES = MetaData()
DAILY = Table(
    "daily",
    TABLES,
    Field("model", String(200), primary_key=True),
    Field("day", String(10), primary_key=True),
    Field("model_version", String(20), primary_key=True),
    Field("grid", String(16), primary_key=True),  # of the profile whose cells were counted
    Field("column_name", String(300), primary_key=True),
    Field("counts", Text, nullable=False),  # JSON
)
LABELLED, WHOLE = "labelled", "whole day"  # in the place of a grid: what labels said; of a column: rows and latency


@dataclass(frozen=True)
class Outcome:
    """What labels said of the predictions of one version on one day.

    Attributes:
        rows: Predictions logged.
        labelled: Of them with a label.
        loss: The sum of their losses.
        expected: The sum of the losses that the model's own probabilities expect of all rows; 0 if it has none.
        sure: The sum of the labelled rows' largest probabilities.
        right: How many labelled rows were answered right, or are inside the band.
        mark: Changes when labels arrive.
    """

    rows: int
    labelled: int = 0
    loss: float = 0.0
    expected: float = 0.0
    sure: float = 0.0
    right: float = 0.0
    mark: str = ""

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return both together."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Outcome(*(a + b if not isinstance(a, str) else max(a, b) for a, b in pairs))


def prepare(engine: Engine) -> None:
    """Create the tables of this module where they are missing."""
    TABLES.create_all(engine)


def logged_days(engine: Engine, model: str, now: datetime) -> list[date]:
    """Return the days that are over, from the model's first logged row on."""
    by_time = REQUESTS.c.request_id  # the only index
    own = select(REQUESTS.c.event_timestamp).where(REQUESTS.c.model == model).order_by(by_time).limit(1)
    with engine.connect() as connection:
        first = connection.scalar(own)
        known = connection.scalar(select(func.min(DAILY.c.day)).where(DAILY.c.model == model))
    days = [date.fromisoformat(known)] if known else []
    days += [datetime.fromtimestamp(first / 1e6, UTC).date()] if first else []
    if not days:
        return []
    begin = max(min(days), now.date() - timedelta(KEPT))
    return [begin + timedelta(i) for i in range((now.date() - begin).days)]


def count_days(engine: Engine, model: str, profile: Profile, days: list[date]) -> int:
    """Count those of the days that were not counted in the cells of this profile yet; return how many."""
    done = select(DAILY.c.day).where(DAILY.c.model == model, DAILY.c.grid == profile.grid).distinct()
    with engine.connect() as connection:
        counted = set(connection.scalars(done))
    missing = [day for day in days if day.isoformat() not in counted]
    for day in missing:
        found: dict[str, dict[str, Counts]] = {}
        for version, rows in _frames(engine, model, day):
            for name, counts in profile.count(rows).items():
                own = found.setdefault(version, {})
                own[name] = own[name] + counts if name in own else counts
        nothing = {"": {WHOLE: Counts(0, 0, [], 0)}}
        content = [
            {"model_version": version, "column_name": name, "counts": json.dumps(vars(counts))}
            for version, each in (found or nothing).items()
            for name, counts in each.items()
        ]
        with engine.begin() as connection:
            connection.execute(insert(DAILY), [_key(model, day, profile.grid) | each for each in content])
    return len(missing)


def read_counts(engine: Engine, model: str, grid: str, version: str = "") -> dict[str, dict[date, Counts]]:
    """Return the counts of each column by day, oldest first; of all versions, or of one."""
    query = select(DAILY).where(DAILY.c.model == model, DAILY.c.grid == grid, DAILY.c.column_name != WHOLE)
    query = query.where(DAILY.c.model_version == version) if version else query
    found: dict[str, dict[date, Counts]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(DAILY.c.day)):
            counts, own = Counts(**json.loads(row.counts)), found.setdefault(row.column_name, {})
            day = date.fromisoformat(row.day)
            own[day] = own[day] + counts if day in own else counts
    return found


def judge_days(engine: Engine, model: Model, days: list[date], context: pd.DataFrame | None = None) -> None:
    """Score the predictions of those days whose labels have changed, and keep the sums.

    Args:
        engine: The log's database.
        model: The model.
        days: The days.
        context: What its losses need besides request, prediction and target.

    Raises:
        KeyError: The model's losses need a column that the log does not have.
    """
    for day in days:
        mark = _mark(engine, day)
        known = {each.mark for each in read_outcomes(engine, model.name, day).get(day, {}).values()}
        if known == {mark}:
            continue
        found: dict[str, Outcome] = {}
        for version, outcome in _outcomes(engine, model, day, context):
            found[version] = found[version] + outcome if version in found else outcome
        if not found:
            continue
        own = and_(DAILY.c.model == model.name, DAILY.c.day == day.isoformat(), DAILY.c.grid == LABELLED)
        rows = [
            _key(model.name, day, LABELLED)
            | {"model_version": version, "column_name": WHOLE, "counts": json.dumps(vars(each) | {"mark": mark})}
            for version, each in found.items()
        ]
        with engine.begin() as connection:
            connection.execute(delete(DAILY).where(own))
            connection.execute(insert(DAILY), rows)


def read_outcomes(engine: Engine, model: str, only: date | None = None) -> dict[date, dict[str, Outcome]]:
    """Return what labels said, by day, oldest first, and version."""
    query = select(DAILY).where(DAILY.c.model == model, DAILY.c.grid == LABELLED)
    query = query.where(DAILY.c.day == only.isoformat()) if only else query
    found: dict[date, dict[str, Outcome]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(DAILY.c.day)):
            found.setdefault(date.fromisoformat(row.day), {})[row.model_version] = Outcome(**json.loads(row.counts))
    return found


def logged_keys(engine: Engine, model: str, day: date) -> list[str]:
    """Return the keys of the rows that were answered on a day."""
    return read_keys(engine, model, *_bounds(day))


def latency(engine: Engine, model: str, day: date) -> dict[str, float]:
    """Return the mean and the largest milliseconds of the requests of a day; nothing without any."""
    lowest, highest = map(first_id, _bounds(day))
    own = [REQUESTS.c.model == model, REQUESTS.c.request_id > lowest, REQUESTS.c.request_id < highest]
    query = select(func.avg(REQUESTS.c.latency_ms), func.max(REQUESTS.c.latency_ms)).where(*own)
    with engine.connect() as connection:
        mean, largest = connection.execute(query).one()
    return {} if mean is None else {"mean": float(mean), "largest": float(largest)}


def _frames(engine: Engine, model: str, day: date) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of a day, and what was answered, by version, some at a time."""
    for rows in _chunks(engine, model, day):
        for version, own in rows.items():
            inputs = pd.DataFrame.from_records([row.inputs for row in own])
            yield version, inputs.join(answers_of(_answers(own)))


def _outcomes(engine: Engine, model: Model, day: date, context: pd.DataFrame | None) -> Iterator[tuple[str, Outcome]]:
    """Yield what labels say of a day, by version, some rows at a time."""
    for rows in _chunks(engine, model.name, day):
        for version, requests in rows.items():
            own = [step for row in requests for step in row.steps()]
            answers = _answers(own)
            labels = pd.Series([None if row.label is None else json.loads(row.label) for row in own], dtype=object)
            known = labels.notna()
            outcome = Outcome(len(own), int(known.sum()), expected=_expected(answers))
            if known.any():
                inputs = pd.DataFrame.from_records([row.inputs for row in own])[known]
                truth = inputs.assign(**{model.table.target: labels[known].infer_objects()}).reset_index(drop=True)
                told = _with_context(truth, context)
                scored = _scored(
                    model, told.reset_index(drop=True), answers[known].iloc[told.index].reset_index(drop=True)
                )
                yield version, replace(outcome, labelled=len(told)) + scored
            else:
                yield version, outcome


def _with_context(truth: pd.DataFrame, context: pd.DataFrame | None) -> pd.DataFrame:
    """Return labelled rows with what their losses need; without those of groups that the version does not know."""
    if context is None:
        return truth
    groups = [name for name in context if name in truth]
    found = truth.merge(context, "left", on=groups) if groups else truth.assign(**context.iloc[0])
    return found.dropna(subset=[name for name in context if name not in groups])


def _scored(model: Model, truth: pd.DataFrame, answers: pd.DataFrame) -> Outcome:
    """Return loss and calibration of labelled rows, without counting them."""
    losses = np.asarray(model.module.losses(truth, answers, model.table), float)
    target = truth[model.table.target]
    if chances := [name for name in answers if name.startswith("probability_")]:
        right = answers["prediction"].astype(str).to_numpy() == target.astype(str).to_numpy()
        return Outcome(0, loss=losses.sum(), sure=float(answers[chances].max(axis=1).sum()), right=float(right.sum()))
    if {"low", "high"} <= {*answers}:
        inside = target.astype(float).between(answers["low"], answers["high"])
        return Outcome(0, loss=losses.sum(), right=float(inside.sum()))
    return Outcome(0, loss=losses.sum())


def _expected(answers: pd.DataFrame) -> float:
    """Return the log loss that the probabilities expect of themselves, summed."""
    chances = answers.filter(regex="^probability_").to_numpy(float)
    return float(-(chances * np.log(np.clip(chances, 1e-9, 1))).sum()) if chances.size else 0.0


def _chunks(engine: Engine, model: str, day: date) -> Iterator[dict[str, list[Logged]]]:
    """Yield the rows of a day, by version, some at a time."""
    for rows in read_rows(engine, model, *_bounds(day)):
        found: dict[str, list[Logged]] = {}
        for row in rows:
            found.setdefault(row.version, []).append(row)
        yield found


def _answers(rows: list[Logged]) -> pd.DataFrame:
    """Return the answers as columns; one of several steps has none."""
    return pd.DataFrame.from_records([row.answer for row in rows]).drop(columns="forecast", errors="ignore")


def _mark(engine: Engine, day: date) -> str:
    """Return what changes when labels of a day arrive."""
    lowest, highest = map(first_id, _bounds(day))
    own = [LABELS.c.prediction_id > lowest, LABELS.c.prediction_id < highest]
    query = select(func.count(), func.max(LABELS.c.received_at)).where(*own)
    with engine.connect() as connection:
        count, newest = connection.execute(query).one()
    return f"{count} {newest}"


def _bounds(day: date) -> tuple[int, int]:
    """Return the beginning and the end of a day, in microseconds since 1970."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return micros_of(start), micros_of(start + timedelta(1))


def _key(model: str, day: date, grid: str) -> dict[str, str]:
    return {"model": model, "day": day.isoformat(), "grid": grid}
