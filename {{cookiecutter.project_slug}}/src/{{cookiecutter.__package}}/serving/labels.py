"""Labels that arrive later: what turned out true, by the id of a prediction or by the key of its row."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from .. import BadRows, Refused, first_line, now
from ..datasets import columns
from ..datasets.table import key_text
from .log_store import KEYS, LABELS, REQUESTS, first_id, micros_of, request_of

CHUNK = 500  # labels written at a time
INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
FIELDS = {"prediction_id", "key", "label", "time"}


@dataclass(frozen=True)
class Label:
    """What turned out true of one prediction.

    Attributes:
        value: The label, in JSON's types.
        prediction_id: Of the prediction; empty if it is named by its key.
        key: Of the row; the newest prediction about it is meant, or the newest before `time`; of a forecaster all.
        time: From when the label holds, in microseconds since 1970; None for now.
    """

    value: Any
    prediction_id: str = ""
    key: str = ""
    time: int | None = None


def parsed(records: list[dict[str, Any]]) -> list[Label]:
    """Return the labels that a caller sends; raise BadRows for what is none."""
    found = []
    for place, record in enumerate(records):
        where = f"label {place} (from 0)"
        if unknown := sorted({*record} - FIELDS):
            raise BadRows(f"{where} has an unknown field {unknown[0]!r}: use {', '.join(sorted(FIELDS))}")
        if record.get("label") is None:
            raise BadRows(f"{where} has no label")
        identity, key = record.get("prediction_id"), record.get("key")
        if (identity is None) == (key is None):
            raise BadRows(f"{where} needs one of prediction_id and key")
        for name in ("prediction_id", "time"):
            if not isinstance(record.get(name), str | None):
                raise BadRows(f"{where}: {name} is {record[name]!r}, which is no text")
        text = key_text(key if isinstance(key, list) else [key]) if key is not None else ""
        found.append(Label(record["label"], str(identity or ""), text or "", _micros(record.get("time"), where)))
    return found


def add_labels(
    engine: Engine, model: str, labels: Iterator[Label] | list[Label], *, every: bool = False
) -> tuple[int, list[str]]:
    """Store labels of a model's predictions; of two for one prediction the newest wins.

    Args:
        engine: The log's database.
        model: The model's name.
        labels: What turned out true.
        every: Whether a label by key is one of all predictions about it, as where a key has a time; else of the newest.

    Returns:
        How many were stored, and the ids and keys of those that no logged prediction of the model has.
    """
    labels, stored, unknown = iter(labels), 0, []
    while chunk := list(islice(labels, CHUNK)):
        with engine.begin() as connection:
            found = _identified(connection, model, chunk, every)
            unknown += [each.prediction_id or each.key for each, own in zip(chunk, found, strict=True) if not own]
            rows = [_row(each, identity) for each, own in zip(chunk, found, strict=True) for identity in own]
            if rows:
                connection.execute(_newest_wins(engine.dialect.name), rows)
            stored += sum(map(bool, found))
    return stored, unknown


def read_labels(path: Path, keys: list[str], target: str) -> Iterator[Label]:
    """Yield the labels in a .csv or .parquet file.

    Args:
        path: The file, with columns `prediction_id` or the table's key, `label` or the target, and perhaps `time`.
        keys: The columns of the table's key.
        target: The column to predict.
    """
    try:
        texts = dict.fromkeys(["prediction_id", *keys], str)
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=texts)
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {first_line(error)}") from error
    value = next((name for name in ("label", target) if name in rows), None)
    if value is None:
        raise Refused(f"{path} has neither a column 'label' nor {target!r}")
    if "prediction_id" not in rows and (lost := [name for name in keys if name not in rows]):
        raise Refused(f"{path} has neither prediction_id nor the key's column {lost[0]!r}")
    rows = rows[rows[value].notna()]
    values = columns.records(rows[[value]])
    for place, (row, label) in enumerate(zip(rows.to_dict("records"), values, strict=True)):
        when = _micros(row.get("time"), f"{path}: row {place}")
        if "prediction_id" in rows:
            yield Label(label[value], prediction_id=str(row["prediction_id"]), time=when)
        else:
            yield Label(label[value], key=key_text([row[name] for name in keys]) or "", time=when)


def _identified(connection: Connection, model: str, labels: list[Label], every: bool) -> list[list[str]]:
    """Return the ids of the logged predictions that each label is about; none for one that is not there."""
    column, request = KEYS.c.prediction_id, REQUESTS.c.request_id
    wanted = {request_of(each.prediction_id)[0] for each in labels}
    there = select(request, REQUESTS.c.rows).where(REQUESTS.c.model == model, request.in_(wanted))
    rows = dict(connection.execute(there).tuples().all())
    about = select(KEYS.c.entity_key, column if every else func.max(column)).where(KEYS.c.model == model)
    about = about if every else about.group_by(KEYS.c.entity_key)
    keys, known = {each.key for each in labels if each.time is None}, {}
    for key, identity in connection.execute(about.where(KEYS.c.entity_key.in_(keys))):
        known.setdefault(key, []).append(identity)
    found = []
    for each in labels:
        if each.prediction_id:
            own, place = request_of(each.prediction_id)
            found.append([each.prediction_id] if 0 <= place < rows.get(own, 0) else [])
        elif each.time is None:
            found.append(known.get(each.key, []))
        else:
            before = about.where(KEYS.c.entity_key == each.key, column <= first_id(each.time + 1))
            found.append([identity for _, identity in connection.execute(before)])
    return found


def _row(label: Label, identity: str) -> dict[str, Any]:
    received = micros_of(now())
    moment = received if label.time is None else label.time
    return {
        "prediction_id": identity,
        "label": json.dumps(label.value),
        "label_timestamp": moment,
        "received_at": received,
    }


def _newest_wins(dialect: str) -> Any:
    """Return the statement that stores a label unless a newer one is there."""
    statement = INSERT[dialect](LABELS)
    news = {name: statement.excluded[name] for name in ("label", "label_timestamp", "received_at")}
    return statement.on_conflict_do_update(
        index_elements=["prediction_id"],
        set_=news,
        where=statement.excluded.label_timestamp >= LABELS.c.label_timestamp,
    )


def _micros(moment: Any, where: str) -> int | None:
    """Return a time in microseconds since 1970; None if none is given."""
    if moment is None or moment != moment:
        return None
    try:
        return micros_of(pd.Timestamp(moment).to_pydatetime())
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRows(f"{where}: time is {moment!r}, which is no time") from error
