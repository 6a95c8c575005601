"""What a version learned from and what it answered, column by column: kept with the version, compared with later rows.

A column is described by cells of its values. Counts of cells add up, over chunks of rows and over versions, and tell
nothing about a single row.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from .. import Refused
from ..datasets import columns
from ..registry.versions import add_files, fingerprint, get_version, has_file, run_artifacts
from ..training.contract import Model
from ..training.modules import optional
from ..training.workspace import read_rows

FILE, CONTEXT = "profile.json", "loss_context.parquet"
ANSWER = "prediction: "  # begins the names of the columns that a model answers
BINS = 20  # of a number, by quantiles
NAMED = 50  # values of a text that are told apart
CLOSED = 0.99  # share of the rows that the named values cover, where no other is expected
NEWEST = 0.2  # share of the rows, the newest, that show whether a column's range moves with time
STRANGE = 0.05  # share of values outside of the cells of another version, above which a column gets its own
MOVING = 0.1  # share of those outside the range before, from which on it does


@dataclass(frozen=True)
class Counts:
    """How many of some rows are in each cell of a column.

    Attributes:
        rows: How many rows.
        missing: Of them without a value.
        cells: Of the others in each cell.
        outside: Of the others beyond the range, or with a value, that the version never saw.
        low: The smallest number; None for texts.
        high: The largest.
        total: The sum of the numbers.
    """

    rows: int
    missing: int
    cells: list[int]
    outside: int
    low: float | None = None
    high: float | None = None
    total: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the counts of both."""
        known = [each for each in (self, other) if each.low is not None]
        return Counts(
            self.rows + other.rows,
            self.missing + other.missing,
            [a + b for a, b in zip(self.cells, other.cells, strict=True)],
            self.outside + other.outside,
            min((each.low for each in known), default=None),
            max((each.high for each in known), default=None),
            self.total + other.total,
        )

    @property
    def present(self) -> int:
        """How many rows have a value."""
        return self.rows - self.missing


@dataclass(frozen=True)
class Column:
    """What a version knows of a column.

    Attributes:
        name: Of the column.
        kind: number or text; any other is only looked at for gaps.
        edges: Of a number's cells: below the first edge, on it, between it and the next, and so on.
        values: Of a text, the commonest; a cell each, and one for all others.
        counts: Of the rows that the version learned from, or answered.
        moving: Whether its range moves with time, so that new values are no surprise.
    """

    name: str
    kind: str
    edges: list[float]
    values: list[str]
    counts: Counts
    moving: bool = False

    @property
    def size(self) -> int:
        """How many cells it has."""
        return 2 * len(self.edges) + 1 if self.kind == "number" else len(self.values) + 1

    @property
    def closed(self) -> bool:
        """Whether a value beyond those known would be a surprise."""
        if self.kind == "number":
            return not self.moving
        return bool(self.values) and self.counts.cells[-1] <= (1 - CLOSED) * self.counts.present

    @property
    def ranks(self) -> np.ndarray:
        """The mid-rank of each cell among the values it learned from, from 0 to 1, `(cells,)`."""
        shares = np.array(self.counts.cells) / max(self.counts.present, 1)
        return np.cumsum(shares) - shares / 2

    def count(self, values: pd.Series) -> Counts:
        """Return the counts of these values."""
        if self.kind == "number":
            plain = values if values.dtype.kind in "iuf" else pd.to_numeric(values, errors="coerce").astype("Float64")
            numbers = plain.to_numpy(float, na_value=np.nan)
            numbers = numbers[~np.isnan(numbers)]
            return replace(self._count_numbers(numbers), rows=len(values), missing=len(values) - len(numbers))
        present = values.dropna()
        if self.kind != "text":
            return Counts(len(values), len(values) - len(present), [len(present)], 0)
        codes = pd.Index(self.values).get_indexer(present.astype(str))
        cells = np.bincount(np.where(codes < 0, len(self.values), codes), minlength=self.size)
        return Counts(len(values), len(values) - len(present), cells.tolist(), int((codes < 0).sum()))

    def _count_numbers(self, numbers: np.ndarray) -> Counts:
        edges = np.array(self.edges)
        places = np.searchsorted(edges, numbers, "left") + np.searchsorted(edges, numbers, "right")
        cells = np.bincount(places, minlength=self.size).tolist()
        outside = int(((numbers < edges[0]) | (numbers > edges[-1])).sum()) if len(edges) else 0
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return Counts(len(numbers), 0, cells, outside, low, high, float(numbers.sum()))


@dataclass(frozen=True)
class Profile:
    """The columns of a version, by name, and a hash of their cells: counts of equal cells can be compared."""

    columns: dict[str, Column] = field(default_factory=dict)

    @cached_property
    def grid(self) -> str:
        """The hash of all cells."""
        cells = [[each.name, each.kind, each.edges, each.values] for each in self.columns.values()]
        return sha256(json.dumps(cells).encode()).hexdigest()[:16]

    def count(self, rows: pd.DataFrame) -> dict[str, Counts]:
        """Return the counts of rows for each column; one that is not there is missing everywhere."""
        nothing = pd.Series(None, rows.index, object)
        return {name: each.count(rows.get(name, nothing)) for name, each in self.columns.items()}

    def json(self) -> str:
        """Return it as JSON."""
        return json.dumps([asdict(each) for each in self.columns.values()])


def profile_of(rows: pd.DataFrame, names: list[str], like: Profile | None = None, *, in_time: bool = False) -> Profile:
    """Return the profile of rows.

    Args:
        rows: What was learned from, or answered.
        names: The columns to describe.
        like: A profile whose cells are taken where a column still has values of that kind, so that counts stay
            comparable from version to version.
        in_time: Whether the rows are in the order of time.
    """
    known = like.columns if like else {}
    return Profile({name: _column(name, rows[name], known.get(name), in_time) for name in names if name in rows})


def keep_profile(model: Model, number: str) -> None:
    """Keep with a version what it learned from, and what its losses need; it must be in the model's workspace."""
    if has_file(model.name, number, FILE):
        return
    before = known_profile(model, get_version(model.name, number).tags.get("parent", ""))
    with TemporaryDirectory() as scratch:
        (Path(scratch) / FILE).write_text(_of_workspace(model, before).json(), encoding="utf-8")
        if context := optional(model.module, "loss_context"):
            context(read_rows(model.files.holdout), model.table).to_parquet(Path(scratch) / CONTEXT, index=False)
        add_files(model.name, number, sorted(Path(scratch).iterdir()))


def known_profile(model: Model, number: str) -> Profile | None:
    """Return what a version learned from; None if it was made before that was kept, and its rows are not here."""
    if not number:
        return None
    if has_file(model.name, number, FILE):
        with run_artifacts(model.name, number, FILE) as file:
            return _read(json.loads(file.read_text(encoding="utf-8")))
    try:
        return _of_workspace(model, None) if _in_workspace(model, number) else None
    except (OSError, Refused):
        return None


def loss_context(model: Model, number: str) -> pd.DataFrame | None:
    """Return what a version's losses need besides request, prediction and target; None if nothing, or not here."""
    if not (context := optional(model.module, "loss_context")):
        return None
    if has_file(model.name, number, CONTEXT):
        with run_artifacts(model.name, number, CONTEXT) as file:
            return pd.read_parquet(file)
    try:
        return context(read_rows(model.files.holdout), model.table) if _in_workspace(model, number) else None
    except (OSError, Refused):
        return None


def _in_workspace(model: Model, number: str) -> bool:
    """Return whether the version is what is in the model's workspace."""
    return fingerprint(model) == get_version(model.name, number).tags.get("fingerprint")


def answers_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions under the names that their columns have in a profile."""
    return predictions.add_prefix(ANSWER)


def _of_workspace(model: Model, like: Profile | None) -> Profile:
    """Return the profile of the rows in the workspace, as requests, and of the answers to those held out."""
    train, held = read_rows(model.files.train), read_rows(model.files.holdout)
    names = [column.name for column in model.inputs(train)]
    rows = pd.concat([train, held], ignore_index=True)
    learned = profile_of(rows, names, like, in_time=model.table.time is not None)
    answers = answers_of(pd.read_parquet(model.files.predictions))
    answered = profile_of(answers, list(answers), like)
    return Profile(learned.columns | answered.columns)


def _column(name: str, values: pd.Series, like: Column | None, in_time: bool) -> Column:
    kind = _kind(values)
    moving = in_time and kind == "number" and _moves(values)
    if like and like.kind == kind:
        counts = like.count(values)
        if counts.outside <= STRANGE * counts.present:
            return replace(like, counts=counts, moving=moving)
    column = replace(_cells(name, kind, values), moving=moving)
    return replace(column, counts=column.count(values))


def _kind(values: pd.Series) -> str:
    """Return number or text; other for what is only looked at for gaps, such as files, dates and names of rows."""
    found = columns.kind_of(values)
    if found == "boolean":
        return "text"
    if found == "text" and not all(isinstance(value, str) for value in values.dropna().head(1)):
        return "other"  # lists of numbers
    names = found == "text" and values.nunique() > len(values) / 2
    return found if found in ("number", "text") and not names else "other"


def _cells(name: str, kind: str, values: pd.Series) -> Column:
    """Return a column with cells of its own, without counts."""
    edges, common = [], []
    if kind == "number" and values.notna().any():
        edges = np.unique(np.quantile(values.dropna().astype(float), np.linspace(0, 1, BINS + 1))).tolist()
    elif kind == "text":
        common = values.dropna().astype(str).value_counts().index[:NAMED].tolist()
    return Column(name, kind, edges, common, Counts(0, 0, [], 0))


def _moves(values: pd.Series) -> bool:
    """Return whether the newest values leave the range of those before: then it moves with time."""
    numbers = values.dropna().to_numpy(float)
    cut = int(len(numbers) * (1 - NEWEST))
    before, newest = numbers[:cut], numbers[cut:]
    if not len(before) or not len(newest):
        return False
    return bool(((newest < before.min()) | (newest > before.max())).mean() > MOVING)


def _read(content: list[dict[str, Any]]) -> Profile:
    found: Iterator[Column] = (Column(**(each | {"counts": Counts(**each["counts"])})) for each in content)
    return Profile({each.name: each for each in found})
