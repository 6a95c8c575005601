"""Bring the snapshot of a source up to date: when it is due, and only with what changed where that can be asked."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .. import Refused
from .. import now as time_now
from . import snapshots
from .readers import Source, definition, file_state, read_source
from .snapshots import REMOVED, snapshot_path

PERIODS = {  # what a source's refresh or full may say, and the part of a time that is the same within one
    "hourly": "%Y-%m-%d %H",
    "daily": "%Y-%m-%d",
    "weekly": "%G-%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
    "never": "",
}


def is_due(period: str, last: str, now: datetime) -> bool:
    """Return whether a time (ISO 8601, UTC) is of an earlier hour, day, week, ... than now, or that is not known."""
    form = PERIODS.get(period.strip().lower())
    try:
        return form is None or datetime.fromisoformat(last).strftime(form) != now.strftime(form)
    except ValueError:
        return True


@dataclass(frozen=True)
class Refresh:
    """One command's look at the sources.

    Attributes:
        root: The project's folder.
        asked: Sources to read though they are not due.
        everything: Whether to read all, due or not, and queries whole.
        made: Receives the paths of new snapshots.
        now: The time of the command.
    """

    root: Path
    asked: tuple[str, ...] = ()
    everything: bool = False
    made: list[Path] = field(default_factory=list)
    now: datetime = field(default_factory=time_now)

    def entry(self, source: Source, entry: dict | None, known: dict) -> tuple[dict, dict]:
        """Return the lock's entry of a source, and what to remember of this look at it, on this machine only.

        Args:
            source: The catalogue's entry.
            entry: What the lock has of it, if anything.
            known: What was remembered of the last look.
        """
        facts, time = definition(source, self.root), self.now.isoformat(timespec="seconds")
        here = bool(entry) and (known.get("sha256"), known.get("definition")) == (entry["sha256"], facts)
        here = here and snapshots.seems_whole(snapshot_path(source.name, entry["sha256"], self.root), entry.get("rows"))
        if here and not self._is_wanted(source, known):
            print(f"{source.name}: not due (refresh: {source.refresh}), as of {known['read']}", flush=True)
            return entry, known
        state = file_state(source, self.root)
        if here and state and state == known.get("state"):
            return entry, known | {"read": time}
        stored, full = None, known.get("full") or ""
        if here and source.changed:  # as the same query gave it, so with this column
            stored = snapshots.verified(snapshot_path(source.name, entry["sha256"], self.root))
        increment = stored is not None and not self.everything and not is_due(source.full, full, self.now)
        found, whole = self._snapshot(source, entry, stored, increment=increment)
        seen = {"state": state, "definition": facts, "sha256": found["sha256"], "read": time}
        return found, seen | {"full": time if whole else full}

    def _is_wanted(self, source: Source, known: dict) -> bool:
        """Return whether to look at a source at all; files on this machine always are."""
        wanted = source.is_here or self.everything or source.name in self.asked
        return wanted or is_due(source.refresh, known.get("read", ""), self.now)

    def _snapshot(
        self, source: Source, entry: dict | None, stored: pa.Table | None, *, increment: bool
    ) -> tuple[dict, bool]:
        """Read a source into a snapshot; return its entry for the lock, and whether all of it was read."""
        former = snapshot_path(source.name, entry["sha256"], self.root) if entry else None
        table = changes = None
        with Progress(source.name) as progress:
            if increment:
                table, changes = _increment(source, stored, self, progress)
            if table is None:
                table = _whole(source, former, self.root, progress)
        if changes is None and stored is not None:
            _report_missed(source, stored, table, self.now)
        if source.changed:
            _warn_of_future(source, table, self.now)
        same = entry and _is_same(source, entry, former, table)
        digest = entry["sha256"] if same else snapshots.rows_hash(table)
        self._write(source, table, digest, changes, former)
        if entry and digest == entry["sha256"]:
            return entry, changes is None
        taken = self.now.isoformat(timespec="seconds")
        found = {"sha256": digest, "rows": table.num_rows, "columns": table.num_columns, "taken": taken}
        return found | ({"previous": entry["sha256"]} if entry else {}), changes is None

    def _write(self, source: Source, table: pa.Table, digest: str, changes: pa.Table | None, base: Path | None) -> None:
        """Write a snapshot unless it is here: what changed, or the whole."""
        path = snapshot_path(source.name, digest, self.root)
        if snapshots.seems_whole(path, table.num_rows) and (path == base or snapshots.is_whole(path)):
            if changes is not None or len(snapshots.parts(path)) == 1:
                return
        elif not path.exists():
            self.made.append(path)
        few = changes is not None and 2 * changes.num_rows < table.num_rows
        if few and path != base and len(snapshots.parts(base)) < snapshots.LONGEST:
            snapshots.write_changes(changes, path, base, list(source.key))
        else:
            snapshots.write_snapshot(table, path)


def _whole(source: Source, former: Path | None, root: Path, seen: Callable[[int], None]) -> pa.Table:
    """Return all rows of a source, those of a query in an order that does not depend on how the database answers."""
    table = read_source(source, root, None, seen)
    if not source.sql:
        return table
    table = _typed_as_before(table, _schema(former))
    query = (root / source.sql).read_text(encoding="utf-8")
    return table if not source.key and _is_ordered(query) else snapshots.ordered(table, _existing(source, table))


def _is_ordered(query: str) -> bool:
    """Return whether a query asks for an order of its rows, outside of any parentheses."""
    while (inner := re.sub(r"\([^()]*\)", " ", query)) != query:
        query = inner
    return re.search(r"\border\s+by\b", query, re.IGNORECASE) is not None


def _existing(source: Source, table: pa.Table) -> list[str]:
    """Return the columns of the source's key and its time of change; raise Refused if one is not there."""
    for name in filter(None, [*source.key, source.changed]):
        if name not in table.column_names:
            raise Refused(f"source {source.name}: {source.sql} gives no column {name!r}, which the catalogue names")
    if source.changed and (more := table.num_rows - _distinct(table, source.key)):
        raise Refused(f"source {source.name}: {more} rows have the key ({', '.join(source.key)}) of another row")
    return list(source.key)


def _distinct(table: pa.Table, key: tuple[str, ...]) -> int:
    return table.select(list(key)).group_by(list(key)).aggregate([]).num_rows


def _typed_as_before(table: pa.Table, known: pa.Schema) -> pa.Table:
    """Return the table with the types of its last snapshot where a column has no value to tell its type."""
    for i, column in enumerate(table.schema):
        if pa.types.is_null(column.type) and column.name in known.names:
            values = pa.nulls(table.num_rows, known.field(column.name).type)
            table = table.set_column(i, column.name, values)
    return table


def _schema(snapshot: Path | None) -> pa.Schema:
    """Return the columns and types of a snapshot, none if it is not here."""
    try:
        return pq.read_schema(snapshot) if snapshot else pa.schema([])
    except (OSError, pa.ArrowException):
        return pa.schema([])


def _increment(
    source: Source, stored: pa.Table, refresh: Refresh, seen: Callable[[int], None]
) -> tuple[pa.Table, pa.Table] | tuple[None, None]:
    """Return all rows, fetching only new and changed ones, and what changed; nothing if only a full read can tell."""
    if (since := _watermark(stored, source, refresh.now)) is None:
        return None, None
    fetched = _typed_as_before(read_source(source, refresh.root, (source.changed, since), seen), stored.schema)
    if fetched.schema != stored.schema:
        return None, None
    _existing(source, fetched)
    window = pa.scalar(since, stored[source.changed].type)
    recent = pc.fill_null(pc.greater_equal(stored[source.changed], window), False)
    key = list(source.key)
    kept = snapshots.without(stored.filter(pc.invert(recent)), fetched, key)
    table = snapshots.ordered(pa.concat_tables([kept, fetched]), key)
    return table, _changes(snapshots.without(stored, kept, key), fetched, key)


def _watermark(stored: pa.Table, source: Source, now: datetime) -> Any:
    """Return the largest value of the time of change, none of the future, less the lookback: a number, time or text."""
    changed = stored[source.changed]
    newest = pc.max(changed.filter(pc.invert(_in_future(changed, now)))).as_py()
    if newest is None or not source.lookback:
        return newest
    try:
        return _earlier(newest, source.lookback)
    except (ValueError, TypeError, IndexError) as error:
        what = f"lookback {source.lookback!r} cannot be taken from {source.changed}, such as {newest!r}"
        raise Refused(f"source {source.name}: {what}") from error


def _in_future(changed: pa.ChunkedArray, now: datetime) -> pa.ChunkedArray:
    """Return which times of change are over a day after now, whatever their zone; none of numbers and other texts."""
    newest, latest = pc.max(changed).as_py(), now + timedelta(days=1)
    if isinstance(newest, datetime):
        latest = latest if newest.tzinfo else latest.replace(tzinfo=None)
    elif isinstance(newest, date):
        latest = latest.date()
    elif isinstance(newest, str) and re.match(r"\d{4}-\d\d-\d\d", newest):
        latest = latest.isoformat(sep=newest[10:11] or " ")[: len(newest)]
    else:
        return pa.chunked_array([np.zeros(len(changed), bool)])
    return pc.fill_null(pc.greater(changed, pa.scalar(latest, changed.type)), False)


def _earlier(value: Any, lookback: str) -> Any:
    if isinstance(value, int | float):
        return value - int(lookback)
    if lookback.isdecimal():  # of what: pandas takes it as nanoseconds
        raise ValueError(lookback)
    span = pd.Timedelta(lookback).to_pytimedelta()
    if not isinstance(value, str):
        return value - span
    since = datetime.fromisoformat(value) - span
    return str(since.date()) if len(value) == 10 else since.isoformat(sep=value[10])


def _changes(former: pa.Table, now: pa.Table, key: list[str]) -> pa.Table:
    """Return what turns former rows into those of now: rows to add or to replace, and rows that are REMOVED."""
    added, changed, removed = differences(former, now, key)
    parts = [(now.take(pa.concat_arrays([added, changed])), False), (former.take(removed), True)]
    return pa.concat_tables(
        rows.append_column(REMOVED, pa.array([gone] * rows.num_rows, pa.bool_())) for rows, gone in parts
    )


def differences(former: pa.Table, now: pa.Table, key: list[str]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return, by key, which rows of `now` are added and which changed, and which of `former` are removed."""
    left = former.select(key).append_column("former row", pa.array(range(former.num_rows), pa.int64()))
    right = now.select(key).append_column("row now", pa.array(range(now.num_rows), pa.int64()))
    pairs = left.join(right, key, join_type="full outer").select(["former row", "row now"]).combine_chunks()
    missing = [pc.is_null(pairs[name]) for name in pairs.column_names]
    both = pairs.filter(pc.invert(pc.or_(*missing)))
    same = pa.array([True] * both.num_rows, pa.bool_())
    for name in now.column_names:
        before, after = former[name].take(both["former row"]), now[name].take(both["row now"])
        gone = [pc.is_null(before), pc.is_null(after)]
        same = pc.and_(same, pc.if_else(pc.or_(*gone), pc.and_(*gone), pc.fill_null(pc.equal(before, after), False)))
    added, removed = pairs.filter(missing[0])["row now"], pairs.filter(missing[1])["former row"]
    return tuple(_sorted(rows) for rows in (added, both.filter(pc.invert(same))["row now"], removed))


def _sorted(rows: pa.ChunkedArray) -> pa.Array:
    joined = pa.concat_arrays(rows.chunks) if rows.num_chunks else pa.array([], pa.int64())
    return joined.take(pc.sort_indices(joined))


def _warn_of_future(source: Source, table: pa.Table, now: datetime) -> None:
    """Print a warning if rows changed at a time that has not come yet: increments take their time from the others."""
    future = table[source.changed].filter(_in_future(table[source.changed], now))
    if len(future):
        what = f"{source.changed} is in the future in {len(future):,} rows, such as {pc.max(future).as_py()}"
        print(f"  warning: source {source.name}: {what}: a wrong clock? Increments go by the other rows", flush=True)


def _report_missed(source: Source, stored: pa.Table, now: pa.Table, time: datetime) -> None:
    """Print how many rows a full read finds changed that increments would never have found."""
    if stored.schema != now.schema or (since := _watermark(stored, source, time)) is None:
        return
    added, changed, removed = differences(stored, now, list(source.key))
    known = pa.scalar(since, stored[source.changed].type)
    old = [
        pc.sum(pc.fill_null(pc.less(now[source.changed].take(rows), known), True)).as_py() or 0
        for rows in (added, changed)
    ]
    gone = pc.sum(pc.fill_null(pc.less(stored[source.changed].take(removed), known), True)).as_py() or 0
    if sum([*old, gone]):
        words = f"{old[0]} new, {old[1]} changed, {gone} removed"
        print(f"{source.name}: the full read found rows that increments cannot see: {words}", flush=True)


def _is_same(source: Source, entry: dict, former: Path, now: pa.Table) -> bool:
    """Return whether rows are those of a snapshot of release 0.4 or before, whose hash knew their order and types."""
    if entry["sha256"].startswith(snapshots.SCHEME):
        return False  # rows_hash tells
    try:
        stored = snapshots.read_snapshot(former)
        return snapshots.same_rows(stored, now, sort=bool(source.sql)) and snapshots.is_whole(former)
    except FileNotFoundError:
        return snapshots.content_hash(now) == entry["sha256"]
    except (OSError, pa.ArrowException):
        return False


class Progress:
    """One line on a terminal that tells how many rows of a source have been read; nothing elsewhere."""

    def __init__(self, name: str) -> None:
        """Start with no row."""
        self.name, self.rows, self.shown = name, 0, sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        """Return the counter, which is called with the rows of each batch."""
        return self

    def __call__(self, rows: int) -> None:
        """Add the rows of a batch; 0 starts again."""
        self.rows = self.rows + rows if rows else 0
        if self.shown:
            print(f"\r{self.name}: {self.rows:,} rows read", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        if self.shown and self.rows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
