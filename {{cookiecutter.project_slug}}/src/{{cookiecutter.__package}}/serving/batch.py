"""A file of rows -> a file of predictions by the champion, in chunks; one that was killed goes on where it was."""

import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import Refused, atomic_write, first_line, from_environment
from ..datasets import columns, ranges
from ..registry.loading import LoadedVersion, load_served
from ..registry.versions import champion
from .batch_files import CHUNK, FORMATS, KINDS, files_of, read_chunks, write_table
from .settings import Settings

MARK = "made_of.json"  # what the chunks in a folder were made of


def predict_file(source: Path, target: Path, model: str, keys: list[str]) -> tuple[str, int]:
    """Write a prediction for each row.

    Args:
        source: A file of rows, or a folder: see `read_chunks`.
        target: A .csv, .jsonl or .parquet file; on any error it keeps what it had.
        model: The model whose champion predicts.
        keys: Columns to copy from the rows, where there.

    Returns:
        The version that predicted, and the number of rows.
    """
    version = _champion(model)
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files_of(source) if path.exists()]
    made_of = [model, version.number, version.signature.sha256, keys, CHUNK, facts]
    chunks = read_chunks(source, version.signature, keys)
    return version.number, write_predictions(
        target, chunks, lambda rows: _predicted(version, version.signature.typed(rows), keys), json.dumps(made_of)
    )


def forecast_file(target: Path, model: str, keys: list[str], periods: int | None) -> tuple[str, int]:
    """Write the champion's forecast of every series it knows for the next periods, by default its horizon."""
    version = _champion(model)
    requests = version.future_requests(periods)
    return version.number, write_predictions(target, [requests], lambda rows: _predicted(version, rows, keys), "")


def write_predictions(
    target: Path, chunks: Iterable[pd.DataFrame], predict: Callable[[pd.DataFrame], pd.DataFrame], made_of: str
) -> int:
    """Write what is predicted for all chunks to the target, or leave it as it was if one fails.

    Args:
        target: Where to.
        chunks: The rows.
        predict: Returns the lines to write for a chunk.
        made_of: What decides all that; chunks that a killed run has left for the same are not predicted again.

    Returns:
        The number of lines.
    """
    if target.suffix not in FORMATS:
        raise Refused(f"{target} is not {KINDS}")
    with _writing(target):
        parts = Parts.of(target, made_of)
    return parts.written(chunks, predict)


@dataclass(frozen=True)
class Parts:
    """The chunks of a target that are done, in a hidden folder beside it: a kill leaves them, an error does not."""

    target: Path
    folder: Path

    @classmethod
    def of(cls, target: Path, made_of: str) -> "Parts":
        """Return the chunks that a run for the same has left, none if there was no such run."""
        parts = cls(target, target.with_name(f".{target.name}.parts"))
        mark = parts.folder / MARK
        if not mark.exists() or mark.read_text(encoding="utf-8") != made_of:
            shutil.rmtree(parts.folder, ignore_errors=True)
            parts.folder.mkdir(parents=True)
            mark.write_text(made_of, encoding="utf-8")
        return parts

    def written(self, chunks: Iterable[pd.DataFrame], predict: Callable[[pd.DataFrame], pd.DataFrame]) -> int:
        """Write the chunks that are not done, then the target; return the number of lines."""
        try:
            paths = [*self._predicted(chunks, predict)]
            if not paths:
                raise Refused("there is no row to predict")
            with _writing(self.target), atomic_write(self.target) as part:
                write_table(paths, self.target, part)
            total = sum(pq.read_metadata(path).num_rows for path in paths)
        except Exception:
            shutil.rmtree(self.folder)
            raise
        shutil.rmtree(self.folder)
        return total

    def _predicted(
        self, chunks: Iterable[pd.DataFrame], predict: Callable[[pd.DataFrame], pd.DataFrame]
    ) -> Iterator[Path]:
        """Yield the file of each chunk, written unless it is there; tell how far that is."""
        total = 0
        for number, rows in enumerate(chunks):
            path = self.folder / f"{number:06}.parquet"
            if not path.exists():
                lines = predict(rows)
                with _writing(self.target), atomic_write(path) as part:
                    lines.to_parquet(part, index=False)
            total += len(rows)
            click.echo(f"\r{total} rows", nl=False)
            yield path
        click.echo()


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Raise Refused for what keeps the target from being written."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"{target} cannot be written: {first_line(error)}") from error


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
    if from_environment(Settings).prediction_log_files:
        _log(version, rows, keys, found.drop(columns=["model_version", "warnings"], errors="ignore"))
    return kept.join(found)


def _log(version: LoadedVersion, rows: pd.DataFrame, keys: list[str], found: pd.DataFrame) -> None:
    """Log rows as the service does; a chunk that is killed before it is kept is logged again when it is predicted."""
    from .prediction_log import log_rows  # with SQLAlchemy

    inputs = version.signature.inputs
    asked = rows[list(dict.fromkeys(name for name in (*keys, *(each.name for each in inputs)) if name in rows))]
    for column in [each.name for each in inputs if each.kind == "file" and each.name in asked]:
        asked = asked.assign(**{column: [b64encode(content).decode() for content in asked[column]]})
    log_rows(version, columns.records(asked), columns.records(found))
