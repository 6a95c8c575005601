"""Read the rows of an SQL query, in types that depend on the database and not on the rows of the day."""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from .. import Refused, Unavailable, first_line

BATCH = 50_000  # rows fetched at a time
ADBC = {"postgresql": "adbc-driver-postgresql>=1.13,<2", "sqlite": "adbc-driver-sqlite>=1.13,<2"}
SQLALCHEMY = "sqlalchemy>=2.0.40,<2.1"
DRIVERS = {  # what to add for the module that SQLAlchemy misses, where the names differ
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "bigquery": "sqlalchemy-bigquery",
    "duckdb": "duckdb-engine",
    "redshift": "sqlalchemy-redshift",
    "snowflake": "snowflake-sqlalchemy",
}
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds: the years 1 to 9999
CAST = "cast it to text or a number in the query, or leave it out"
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # seconds: PostgreSQL's own client waits for minutes

Since = tuple[str, Any]  # a column, and the value from which on rows are wanted


def read_query(query: str, url: str, since: Since | None, seen: Callable[[int], None]) -> pa.Table:
    """Return the rows of a query.

    Args:
        query: One SELECT statement.
        url: The database, as SQLAlchemy writes it.
        since: Only rows whose column has this value or a larger one; all rows if None.
        seen: Called with the number of rows of each batch.

    Raises:
        Refused: If a driver is missing or a column has no plain type, or the database or its driver fails.
    """
    scheme = urlsplit(url).scheme.replace("postgres+", "postgresql+")
    backend = "postgresql" if scheme == "postgres" else scheme.partition("+")[0]
    query = query.strip().rstrip(";").rstrip() + "\n"
    try:
        if backend == "postgresql" and find_spec("adbc_driver_postgresql"):
            return _plain(_postgresql(query, url, since, seen))
        if scheme == "sqlite":
            return _plain(_sqlite(query, url, since, seen))
        return _plain(_sqlalchemy(query, url, since, seen))
    except Refused:
        raise
    except ModuleNotFoundError as error:
        raise Refused(f"needs {_driver(error, backend)}") from error
    except Exception as error:  # each driver has errors of its own
        kind = Refused if scheme == "sqlite" else Unavailable
        raise kind(f"failed: {_without_secrets(first_line(error), url)}") from error


def _since(query: str, column: str, placeholder: str) -> str:
    return f"select * from (\n{query}) increment where {column} >= {placeholder}"  # noqa: S608 -- the team's query


def _postgresql(query: str, url: str, since: Since | None, seen: Callable[[int], None]) -> pa.Table:
    """Return the rows by ADBC: batches of Arrow from PostgreSQL's binary COPY."""
    driver = import_module("adbc_driver_postgresql.dbapi")
    with closing(driver.connect("postgresql://" + url.partition("://")[2])) as connection:
        return _by_adbc(connection, query, since, seen, "$1")


def _by_adbc(
    connection: Any, query: str, since: Since | None, seen: Callable[[int], None], placeholder: str
) -> pa.Table:
    with closing(connection.cursor()) as cursor:
        if since:
            column = '"' + since[0].replace('"', '""') + '"'
            cursor.execute(_since(query, column, placeholder), [since[1]])
        else:
            cursor.execute(query)
        reader = cursor.fetch_record_batch()
        batches = (pa.Table.from_batches([batch], reader.schema) for batch in reader)
        return _joined(map(_plain, batches), seen) or _plain(reader.schema.empty_table())


def _sqlite(query: str, url: str, since: Since | None, seen: Callable[[int], None]) -> pa.Table:
    """Return the rows by ADBC, or by Python's own module where the types of the first rows do not fit all."""
    path = unquote(url.partition("://")[2].partition("?")[0])[1:]
    address = f"file:{path}?mode=ro" if path else ":memory:"
    if find_spec("adbc_driver_sqlite"):
        driver = import_module("adbc_driver_sqlite.dbapi")
        try:
            with closing(driver.connect(address)) as connection:
                table = _by_adbc(connection, query, since, seen, "?")
            valued = [table[name].null_count < table.num_rows for name in table.column_names]
            if all(valued):  # it calls a column without a value an integer
                return table
        except (driver.Error, OSError):
            seen(0)
    with closing(sqlite3.connect(address, uri=True)) as connection:
        column = '"' + since[0].replace('"', '""') + '"' if since else ""
        cursor = connection.execute(*((_since(query, column, "?"), [since[1]]) if since else (query,)))
        return _from_python([each[0] for each in cursor.description], iter(lambda: cursor.fetchmany(BATCH), []), seen)


def _sqlalchemy(query: str, url: str, since: Since | None, seen: Callable[[int], None]) -> pa.Table:
    """Return the rows by SQLAlchemy and the driver that the address names."""
    import sqlalchemy  # the team's own dependency

    query = re.sub(r"(?<![:\w\\]):(?=\w)", r"\:", query)  # else it takes :word, as in '{"a":1}', as a parameter
    try:
        engine = sqlalchemy.create_engine(url)
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise ModuleNotFoundError(str(error)) from error
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            if since:
                column = engine.dialect.identifier_preparer.quote(since[0])
                result = connection.execute(sqlalchemy.text(_since(query, column, ":since")), {"since": since[1]})
            else:
                result = connection.execute(sqlalchemy.text(query))
            return _from_python(list(result.keys()), result.partitions(BATCH), seen)
    finally:
        engine.dispose()


def _from_python(names: list[str], batches: Iterable, seen: Callable[[int], None]) -> pa.Table:
    """Return rows given as tuples as a table whose types are those of the values."""
    _refuse_twins(names)
    tables = (pa.table(list(map(_array, names, zip(*rows, strict=True))), names=names) for rows in batches)
    return _joined(tables, seen) or pa.table([pa.nulls(0) for _ in names], names=names)


def _joined(tables: Iterator[pa.Table], seen: Callable[[int], None]) -> pa.Table | None:
    found = []
    for table in tables:
        found.append(table)
        seen(table.num_rows)
    return pa.concat_tables(found, promote_options="permissive") if found else None


def _array(name: str, values: tuple) -> pa.Array:
    """Return the values of a column: decimals as floats, UUIDs and JSON objects as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if Decimal in kinds:
        values = [None if value is None else float(value) for value in values]
    elif kinds and kinds <= {UUID, dict}:
        values = [_as_text(value) for value in values]
    elif memoryview in kinds:
        values = [None if value is None else bytes(value) for value in values]
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        kinds = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise Refused(f"gives {name!r} values of no plain type ({kinds}): {CAST}") from error


def _as_text(value: UUID | dict | None) -> str | None:
    return json.dumps(value) if isinstance(value, dict) else None if value is None else str(value)


def _plain(table: pa.Table) -> pa.Table:
    """Return the table in types that are the same by whatever driver the rows came; refuse others by column."""
    names = table.column_names
    _refuse_twins(names)
    return pa.table([_plain_column(name, table[name]) for name in names], names=names)


def _refuse_twins(names: list[str]) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise Refused(f"gives two columns the name {twice[0]!r}: name one of them `as` something else")


def _plain_column(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_column(name, _stored(name, column))
    if pa.types.is_signed_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_unsigned_integer(kind):
        return column.cast(pa.uint64() if pa.types.is_uint64(kind) else pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    if pa.types.is_timestamp(kind):
        return _plain_times(name, column)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if any(test(kind) for test in (pa.types.is_nested, pa.types.is_interval, pa.types.is_duration)):
        raise Refused(f"gives {name!r} values of no plain type ({kind}): {CAST}")
    return column


def _plain_times(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times in microseconds, those of a zone as UTC; refuse infinite ones."""
    column = column.cast(pa.timestamp("us", "UTC" if column.type.tz else None), safe=False)
    limits = pc.min_max(column.cast(pa.int64())).as_py()
    if limits["min"] is not None and (limits["min"] < EARLIEST or limits["max"] > LATEST):
        raise Refused(f"gives {name!r} a time of no calendar, such as infinity: make it null in the query")
    return column


def _stored(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what a type of a database holds as text, numeric as numbers."""
    kind = column.type
    if getattr(kind, "type_name", "") == "numeric":
        return column.cast(pa.string()).cast(pa.float64())
    if kind.extension_name == "arrow.uuid":
        return pa.chunked_array([[_as_text(value) for value in column.to_pylist()]], pa.string())
    if pa.types.is_string(kind.storage_type):
        return column.cast(pa.string())
    raise Refused(f"gives {name!r} values of no plain type ({getattr(kind, 'type_name', kind)}): {CAST}")


def _driver(error: ModuleNotFoundError, backend: str) -> str:
    """Return the module that is missing, and how to add it."""
    missing = error.name or str(error).rpartition(":")[2]
    if backend in ADBC and missing in {"sqlalchemy", "psycopg2"}:
        return f'a driver for {backend}: uv add "{ADBC[backend]}"'
    if missing == "sqlalchemy":
        return f'SQLAlchemy and its driver for {backend}: uv add "{SQLALCHEMY}" and the driver'
    package = DRIVERS.get(missing, missing if error.name else "")
    return f"the driver {missing}: " + (f'uv add "{package}"' if package else "`uv add` the package that brings it")


def _without_secrets(message: str, url: str) -> str:
    """Return a driver's message without the address and the password in it."""
    password = urlsplit(url).password or ""
    for secret in (url, url.partition("://")[2], password, unquote(password)):
        message = message.replace(secret, "***") if secret else message
    return message
