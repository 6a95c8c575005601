"""Times that keep a beat: their frequency, how long their season is, and series on the grid that it makes."""

from typing import Any

import numpy as np
import pandas as pd

from .. import Refused
from ..table import Table

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
SEASONS = {  # pandas' frequencies, the coarsest first, and how many steps it takes until the same comes again
    **{"YS-{month}": 1, "YE-{month}": 1, "QS-{month}": 4, "QE-{month}": 4, "MS": 12, "ME": 12, "W-{day}": 52},
    **{"B": 5, "D": 7, "h": 24, "30min": 48, "15min": 96, "5min": 12, "min": 60},
}


def rhythm(times: pd.Series) -> tuple[str, int]:
    """The coarsest frequency on which all times lie, gaps allowed, and its season; raises Refused if there is none."""
    seen = pd.DatetimeIndex(naive(times).unique()).sort_values()
    words = {"month": MONTHS[seen[0].month - 1], "day": DAYS[seen[0].day_of_week]}
    zone = getattr(times.dt, "tz", None)
    for pattern, season in SEASONS.items():
        frequency = pattern.format(**words)
        if zone is not None and pattern == "h" and _daily(times):
            raise Refused(f"column {times.name!r} keeps its beat only in its own time zone: drop the zone in data.py")
        if len(seen) > 1 and seen.isin(pd.date_range(seen[0], seen[-1], freq=frequency)).all():
            return frequency, season
    raise Refused(f"column {times.name!r} keeps no beat, not even a minute's: bring it to one in data.py")


def _daily(times: pd.Series) -> bool:
    """Whether the clocks on the wall show the same time in all rows."""
    return times.dt.tz_localize(None).dt.time.nunique() == 1


def naive(times: pd.Series) -> pd.Series:
    """The times without a time zone, in UTC."""
    return pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[us]")


def names(rows: pd.DataFrame, table: Table) -> pd.Series:
    """The name of the series that each row belongs to."""
    return rows[table.group].map(name).astype(str) if table.group else pd.Series(table.name, index=rows.index)


def name(value: Any) -> str:
    """A series' name as text, the same for 7 and 7.0, which a number may become on its way through JSON."""
    whole = isinstance(value, float | np.floating) and value.is_integer()
    return str(int(value)) if whole else str(value)


def wide(rows: pd.DataFrame, table: Table, frequency: str) -> pd.DataFrame:
    """The target on the grid of times, a column per series, NaN in its gaps and outside it; raises Refused."""
    keyed = pd.DataFrame({"series": names(rows, table), "time": naive(rows[table.time])})
    if (doubled := keyed.duplicated()).any():
        first = keyed[doubled].iloc[0]
        raise Refused(
            f"series {first['series']!r} has two rows at {first['time']}: name its column as group in data.py"
        )
    values = pd.Series(rows[table.target].to_numpy(float, na_value=np.nan), pd.MultiIndex.from_frame(keyed))
    grid = pd.date_range(keyed["time"].min(), keyed["time"].max(), freq=frequency)
    if (off := ~keyed["time"].isin(grid)).any():
        first = keyed[off].iloc[0]
        raise Refused(f"series {first['series']!r} has a row at {first['time']}, which is off the beat ({frequency})")
    return values.unstack("series").reindex(grid)


def filled(values: np.ndarray) -> np.ndarray:
    """The values with gaps bridged by straight lines, and what is missing at either end by the nearest value."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])


def naive_error(values: np.ndarray, season: int) -> float:
    """The mean absolute error of repeating the last season (the scale of MASE, Hyndman and Koehler 2006).

    Where that is unknown or nothing: of repeating the last value; then the mean absolute value; then 1.
    """
    for step in (season, 1):
        errors = np.abs(values[step:] - values[:-step])
        if np.isfinite(errors).any() and (error := np.nanmean(errors)) > 0:
            return float(error)
    level = np.nanmean(np.abs(values)) if np.isfinite(values).any() else 0
    return float(level) or 1.0
