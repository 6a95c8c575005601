"""The database of the prediction log: requests as they were answered, the keys of their rows, and labels.

A request of many rows is one line, since a line for each row would cost the service half of its speed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    select,
    update,
)
from sqlalchemy.engine import URL, Engine, make_url

from .. import ROOT, Refused, from_environment
from .settings import NO_LOG, Settings

CHUNK = 5_000  # lines that one statement deletes
READ, READ_ROWS = 500, 20_000  # requests, and rows, read at a time
REQUEST_ID = 21  # characters of a request's id: 13 of the time, 8 by chance

TABLES = MetaData()
REQUESTS = Table(
    "request",
    TABLES,
    Column("request_id", String(24), primary_key=True),  # in the order of time
    Column("event_timestamp", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("model", String(200), nullable=False),
    Column("model_version", String(20), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("inputs", Text, nullable=False),  # JSON: a list of the rows as received
    Column("predictions", Text, nullable=False),  # JSON: a list of the answers
    Column("latency_ms", Float, nullable=False),
    sqlite_with_rowid=False,
)
KEYS = Table(
    "entity",
    TABLES,
    Column("prediction_id", String(32), primary_key=True),  # only of rows that were sent with the table's key
    Column("model", String(200), nullable=False),
    Column("entity_key", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("entity_by_key", KEYS.c.model, KEYS.c.entity_key)
LABELS = Table(
    "label",
    TABLES,
    Column("prediction_id", String(32), primary_key=True),
    Column("label", Text, nullable=False),  # JSON
    Column("label_timestamp", BigInteger, nullable=False),  # from when it holds: the newest wins
    Column("received_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True)
class Logged:
    """A row that was answered: its id, the version that answered, both sides, and the label in JSON if there is one.

    Where the answer is a `forecast` of several steps, `labels` has one for each.
    """

    prediction_id: str
    version: str
    inputs: dict[str, Any]
    answer: dict[str, Any]
    label: str | None
    labels: tuple[str | None, ...] = ()

    def steps(self) -> Iterator["Logged"]:
        """Yield the row or, where the answer is a forecast, one row for each of its steps."""
        if "forecast" not in self.answer:
            yield self
        for answer, label in zip(self.answer.get("forecast", ()), self.labels, strict=True):
            yield replace(self, inputs=self.inputs | answer, answer=answer, label=label, labels=())


def open_log() -> Engine:
    """Return the log's database, with its tables; raise Refused if PREDICTION_LOG turns it off."""
    address = from_environment(Settings).prediction_log
    if address == NO_LOG:
        raise Refused("predictions are not logged here: PREDICTION_LOG is none")
    return _opened(address)


@cache
def _opened(address: str) -> Engine:
    url = make_url(address)
    engine = create_engine(_below_root(url))
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    TABLES.create_all(engine)
    return engine


def row_id(request: str, place: int) -> str:
    """Return the id of a row of a request: in the order of time, then of the rows."""
    return f"{request}-{place:04x}"


def step_id(row: str, place: int) -> str:
    """Return the id of a step of a row's forecast."""
    return f"{row}.{place:04x}"


def first_id(micros: int) -> str:
    """Return what the ids from this time on, in microseconds since 1970, are not below."""
    return f"{max(micros, 0):013x}"


def request_of(prediction_id: str) -> tuple[str, int]:
    """Return the request that a row's id is of, and its place there; an id of another form is of no request."""
    request, _, place = prediction_id.rpartition("-")
    try:
        return request, int(place.partition(".")[0], 16)
    except ValueError:
        return "", 0


def read_rows(engine: Engine, model: str, since: int, until: int) -> Iterator[list[Logged]]:
    """Yield the rows of a model that were answered in a time, in its order, READ_ROWS at once, or one request's.

    Args:
        engine: The log's database.
        model: The model's name.
        since: The beginning, in microseconds since 1970.
        until: The end.
    """
    identity, lowest, highest = REQUESTS.c.request_id, first_id(since), first_id(until)
    own, label = REQUESTS.c.model == model, LABELS.c.prediction_id
    sizes = select(identity, REQUESTS.c.rows).where(own, identity < highest).order_by(identity).limit(READ)
    with engine.connect() as connection:
        while found := connection.execute(sizes.where(identity > lowest)).tuples().all():
            last = _as_many(found)
            between = select(REQUESTS).where(own, identity > lowest, identity <= last).order_by(identity)
            requests = connection.execute(between).all()
            within = select(label, LABELS.c.label).where(label > lowest, label < f"{last}~")
            labels = dict(connection.execute(within).tuples().all())
            yield [each for request in requests for each in _rows_of(request, labels)]
            lowest = last


def labelled_ids(engine: Engine, model: str, since: int, until: int) -> list[str]:
    """Return the ids of the rows of a model that were answered in a time and have a label, in its order."""
    label, request = LABELS.c.prediction_id, REQUESTS.c.request_id
    query = select(label).join(REQUESTS, request == func.substr(label, 1, REQUEST_ID)).where(REQUESTS.c.model == model)
    with engine.connect() as connection:
        return list(connection.scalars(query.where(label >= first_id(since), label < first_id(until)).order_by(label)))


def read_labelled(engine: Engine, model: str, identities: list[str]) -> list[Logged]:
    """Return the rows of a model with these ids, in the order of time, as far as they and their labels are there."""
    wanted, found = set(identities), []
    requests = sorted({request_of(each)[0] for each in wanted})
    label = LABELS.c.prediction_id
    with engine.connect() as connection:
        for start in range(0, len(requests), READ):
            part = requests[start : start + READ]
            own = (REQUESTS.c.model == model) & REQUESTS.c.request_id.in_(part)
            within = select(label, LABELS.c.label).where(label > part[0], label < f"{part[-1]}~")
            labels = dict(connection.execute(within).tuples().all())
            for request in connection.execute(select(REQUESTS).where(own).order_by(REQUESTS.c.request_id)):
                rows = _rows_of(request, labels)
                found += [row for row in rows if row.prediction_id in wanted and row.label is not None]
    return found


def _as_many(requests: Sequence[tuple[str, int]]) -> str:
    """Return the last of the requests that together have at most READ_ROWS rows, at least the first."""
    total, last = 0, requests[0][0]
    for identity, rows in requests:
        total += rows
        if total > READ_ROWS:
            break
        last = identity
    return last


def read_keys(engine: Engine, model: str, since: int, until: int) -> list[str]:
    """Return the keys of the rows of a model that were answered in a time, of those that were sent with their key."""
    own = [KEYS.c.model == model, KEYS.c.prediction_id >= first_id(since), KEYS.c.prediction_id < first_id(until)]
    with engine.connect() as connection:
        return list(connection.scalars(select(KEYS.c.entity_key).where(*own)))


def _rows_of(request: Any, labels: dict[str, str]) -> Iterator[Logged]:
    """Yield the rows of a request, without those that were deleted."""
    pairs = zip(json.loads(request.inputs), json.loads(request.predictions), strict=True)
    for place, (inputs, answer) in enumerate(pairs):
        if inputs is not None:
            identity = row_id(request.request_id, place)
            steps = (step_id(identity, i) for i in range(len(answer.get("forecast", ()))))
            own = tuple(labels.get(each) for each in steps)
            yield Logged(identity, request.model_version, inputs, answer, labels.get(identity), own)


def delete_before(engine: Engine, micros: int) -> int:
    """Delete requests older than this with their keys and labels, in chunks; return how many requests."""
    total = 0
    for table in (LABELS, KEYS, REQUESTS):
        [identity] = table.primary_key.columns
        old, count = select(identity).where(identity < first_id(micros)).limit(CHUNK), CHUNK
        while count == CHUNK:
            with engine.begin() as connection:
                count = connection.execute(delete(table).where(identity.in_(old))).rowcount
            total += count if table is REQUESTS else 0
    return total


def delete_key(engine: Engine, model: str, key: str) -> int:
    """Delete all rows about one key from their requests, and their labels; return how many."""
    own = (KEYS.c.model == model) & (KEYS.c.entity_key == key)
    with engine.begin() as connection:
        found = list(connection.scalars(select(KEYS.c.prediction_id).where(own)))
        for identity in found:
            request, place = request_of(identity)
            line = connection.execute(select(REQUESTS).where(REQUESTS.c.request_id == request)).one()
            emptied = {name: json.loads(getattr(line, name)) for name in ("inputs", "predictions")}
            for rows in emptied.values():
                rows[place] = None
            values = {name: json.dumps(rows) for name, rows in emptied.items()}
            connection.execute(update(REQUESTS).where(REQUESTS.c.request_id == request).values(values))
            connection.execute(delete(LABELS).where(LABELS.c.prediction_id == identity))
        connection.execute(delete(KEYS).where(own))
    return len(found)


def micros_of(moment: datetime) -> int:
    """Return a time in microseconds since 1970; one without a zone is in UTC."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


def _below_root(url: URL) -> URL:
    """Return the address with a relative path of SQLite below the project's folder."""
    relative = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return url.set(database=str(ROOT / url.database)) if relative else url


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers and one writer work at the same time, and wait for each other."""
    for setting in ("journal_mode=wal", "synchronous=normal", "busy_timeout=10000"):
        connection.execute(f"pragma {setting}")
