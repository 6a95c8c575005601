"""Series on a regular time grid, and the requests, losses, metrics and plots of models that forecast them."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from .. import BadRows, Refused
from ..datasets.table import Table
from . import forecast_plots, former_seasons, simple_forecasts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
SEASONS = {  # pandas frequency, coarsest first: season length in steps
    **{"YS-{month}": 1, "YE-{month}": 1, "QS-{month}": 4, "QE-{month}": 4, "MS": 12, "ME": 12, "W-{day}": 52},
    **{"B": 5, "D": 7, "h": 24, "30min": 48, "15min": 96, "5min": 12, "min": 60},
}
LONG_SEASONS = {"h": 168, "30min": 336, "15min": 672, "5min": 288, "min": 1440}  # a second season: the week, or the day
HISTORY, END = "history", "history_end"  # inputs besides the table's columns: values, and the time of the last one
SCALE, STEP = "naive_error", "steps_ahead"  # added to held-out rows for losses, metrics and plots
LEVEL = "interval_level"  # added likewise: the nominal coverage, if the parameters have a level
MIN_HISTORY = 3  # values that a history must have
MAX_STEPS = 100_000  # between the earliest and the latest time of one prediction
MAX_VALUES = 40_000_000  # of all histories in the requests for held-out rows: 0.3 GB


@dataclass(frozen=True)
class Frequency:
    """The frequency of a time grid, with season length and forecast horizon in steps."""

    frequency: str  # a pandas frequency, such as "MS"
    season_length: int
    horizon: int

    @classmethod
    def of(cls, rows: pd.DataFrame, table: Table, params: Any) -> "Frequency":
        """Infer the frequency from the time column; `season` and `horizon` of the parameters override, unless 0.

        Raises:
            Refused: The table has no time column, or its times have no regular frequency.
        """
        if not table.time:
            raise Refused(f"table {table.name} has no time column: declare one in data.py")
        frequency, season = infer_frequency(rows[table.time])
        season = params.season or season
        return cls(frequency, season, params.horizon or (season if 4 <= season <= 24 else 12))

    @property
    def long_season(self) -> int:
        """Return the length of a second, longer season in steps; 0 if there is none."""
        length = LONG_SEASONS.get(self.frequency, 0)
        return length if length > self.season_length > 1 else 0

    @property
    def window(self) -> int:
        """Return the number of last values of a history that are used."""
        return max(3 * self.long_season, 4 * self.season_length, 120)

    @property
    def lags(self) -> list[int]:
        """Return the lags that forecasters of release 0.3 use as features, in steps; removed in 1.0."""
        season = self.season_length
        return sorted({1, 2, 3, *(lag for lag in (season - 1, season, season + 1) if lag > 0)})

    @property
    def date_features(self) -> list[str]:
        """Return the attributes of a timestamp that forecasters of release 0.3 use; removed in 1.0."""
        known = {"Y": [], "Q": ["quarter"], "M": ["month"], "W": ["month"]}
        return known.get(self.frequency[0], ["hour", "dayofweek"] if self.frequency[-1] in "hn" else ["dayofweek"])


class History(NamedTuple):
    """The last known values of one series."""

    end: pd.Timestamp  # the time of the last value
    values: np.ndarray  # (steps,), one per step of the grid


class Panel(NamedTuple):
    """All series of a table on one time grid."""

    times: pd.DatetimeIndex
    names: list[str]
    values: np.ndarray  # (times, series), NaN where a series has no value
    rows: np.ndarray  # (times, series), the position of the row, -1 where there is none


def infer_frequency(times: pd.Series) -> tuple[str, int]:
    """Return the coarsest pandas frequency on which all times lie, gaps allowed, and its season length in steps.

    Raises:
        Refused: The times have no regular frequency, or only in their own time zone.
    """
    seen = pd.DatetimeIndex(naive(times).unique()).sort_values()
    words = {"month": MONTHS[seen[0].month - 1], "day": DAYS[seen[0].day_of_week]}
    zone = getattr(times.dt, "tz", None)
    for pattern, season in SEASONS.items():
        frequency = pattern.format(**words)
        if zone is not None and pattern == "h" and _daily(times):
            raise Refused(f"column {times.name!r} is daily only in its own time zone: drop the zone in data.py")
        if len(seen) > 1 and seen.isin(pd.date_range(seen[0], seen[-1], freq=frequency)).all():
            return frequency, season
    raise Refused(
        f"column {times.name!r} has no regular frequency, from yearly to every minute: resample it in data.py"
    )


rhythm = infer_frequency  # former name, removed in 1.0


def __getattr__(name: str) -> Any:
    """Return a function that forecasters of release 0.3 use, with a warning."""
    if name.startswith("_") or not hasattr(former_seasons, name):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    warnings.warn(f"features.seasons.{name} is removed in 1.0", FutureWarning, stacklevel=2)
    return getattr(former_seasons, name)


def _daily(times: pd.Series) -> bool:
    """Return whether all rows have the same local time of day."""
    return times.dt.tz_localize(None).dt.time.nunique() == 1


def naive(times: pd.Series) -> pd.Series:
    """Return the times in UTC, without time zone."""
    return pd.to_datetime(times, utc=True).dt.tz_localize(None).astype("datetime64[us]")


def names(rows: pd.DataFrame, table: Table) -> pd.Series:
    """Return the name of each row's series: its group, or the table's name if the table has no groups."""
    return rows[table.group].map(name).astype(str) if table.group else pd.Series(table.name, index=rows.index)


def name(value: Any) -> str:
    """Return the name of a series as text, the same for 7 and 7.0: an integer may become a float through JSON."""
    whole = isinstance(value, float | np.floating) and value.is_integer()
    return str(int(value)) if whole else str(value)


def wide(rows: pd.DataFrame, table: Table, frequency: str) -> pd.DataFrame:
    """Return the target on the time grid, `(times, series)`, NaN where a series has no value.

    Raises:
        Refused: A series has two rows at one time, or a row between the times of the grid.
    """
    keyed = pd.DataFrame({"series": names(rows, table), "time": naive(rows[table.time])})
    if (doubled := keyed.duplicated()).any():
        first = keyed[doubled].iloc[0]
        raise Refused(
            f"series {first['series']!r} has two rows at {first['time']}: declare the column that identifies a series "
            "as group in data.py"
        )
    values = pd.Series(rows[table.target].to_numpy(float, na_value=np.nan), pd.MultiIndex.from_frame(keyed))
    grid = pd.date_range(keyed["time"].min(), keyed["time"].max(), freq=frequency)
    if (off := ~keyed["time"].isin(grid)).any():
        first = keyed[off].iloc[0]
        raise Refused(f"series {first['series']!r} has a row at {first['time']}, which is off the grid ({frequency})")
    return values.unstack("series").reindex(grid)


def panel(rows: pd.DataFrame, table: Table, frequency: str, gaps: str = "missing") -> Panel:
    """Return all series on one time grid.

    Args:
        rows: Rows of the table.
        table: Names time, group and target.
        frequency: The pandas frequency of the grid.
        gaps: What it means that a series has no row at a time after its first one: the value is "missing", or "zero".
    """
    values = wide(rows, table, frequency)
    places = np.full(values.shape, -1)
    at, series = values.index.get_indexer(naive(rows[table.time])), values.columns.get_indexer(names(rows, table))
    places[at, series] = np.arange(len(rows))
    found = values.to_numpy(float)
    if gaps == "zero":
        found = np.where(np.logical_or.accumulate(np.isfinite(found), axis=0) & ~np.isfinite(found), 0.0, found)
    return Panel(values.index, list(values), found, places)


def naive_error(values: np.ndarray, season: int) -> float:
    """Return the in-sample mean absolute error of the seasonal naive forecast, the scale of MASE.

    Where it is undefined or 0, return that of the naive forecast, else the mean absolute value, else 1. See Hyndman and
    Koehler (2006), "Another look at measures of forecast accuracy".

    Args:
        values: A series, `(steps,)`, NaN in its gaps.
        season: Season length in steps.
    """
    return float(simple_forecasts.scales(values[None], season)[0])


def steps_between(ends: pd.Series, times: pd.Series, frequency: str) -> np.ndarray:
    """Return the steps from the end of each row's history to the row's time, `(rows,)`, negative if it is earlier.

    Raises:
        BadRows: A time is missing or not on the grid of the frequency, or all span more than MAX_STEPS.
    """
    if times.isna().any():
        raise BadRows(f"column {times.name!r} is empty in {times.isna().sum()} rows: send the time to forecast")
    start, stop = ends.min(), max(times.max(), ends.max())
    step = pd.date_range("2001-01-01", periods=2, freq=frequency)
    if (stop - start) / (step[1] - step[0]) > MAX_STEPS:
        raise BadRows(f"columns {times.name!r} and {END!r} are more than {MAX_STEPS} steps apart")
    grid = pd.date_range(start, stop, freq=frequency)
    last, at = grid.get_indexer(ends), grid.get_indexer(times)
    if (last < 0).any() or (at < 0).any():
        wrong = ends[last < 0].iloc[0] if (last < 0).any() else times[at < 0].iloc[0]
        raise BadRows(f"{wrong} is not on the time grid of the series (frequency {frequency})")
    return at - last


def prediction_requests(rows: pd.DataFrame, held: pd.Series, table: Table, params: Any) -> pd.DataFrame:
    """Return the held-out rows with the history known at each forecast origin.

    The first origin is the last training time; the next ones follow one horizon apart. Rows of series with fewer than
    MIN_HISTORY values at their origin are left out, and whole origins where all histories would exceed MAX_VALUES.

    Args:
        rows: All rows of the table.
        held: Which of them are held out (boolean, by their index).
        table: The table of the rows.
        params: The parameters that set horizon and season.

    Returns:
        The rows with `history` (an array of floats, NaN in gaps), `history_end` (time of its last value), `naive_error`
        (unit of the target), `steps_ahead` (1 to horizon) and `interval_level`.

    Raises:
        Refused: The table has a column of one of these names, or no regular frequency.
    """
    frequency = Frequency.of(rows[~held] if (~held).any() else rows, table, params)
    if clash := {HISTORY, END, SCALE, STEP, LEVEL} & set(rows):
        raise Refused(f"table {table.name} has a column {min(clash)!r}, a name the forecaster adds: rename the column")
    times, _, values, places = panel(rows, table, frequency.frequency, getattr(params, "gaps", "missing"))
    known = ~held.to_numpy()
    last = times.get_loc(naive(rows.loc[known, table.time]).max()) if known.any() else 0  # of the training times
    at, series = np.nonzero((places >= 0) & ~np.append(known, False)[places])  # (rows,), the held-out ones
    origins = last + (at - last - 1) // frequency.horizon * frequency.horizon
    kept = _thinned(origins, frequency.window)
    at, series, origins = at[kept], series[kept], origins[kept]
    pairs, which = np.unique(origins * values.shape[1] + series, return_inverse=True)
    origin_and_series = zip(*divmod(pairs, values.shape[1]), strict=True)
    histories = [_history(values[:, place], origin, frequency.window) for origin, place in origin_and_series]
    usable = np.array([np.isfinite(history).sum() >= MIN_HISTORY for history in histories], bool)[which]
    at, series, origins, which = at[usable], series[usable], origins[usable], which[usable]
    scales = np.array([_scale(each, last, frequency.season_length) for each in values.T])
    asked = rows.iloc[places[at, series]].assign(**{END: times[origins], SCALE: scales[series], STEP: at - origins})
    asked[HISTORY] = pd.Series([histories[pair] for pair in which], asked.index, object)
    if hasattr(params, "level"):
        asked[LEVEL] = float(params.level)
    return asked.sort_index()


def _thinned(origins: np.ndarray, window: int) -> np.ndarray:
    """Return which rows to keep, all of some origins or none, so that their histories have at most MAX_VALUES."""
    distinct, which = np.unique(origins, return_inverse=True)
    every = -(-len(origins) * window // MAX_VALUES)
    return (len(distinct) - 1 - which) % max(every, 1) == 0


def _history(values: np.ndarray, origin: int, window: int) -> np.ndarray:
    """Return the last values of a series up to an origin, from the first known one on, `(<= window,)`."""
    history = values[max(0, origin + 1 - window) : max(0, origin + 1)]
    known = np.flatnonzero(np.isfinite(history))
    return history[known[0] :] if len(known) else history[:0]


def _scale(values: np.ndarray, last: int, season: int) -> float:
    """Return the naive error of a series up to position `last`; of all its values if those are too few."""
    training = values[: last + 1]
    return naive_error(training if np.isfinite(training).sum() > season else values, season)


def loss_context(held: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return the naive error of each series, by which `losses` scales; of held-out rows."""
    names = [table.group] if table.group else []
    return held[[*names, SCALE]].drop_duplicates(names) if names else held[[SCALE]].head(1)


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """Return the absolute scaled error of each row, `(rows,)`."""
    return np.abs(_errors(rows, predictions, table)) / rows[SCALE].to_numpy()


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Return errors in the target's unit, the interval's coverage, and its mean width in naive errors."""
    errors = _errors(rows, predictions, table)
    truth = rows[table.target].to_numpy(float)
    found = {"mae": np.abs(errors).mean(), "rmse": np.sqrt(np.square(errors).mean()), "bias": errors.mean()}
    inside = (predictions["low"] <= truth) & (truth <= predictions["high"])
    width = (predictions["high"] - predictions["low"]).to_numpy() / rows[SCALE].to_numpy()
    found |= {"coverage": inside.mean(), "band_width": width.mean()}
    return {name: float(value) for name, value in found.items()}


def _errors(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    return predictions["prediction"].to_numpy() - rows[table.target].to_numpy(float)


def loss_units(loss: float, table: Table) -> dict[str, float]:
    """Return a mean loss by the name of its unit."""
    return {"MASE": loss}


def plots(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, "Figure | dict[str, Figure]"]:
    """Return figures of the best, median and worst series, and of error, bias and coverage by steps ahead."""
    try:
        frequency = infer_frequency(pd.concat([naive(rows[table.time]), naive(rows[END])]).rename(table.time))[0]
    except Refused:  # too few held-out times
        frequency = None
    return forecast_plots.plots(_scored(rows, predictions, table), frequency)


def tables(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, pd.DataFrame]:
    """Return errors, bias and coverage of the best, median and worst series."""
    return forecast_plots.tables(_scored(rows, predictions, table))


def _scored(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return what `forecast_plots` shows of the held-out rows."""
    truth = rows[table.target].astype(float)
    found = pd.DataFrame({"series": names(rows, table), "time": naive(rows[table.time]), "origin": naive(rows[END])})
    found = found.assign(step=rows[STEP], history=rows[HISTORY], actual=truth, mase=losses(rows, predictions, table))
    found["bias"] = _errors(rows, predictions, table) / rows[SCALE].to_numpy()
    found["inside"] = predictions["low"].le(truth) & predictions["high"].ge(truth)
    found[["prediction", "low", "high"]] = predictions[["prediction", "low", "high"]]
    return found.assign(level=rows[LEVEL]) if LEVEL in rows else found
