"""A file of rows -> a file of predictions by the champion, in chunks."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from . import Refused, artifact, first_line, registry, run
from .artifact import Signature
from .models import chosen

CHUNK = 50_000  # rows predicted at a time


def main(arguments: list[str]) -> None:
    """The second file holds a prediction for each row of the first, made by the champion."""
    source, target, names = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    models = chosen(names)
    if len(models) > 1:
        raise Refused(f"say which model: {', '.join(model.name for model in models)}")
    model = models[0]
    version = registry.champion(model.name)
    if version is None:
        raise Refused(f"{model.name} has no champion yet: train it, then `uv run just promote VERSION {model.name}`")
    folder = registry.folder(model.name, version)
    signature, estimator = artifact.signature(folder), artifact.load(folder, model.module.TRUSTED)

    def predicted(rows: pd.DataFrame) -> pd.DataFrame:
        kept = rows[[name for name in model.table.keys if name in rows]]
        found = model.module.predict(estimator, signature.typed(rows)).assign(model_version=version)
        if clash := set(kept) & set(found):
            raise Refused(f"column {min(clash)!r} is a key and a result at once: name the key otherwise in data.py")
        return kept.join(found)

    total = write(target, (predicted(rows) for rows in chunks(source, signature, model.table.keys)))
    print(f"{model.name} version {version}: {total} predictions in {target}")


def chunks(source: Path, signature: Signature, keys: list[str]) -> Iterator[pd.DataFrame]:
    """The file's rows, CHUNK at a time; keys and text columns of a CSV file are not taken for numbers."""
    try:
        if source.suffix == ".csv":
            computed = {column.name for column in signature.inputs if column.kind != "text"}
            words = {
                name: str for name in [*keys, *(column.name for column in signature.inputs)] if name not in computed
            }
            yield from pd.read_csv(source, dtype=words, chunksize=CHUNK)
        elif source.suffix == ".parquet":
            with pq.ParquetFile(source) as file:
                yield from (batch.to_pandas() for batch in file.iter_batches(CHUNK))
        else:
            raise Refused(f"{source} is neither a .csv nor a .parquet file")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"{source} cannot be read: {first_line(error)}") from error


def write(target: Path, frames: Iterator[pd.DataFrame]) -> int:
    """The target holds all frames, or what it held before if one fails; returns the number of rows."""
    if target.suffix not in {".csv", ".parquet"}:
        raise Refused(f"{target} is neither a .csv nor a .parquet file")
    target.parent.mkdir(parents=True, exist_ok=True)
    part, total, sink = target.with_name(f"{target.name}.{os.getpid()}.part"), 0, None
    writer = pq.ParquetWriter if target.suffix == ".parquet" else pyarrow.csv.CSVWriter
    try:
        with ExitStack() as sinks:  # closed before the file is moved, or removed
            for frame in frames:
                try:
                    table = pa.Table.from_pandas(frame, preserve_index=False)
                    sink = sink or sinks.enter_context(writer(part, table.schema))
                    sink.write_table(table)
                except (ValueError, pa.ArrowException) as error:
                    raise Refused(f"{target} cannot be written: {first_line(error)}") from error
                total += len(frame)
                print(f"\r{total} rows", end="", flush=True)
        print()
        if sink is None:
            raise Refused("there is no row to predict")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return total


if __name__ == "__main__":
    run(main)
