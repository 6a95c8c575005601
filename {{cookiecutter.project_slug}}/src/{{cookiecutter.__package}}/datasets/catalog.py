"""Sources -> snapshots: immutable Parquet files under data/raw/, verified against data/catalog.lock."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import pandas as pd
import pyarrow as pa
import yaml

from .. import ROOT, Refused, atomic_write, first_line, git, validated
from . import snapshots
from .readers import Source, missing_variable
from .refresh import Refresh
from .snapshots import content_hash as content_hash
from .snapshots import is_whole as is_whole

STATES = "data/.states.json"  # of what was read last, on this machine only
ADVICE = "bring it back with `uv run just data --at HEAD`, or delete it and run `uv run just data`"
_candidates: ContextVar[dict | None] = ContextVar("candidates", default=None)


def sources(root: Path = ROOT) -> list[Source]:
    """Return the entries of data/catalog.yaml; raise Refused naming the first one that is wrong."""
    entries = _entries(root)
    if not entries:
        raise Refused("data/catalog.yaml names no source: add one, as its comments show")
    return [_source(name, entry) for name, entry in entries.items() if not _is_store(name, entry)]


def _source(name: str, entry: dict) -> Source:
    if not isinstance(entry, dict):
        raise Refused(f"source {name} in data/catalog.yaml has no content: give it a file or a query")
    known = set(Source.model_fields) - {"name"}
    if unknown := {str(key) for key in entry} - known:
        raise Refused(f"source {name} has an unknown key {min(unknown)!r}: use {', '.join(sorted(known))}")
    return validated(Source, entry | {"name": str(name)}, f"data/catalog.yaml: source {name}")


def _entries(root: Path) -> dict:
    """Return the content of data/catalog.yaml."""
    try:
        entries = yaml.safe_load((root / "data" / "catalog.yaml").read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refused(f"data/catalog.yaml cannot be read: {first_line(error)}") from error
    if not isinstance(entries, dict):
        raise Refused("data/catalog.yaml names no source: add one, as its comments show")
    return entries


def _is_store(name: str, entry: object) -> bool:
    return name == "store" and isinstance(entry, str)


def store(root: Path = ROOT) -> str:
    """Return the folder or bucket that keeps the team's snapshots, an empty text if the catalogue names none."""
    entry = _entries(root).get("store")
    return entry if _is_store("store", entry) else ""


@contextmanager
def fetched(
    root: Path = ROOT, *, keep: bool = True, asked: Collection[str] = (), everything: bool = False
) -> Iterator[list[str]]:
    """Read every source that may have changed; inside the block `read` gives the new rows.

    Files that are as they were are not read again, queries and places elsewhere only when their `refresh` is due. The
    lock is written only when the block ends without an error: a failed check leaves the data's version as it was.

    Args:
        root: The project's folder.
        keep: Whether the lock file is written at all.
        asked: Sources to read though they are not due.
        everything: Whether to read all sources, due or not, and queries whole instead of what changed.

    Yields:
        The names of the sources whose content changed.
    """
    lock, known, found = locked(root), _read_states(root), sources(root)
    if unknown := {*asked} - {source.name for source in found}:
        raise Refused(f"data/catalog.yaml has no source {min(unknown)!r}, only {', '.join(s.name for s in found)}")
    refresh, token = Refresh(root, tuple(asked), everything), _candidates.set(None)
    candidates, states = {}, {}
    try:
        for source in found:
            seen = refresh.entry(source, lock.get(source.name), known.get(source.name, {}))
            candidates[source.name], states[source.name] = seen
        _candidates.set(candidates)
        yield [name for name, entry in candidates.items() if lock.get(name, {}).get("sha256") != entry["sha256"]]
        if keep:
            _save(candidates, root)
    except BaseException:
        for path in refresh.made:
            path.unlink(missing_ok=True)
        raise
    finally:
        _candidates.reset(token)
    if keep and candidates != lock:
        write_lock(candidates, root)
    if keep and states != known:
        _write_states(states, root)


def _save(entries: dict[str, dict], root: Path) -> None:
    """Copy these snapshots to the store, if there is one, before the lock names them."""
    if place := store(root):
        paths = [snapshot_path(name, entry["sha256"], root) for name, entry in entries.items()]
        snapshots.save([file for path in paths for file in snapshots.parts(path)], place, root)


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
    here = all(_is_here(name, entry["sha256"], root) for name, entry in former.items())
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
        table = snapshots.read_snapshot(path)
    except FileNotFoundError as error:
        missing = Path(error.filename or path).name
        raise Refused(f"the snapshot data/raw/{name}/{missing} is missing: {ADVICE}") from error
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"the snapshot data/raw/{name}/{path.name} is damaged: {ADVICE}") from error
    if not snapshots.is_hash(table, entry["sha256"]):
        raise Refused(f"the snapshot data/raw/{name}/{path.name} is not what the lock names: {ADVICE}")
    columns = dict(zip(table.column_names, table.columns, strict=True))
    del table
    return _frame(columns, whole_numbers=entry["sha256"].startswith(snapshots.SCHEME))


def _frame(columns: dict[str, pa.ChunkedArray], *, whole_numbers: bool) -> pd.DataFrame:
    """Return columns as a frame, and let each go as soon as it is there: a large table is not in memory twice.

    Args:
        columns: By name; the dictionary is empty afterwards.
        whole_numbers: Whether whole numbers with gaps stay whole numbers (Int64).
    """
    found = {}
    for name in [*columns]:
        column = columns.pop(name)
        if whole_numbers and pa.types.is_integer(column.type) and column.null_count:
            kind = pd.api.types.pandas_dtype(str(column.type).replace("int", "Int").replace("u", "U"))
            found[name] = pd.Series(kind.__from_arrow__(column))
        else:
            found[name] = pa.table({name: column}).to_pandas()[name]
    del column
    pa.default_memory_pool().release_unused()  # else what they took stays taken
    return pd.DataFrame(found, copy=False)


def current(root: Path = ROOT) -> dict[str, dict]:
    """Return the entries whose snapshots `read` gives: the lock's, or, while sources are fetched, the new ones."""
    candidates = _candidates.get()
    return locked(root) if candidates is None else candidates


def locked(root: Path = ROOT) -> dict[str, dict]:
    """Return what data/catalog.lock records of each source: hash, rows, columns, time and, if any, the hash before."""
    try:
        text = (root / "data" / "catalog.lock").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return _parsed(text, "data/catalog.lock")


def _parsed(text: str, where: str) -> dict[str, dict]:
    """Return the content of a lock file."""
    try:
        lock = json.loads(text)
    except ValueError as error:
        raise Refused(f"{where} is not JSON any more: take it back with `git checkout`") from error
    if not isinstance(lock, dict) or not all(isinstance(entry, dict) and "sha256" in entry for entry in lock.values()):
        raise Refused(f"{where} names no snapshots any more: take it back with `git checkout`")
    return lock


def write_lock(entries: dict[str, dict], root: Path = ROOT) -> None:
    """Write data/catalog.lock: from now on these snapshots are the version of the data."""
    with atomic_write(root / "data" / "catalog.lock") as path:
        path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8", newline="\n")


def bring_back(commit: str, root: Path = ROOT) -> dict[str, dict]:
    """Put the snapshots that a commit recorded in place, and its data/catalog.lock; return what that says.

    Raises:
        Refused: Naming the snapshots that are neither here nor in the store; the lock stays as it is then.
    """
    found = _git(root, "rev-parse", "--verify", "--end-of-options", commit + "^{commit}").strip()
    text = _git(root, "show", f"{found}:./data/catalog.lock")
    lock, place = _parsed(text, f"data/catalog.lock of {commit}"), store(root)
    paths = {name: snapshot_path(name, entry["sha256"], root) for name, entry in lock.items()}
    lost = [path for path in paths.values() if not snapshots.bring_back(path, place, root)]
    if lost:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in lost)
        where = f"neither in data/raw nor in the store {place}" if place else "not in data/raw, and there is no store"
        raise Refused(f"commit {found[:10]} recorded {names}: {where}")
    if damaged := [path for path in paths.values() if not is_whole(path)]:
        path = damaged[0].relative_to(root).as_posix()
        raise Refused(f"the snapshot {path} is damaged: delete it and bring it back again")
    with atomic_write(root / "data" / "catalog.lock") as path:
        path.write_text(text, encoding="utf-8", newline="\n")
    return lock


def prune(root: Path = ROOT) -> tuple[int, int]:
    """Delete the snapshots here that no commit of a branch or tag names, nor the lock; return their number and bytes.

    Those that commits name are deleted too if the store has them, but for the lock's. The store keeps all.
    """
    if _git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise Refused("this clone lacks the older commits, which name snapshots: `git fetch --unshallow` first")
    now, place = locked(root), store(root)
    needed = {path for name, entry in now.items() for path in _named(name, entry, root)}
    kept = set()
    for commit in _git(root, "log", "--all", "--full-history", "--format=%H", "--", "data/catalog.lock").split():
        with suppress(Refused):  # a commit that deletes the lock
            lock = _parsed(_git(root, "show", f"{commit}:./data/catalog.lock"), commit)
            kept |= {path for name, entry in lock.items() for path in _named(name, entry, root)}
    kept -= needed
    if place:
        snapshots.save(sorted(kept), place, root)
        kept.clear()
    freed = [path for path in sorted((root / "data" / "raw").glob("*/*")) if path not in kept | needed]
    size = sum(path.stat().st_size for path in freed)
    for path in freed:
        path.unlink()
    return len(freed), size


def _named(name: str, entry: dict, root: Path) -> list[Path]:
    """Return the files here of the snapshots, of now and before, that a lock names of a source."""
    paths = [snapshot_path(name, entry[each], root) for each in ("sha256", "previous") if entry.get(each)]
    return [file for path in paths for file in snapshots.files(path)]


def _git(root: Path, *arguments: str) -> str:
    """Return the output of a git command in a folder."""
    return git("-C", str(root), *arguments).decode()


def missing_variables(root: Path = ROOT) -> str:
    """Return what to set in the environment before every source can be read, an empty text if nothing is missing."""
    return "; ".join(filter(None, map(missing_variable, sources(root))))


def complete(root: Path = ROOT) -> bool:
    """Return whether every source has its snapshot here: not so in a fresh project or a fresh clone."""
    lock = locked(root)
    return all(s.name in lock and _is_here(s.name, lock[s.name]["sha256"], root) for s in sources(root))


def _is_here(name: str, digest: str, root: Path) -> bool:
    """Return whether all files of a snapshot are here."""
    return snapshots.bring_back(snapshot_path(name, digest, root), "", root)


def snapshot_path(name: str, digest: str, root: Path = ROOT) -> Path:
    """Return where the snapshot of a source with this hash is kept."""
    return snapshots.snapshot_path(name, digest, root)


def _read_states(root: Path) -> dict[str, dict]:
    """Return, by source, what is known of the last look at it; nothing of what release 0.4 noted."""
    try:
        states = json.loads((root / STATES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {n: s for n, s in states.items() if isinstance(s, dict)} if isinstance(states, dict) else {}


def _write_states(states: dict[str, dict], root: Path) -> None:
    with atomic_write(root / STATES) as path:
        path.write_text(json.dumps(states, indent=1) + "\n", encoding="utf-8", newline="\n")
