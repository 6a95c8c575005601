"""Alarms, and the retrains they ask for, in tables: a trigger is written before it is acted on, so none is lost."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, String, Table, Text, insert, or_, select, update
from sqlalchemy import Column as Field
from sqlalchemy.engine import Engine

from ..serving.log_store import micros_of

COOL_DOWN = 14  # days in which the same alarm is not raised again
PAUSE = 3  # days between two retrains that alarms ask for
KINDS = ("quality", "drift", "performance", "staleness")  # of alarms
ATTEMPTS = 3  # of a retrain that fails, a watch each
TABLES = MetaData()
ALARMS = Table(
    "alarm",
    TABLES,
    Field("alarm_id", Integer, primary_key=True),
    Field("model", String(200), nullable=False),
    Field("kind", String(20), nullable=False),
    Field("column_name", String(300), nullable=False),
    Field("day", String(10), nullable=False),
    Field("words", Text, nullable=False),
)
TRIGGERS = Table(
    "trigger",
    TABLES,
    Field("trigger_id", Integer, primary_key=True),
    Field("model", String(200), nullable=False),
    Field("reason", Text, nullable=False),
    Field("created_at", BigInteger, nullable=False),  # microseconds since 1970
    Field("attempts", Integer, nullable=False, default=0),
    Field("done_at", BigInteger),
    Field("outcome", Text),
)


@dataclass(frozen=True)
class Alarm:
    """Something that does not hold any more.

    Attributes:
        model: Of which model.
        kind: quality, drift, performance or staleness.
        column: The column, if it is about one.
        day: The newest day that shows it.
        words: A sentence for people.
    """

    model: str
    kind: str
    column: str
    day: date
    words: str


@dataclass(frozen=True)
class Trigger:
    """A retrain that is asked for: its id, the model, why, and how often it was tried."""

    identity: int
    model: str
    reason: str
    attempts: int


def prepare(engine: Engine) -> None:
    """Create the tables of this module where they are missing."""
    TABLES.create_all(engine)


def record_alarms(engine: Engine, alarms: list[Alarm]) -> list[Alarm]:
    """Write down the alarms that are new, and return them: not raised within the cool-down."""
    fresh = []
    for alarm in alarms:
        since = (alarm.day - timedelta(COOL_DOWN)).isoformat()
        same = [
            ALARMS.c.model == alarm.model,
            ALARMS.c.kind == alarm.kind,
            ALARMS.c.column_name == alarm.column,
            ALARMS.c.day > since,
        ]
        with engine.begin() as connection:
            if connection.execute(select(ALARMS.c.alarm_id).where(*same)).first():
                continue
            row = {"model": alarm.model, "kind": alarm.kind, "column_name": alarm.column}
            connection.execute(insert(ALARMS).values(row | {"day": alarm.day.isoformat(), "words": alarm.words}))
        fresh.append(alarm)
    return fresh


def known_alarms(engine: Engine, model: str) -> list[Alarm]:
    """Return all alarms of a model, oldest first."""
    query = select(ALARMS).where(ALARMS.c.model == model).order_by(ALARMS.c.day, ALARMS.c.alarm_id)
    with engine.connect() as connection:
        return [
            Alarm(row.model, row.kind, row.column_name, date.fromisoformat(row.day), row.words)
            for row in connection.execute(query)
        ]


def ask(engine: Engine, model: str, reason: str, now: datetime) -> bool:
    """Ask for a retrain, unless one is asked for already; return whether it was new.

    What alarms ask for also waits until PAUSE days after the last retrain that alarms asked for.
    """
    waits = TRIGGERS.c.done_at.is_(None)
    if by_alarm(reason):
        alarmed = or_(*(TRIGGERS.c.reason.startswith(f"{kind}: ") for kind in KINDS))
        waits |= alarmed & (TRIGGERS.c.done_at > micros_of(now - timedelta(PAUSE)))
    with engine.begin() as connection:
        if connection.execute(select(TRIGGERS.c.trigger_id).where(TRIGGERS.c.model == model, waits)).first():
            return False
        row = {"model": model, "reason": reason, "created_at": micros_of(now), "attempts": 0}
        connection.execute(insert(TRIGGERS).values(row))
    return True


def unsettled(engine: Engine, model: str, now: datetime) -> str:
    """Return a reason to retrain while a performance alarm is young: each day brings rows of the changed world."""
    since = (now - timedelta(COOL_DOWN)).date()
    late = [each for each in known_alarms(engine, model) if each.kind == "performance" and each.day > since]
    return f"performance: more rows have come since the alarm of {late[-1].day}" if late else ""


def by_alarm(reason: str) -> bool:
    """Return whether an alarm asks for a retrain, by its reason."""
    return reason.startswith(tuple(f"{kind}: " for kind in KINDS))


def waiting(engine: Engine) -> list[Trigger]:
    """Return the retrains that are asked for and not done, oldest first."""
    query = select(TRIGGERS).where(TRIGGERS.c.done_at.is_(None)).order_by(TRIGGERS.c.trigger_id)
    with engine.connect() as connection:
        return [Trigger(row.trigger_id, row.model, row.reason, row.attempts) for row in connection.execute(query)]


def tried(engine: Engine, trigger: Trigger, outcome: str, now: datetime, *, done: bool) -> None:
    """Write down what came of a trigger; one that failed ATTEMPTS times is done with."""
    done = done or trigger.attempts + 1 >= ATTEMPTS
    values: dict[str, Any] = {"attempts": trigger.attempts + 1, "outcome": outcome}
    values |= {"done_at": micros_of(now)} if done else {}
    with engine.begin() as connection:
        connection.execute(update(TRIGGERS).where(TRIGGERS.c.trigger_id == trigger.identity).values(values))
