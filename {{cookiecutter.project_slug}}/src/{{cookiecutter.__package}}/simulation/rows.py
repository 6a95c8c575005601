"""The rows that arrive: the table's own where there are enough, else like them, and what faults make of them."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype, is_numeric_dtype

from .. import Refused
from ..datasets.table import Table
from .plan import BROKEN, CONCEPT, SHIFT, Fault

WIDTH = 0.2  # of the noise around a row that is drawn again, in standard deviations of the column
LEVELS = 12  # distinct numbers up to which a column holds codes, which get no noise
FACTOR = 10.0  # of a unit that is mistaken
REGION = 0.65  # quantile of a column above which a concept changes
STRENGTH = 1.0  # of the shift: rows are drawn with weights that grow by e with each standard deviation


@dataclass(frozen=True)
class World:
    """Where rows come from.

    Attributes:
        table: The table, as data.py declares it.
        pool: Its rows, as they are read.
        generator: Of random numbers.
        needed: How many rows will be drawn; each of the table's own is drawn once if it has so many.
        used: Which of them were drawn, `(rows,)`.
    """

    table: Table
    pool: pd.DataFrame
    generator: np.random.Generator
    needed: int
    used: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Note that no row was drawn."""
        object.__setattr__(self, "used", np.zeros(len(self.pool), bool))

    @property
    def is_enough(self) -> bool:
        """Whether the table has so many rows that none is drawn twice."""
        return len(self.pool) >= self.needed

    @cached_property
    def numbers(self) -> list[str]:
        """The columns that a caller gives and that are measured."""
        return [name for name in self.table.requested if name in self.pool and is_measured(self.pool[name])]

    def draw(self, count: int, first: int, faults: list[Fault], moment: datetime | None = None) -> pd.DataFrame:
        """Return rows that arrive together, as they are sent, with their truth.

        Args:
            count: How many.
            first: The number of the first row that arrives, for its key.
            faults: Those of the day.
            moment: When they arrive, for a table whose rows have a time.
        """
        kinds, constant = {each.kind: each.column for each in faults}, [each.value for each in faults if each.value]
        places = self.generator.choice(len(self.pool), count, not self.is_enough, p=self._weights(kinds.get(SHIFT)))
        rows = self.pool.iloc[places].reset_index(drop=True)
        self.used[places] = self.is_enough
        rows = rows if self.is_enough else self._like(rows)
        if self.table.time and moment:
            rows[self.table.time] = pd.Timestamp(moment).tz_localize(None)
        if column := kinds.get(CONCEPT):
            rows[self.table.target] = changed(rows, self.pool, column, self.table.target)
        if column := kinds.get(BROKEN):
            rows[column] = constant[0] if constant else rows[column] * FACTOR
        return with_keys(rows, self.table, first)

    def _weights(self, column: str | None) -> np.ndarray:
        """Return how probable each row of the pool is, `(rows,)`."""
        weights = np.where(self.used, 0.0, 1.0)
        if column is not None:
            values = self.pool[column].astype(float)
            scores = np.clip((values - values.mean()) / (values.std() or 1), -3, 3).fillna(0).to_numpy()
            weights *= np.exp(STRENGTH * scores)
        return weights / weights.sum()

    def _like(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with noise in what is measured, within the range of the pool."""
        names, known = self._measured
        noise = self.generator.normal(size=(len(rows), len(names))) * (WIDTH * np.nanstd(known, axis=0))
        noisy = np.clip(rows[names].to_numpy(float) + noise, np.nanmin(known, axis=0), np.nanmax(known, axis=0))
        whole = np.array([is_integer_dtype(self.pool[name]) for name in names], bool)
        noisy[:, whole] = noisy[:, whole].round()
        made = pd.DataFrame(noisy, rows.index, names).astype(self.pool[names].dtypes)
        return rows.assign(**made)

    @cached_property
    def _measured(self) -> tuple[list[str], np.ndarray]:
        """What is measured of a row, the target included if it is, and the pool's values, `(rows, names)`."""
        target = [self.table.target] if is_measured(self.pool[self.table.target]) else []
        names = [*dict.fromkeys([*self.numbers, *target])]
        return names, self.pool[names].to_numpy(float)


def is_measured(values: pd.Series) -> bool:
    """Return whether a column holds measurements, not codes."""
    if not is_numeric_dtype(values) or is_bool_dtype(values):
        return False
    return values.nunique() > LEVELS and bool(np.isfinite(values.dropna().astype(float)).all())


def changed(rows: pd.DataFrame, pool: pd.DataFrame, column: str, target: str) -> pd.Series:
    """Return the truth once the concept has changed: the next class, or the mirrored value, where a column is high."""
    inside, truth = rows[column] > pool[column].quantile(REGION), rows[target]
    if is_measured(pool[target]):
        return truth.where(~inside, pool[target].max() + pool[target].min() - truth)
    levels = sorted(pool[target].dropna().unique())
    following = dict(zip(levels, [*levels[1:], levels[0]], strict=True))
    return truth.where(~inside, truth.map(following).astype(truth.dtype))


def with_keys(rows: pd.DataFrame, table: Table, first: int) -> pd.DataFrame:
    """Return the rows under keys of their own: numbered on, or with a number behind the text.

    Raises:
        Refused: The key has neither a whole number nor a text.
    """
    numbers = np.arange(first, first + len(rows))
    names = [name for name in table.keys if name not in (table.group, table.time)] or table.keys
    for name in names:
        if is_integer_dtype(rows[name]):
            return rows.assign(**{name: numbers.astype(rows[name].dtype)})
        if not is_float_dtype(rows[name]) and not pd.api.types.is_datetime64_any_dtype(rows[name]):
            return rows.assign(**{name: [f"{key}-{i}" for key, i in zip(rows[name], numbers, strict=True)]})
    raise Refused(f"simulate needs a key of table {table.name} with a whole number or a text, to name new rows")


def breakable(world: World) -> tuple[str, float | None]:
    """Return the column that breaks: of another unit, if its schema takes that, else with its median in every row.

    Raises:
        Refused: The table has no measured column.
    """
    if not world.numbers:
        raise Refused(f"simulate needs a number among the columns of table {world.table.name}")
    for name in world.numbers:
        rows = world.draw(50, first_number(world), [Fault(BROKEN, name, 0, 1)])
        beyond = (rows[name] > world.pool[name].max()).mean()
        if is_float_dtype(rows[name]) and beyond > 0.5 and fits(world.table, rows):
            return name, None
    name = next((each for each in world.numbers if is_float_dtype(world.pool[each])), world.numbers[0])
    return name, world.pool[name].dropna().sort_values().iloc[world.pool[name].count() // 2].item()


def good(table: Table, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as models learn from them: checked, prepared and in the table's order."""
    return replace(table, load=rows.reset_index(drop=True).copy, pictures=None).rows()


def fits(table: Table, rows: pd.DataFrame) -> bool:
    """Return whether rows keep the table's schema."""
    try:
        good(table, rows)
    except Refused:
        return False
    return True


def first_number(world: World) -> int:
    """Return the number from which on new rows are numbered, above every key of the pool."""
    known = [world.pool[name].max() for name in world.table.keys if is_integer_dtype(world.pool[name])]
    return int(max(known, default=0)) + 1
