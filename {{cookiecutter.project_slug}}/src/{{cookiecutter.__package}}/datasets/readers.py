"""Read the rows of a source: a file, a folder of files, or an SQL query."""

import lzma
import os
import time
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .. import Refused, first_line

BATCH = 100_000  # rows read from a database at a time
RECENT = 2.0  # seconds within which a file may change again without another time
UNZIPPED, RATIO = 4_000_000_000, 100  # bytes that a zip may unpack to, and how many times its packed size ...
SMALL = 100_000_000  # ... unless it is smaller than this
BROKEN = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # of zips
DRIVERS = {  # what to add for the module that SQLAlchemy misses, where the names differ
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "bigquery": "sqlalchemy-bigquery",
    "duckdb": "duckdb-engine",
    "redshift": "sqlalchemy-redshift",
    "snowflake": "snowflake-sqlalchemy",
}
FILE_READERS = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": lambda file: pd.read_json(file, lines=True),
}


def _text(value: Any) -> Any:
    """Return a YAML scalar as text, null as the empty text; lists and mappings as they are, to be refused."""
    return value if isinstance(value, list | dict) else "" if value is None else str(value)


Text = Annotated[str, BeforeValidator(_text)]


class Source(BaseModel):
    """An entry of data/catalog.yaml: a `file`, a `folder`, or an `sql` query with its `database`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")]
    owner: Text
    licence: Text
    refresh: Text
    about: Text = ""
    file: Text = ""  # a path below the project, or s3://bucket/key
    folder: Text = ""  # the same for a folder, or a .zip of one: a row for each file in it
    sql: Text = ""  # a path to a file with one query
    database: Text = ""  # the environment variable with the SQLAlchemy URL

    @model_validator(mode="after")
    def _reads_one_place(self) -> "Source":
        if [self.file, self.folder, self.sql].count("") != 2 or bool(self.sql) != bool(self.database):
            raise ValueError("needs either a file, or a folder, or sql and the variable of its database")
        return self

    @property
    def location(self) -> str:
        """The file, folder or query that is read."""
        return self.file or self.folder or self.sql


def read_source(source: Source, root: Path) -> pa.Table:
    """Return all rows of a source.

    Raises:
        Refused: If the source cannot be read, or has no row.
    """
    reader = _read_file if source.file else _read_folder if source.folder else _read_query
    table = reader(source, root)
    if table.num_rows == 0:
        raise Refused(f"source {source.name} is empty: {source.location} gave no row")
    return table


def file_state(source: Source, root: Path) -> str:
    """Return a text that changes whenever a source of local files may, without reading them.

    It is made of path, size, times and inode of each file, and of what reads them. It is empty where only reading the
    source tells: a query, a place elsewhere, or files that were written so lately that they may change unnoticed.
    """
    if source.sql or "://" in source.location:
        return ""
    path = root / source.location
    files = [Path(folder) / name for folder, _, names in os.walk(path, followlinks=True) for name in names] or [path]
    try:
        facts = {str(file): file.stat() for file in [Path(__file__), *sorted(files)]}
    except OSError:  # reading says why
        return ""
    if max(max(fact.st_mtime, fact.st_ctime) for fact in facts.values()) > time.time() - RECENT:
        return ""
    lines = [(name, f.st_size, f.st_mtime_ns, f.st_ctime_ns, f.st_ino) for name, f in facts.items()]
    return sha256(repr([pd.__version__, pa.__version__, source.location, lines]).encode()).hexdigest()


def missing_variable(source: Source) -> str:
    """Return what to set before the source can be read, an empty text if nothing is missing."""
    if not source.database or os.environ.get(source.database):
        return ""
    return f"source {source.name} needs {source.database}: set it to a SQLAlchemy URL, or put it in .env"


def _read_file(source: Source, root: Path) -> pa.Table:
    reader = FILE_READERS.get(Path(source.file).suffix.lower())
    if reader is None:
        raise Refused(f"source {source.name}: {source.file} is none of {', '.join(FILE_READERS)}")
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


def _read_folder(source: Source, root: Path) -> pa.Table:
    """Return a row per file, hidden ones left out: its `path`, the name of its folder as `label`, its `content`."""
    try:
        location = source.folder if "://" in source.folder else (root / source.folder).resolve().as_uri()
        filesystem, base = pyarrow.fs.FileSystem.from_uri(location)
        if base.lower().endswith(".zip"):
            with filesystem.open_input_file(base) as file, zipfile.ZipFile(file) as archive:
                files = _unzipped(source, archive)
        else:
            found = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
            paths = [each.path for each in found if each.is_file]
            files = {path[len(base) :].lstrip("/"): filesystem.open_input_file(path).read() for path in paths}
    except (*BROKEN, pa.ArrowException) as error:
        raise Refused(f"source {source.name}: {source.folder} cannot be read: {first_line(error)}") from error
    paths = sorted(path for path in files if not _is_hidden(path))
    labels = [path.split("/")[-2] if "/" in path else "" for path in paths]
    contents = pa.array([files[path] for path in paths], pa.large_binary())
    return pa.table({"path": pa.array(paths, pa.string()), "label": pa.array(labels, pa.string()), "content": contents})


def _unzipped(source: Source, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the files of a zip by their paths; raise Refused for one that is encrypted, damaged or too large."""
    members = [each for each in archive.infolist() if not each.is_dir() and not _is_hidden(each.filename)]
    size, packed = (sum(getattr(each, name) for each in members) for name in ("file_size", "compress_size"))
    if size > UNZIPPED or (size > SMALL and size > RATIO * packed):
        limits = f"at most {UNZIPPED:,} bytes and {RATIO} times its packed size are read"
        raise Refused(f"source {source.name}: {source.folder} unpacks {packed:,} bytes to {size:,}, {limits}")
    return {each.filename: _member(source, archive, each) for each in members}


def _member(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the content of a zip's file, without unpacking more than the size it says it has."""
    what = f"source {source.name}: {member.filename!r} in {source.folder}"
    if member.flag_bits & 1:
        raise Refused(f"{what} is encrypted: store it without a password")
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size)
            file.read(1)  # at its end, its checksum is compared
    except BROKEN as error:
        raise Refused(f"{what} cannot be read: {first_line(error)}") from error
    if len(content) != member.file_size:
        raise Refused(f"{what} is cut off: {len(content):,} of {member.file_size:,} bytes")
    return content


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/"))


def _read_query(source: Source, root: Path) -> pa.Table:
    import sqlalchemy  # half a second that only queries wait for

    if missing := missing_variable(source):
        raise Refused(missing)
    url = os.environ[source.database]
    try:
        query = (root / source.sql).read_text(encoding="utf-8")
        engine = sqlalchemy.create_engine(url)
        with engine.connect().execution_options(stream_results=True) as connection:
            frames = pd.read_sql_query(sqlalchemy.text(query), connection, chunksize=BATCH)
            batches = [pa.Table.from_pandas(frame, preserve_index=False) for frame in frames]
        engine.dispose()
    except (ModuleNotFoundError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise Refused(f"source {source.name}: {source.database} needs {_driver(error)}") from error
    except (OSError, ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError, pa.ArrowException) as error:
        message = first_line(error).replace(url, source.database)
        raise Refused(f"source {source.name}: {source.sql} on {source.database} failed: {message}") from error
    if not batches:
        raise Refused(f"source {source.name} is empty: {source.sql} gave no row")
    return pa.concat_tables(batches, promote_options="permissive").combine_chunks()


def _driver(error: Exception) -> str:
    """Return the driver that SQLAlchemy misses, and how to add it."""
    missing = getattr(error, "name", None) or str(error).rpartition(":")[2]
    package = DRIVERS.get(missing, missing if isinstance(error, ModuleNotFoundError) else "")
    return f"the driver {missing}: " + (f'uv add "{package}"' if package else "`uv add` the package that brings it")
