"""Sources -> snapshots: immutable parquet files under data/raw/, verified against data/catalog.lock."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from .. import ROOT, Refused, atomic_write, first_line, validated
from .readers import Source, file_state, missing_variable, read_source

BATCH = 100_000  # rows hashed at a time
STATES = "data/.states.json"  # of the files that were read last, on this machine only
ADVICE = "bring it back from where the team keeps it, or delete it and run `uv run just data`"
_candidates: ContextVar[dict | None] = ContextVar("candidates", default=None)


def sources(root: Path = ROOT) -> list[Source]:
    """Return the entries of data/catalog.yaml; raise Refused naming the first one that is wrong."""
    path = root / "data" / "catalog.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refused(f"data/catalog.yaml cannot be read: {first_line(error)}") from error
    if not isinstance(entries, dict) or not entries:
        raise Refused("data/catalog.yaml names no source: add one, as its comments show")
    return [_source(name, entry) for name, entry in entries.items()]


def _source(name: str, entry: dict) -> Source:
    if not isinstance(entry, dict):
        raise Refused(f"source {name} in data/catalog.yaml has no content: give it a file or a query")
    known = set(Source.model_fields) - {"name"}
    if unknown := {str(key) for key in entry} - known:
        raise Refused(f"source {name} has an unknown key {min(unknown)!r}: use {', '.join(sorted(known))}")
    return validated(Source, entry | {"name": str(name)}, f"data/catalog.yaml: source {name}")


@contextmanager
def fetched(root: Path = ROOT, *, keep: bool = True) -> Iterator[list[str]]:
    """Read every source that may have changed; inside the block `read` gives the new rows.

    Files that are as they were when they were read last are not read again. The lock file is written only when the
    block ends without an error, so a failed check leaves the version of the data and the snapshots as they were.

    Args:
        root: The project's folder.
        keep: Whether the lock file is written at all.

    Yields:
        The names of the sources whose content changed.
    """
    lock, made, states, known = locked(root), [], {}, _read_states(root)
    token, taken = _candidates.set(None), datetime.now(UTC).isoformat(timespec="seconds")
    candidates = {}
    try:
        for source in sources(root):
            name, state = source.name, file_state(source, root)
            if not _is_known(name, state, known, lock, root):
                candidates[name] = _snapshot(source, lock.get(name), root, made, taken)
            else:
                candidates[name] = lock[name]
            states[name] = [state, candidates[name]["sha256"]]
        _candidates.set(candidates)
        yield [name for name, entry in candidates.items() if lock.get(name, {}).get("sha256") != entry["sha256"]]
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    finally:
        _candidates.reset(token)
    if keep and candidates != lock:
        write_lock(candidates, root)
    if keep and states != known:
        _write_states(states, root)


@contextmanager
def before(root: Path = ROOT) -> Iterator[bool]:
    """Let `read` give, inside the block, the snapshots before the newest change of any source.

    Yields:
        Whether there was a version before, and its snapshots are here; if not, `read` gives what it gives outside.
    """
    now = current(root)
    newest = max((entry.get("taken", "") for entry in now.values()), default="")
    former = {
        name: {"sha256": entry["previous"]}
        for name, entry in now.items()
        if entry.get("taken") == newest and entry.get("previous")
    }
    here = all(snapshot_path(name, entry["sha256"], root).exists() for name, entry in former.items())
    token = _candidates.set(now | former if here else now)
    try:
        yield bool(former) and here
    finally:
        _candidates.reset(token)


def read(name: str, root: Path = ROOT) -> pd.DataFrame:
    """Return the rows of a source's snapshot, verified by their hash.

    Raises:
        Refused: If the source is unknown, or its snapshot is missing, damaged or not the one that the lock names.
    """
    entry = current(root).get(name)
    if entry is None:
        known = [source.name for source in sources(root)]
        if name not in known:
            raise Refused(f"data/catalog.yaml has no source {name!r}, only {', '.join(known)}")
        raise Refused(f"there is no snapshot of {name} yet: run `uv run just data`")
    path = snapshot_path(name, entry["sha256"], root)
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is missing: {ADVICE}") from error
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is damaged: {ADVICE}") from error
    if content_hash(table) != entry["sha256"]:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is not what the lock names: {ADVICE}")
    return table.to_pandas()


def current(root: Path = ROOT) -> dict[str, dict]:
    """Return the entries whose snapshots `read` gives: the lock's, or, while sources are fetched, the new ones."""
    candidates = _candidates.get()
    return locked(root) if candidates is None else candidates


def locked(root: Path = ROOT) -> dict[str, dict]:
    """Return what data/catalog.lock records of each source: hash, rows, columns, time and, if any, the hash before."""
    path = root / "data" / "catalog.lock"
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused("data/catalog.lock is not JSON any more: take it back with `git checkout`") from error
    if not isinstance(lock, dict) or not all(isinstance(entry, dict) and "sha256" in entry for entry in lock.values()):
        raise Refused("data/catalog.lock names no snapshots any more: take it back with `git checkout`")
    return lock


def write_lock(entries: dict[str, dict], root: Path = ROOT) -> None:
    """Write data/catalog.lock: from now on these snapshots are the version of the data."""
    with atomic_write(root / "data" / "catalog.lock") as path:
        path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8", newline="\n")


def missing_variables(root: Path = ROOT) -> str:
    """Return what to set in the environment before every source can be read, an empty text if nothing is missing."""
    return "; ".join(filter(None, map(missing_variable, sources(root))))


def complete(root: Path = ROOT) -> bool:
    """Return whether every source has its snapshot here: not so in a fresh project or a fresh clone."""
    lock = locked(root)
    return all(s.name in lock and snapshot_path(s.name, lock[s.name]["sha256"], root).exists() for s in sources(root))


def content_hash(rows: pd.DataFrame | pa.Table) -> str:
    """Return the SHA-256 over column names, types and values in their order; file format and batches do not matter."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata(None)  # pandas' own hints are not content
    digest = sha256(json.dumps([[field.name, str(field.type)] for field in table.schema]).encode())
    for start in range(0, table.num_rows, BATCH):
        frame = table.slice(start, BATCH).to_pandas()
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def snapshot_path(name: str, digest: str, root: Path = ROOT) -> Path:
    """Return where the snapshot of a source with this hash is kept."""
    return root / "data" / "raw" / name / f"{digest[:16]}.parquet"


def is_whole(path: Path) -> bool:
    """Return whether a snapshot's content has the hash that is its name."""
    try:
        return content_hash(pq.read_table(path))[:16] == path.stem
    except (OSError, pa.ArrowException):
        return False


def _is_known(name: str, state: str, known: dict, lock: dict[str, dict], root: Path) -> bool:
    """Return whether the files of a source are as they were when the snapshot in the lock was read from them."""
    entry = lock.get(name)
    if not state or not entry or known.get(name) != [state, entry["sha256"]]:
        return False
    return _rows_in(snapshot_path(name, entry["sha256"], root)) == entry.get("rows", -1)


def _read_states(root: Path) -> dict[str, list[str]]:
    """Return, by source, the state of its files when they were last read, and the hash of what they held."""
    try:
        states = json.loads((root / STATES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return states if isinstance(states, dict) else {}


def _write_states(states: dict[str, list[str]], root: Path) -> None:
    with atomic_write(root / STATES) as path:
        path.write_text(json.dumps(states, indent=1) + "\n", encoding="utf-8", newline="\n")


def _rows_in(path: Path) -> int | None:
    """Return how many rows a snapshot says it has; None if its end, where that stands, is missing."""
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException):
        return None


def _snapshot(source: Source, known: dict | None, root: Path, made: list[Path], taken: str) -> dict:
    """Read a source into a snapshot.

    Args:
        source: The catalogue's entry.
        known: What the lock has of it, if anything.
        root: The project's folder.
        made: Receives the path of a new file.
        taken: The time of this command.

    Returns:
        The lock's entry for what the source holds now; `known` itself if that is the same.
    """
    table = read_source(source, root)
    try:
        digest = content_hash(table)
    except (TypeError, ValueError) as error:  # lists, objects
        raise Refused(f"source {source.name} has a column that is no plain value: {first_line(error)}") from error
    path, moved = snapshot_path(source.name, digest, root), not known or known["sha256"] != digest
    if not path.exists():
        made.append(path)
    if not path.exists() or _rows_in(path) != table.num_rows or (moved and not is_whole(path)):  # cut off, or damaged
        with atomic_write(path) as part:
            pq.write_table(table.replace_schema_metadata(None), part)
    if not moved:
        return known
    entry = {"sha256": digest, "rows": table.num_rows, "columns": table.num_columns, "taken": taken}
    return entry | ({"previous": known["sha256"]} if known else {})
