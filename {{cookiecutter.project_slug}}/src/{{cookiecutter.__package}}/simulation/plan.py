"""What happens in a simulation: how many days and rows, and which faults on which days, by seed."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

BROKEN, CONCEPT, SHIFT = "broken column", "concept change", "covariate shift"
DRIFT_DAYS = 66  # of a log, before the watch can tell drift: its reference, the newest week and a margin
CHANGE_DAYS = 30  # of a run, below which a change could not be found and recovered from before the end


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: One of the three.
        column: Where.
        first: The first day, from 0.
        end: The day after the last.
        value: Of a broken column that is the same in every row; None for one of another unit.
    """

    kind: str
    column: str
    first: int
    end: int
    value: float | None = None

    def on(self, day: int) -> bool:
        """Return whether it is there on this day."""
        return self.first <= day < self.end


@dataclass(frozen=True)
class Plan:
    """A run of a simulation.

    Attributes:
        model: The model's name.
        days: How many days.
        rows: Asked each day.
        delay: Days until the labels come, and with them the rows in the source.
        kept: Days of rows that the source keeps; older ones leave it.
        every: Days between two scheduled retrains.
        seed: Of rows and faults.
        faults: What goes wrong; nothing in a control run.
        start: The first day, as ISO 8601.
    """

    model: str
    days: int = 90
    rows: int = 60
    delay: int = 3
    kept: int = 28
    every: int = 7
    seed: int = 0
    faults: list[Fault] = field(default_factory=list)
    start: str = ""

    @property
    def is_control(self) -> bool:
        """Whether nothing goes wrong."""
        return not self.faults

    @property
    def needed(self) -> int:
        """How many rows arrive in all, with those that the source begins with."""
        return self.rows * (self.days + self.kept + self.delay)

    def control(self) -> "Plan":
        """Return the same without faults."""
        return replace(self, faults=[])

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Return the plan in a file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**(content | {"faults": [Fault(**each) for each in content["faults"]]}))


def faults(
    days: int, delay: int, broken: str, columns: list[str], seed: int, value: float | None = None
) -> list[Fault]:
    """Return what goes wrong on days chosen by seed: only what so many days let a watch find.

    Args:
        days: How many days the simulation has.
        delay: Days until labels come; the broken column is mended after as many.
        broken: The column that breaks.
        columns: Columns for the concept change and the covariate shift.
        seed: Of the days.
        value: That the broken column has in every row, if it is not of another unit.
    """
    generator = np.random.default_rng(seed)
    early = int(generator.integers(max(days // 9, 3), max(days // 6, 5)))
    found = [Fault(BROKEN, broken, early, early + delay, value)]
    if days >= CHANGE_DAYS and columns:
        found.append(Fault(CONCEPT, columns[0], int(generator.integers(days * 3 // 9, days * 4 // 9)), days))
    if days > DRIFT_DAYS + CHANGE_DAYS // 3 and columns:
        found.append(Fault(SHIFT, columns[-1], int(generator.integers(DRIFT_DAYS, DRIFT_DAYS + days // 15)), days))
    return found
