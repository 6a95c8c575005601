"""Labelled rows of the prediction log, as a version is asked for them; those that break the schema are left out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from sqlalchemy.engine import Engine

from .. import BadRows
from ..datasets import ranges
from ..datasets.table import Table, key_hashes
from ..registry.learned import LEARNED, ROW
from ..registry.loading import LoadedVersion
from ..retraining.limits import limits
from ..retraining.profiles import ANSWER, Profile
from ..retraining.quality import concerned, problems
from ..retraining.stream_gate import Stream
from ..retraining.target import jump
from ..serving.log_store import Logged, read_labelled
from ..training.contract import Model
from ..training.train import BLOCK
from . import days

DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Labelled:
    """Rows with what turned out true, by their ids in the order of time, and the hashes of their keys, 0 for none."""

    rows: pd.DataFrame
    keys: np.ndarray

    def part(self, inside: np.ndarray) -> "Labelled":
        """Return the rows inside, (rows,)."""
        return Labelled(self.rows[inside], self.keys[inside])


def day_of(identity: str) -> date:
    """Return the day on which a row was answered."""
    return datetime.fromtimestamp(int(identity[:13], 16) / 1e6, UTC).date()


def read(engine: Engine, model: Model, version: LoadedVersion, identities: list[str]) -> Labelled:
    """Return logged rows by their ids, but those that the version cannot be asked, or that break the schema."""
    needed = {column.name for column in version.signature.inputs if not column.optional}
    logged = [each for each in read_labelled(engine, model.name, identities) if needed <= each.inputs.keys()]
    rows = _typed(version, logged)
    labels = {each.prediction_id: json.loads(each.label) for each in logged}
    truth = truths(model.table, pd.Series([labels[each] for each in rows.index], rows.index, dtype=object))
    rows = version.prepared(rows).assign(**{model.table.target: truth}).loc[truth.index]
    return Labelled(rows, _keys(model.table, {each.prediction_id: each.inputs for each in logged}, rows.index))


def stream(engine: Engine, model: Model, version: LoadedVersion, recorded: pd.DataFrame) -> Stream:
    """Return what a version was tested on, as recorded, as far as the log still has the rows and their labels."""
    found = read(engine, model, version, [*recorded[ROW]])
    kept = recorded.set_index(ROW).loc[found.rows.index]
    days = pd.factorize(np.array([int(each[:13], 16) // DAY for each in kept.index]))[0]
    learned = kept[LEARNED].to_numpy(bool)
    return Stream(found.rows, kept.drop(columns=LEARNED), learned, days, found.keys)


def truths(table: Table, labels: pd.Series) -> pd.Series:
    """Return labels as the schema's type, by their ids, without those that break it: they would stop a retrain."""
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    schema = pa.DataFrameSchema({table.target: table.schema.columns[table.target]}, coerce=True)
    frame = labels.infer_objects().to_frame(table.target)
    try:
        return schema.validate(frame, lazy=True)[table.target].dropna()
    except SchemaErrors as errors:
        bad = set(errors.failure_cases["index"].dropna())
        good = labels[~labels.index.isin(bad)]
        return truths(table, good) if 0 < len(good) < len(labels) else frame[table.target].head(0)


def broken(engine: Engine, model: Model, profile: Profile | None, over: list[date]) -> dict[date, list[tuple]]:
    """Return for each day what is wrong with its rows, as pairs of a column and a problem."""
    if profile is None or not over or not limits(model).steady_columns:
        return {}
    days.count_days(engine, model.name, profile, over)
    counted, found = days.read_counts(engine, model.name, profile.grid), {}
    for name, column in profile.columns.items():
        for day, counts in counted.get(name, {}).items() if not name.startswith(ANSWER) else ():
            for problem in problems(column, counts):
                found.setdefault(day, []).append((column, problem))
    return found


def learnable(labelled: Labelled, wrong: list[tuple], levels: dict | None, model: Model) -> tuple[Labelled, list[str]]:
    """Return the rows of a day that may be learned from, and what is wrong with the others, in words.

    Args:
        labelled: The rows.
        wrong: What is wrong with the day, as `broken` returns it.
        levels: The levels of the target in the table, if it is a measurement.
        model: With its limits.
    """
    bad, said = np.zeros(len(labelled.rows), bool), []
    for column, problem in wrong:
        if column.name in labelled.rows:
            bad |= concerned(problem, column, labelled.rows[column.name])
            said.append(problem.words)
    allowed, enough = limits(model), len(labelled.rows) >= BLOCK
    if levels and enough and allowed.max_target_change is not None:
        words = jump(labelled.rows[model.table.target].to_numpy(float), levels, allowed)
        bad |= bool(words)
        said += [f"{model.table.target} is {words} than in the table"] if words else []
    return labelled.part(~bad), said if bad.any() else []


def _typed(version: LoadedVersion, logged: list[Logged]) -> pd.DataFrame:
    """Return the inputs of rows as the version takes them, by their ids, without those that it does not take."""
    names = {column.name for column in version.signature.inputs}
    try:
        index = pd.Index([each.prediction_id for each in logged], dtype=object, name=ROW)
        sent = [{name: value for name, value in each.inputs.items() if name in names} for each in logged]
        rows = version.signature.typed(pd.DataFrame.from_records(sent, index=index))
        return rows[[not words for words in ranges.by_row(rows, version.signature.inputs)]]
    except BadRows:
        halves = [logged[: len(logged) // 2], logged[len(logged) // 2 :]]
        return pd.concat([_typed(version, half) for half in halves]) if len(logged) > 1 else _typed(version, [])


def _keys(table: Table, inputs: dict[str, dict], index: pd.Index) -> np.ndarray:
    """Return the hash of each row's key, (rows,); 0 for a row that was sent without it."""
    sent = [identity for identity in index if all(inputs[identity].get(name) is not None for name in table.keys)]
    found = pd.Series(np.zeros(len(index), np.uint64), index)
    if sent:
        values = pd.DataFrame.from_records([{name: inputs[each][name] for name in table.keys} for each in sent])
        typed = {name: _as_in_table(table, values[name]) for name in table.keys}
        found[sent] = key_hashes(table, pd.DataFrame(typed))
    return found.to_numpy()


def _as_in_table(table: Table, values: pd.Series) -> pd.Series:
    """Return a key's column with the type that the table's schema gives it."""
    kind = table.schema.columns[values.name].dtype
    try:
        return kind.coerce(values) if kind else values
    except Exception:  # a key of another type is a key that the table does not have
        return values


def by_day(identities: list[str]) -> Iterator[tuple[date, list[str]]]:
    """Yield the ids of each day, oldest first."""
    found: dict[date, list[str]] = {}
    for each in identities:
        found.setdefault(day_of(each), []).append(each)
    yield from sorted(found.items())
