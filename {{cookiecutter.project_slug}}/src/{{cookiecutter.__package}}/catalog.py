"""Sources -> snapshots: immutable parquet files under data/raw/, verified against data/catalog.lock."""

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import sqlalchemy
import yaml

from . import ROOT, Refused, first_line

BATCH = 100_000  # rows read from a database, or hashed, at a time
ADVICE = "bring it back from where the team keeps it, or delete it and run `uv run just data`"
READERS = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": lambda file: pd.read_json(file, lines=True),
}
_candidates: ContextVar[dict | None] = ContextVar("candidates", default=None)


@dataclass(frozen=True)
class Source:
    """One entry: a `file`, a `folder` of files, or an `sql` query with the variable that holds its `database`."""

    name: str
    owner: str
    licence: str
    refresh: str
    about: str = ""
    file: str = ""  # a path below the project, or s3://bucket/key
    folder: str = ""  # the same for a folder, or a .zip of one: a row for each file in it
    sql: str = ""  # a path to a file with one query
    database: str = ""  # the environment variable with the SQLAlchemy URL


def sources(root: Path = ROOT) -> list[Source]:
    """The catalogue's entries, each checked for what it must and may say."""
    path = root / "data" / "catalog.yaml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise Refused(f"data/catalog.yaml cannot be read: {first_line(error)}") from error
    if not isinstance(entries, dict) or not entries:
        raise Refused("data/catalog.yaml names no source: add one, as its comments show")
    return [_source(name, entry) for name, entry in entries.items()]


def _source(name: str, entry: dict) -> Source:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", str(name)):
        raise Refused(f"source {name!r} in data/catalog.yaml: use letters, digits, - and _ in its name")
    if not isinstance(entry, dict):
        raise Refused(f"source {name} in data/catalog.yaml says nothing: give it a file or a query")
    known = {field.name for field in fields(Source)} - {"name"}
    if unknown := set(entry) - known:
        raise Refused(f"source {name} has an unknown key {min(unknown)!r}: use {', '.join(sorted(known))}")
    if missing := {"owner", "licence", "refresh"} - set(entry):
        raise Refused(f"source {name} does not say its {' and '.join(sorted(missing))}: add it to data/catalog.yaml")
    source = Source(name=str(name), **{key: str(value or "") for key, value in entry.items()})
    if [source.file, source.folder, source.sql].count("") != 2 or bool(source.sql) != bool(source.database):
        raise Refused(f"source {name} needs either a file, or a folder, or sql and the variable of its database")
    return source


@contextmanager
def fetched(root: Path = ROOT, *, keep: bool = True) -> Iterator[list[str]]:
    """Every source is read anew, and `read` gives the new rows inside the block.

    Yields the names of the sources whose content changed. The lock follows only when the block ends without an
    error, so a failed check leaves the data's version and the snapshots as they were; without `keep` it never does.
    """
    lock, made = locked(root), []
    token = _candidates.set(None)
    try:
        candidates = {source.name: _snapshot(source, lock.get(source.name), root, made) for source in sources(root)}
        _candidates.set(candidates)
        yield [name for name, entry in candidates.items() if lock.get(name, {}).get("sha256") != entry["sha256"]]
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    finally:
        _candidates.reset(token)
    if keep and candidates != lock:
        write(root / "data" / "catalog.lock", (json.dumps(candidates, indent=2) + "\n").encode())


def read(name: str, root: Path = ROOT) -> pd.DataFrame:
    """The rows of a source's snapshot, proven by their hash to be the ones the lock names."""
    lock = _candidates.get()
    entry = (locked(root) if lock is None else lock).get(name)
    if entry is None:
        known = [source.name for source in sources(root)]
        if name not in known:
            raise Refused(f"data/catalog.yaml has no source {name!r}, only {', '.join(known)}")
        raise Refused(f"there is no snapshot of {name} yet: run `uv run just data`")
    path = place(name, entry["sha256"], root)
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is missing: {ADVICE}") from error
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is damaged: {ADVICE}") from error
    if content_hash(table) != entry["sha256"]:
        raise Refused(f"the snapshot {path.relative_to(root).as_posix()} is not what the lock names: {ADVICE}")
    return table.to_pandas()


def locked(root: Path = ROOT) -> dict[str, dict]:
    """What data/catalog.lock records of each source: hash, rows, columns and time of its snapshot."""
    path = root / "data" / "catalog.lock"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused("data/catalog.lock is not JSON any more: take it back with `git checkout`") from error


def complete(root: Path = ROOT) -> bool:
    """Whether every source has its snapshot here: not so in a fresh project or a fresh clone."""
    lock = locked(root)
    return all(s.name in lock and place(s.name, lock[s.name]["sha256"], root).exists() for s in sources(root))


def content_hash(rows: pd.DataFrame | pa.Table) -> str:
    """SHA-256 over column names, types and values in their order; file format and batches do not matter."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata(None)  # what pandas would make of the values is not part of them
    digest = sha256(json.dumps([[field.name, str(field.type)] for field in table.schema]).encode())
    for start in range(0, table.num_rows, BATCH):
        frame = table.slice(start, BATCH).to_pandas()
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _snapshot(source: Source, before: dict | None, root: Path, made: list[Path]) -> dict:
    """The lock's entry for what the source holds, or the one it had if that is the same; a new file is in `made`."""
    reader = _from_file if source.file else _from_folder if source.folder else _from_database
    table = reader(source, root)
    if table.num_rows == 0:
        raise Refused(f"source {source.name} is empty: {source.file or source.folder or source.sql} gave no row")
    try:
        digest = content_hash(table)
    except (TypeError, ValueError) as error:  # lists, objects
        raise Refused(f"source {source.name} has a column that is no plain value: {first_line(error)}") from error
    path = place(source.name, digest, root)
    if not path.exists():
        made.append(path)
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata(None), sink)
        write(path, sink.getvalue())
    if before and before["sha256"] == digest:
        return before
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    return {"sha256": digest, "rows": table.num_rows, "columns": table.num_columns, "taken": taken}


def _from_file(source: Source, root: Path) -> pa.Table:
    reader = READERS.get(Path(source.file).suffix.lower())
    if reader is None:
        raise Refused(f"source {source.name}: {source.file} is none of {', '.join(READERS)}")
    try:
        if "://" in source.file:
            filesystem, key = pyarrow.fs.FileSystem.from_uri(source.file)
            with filesystem.open_input_file(key) as file:
                frame = reader(file)
        else:
            frame = reader(root / source.file)
        return pa.Table.from_pandas(frame, preserve_index=False)
    except pd.errors.EmptyDataError as error:
        raise Refused(f"source {source.name} is empty: {source.file} has no column") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"source {source.name}: {source.file} cannot be read: {first_line(error)}") from error


def _from_folder(source: Source, root: Path) -> pa.Table:
    """One row per file, hidden ones left out: its `path` in the folder, the `label` its folder is, its `content`."""
    try:
        place = source.folder if "://" in source.folder else (root / source.folder).resolve().as_uri()
        filesystem, base = pyarrow.fs.FileSystem.from_uri(place)
        if base.lower().endswith(".zip"):
            with filesystem.open_input_file(base) as file, zipfile.ZipFile(file) as archive:
                files = {entry: archive.read(entry) for entry in archive.namelist() if not entry.endswith("/")}
        else:
            found = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
            places = [each.path for each in found if each.is_file]
            files = {place[len(base) :].lstrip("/"): filesystem.open_input_file(place).read() for place in places}
    except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise Refused(f"source {source.name}: {source.folder} cannot be read: {first_line(error)}") from error
    paths = sorted(path for path in files if not any(part.startswith((".", "__MACOSX")) for part in path.split("/")))
    labels = [path.split("/")[-2] if "/" in path else "" for path in paths]
    contents = pa.array([files[path] for path in paths], pa.large_binary())
    return pa.table({"path": pa.array(paths, pa.string()), "label": pa.array(labels, pa.string()), "content": contents})


def _from_database(source: Source, root: Path) -> pa.Table:
    url = os.environ.get(source.database)
    if not url:
        raise Refused(f"source {source.name} needs {source.database}: set it to a SQLAlchemy URL, or put it in .env")
    try:
        query = (root / source.sql).read_text(encoding="utf-8")
        engine = sqlalchemy.create_engine(url)
        with engine.connect().execution_options(stream_results=True) as connection:
            frames = pd.read_sql_query(sqlalchemy.text(query), connection, chunksize=BATCH)
            batches = [pa.Table.from_pandas(frame, preserve_index=False) for frame in frames]
        engine.dispose()
    except (OSError, ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError, pa.ArrowException) as error:
        message = first_line(error).replace(url, source.database)
        raise Refused(f"source {source.name}: {source.sql} on {source.database} failed: {message}") from error
    if not batches:
        raise Refused(f"source {source.name} is empty: {source.sql} gave no row")
    return pa.concat_tables(batches, promote_options="permissive").combine_chunks()


def place(name: str, digest: str, root: Path) -> Path:
    """Where the snapshot with this hash is kept."""
    return root / "data" / "raw" / name / f"{digest[:16]}.parquet"


def write(path: Path, content: bytes | pa.Buffer) -> None:
    """The file holds all of the content or what it held before, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
