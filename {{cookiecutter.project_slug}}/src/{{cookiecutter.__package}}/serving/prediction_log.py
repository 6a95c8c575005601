"""The prediction log: what was asked and what was answered, in SQLite beside the project or in PostgreSQL.

A request only puts what it knows into a queue, and one thread writes. What finds no room, or cannot be written, is
counted; no request waits for it or fails.
"""

import base64
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.engine import URL, Engine, make_url

from .. import ROOT, Refused, first_line, from_environment
from .settings import NO_LOG, Settings

if TYPE_CHECKING:
    from ..registry.loading import LoadedVersion

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.3  # between two writes: at most so much is lost if the process is killed
MAX_WAITING = 30_000  # rows in the queue
CHUNK = 5_000  # rows that one statement deletes
HOUR = 3600  # seconds between deletions of what is too old
MIDNIGHT = re.compile(r"[T ]00:00:00(\.0+)?(Z|\+00:00)?$")

TABLES = MetaData()
PREDICTIONS = Table(
    "prediction",
    TABLES,
    Column("prediction_id", String(32), primary_key=True),  # in the order of time
    Column("event_timestamp", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("model", String(200), nullable=False),
    Column("model_version", String(20), nullable=False),
    Column("entity_key", Text),  # of the row, if the request had the table's key
    Column("inputs", Text, nullable=False),  # JSON, as received
    Column("prediction", Text, nullable=False),  # JSON, as answered
    Column("latency_ms", Float, nullable=False),  # of the whole request
    sqlite_with_rowid=False,
)
KNOWN_KEY = PREDICTIONS.c.entity_key.is_not(None)
Index(
    "prediction_by_key",
    PREDICTIONS.c.model,
    PREDICTIONS.c.entity_key,
    sqlite_where=KNOWN_KEY,
    postgresql_where=KNOWN_KEY,
)
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
class Answered:
    """A request that was answered: what the log keeps of it."""

    request: str
    micros: int
    version: "LoadedVersion"
    records: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    latency_ms: float

    def rows(self) -> list[dict[str, Any]]:
        """Return a row of the log for each row of the request; of files only hash and size are kept."""
        signature = self.version.signature
        files = [column.name for column in signature.inputs if column.kind == "file"]
        kept = {*(column.name for column in signature.inputs), *signature.keys}
        shared = {
            "event_timestamp": self.micros,
            "model": self.version.model,
            "model_version": self.version.number,
            "latency_ms": self.latency_ms,
        }
        found = []
        for i, (record, prediction) in enumerate(zip(self.records, self.predictions, strict=True)):
            inputs = {name: value for name, value in record.items() if name in kept}
            inputs |= {name: _file_facts(inputs[name]) for name in files if isinstance(inputs.get(name), str)}
            own = {
                "prediction_id": row_id(self.request, i),
                "entity_key": key_text([record.get(name) for name in signature.keys]),
                "inputs": to_json(inputs).decode(),
                "prediction": to_json(prediction).decode(),
            }
            found.append(shared | own)
        return found


class PredictionLog:
    """The queue of a service, and the thread that writes it.

    Args:
        on_drop: Told the model and the number of rows that are not logged.
        clock: Returns the time in seconds since 1970.
    """

    def __init__(self, on_drop: Callable[[str, int], None], clock: Callable[[], float] = time.time) -> None:
        settings = from_environment(Settings)
        self.enabled, self.days = settings.prediction_log != NO_LOG, settings.prediction_log_days
        self.on_drop, self.clock = on_drop, clock
        self._queue: SimpleQueue[Answered] = SimpleQueue()
        self._waiting, self._lock, self._stopped = 0, threading.Lock(), threading.Event()
        self._told, self._cleaned = "", -HOUR
        self._thread = threading.Thread(target=self._write_all, name="prediction log", daemon=True)

    def add(self, version: "LoadedVersion", records: list[dict], predictions: list[dict], seconds: float) -> list[str]:
        """Queue an answered request, if there is room, and return an id for each row; none if nothing is logged.

        Args:
            version: What predicted.
            records: The rows as they came.
            predictions: The answers to them.
            seconds: How long that took.
        """
        if not self.enabled:
            return []
        micros = int(self.clock() * 1e6)
        request = f"{micros:013x}{token_hex(4)}"
        with self._lock:
            room = self._waiting + len(records) <= MAX_WAITING
            self._waiting += len(records) if room else 0
        if room:
            self._queue.put(Answered(request, micros, version, records, predictions, seconds * 1000))
        else:
            self.on_drop(version.model, len(records))
        return [row_id(request, i) for i in range(len(records))]

    def flush(self, seconds: float = 2.0) -> None:
        """Wait until what was queued is written, but no longer than this."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write what is queued while the block runs, and all of it at its end."""
        if not self.enabled:
            yield
            return
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join(timeout=10)

    def _write_all(self) -> None:
        """Write what is queued, in batches, until stopped and empty."""
        while not (self._stopped.wait(BATCH_SECONDS) and self._queue.empty()):
            batch = list(_taken(self._queue))
            try:
                self._write(open_log(), batch)
                self._told = ""
            except Exception as error:  # the log may be anything, and the service goes on
                self._drop(batch, error)
            with self._lock:
                self._waiting -= sum(len(each.records) for each in batch)

    def _write(self, engine: Engine, batch: list[Answered]) -> None:
        if batch:
            with engine.begin() as connection:
                connection.execute(insert(PREDICTIONS), [row for each in batch for row in each.rows()])
        if time.monotonic() - self._cleaned > HOUR:
            self._cleaned = time.monotonic()
            delete_before(engine, int((self.clock() - self.days * 86_400) * 1e6))

    def _drop(self, batch: list[Answered], error: Exception) -> None:
        for each in batch:
            self.on_drop(each.version.model, len(each.records))
        if (message := first_line(error)) != self._told:
            log.warning("predictions are not logged: %s", message)
        self._told = message


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


def first_id(micros: int) -> str:
    """Return what the ids from this time on, in microseconds since 1970, are not below."""
    return f"{max(micros, 0):013x}"


def key_text(values: list[Any]) -> str | None:
    """Return a key as one text, however its parts were written; None if a part is missing."""
    if not values or any(value is None or value != value for value in values):
        return None
    parts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]
    return " | ".join(MIDNIGHT.sub("", part) for part in parts)


def delete_before(engine: Engine, micros: int) -> int:
    """Delete predictions older than this and their labels, in chunks; return how many predictions."""
    total = 0
    for table in (LABELS, PREDICTIONS):
        old = select(table.c.prediction_id).where(table.c.prediction_id < first_id(micros)).limit(CHUNK)
        count = CHUNK
        while count == CHUNK:
            with engine.begin() as connection:
                count = connection.execute(delete(table).where(table.c.prediction_id.in_(old))).rowcount
            total += count if table is PREDICTIONS else 0
    return total


def delete_key(engine: Engine, model: str, key: str) -> int:
    """Delete all predictions about one key, and their labels; return how many."""
    own = (PREDICTIONS.c.model == model) & (PREDICTIONS.c.entity_key == key)
    with engine.begin() as connection:
        connection.execute(
            delete(LABELS).where(LABELS.c.prediction_id.in_(select(PREDICTIONS.c.prediction_id).where(own)))
        )
        return connection.execute(delete(PREDICTIONS).where(own)).rowcount


def micros_of(moment: datetime) -> int:
    """Return a time in microseconds since 1970; one without a zone is in UTC."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


def _taken(queue: "SimpleQueue[Answered]") -> Iterator[Answered]:
    """Yield what is in the queue now."""
    for _ in range(queue.qsize()):
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _file_facts(content: str) -> dict[str, Any]:
    """Return what the log keeps of a file in base64: it would be much larger than all the rest."""
    try:
        decoded = base64.b64decode(content, validate=True)
    except ValueError:
        return {}
    return {"sha256": sha256(decoded).hexdigest(), "bytes": len(decoded)}


def _below_root(url: URL) -> URL:
    """Return the address with a relative path of SQLite below the project's folder."""
    relative = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return url.set(database=str(ROOT / url.database)) if relative else url


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers and one writer work at the same time, and wait for each other."""
    for setting in ("journal_mode=wal", "synchronous=normal", "busy_timeout=10000"):
        connection.execute(f"pragma {setting}")
