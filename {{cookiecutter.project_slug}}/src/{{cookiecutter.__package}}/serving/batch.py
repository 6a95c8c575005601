"""A file of rows -> a file of predictions by the champion, in chunks."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from .. import Refused, atomic_write, first_line
from ..datasets import ranges
from ..registry.loading import LoadedVersion, load_served
from ..registry.versions import champion
from ..training.artifact import Signature

CHUNK = 50_000  # rows predicted at a time
FORMATS = {".csv", ".parquet"}


def predict_file(source: Path, target: Path, model: str, keys: list[str]) -> tuple[str, int]:
    """Write a prediction for each row of a file.

    Args:
        source: A .csv or .parquet file of rows.
        target: A .csv or .parquet file; on any error it keeps what it had.
        model: The model whose champion predicts.
        keys: Columns to copy from the rows, where there.

    Returns:
        The version that predicted, and the number of rows.
    """
    version = _champion(model)
    frames = (
        _predicted(version, version.signature.typed(rows), keys)
        for rows in read_chunks(source, version.signature, keys)
    )
    return version.number, write_frames(target, frames)


def forecast_file(target: Path, model: str, keys: list[str], periods: int | None) -> tuple[str, int]:
    """Write the champion's forecast of every series it knows for the next periods, by default its horizon."""
    version = _champion(model)
    frames = [_predicted(version, version.future_requests(periods), keys)]
    return version.number, write_frames(target, iter(frames))


def read_chunks(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the file's rows, CHUNK at a time; keys and text columns of a CSV file are not parsed as numbers."""
    try:
        if source.suffix == ".csv":
            parsed = {column.name for column in signature.inputs if column.kind != "text"}
            names = [*keys, *(column.name for column in signature.inputs)]
            lists = [column.name for column in signature.inputs if column.kind == "list of numbers"]
            texts = {name: str for name in [*names, *lists] if name not in parsed or name in lists}
            for rows in pd.read_csv(source, dtype=texts, chunksize=CHUNK):
                here = [name for name in lists if name in rows]
                yield rows.assign(**{name: rows[name].map(json.loads, na_action="ignore") for name in here})
        elif source.suffix == ".parquet":
            with pq.ParquetFile(source) as file:
                yield from (batch.to_pandas() for batch in file.iter_batches(CHUNK))
        else:
            raise Refused(f"{source} is neither a .csv nor a .parquet file")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"{source} cannot be read: {first_line(error)}") from error


def write_frames(target: Path, frames: Iterator[pd.DataFrame]) -> int:
    """Write all frames to the target, or leave it as it was if one fails; return the number of rows."""
    if target.suffix not in FORMATS:
        raise Refused(f"{target} is neither a .csv nor a .parquet file")
    try:
        return _write_frames(target, frames)
    except OSError as error:
        raise Refused(f"{target} cannot be written: {first_line(error)}") from error


def _write_frames(target: Path, frames: Iterator[pd.DataFrame]) -> int:
    total, sink = 0, None
    writer = pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter
    with atomic_write(target) as part, ExitStack() as sinks:  # closed before the file is moved, or removed
        for frame in frames:
            try:
                table = pa.Table.from_pandas(frame, preserve_index=False)
                sink = sink or sinks.enter_context(writer(part, table.schema))
                sink.write_table(table)
            except (ValueError, pa.ArrowException) as error:
                raise Refused(f"{target} cannot be written: {first_line(error)}") from error
            total += len(frame)
            click.echo(f"\r{total} rows", nl=False)
        click.echo()
        if sink is None:
            raise Refused("there is no row to predict")
    return total


def _champion(model: str) -> LoadedVersion:
    """Return the champion as it serves; raise Refused if there is none."""
    if (number := champion(model)) is None:
        raise Refused(f"{model} has no champion yet: train it, then `uv run just promote VERSION {model}`")
    return load_served(model, number)


def _predicted(version: LoadedVersion, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the keys of the rows, or of those that a row without a time stands for, with predictions and version.

    Where a column has checks, the column `warnings` tells what is out of range.
    """
    rows, inputs = version.expand_requests(rows), version.signature.inputs
    kept = rows[[name for name in keys if name in rows]]
    found = version.predict(version.prepared(rows)).assign(model_version=version.number)
    if any(column.checks for column in inputs):
        found = found.assign(warnings=ranges.by_row(rows, inputs))
    if clash := set(kept) & set(found):
        raise Refused(f"column {min(clash)!r} is a key and a result at once: name the key otherwise in data.py")
    return kept.join(found)
