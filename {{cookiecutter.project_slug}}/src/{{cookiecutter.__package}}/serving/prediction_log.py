"""The prediction log: what was asked and what was answered, in SQLite beside the project or in PostgreSQL.

A request only puts what it knows into a queue, and one thread writes. What finds no room, or cannot be written, is
counted; no request waits for it or fails.
"""

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import insert
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from .. import Refused, first_line, from_environment, now
from ..datasets.table import key_text
from .log_store import KEYS, REQUESTS, delete_before, micros_of, open_log, row_id, step_id
from .settings import NO_LOG, Settings

if TYPE_CHECKING:
    from ..registry.loading import LoadedVersion

log = logging.getLogger(__name__)

BATCH_SECONDS = 0.3  # between two writes: at most so much is lost if the process is killed
MAX_WAITING = 30_000  # rows in the queue
FILE_ROWS = 500  # of a file that are logged as one request
HOUR = 3600  # seconds between deletions of what is too old


@dataclass(frozen=True)
class Answered:
    """A request that was answered: what the log keeps of it."""

    request: str
    micros: int
    version: "LoadedVersion"
    records: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    latency_ms: float

    def line(self) -> dict[str, Any]:
        """Return the line of the log; of files only hash and size are kept, of unknown columns nothing."""
        signature = self.version.signature
        kept = {*(column.name for column in signature.inputs), *signature.keys}
        inputs = [each if each.keys() <= kept else _only(each, kept) for each in self.records]
        if files := [column.name for column in signature.inputs if column.kind == "file"]:
            inputs = [each | {name: _file_facts(each[name]) for name in files if name in each} for each in inputs]
        return {
            "request_id": self.request,
            "event_timestamp": self.micros,
            "model": self.version.model,
            "model_version": self.version.number,
            "rows": len(inputs),
            "inputs": to_json(inputs).decode(),
            "predictions": to_json(self.predictions).decode(),
            "latency_ms": self.latency_ms,
        }

    def entities(self) -> list[dict[str, str]]:
        """Return a line for each row that was sent with its key, and for each step of a forecast."""
        names = self.version.signature.keys
        if not any(name in each for name in names[:1] for each in self.records):
            return []
        rows = zip((row_id(self.request, i) for i in range(len(self.records))), self.records, strict=True)
        about = [(identity, each) for identity, each in rows]
        for (identity, each), answer in zip(tuple(about), self.predictions, strict=True):
            about += [(step_id(identity, i), each | step) for i, step in enumerate(answer.get("forecast", ()))]
        texts = ((identity, key_text([each.get(name) for name in names])) for identity, each in about)
        model = self.version.model
        return [{"prediction_id": identity, "model": model, "entity_key": text} for identity, text in texts if text]


def log_rows(version: "LoadedVersion", records: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> None:
    """Write rows that were answered outside of the service, as requests of FILE_ROWS; there is a log.

    Raises:
        Refused: If the log cannot be written.
    """
    micros = micros_of(now())
    for start in range(0, len(records), FILE_ROWS):
        part = slice(start, start + FILE_ROWS)
        request = new_request(micros)
        try:
            write_answered(open_log(), [Answered(request, micros, version, records[part], predictions[part], 0.0)])
        except SQLAlchemyError as error:
            raise Refused(f"the prediction log cannot be written: {first_line(error)}") from error


def new_request(micros: int) -> str:
    """Return an id for a request of this time."""
    return f"{micros:013x}{token_hex(4)}"


def write_answered(engine: Engine, batch: list[Answered]) -> None:
    """Write requests and the keys of their rows."""
    with engine.begin() as connection:
        connection.execute(insert(REQUESTS), [each.line() for each in batch])
        if keys := [line for each in batch for line in each.entities()]:
            connection.execute(insert(KEYS), keys)


class PredictionLog:
    """The queue of a service, and the thread that writes it.

    Args:
        on_drop: Told the model and the number of rows that are not logged.
    """

    def __init__(self, on_drop: Callable[[str, int], None]) -> None:
        settings = from_environment(Settings)
        self.enabled, self.days = settings.prediction_log != NO_LOG, settings.prediction_log_days
        self.on_drop = on_drop
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
        micros = micros_of(now())
        request = new_request(micros)
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
            size = sum(len(each.records) for each in batch)
            try:
                if batch:
                    write_answered(open_log(), batch)
                batch = []
                self._delete_old(open_log())
                self._told = ""
            except Exception as error:  # the log may be anything, and the service goes on
                self._drop(batch, error)
            with self._lock:
                self._waiting -= size

    def _delete_old(self, engine: Engine) -> None:
        if time.monotonic() - self._cleaned > HOUR:
            self._cleaned = time.monotonic()
            delete_before(engine, micros_of(now() - timedelta(self.days)))

    def _drop(self, batch: list[Answered], error: Exception) -> None:
        for each in batch:
            self.on_drop(each.version.model, len(each.records))
        if (message := first_line(error)) != self._told:
            log.warning("the prediction log cannot be written: %s", message)
        self._told = message


def _taken(queue: "SimpleQueue[Answered]") -> Iterator[Answered]:
    """Yield what is in the queue now."""
    for _ in range(queue.qsize()):
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _only(record: dict[str, Any], kept: set[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name in kept}


def _file_facts(content: str | None) -> dict[str, Any] | None:
    """Return what the log keeps of a file in base64: it would be much larger than all the rest."""
    if content is None:
        return None
    decoded = base64.b64decode(content)
    return {"sha256": sha256(decoded).hexdigest(), "bytes": len(decoded)}
