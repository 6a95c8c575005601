"""Snapshots: immutable Parquet files below data/raw/, each named by the hash of the rows that it stands for.

A snapshot is a file of its own, or what changed since another one, its base: rows to add, and keys to remove.
"""

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from .. import Refused, atomic_write, first_line
from .places import filesystem

BATCH = 100_000  # rows hashed at a time by the first scheme, and rows of a group in a file
SCHEME = "v2:"  # what a hash of rows starts with; those of release 0.4 and before have no such mark
BASE = b"base"  # in a file's metadata: its base, and the key by which rows replace those of the base
REMOVED = "row removed"  # a column of changes: whether the row with this key is gone
LONGEST = 30  # files that make one snapshot


def content_hash(rows: pd.DataFrame | pa.Table) -> str:
    """Return the SHA-256 over column names, types and values in their order; file format and batches do not matter.

    Versions record this hash of their rows and predictions; snapshots had it until release 0.4.
    """
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata(None)  # pandas' own hints are not content
    digest = sha256(json.dumps([[field.name, str(field.type)] for field in table.schema]).encode())
    for start in range(0, table.num_rows, BATCH):
        frame = table.slice(start, BATCH).to_pandas()
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def rows_hash(table: pa.Table) -> str:
    """Return the hash of a snapshot: over names, types and values of its columns, however Arrow stores them."""
    digest = sha256()
    for name in table.column_names:
        column = _canonical(table[name])
        digest.update(json.dumps([name, str(column.type), len(column), column.null_count]).encode())
        if column.null_count:
            digest.update(pc.is_valid(column).cast(pa.uint8()).to_numpy())
        for part in _values(column):
            digest.update(part)
    return SCHEME + digest.hexdigest()


def _canonical(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of the type that stands for all ways to store the same values."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(kind) or pa.types.is_binary_view(kind):
        column = column.cast(pa.large_binary())
    elif pa.types.is_timestamp(kind):
        column = _microseconds(column)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _microseconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times in microseconds if they have no finer part; those of a zone as UTC."""
    zone = "UTC" if times.type.tz else None
    try:
        return times.cast(pa.timestamp("us", zone))
    except pa.ArrowInvalid:
        return times.cast(pa.timestamp("ns", zone))


def _values(column: pa.Array) -> Iterator[np.ndarray | pa.Buffer]:
    """Yield the bytes of an array's values, those of missing ones as zeros or as nothing."""
    kind = column.type
    if pa.types.is_null(kind) or len(column) == 0:
        return
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        column = column.fill_null("" if pa.types.is_large_string(kind) else b"")
        yield pc.binary_length(column).to_numpy()
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        if offsets[-1] > offsets[0]:
            yield column.buffers()[2].slice(offsets[0], offsets[-1] - offsets[0])
        return
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    yield column.view(f"uint{column.type.bit_width}").fill_null(0).to_numpy()


def is_hash(table: pa.Table, digest: str) -> bool:
    """Return whether a table has a hash, or the beginning of one, by the scheme of that hash."""
    found = rows_hash(table) if digest.startswith(SCHEME) else content_hash(table)
    return found.startswith(digest)


def same_rows(former: pa.Table, now: pa.Table, *, sort: bool) -> bool:
    """Return whether two tables hold the same rows, in the types of now; in any order if they are to be sorted."""
    if former.num_rows != now.num_rows or former.column_names != now.column_names:
        return False
    try:
        former = former.cast(now.schema)
    except (pa.ArrowException, ValueError):  # a value that is none of the type of now
        return False
    return rows_hash(ordered(former, []) if sort else former) == rows_hash(ordered(now, []) if sort else now)


def snapshot_path(name: str, digest: str, root: Path) -> Path:
    """Return where the snapshot of a source with this hash is kept."""
    stem = digest[: len(SCHEME) + 16].replace(":", "-") if digest.startswith(SCHEME) else digest[:16]
    return root / "data" / "raw" / name / f"{stem}.parquet"


def parts(path: Path) -> list[Path]:
    """Return the files that make a snapshot: its own, its base, the base of that.

    Raises:
        FileNotFoundError: If one is missing; the error names it.
    """
    found = [path]
    while (base := _base(found[-1])) and len(found) <= LONGEST:
        found.append(path.with_name(base["file"]))
    return found


def files(path: Path) -> list[Path]:
    """Return the files here that make a snapshot, as far as they can be read."""
    found = [path] if path.exists() else []
    while found and (path := _next(found[-1])) and path.exists():
        found.append(path)
    return found


def _next(path: Path) -> Path | None:
    """Return the base of a file, nothing if it has none or is damaged."""
    try:
        base = _base(path)
    except (OSError, pa.ArrowException):
        return None
    return path.with_name(base["file"]) if base else None


def _base(path: Path) -> dict | None:
    """Return the base of a file of changes and the key of its rows; nothing of a file that is whole."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata[BASE]) if BASE in metadata else None


def short_hash(content: str) -> str:
    """Return the first characters of a hash, without the name of its scheme, to show it."""
    return content.rpartition(":")[2][:12]


def read_snapshot(path: Path) -> pa.Table:
    """Return the rows of a snapshot.

    Raises:
        OSError: If a file of it is missing or damaged; pa.ArrowException likewise.
    """
    base = _base(path)
    table = read_columns(path).replace_schema_metadata(None)
    if base is None:
        return table
    stored = read_snapshot(path.with_name(base["file"]))
    added = table.filter(pc.invert(table[REMOVED])).drop_columns(REMOVED)
    return ordered(pa.concat_tables([without(stored, table, base["key"]), added]), base["key"])


def read_columns(path: Path) -> pa.Table:
    """Return the rows of a Parquet file, read column by column: all at once takes half as much memory again."""
    with pq.ParquetFile(path) as file:
        kinds = file.schema_arrow
        if len({*kinds.names}) < len(kinds.names):
            return file.read()
        return pa.Table.from_arrays([file.read([name])[name] for name in kinds.names], schema=kinds)


def write_snapshot(table: pa.Table, path: Path) -> None:
    """Write a snapshot that is a file of its own.

    Raises:
        Refused: If it cannot be written, as on a full disk.
    """
    _write(table.replace_schema_metadata(None), path)


def write_changes(changes: pa.Table, path: Path, base: Path, key: list[str]) -> None:
    """Write a snapshot as what changed since its base: rows as they are now, and keys marked by REMOVED."""
    _write(changes.replace_schema_metadata({BASE: json.dumps({"file": base.name, "key": key})}), path)


def _write(table: pa.Table, path: Path) -> None:
    try:
        with atomic_write(path) as part:
            pq.write_table(table, part, compression="zstd", row_group_size=BATCH)
    except OSError as error:
        raise Refused(f"the snapshot of {path.parent.name} cannot be written: {first_line(error)}") from error


def verified(path: Path) -> pa.Table | None:
    """Return the rows of a snapshot; None if they have not the hash that is its name, or a file of it is not there."""
    try:
        table = read_snapshot(path)
    except (OSError, pa.ArrowException):
        return None
    return table if is_hash(table, path.stem.replace("-", ":")) else None


def is_whole(path: Path) -> bool:
    """Return whether a snapshot's content has the hash that is its name."""
    return verified(path) is not None


def seems_whole(path: Path, rows: int | None) -> bool:
    """Return whether the files of a snapshot are here, with their ends; a single one with so many rows."""
    try:
        files = parts(path)
        return len(files) > 1 or pq.read_metadata(path).num_rows == rows
    except (OSError, pa.ArrowException):
        return False


def save(paths: list[Path], store: str, root: Path) -> None:
    """Copy the files of snapshots to the store, where they are not there yet.

    Raises:
        Refused: If the store cannot be written.
    """
    try:
        there, base = filesystem(store, root)
        for path in paths:
            key = f"{base}/{path.parent.name}/{path.name}"
            if there.get_file_info(key).is_file:
                continue
            if isinstance(there, LocalFileSystem):
                there.create_dir(f"{base}/{path.parent.name}")
            with there.open_output_stream(f"{key}.part") as copy, path.open("rb") as file:
                shutil.copyfileobj(file, copy)
            there.move(f"{key}.part", key)  # half a file never has a snapshot's name
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"the store {store} in data/catalog.yaml cannot be written: {first_line(error)}") from error


def bring_back(path: Path, store: str, root: Path) -> bool:
    """Copy the files of a snapshot that are not here from the store; return whether all of them are here now.

    Raises:
        Refused: If there is a store that cannot be read.
    """
    while path.exists() or (store and _copied(path, store, root)):
        if (base := _next(path)) is None:  # or damaged, as reading it says
            return True
        path = base
    return False


def _copied(path: Path, store: str, root: Path) -> bool:
    """Copy a file from the store; return False if the store has none of this name."""
    try:
        there, base = filesystem(store, root)
        key = f"{base}/{path.parent.name}/{path.name}"
        if not there.get_file_info(key).is_file:
            return False
        with atomic_write(path) as part, there.open_input_stream(key) as file, part.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        return True
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"the store {store} in data/catalog.yaml cannot be read: {first_line(error)}") from error


def ordered(table: pa.Table, key: list[str]) -> pa.Table:
    """Return the rows sorted by their key and then all else, so that their order tells nothing."""
    names = [*key, *(name for name in table.column_names if name not in key)]
    names = [name for name in names if not pa.types.is_null(table[name].type)]
    rows = pc.sort_indices(table, [(name, "ascending") for name in names]).to_numpy() if names else np.arange(0)
    return table if (rows[:-1] < rows[1:]).all() else table.take(rows)


def without(table: pa.Table, others: pa.Table, key: list[str]) -> pa.Table:
    """Return the rows whose key is not among those of others."""
    numbered = table.select(key).append_column(REMOVED, pa.array(np.arange(table.num_rows)))
    gone = others.select(key).cast(table.select(key).schema)
    rows = numbered.join(gone, key, join_type="left anti")[REMOVED]
    return table.take(rows.sort())
