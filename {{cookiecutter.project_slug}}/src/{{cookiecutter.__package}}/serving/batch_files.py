"""Files of rows and of predictions: CSV, Parquet, JSON lines, folders of these or of images, a chunk at a time."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic_core import from_json

from .. import Refused, first_line
from ..training.artifact import Signature

CHUNK, FILES = 50_000, 256  # rows, and files such as images, that are read at a time
FORMATS = (".csv", ".jsonl", ".parquet")
KINDS = "a .csv, .jsonl or .parquet file"


def read_chunks(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file, or of all files in a folder, up to CHUNK at a time.

    Args:
        source: A file of rows; a folder of such files, in which a folder `name=value` says a column of its rows; or, if
            an input is a file, a folder with a file for each row, whose path in it becomes the key.
        signature: What the model takes. Texts and keys of a CSV file are not parsed as numbers.
        keys: Columns to be kept as they are.
    """
    try:
        if not source.is_dir():
            yield from _read_file(source, signature, keys)
        elif tables := [path for path in files_of(source) if path.suffix in FORMATS]:
            for path in tables:
                said = _said_by_folders(path.relative_to(source).parts[:-1], signature, keys)
                for rows in _read_file(path, signature, keys):
                    yield rows.assign(**{name: value for name, value in said.items() if name not in rows})
        else:
            yield from _read_contents(source, signature, keys)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"{source} cannot be read: {first_line(error)}") from error


def files_of(source: Path) -> list[Path]:
    """Return the file itself, or the files in a folder in the order of their names; not those hidden, or with a _."""
    if not source.is_dir():
        return [source]
    found = (path for path in source.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part[0] in "._" for part in path.relative_to(source).parts))


def write_table(parts: list[Path], target: Path, part: Path) -> None:
    """Write the rows of several Parquet files to one file, in the format of the target."""
    if target.suffix == ".jsonl":
        with part.open("w", encoding="utf-8") as lines:
            for path in parts:
                rows = pd.read_parquet(path)
                lines.write(rows.to_json(orient="records", lines=True, date_format="iso", double_precision=15))
        return
    make = pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter
    with make(part, pq.read_schema(parts[0])) as sink:
        for path in parts:
            sink.write_table(pq.read_table(path))


def _read_file(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of one file."""
    if source.suffix == ".csv":
        yield from _read_csv(source, signature, keys)
    elif source.suffix == ".jsonl":
        yield from _read_lines(source)
    elif source.suffix == ".parquet":
        with pq.ParquetFile(source) as file:
            yield from (batch.to_pandas() for batch in file.iter_batches(CHUNK))
    else:
        raise Refused(f"{source} is not {KINDS}, nor a folder")


def _read_csv(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    lists = [column.name for column in signature.inputs if column.kind == "list of numbers"]
    texts = dict.fromkeys([*_texts(signature, keys), *lists], str)
    for rows in pd.read_csv(source, dtype=texts, chunksize=CHUNK):
        here = [name for name in lists if name in rows]
        yield rows.assign(**{name: rows[name].map(json.loads, na_action="ignore") for name in here})


def _read_lines(source: Path) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file with an object of JSON on each line."""
    rows = []
    with source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = from_json(line, allow_inf_nan=False) if line.strip() else None
            except ValueError as error:
                raise Refused(f"{source}, line {number}: not JSON: {first_line(error)}") from error
            if line.strip() and not isinstance(row, dict):
                raise Refused(f"{source}, line {number}: not an object of JSON")
            rows += [row] if row is not None else []
            if len(rows) == CHUNK:
                yield pd.DataFrame.from_records(rows, index=range(len(rows)))
                rows = []
    if rows:
        yield pd.DataFrame.from_records(rows, index=range(len(rows)))


def _read_contents(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    """Yield a row for each file in a folder: its content, and its path in the folder as the key."""
    column = next((column.name for column in signature.inputs if column.kind == "file"), None)
    paths = files_of(source)
    if not column or not paths:
        raise Refused(f"{source} holds no {'file' if column else KINDS.removeprefix('a ')}")
    key = keys[0] if keys else "path"
    for start in range(0, len(paths), FILES):
        chunk = paths[start : start + FILES]
        names = [path.relative_to(source).as_posix() for path in chunk]
        yield pd.DataFrame({key: names, column: pd.Series([path.read_bytes() for path in chunk], dtype=object)})


def _said_by_folders(folders: tuple[str, ...], signature: Signature, keys: list[str]) -> dict[str, str | float | None]:
    """Return the columns that folders `name=value` say, as texts or, where the model takes numbers, as these."""
    pairs = [found.groups() for folder in folders if (found := re.fullmatch("([^=]+)=(.*)", folder))]
    texts = {*_texts(signature, keys)} | {column.name for column in signature.inputs if column.kind == "date"}
    values = {unquote(name): unquote(value) for name, value in pairs}
    empty = "__HIVE_DEFAULT_PARTITION__"
    return {
        name: None if value == empty else value if name in texts else pd.to_numeric(pd.Series([value]))[0]
        for name, value in values.items()
        if name in texts or name in {column.name for column in signature.inputs}
    }


def _texts(signature: Signature, keys: list[str]) -> list[str]:
    """Return the columns whose values are texts, whatever they look like."""
    parsed = {column.name for column in signature.inputs if column.kind != "text"}
    return [name for name in [*keys, *(column.name for column in signature.inputs)] if name not in parsed]
