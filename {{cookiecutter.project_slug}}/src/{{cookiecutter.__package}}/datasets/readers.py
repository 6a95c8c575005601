"""Read the rows of a source: a file or several, a folder of files, or an SQL query."""

import json
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .. import Refused, Unavailable, first_line
from .databases import Since, read_query
from .places import file_name, filesystem, is_here, matches, opened, state
from .snapshots import read_columns

UNZIPPED, RATIO = 4_000_000_000, 100  # bytes that a zip may unpack to, and how many times its packed size ...
SMALL = 100_000_000  # ... unless it is smaller than this
BROKEN = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # of zips
PACKED = (".gz", ".bz2", ".xz", ".zst")  # endings after .csv and .jsonl
CALAMINE = "python-calamine>=0.9.1,<0.10"  # reads Excel files


def _text(value: Any) -> Any:
    """Return a YAML scalar as text, null as the empty text; lists and mappings as they are, to be refused."""
    return value if isinstance(value, list | dict) else "" if value is None else str(value)


def _texts(value: Any) -> Any:
    """Return a YAML scalar or a list of them as texts, null as none."""
    return tuple(map(_text, value)) if isinstance(value, list) else () if value is None else (_text(value),)


Text = Annotated[str, BeforeValidator(_text)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class Source(BaseModel):
    """An entry of data/catalog.yaml: a `file`, a `folder`, or an `sql` query with its `database`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")]
    owner: Text
    licence: Text
    refresh: Text
    about: Text = ""
    file: Text = ""  # a path below the project, with * for several; or http(s)://, s3://, gs:// and abfs://
    folder: Text = ""  # the same for a folder, or a .zip of one: a row for each file in it
    sql: Text = ""  # a path to a file with one query
    database: Text = ""  # the environment variable with the SQLAlchemy URL
    key: Texts = ()  # the columns that tell a query's rows apart, whatever order they come in
    changed: Text = ""  # the column with the time, or number, of a row's last change: only newer rows are fetched
    lookback: Text = ""  # how long before the newest of these to fetch again, such as "2 days", or a number
    full: Text = "weekly"  # how often all rows are fetched nevertheless
    delimiter: Text = ","  # of csv, as the following
    decimal: Text = "."
    encoding: Text = "utf-8"
    missing: Texts = ()  # what stands for no value, instead of pandas' list; an empty field always does
    text: Texts = ()  # columns that are text whatever they look like, such as postcodes; of jsonl and Excel, too
    sheet: Text = ""  # of Excel; else the first

    @model_validator(mode="after")
    def _reads_one_place(self) -> "Source":
        if [self.file, self.folder, self.sql].count("") != 2 or bool(self.sql) != bool(self.database):
            raise ValueError("needs either a file, or a folder, or sql and the variable of its database")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> "Source":
        if (self.changed or self.key) and not self.sql:
            raise ValueError("has a key or changed, which only sql knows")
        if self.changed and not self.key:
            raise ValueError("has changed and no key: which rows are the same is not known")
        if self.lookback and not self.lookback.isdecimal():
            try:
                pd.Timedelta(self.lookback)
            except ValueError as error:
                raise ValueError(f"has a lookback of {self.lookback!r}: write 2 days, or a number") from error
        if len(self.delimiter) != 1 or len(self.decimal) != 1:
            raise ValueError('has a delimiter or a decimal that is not one character: for a tab write "\\t"')
        return self

    @property
    def location(self) -> str:
        """The file, folder or query that is read."""
        return self.file or self.folder or self.sql

    @property
    def is_here(self) -> bool:
        """Whether the source is files on this machine."""
        return not self.sql and is_here(self.location)


def read_source(
    source: Source, root: Path, since: Since | None = None, seen: Callable[[int], None] = lambda rows: None
) -> pa.Table:
    """Return all rows of a source.

    Args:
        source: The catalogue's entry.
        root: The project's folder.
        since: Of a query, only rows whose column has this value or a larger one.
        seen: Called with the number of rows whenever some have been read.

    Raises:
        Refused: If the source cannot be read, or has no row.
    """
    if source.sql:
        table = _read_query(source, root, since, seen)
    else:
        table = _read_files(source, root, seen) if source.file else _read_folder(source, root)
    nested = [field for field in table.schema if pa.types.is_nested(field.type) or pa.types.is_interval(field.type)]
    if nested:
        raise Refused(
            f"source {source.name} has a column that is no plain value: {nested[0].name} is a {nested[0].type}"
        )
    if table.num_rows == 0 and since is None:
        raise Refused(f"source {source.name} is empty: {source.location} gave no row")
    return table


def definition(source: Source, root: Path) -> str:
    """Return a hash of all that decides how a source is read: its entry, its query, the readers."""
    facts = source.model_dump(exclude={"owner", "licence", "refresh", "about", "full", "lookback"})
    query = (root / source.sql).read_text(encoding="utf-8") if source.sql and (root / source.sql).exists() else ""
    code = Path(__file__).stat().st_mtime_ns
    return sha256(repr([pd.__version__, pa.__version__, code, facts, query]).encode()).hexdigest()


def file_state(source: Source, root: Path) -> str:
    """Return a text that changes whenever the files of a source may, without reading them; empty if nothing tells."""
    if source.sql:
        return ""
    try:
        facts = state(source.location, root)
    except (OSError, ValueError, pa.ArrowException):  # reading says why
        return ""
    return sha256(repr(facts).encode()).hexdigest() if facts else ""


def missing_variable(source: Source) -> str:
    """Return what to set before the source can be read, an empty text if nothing is missing."""
    if not source.database or os.environ.get(source.database):
        return ""
    return f"source {source.name} needs {source.database}: set it to a SQLAlchemy URL, or put it in .env"


def _read_query(source: Source, root: Path, since: Since | None, seen: Callable[[int], None]) -> pa.Table:
    if missing := missing_variable(source):
        raise Refused(missing)
    try:
        query = (root / source.sql).read_text(encoding="utf-8")
        return read_query(query, os.environ[source.database], since, seen)
    except (OSError, ValueError) as error:
        raise Refused(f"source {source.name}: {source.sql} cannot be read: {first_line(error)}") from error
    except Refused as refusal:
        raise type(refusal)(f"source {source.name}: {source.sql} on {source.database} {refusal}") from refusal


def _read_files(source: Source, root: Path, seen: Callable[[int], None]) -> pa.Table:
    """Return the rows of a file, or of all that its name matches, one after another."""
    try:
        locations = matches(source.file, root)
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"source {source.name}: {source.file} cannot be read: {first_line(error)}") from error
    if not locations:
        raise Refused(f"source {source.name}: no file matches {source.file}")
    tables = {}
    for location in locations:
        tables[location] = _read_file(source, location, root)
        seen(tables[location].num_rows)
    first, *others = tables
    for location in others:
        if differing := {*tables[first].column_names} ^ {*tables[location].column_names}:
            raise Refused(f"source {source.name}: only one of {first} and {location} has a column {min(differing)!r}")
    try:
        return pa.concat_tables(
            [table.select(tables[first].column_names) for table in tables.values()], promote_options="permissive"
        )
    except pa.ArrowException as error:
        raise Refused(f"source {source.name}: {source.file} has files that differ: {first_line(error)}") from error


def _read_file(source: Source, location: str, root: Path) -> pa.Table:
    name = file_name(location)
    suffix = next((Path(name[: -len(end)]).suffix for end in PACKED if name.endswith(end)), Path(name).suffix).lower()
    reader = FILE_READERS.get(suffix)
    if reader is None:
        raise Refused(f"source {source.name}: {location} is none of {', '.join(FILE_READERS)}")
    try:
        with opened(location, root) as path:
            return reader(source, path)
    except pd.errors.EmptyDataError as error:
        raise Refused(f"source {source.name} is empty: {location} has no column") from error
    except UnicodeDecodeError as error:
        hint = f"it is not {error.encoding}: declare its encoding, such as latin-1 or utf-16"
        raise Refused(f"source {source.name}: {location} cannot be read: {hint}") from error
    except ModuleNotFoundError as error:
        raise Refused(f'source {source.name}: {location} needs a reader: uv add "{CALAMINE}"') from error
    except Refused:
        raise
    except Exception as error:  # each format has errors of its own
        kind = Unavailable if isinstance(error, OSError) and "://" in location else Refused
        raise kind(f"source {source.name}: {location} cannot be read: {first_line(error)}") from error


def _read_csv(source: Source, path: Path) -> pa.Table:
    options = {"sep": source.delimiter, "decimal": source.decimal, "encoding": source.encoding}
    if source.missing:
        options |= {"na_values": ["", *source.missing], "keep_default_na": False}
    frame = pd.read_csv(path, dtype=dict.fromkeys(source.text, "string"), dtype_backend="numpy_nullable", **options)
    [*names] = frame.columns
    if len(names) == 1 and (found := [mark for mark in ";\t|" if mark in names[0]]):
        raise ValueError(f"it has the one column {names[0]!r}: declare its delimiter, {found[0]!r}")
    return _from_pandas(source, frame)


def _read_parquet(_: Source, path: Path) -> pa.Table:
    """Return the rows without the index that pandas may have written beside them."""
    table = read_columns(path)
    index = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    table = table.drop_columns([name for name in index if isinstance(name, str) and name.startswith("__index_level")])
    for i, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(i, field.name, table[field.name].cast(pa.float64()))
    return table


def _read_jsonl(source: Source, path: Path) -> pa.Table:
    kinds = dict.fromkeys(source.text, "string") or True
    return _from_pandas(source, pd.read_json(path, lines=True, dtype=kinds, dtype_backend="numpy_nullable"))


def _read_excel(source: Source, path: Path) -> pa.Table:
    from python_calamine import CalamineWorkbook  # the team's own dependency

    book = CalamineWorkbook.from_path(path)
    sheet = book.get_sheet_by_name(source.sheet) if source.sheet else book.get_sheet_by_index(0)
    names, *rows = sheet.to_python() or [[]]
    rows = [row for row in rows if any(cell != "" for cell in row)]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    names = [str(name) for name in names]
    cells = [_cells(name, values, name in source.text) for name, values in zip(names, columns, strict=True)]
    return pa.table(cells, names=names)


def _cells(name: str, values: tuple, as_text: bool) -> pa.Array:
    """Return the cells of a column, whose numbers are whole if all of them are."""
    found = [None if each == "" else pd.Timestamp(each) if type(each) is date else each for each in values]
    if all(each.is_integer() for each in found if isinstance(each, float)):
        found = [int(each) if isinstance(each, float) else each for each in found]
    if as_text:
        found = [None if each is None else str(each) for each in found]
    try:
        return pa.array(found, None if any(each is not None for each in found) else pa.float64())
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(f"column {name!r} has cells of several kinds: make them one, or call it text") from error


def _from_pandas(source: Source, frame: pd.DataFrame) -> pa.Table:
    """Return a frame as a table: whole numbers with gaps as such, a column without a value as numbers."""
    if lost := [name for name in source.text if name not in frame]:
        raise ValueError(f"it has no column {lost[0]!r}, which the catalogue calls text")
    empty = [name for name in frame if name not in source.text and frame[name].isna().all()]
    table = pa.Table.from_pandas(frame.astype(dict.fromkeys(empty, "float64")), preserve_index=False)
    return table.replace_schema_metadata(None)


def _read_zip(source: Source, path: Path) -> pa.Table:
    """Return the rows of all files in a zip, one after another."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        content, here = _unzipped(source, archive), Path(folder)
        for i, name in enumerate(sorted(content)):
            (here / f"{i:06}{Path(name).suffix}").write_bytes(content.pop(name))
        kinds = sorted({file.suffix for file in here.iterdir()})
        if len(kinds) != 1 or kinds == [".zip"]:
            raise ValueError(f"it holds files of {', '.join(kinds) or 'no kind'}: one kind can be read")
        return _read_files(source.model_copy(update={"file": f"{here.as_posix()}/*"}), here, lambda rows: None)


FILE_READERS = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".zip": _read_zip,
    **dict.fromkeys([".xlsx", ".xls", ".ods"], _read_excel),
}


def _read_folder(source: Source, root: Path) -> pa.Table:
    """Return a row per file, hidden ones left out: its `path`, the name of its folder as `label`, its `content`."""
    try:
        if source.folder.lower().endswith(".zip"):
            with opened(source.folder, root) as path, zipfile.ZipFile(path) as archive:
                files = _unzipped(source, archive)
        else:
            store, base = filesystem(source.folder, root)
            found = store.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
            paths = [each.path for each in found if each.is_file]
            files = {path[len(base) :].lstrip("/"): store.open_input_file(path).read() for path in paths}
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
        raise Refused(f"source {source.name}: {source.location} unpacks {packed:,} bytes to {size:,}, {limits}")
    return {each.filename: _member(source, archive, each) for each in members}


def _member(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the content of a zip's file, without unpacking more than the size it says it has."""
    what = f"source {source.name}: {member.filename!r} in {source.location}"
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
