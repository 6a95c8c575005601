"""Read the rows of a source: a file, a folder of files, or an SQL query."""

import os
import zipfile
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .. import Refused, first_line

BATCH = 100_000  # rows read from a database at a time
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
                files = {entry: archive.read(entry) for entry in archive.namelist() if not entry.endswith("/")}
        else:
            found = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
            paths = [each.path for each in found if each.is_file]
            files = {path[len(base) :].lstrip("/"): filesystem.open_input_file(path).read() for path in paths}
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise Refused(f"source {source.name}: {source.folder} cannot be read: {first_line(error)}") from error
    paths = sorted(path for path in files if not any(part.startswith((".", "__MACOSX")) for part in path.split("/")))
    labels = [path.split("/")[-2] if "/" in path else "" for path in paths]
    contents = pa.array([files[path] for path in paths], pa.large_binary())
    return pa.table({"path": pa.array(paths, pa.string()), "label": pa.array(labels, pa.string()), "content": contents})


def _read_query(source: Source, root: Path) -> pa.Table:
    import sqlalchemy  # half a second that only queries wait for

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
