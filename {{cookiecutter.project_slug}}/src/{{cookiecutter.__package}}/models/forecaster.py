"""Forecast many series with prediction intervals: one global model of simple forecasts and boosted trees."""

import copy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.base import BaseEstimator

from .. import BadRows, Refused
from ..datasets import columns
from ..datasets.table import Table
from ..features import direct_forecasts, seasons, tabular
from ..features.direct_forecasts import Described, Examples, Origins
from ..features.progress import progress
from ..features.seasons import END, HISTORY, MIN_HISTORY, Frequency, Panel
from ..features.simple_forecasts import BASELINES

PRIMARY = "mase"  # mean absolute scaled error: in units of the seasonal naive error on the training rows
TRUSTED = (*tabular.TRUSTED, f"{__name__}.Forecaster")
TINY = 1e-9  # in units of the scale: a history of which all simple forecasts are that close to its level is constant
YEARS = 2  # of training rows from which on the day of the year is learned from

prediction_requests = seasons.prediction_requests
losses, metrics, plots = seasons.losses, seasons.metrics, seasons.plots
tables, loss_units, loss_context = seasons.tables, seasons.loss_units, seasons.loss_context


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    horizon: NonNegativeInt = 0  # steps to forecast; 0: one season, or 12 steps if a season has under 4 or over 24
    season: NonNegativeInt = 0  # season length in steps; 0: by the frequency, 12 for months
    gaps: Literal["missing", "zero"] = "missing"  # what it means that a series has no row at a time
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9  # nominal coverage of the prediction interval
    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.1
    rounds: PositiveInt = 100
    leaves: Annotated[int, Field(ge=2)] = 8


def inputs(rows: pd.DataFrame, table: Table) -> list[columns.Input]:
    """Return the columns of a request: the group if there is one, covariates, and optional time and history."""
    group = columns.inputs(rows, table, [table.group]) if table.group else []
    times = [columns.Input(table.time, "date", True, True), columns.Input(END, "date", True, True)]
    return [*group, *times, columns.Input(HISTORY, "list of numbers", True, True), *columns.inputs(rows, table)]


def fit(rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
    """Fit one model of all series; its interval is calibrated by backtests.

    Raises:
        Refused: No series has MIN_HISTORY values, or the times have no regular frequency.
    """
    return Forecaster.of(rows, table, params).fit(rows, table, params)


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, "Forecaster"]:
    """Return the naive, seasonal naive, drift and Theta methods."""
    return {method: Forecaster.of(rows, table, params, method).fit(rows, table, params) for method in BASELINES}


def update(estimator: "Forecaster", rows: pd.DataFrame, table: Table) -> "Forecaster":
    """Return the forecaster with the histories of all series up to these rows, which may be newer; nothing is fitted.

    A series that is not among the rows keeps its history.
    """
    return copy.copy(estimator).remember(rows, table)


def predict(estimator: "Forecaster", rows: pd.DataFrame) -> pd.DataFrame:
    """Return `prediction` and its interval from `low` to `high`, in the target's unit; raise BadRows."""
    return estimator.predict(rows)


def future_requests(estimator: "Forecaster", periods: int | None) -> pd.DataFrame:
    """Return a row for each series and each of its next periods, by default the horizon; raise BadRows beyond it."""
    if not 1 <= (periods or 1) <= estimator.horizon:
        raise BadRows(f"the forecast is for 1 to {estimator.horizon} periods: set `horizon` in params.yaml")
    names = {estimator.group: estimator.names_} if estimator.group else {}
    rows = estimator.expand_horizon(pd.DataFrame(names, index=range(len(estimator.names_))))
    step = rows.groupby(level=0).cumcount()
    return rows[step < (periods or estimator.horizon)].reset_index(drop=True)


def expand_requests(estimator: "Forecaster", rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows; one without a time becomes a row for each time of the horizon; raise BadRows."""
    timeless = rows[estimator.time].isna()
    if not timeless.any():
        return rows
    many = pd.concat([rows[~timeless], estimator.expand_horizon(rows[timeless])])
    return many.sort_index(kind="stable").reset_index(drop=True)


def prediction_responses(estimator: "Forecaster", rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the service's response to each row: the forecast for its time or, without one, for the whole horizon.

    Raises:
        BadRows: A row has neither a known series nor a usable history, or its time is outside the horizon.
    """
    timeless = rows[estimator.time].isna()
    requests = pd.concat([rows[~timeless], estimator.expand_horizon(rows[timeless])], ignore_index=True)
    found = estimator.predict(requests).assign(**{estimator.time: requests[estimator.time]})
    single = iter(columns.records(found.iloc[: (~timeless).sum()]))
    many = iter(columns.records(found.iloc[(~timeless).sum() :]))
    return [{"forecast": [next(many) for _ in range(estimator.horizon)]} if each else next(single) for each in timeless]


class Forecaster(BaseEstimator):
    """A forecaster of all series of a table, which keeps the last values of each series.

    Args:
        method: "model", or one of BASELINES.
        frequency: The pandas frequency of the series.
        season_length: Steps of a season.
        horizon: Largest number of steps ahead.
        gaps: What it means that a series has no value at a time: "missing" or "zero".
        time: The time column.
        group: The column that identifies a series; None if there is only one.

    Attributes:
        names_: The names of the series.
        last_times_: The time of the last value of each series, in ISO format.
        last_values_: The last values of each series, `(series, window)`, NaN in gaps and before the first.
        nonnegative_: Whether no value was below 0: no forecast is, then.
        yearly_: Whether the day of the year is a feature.
        encoder_: The fitted encoder of the covariates; None without covariates.
        weights_: The weights of the simple forecasts, `(methods,)`.
        trees_: The fitted boosted trees; None if there were too few rows.
        share_: The trees' share in a forecast, from 0 to 1.
        half_widths_: Half the interval's width by step, `(horizon,)`, in units of the scale times the volatility.
    """

    def __init__(
        self, method: str, frequency: str, season_length: int, horizon: int, gaps: str, time: str, group: str | None
    ) -> None:
        self.method, self.frequency, self.season_length, self.horizon = method, frequency, season_length, horizon
        self.gaps, self.time, self.group = gaps, time, group

    @classmethod
    def of(cls, rows: pd.DataFrame, table: Table, params: Params, method: str = "model") -> "Forecaster":
        """Return an unfitted forecaster of the table's series."""
        found = Frequency.of(rows, table, params)
        return cls(method, found.frequency, found.season_length, found.horizon, params.gaps, table.time, table.group)

    @property
    def _grid(self) -> Frequency:
        return Frequency(self.frequency, self.season_length, self.horizon)

    def fit(self, rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
        """Keep the last values of every series and, unless the method is a baseline, fit the model.

        Raises:
            Refused: No series has MIN_HISTORY values.
        """
        self.names_, self.last_times_, self.last_values_ = [], [], np.empty((0, self._grid.window))
        self.remember(rows, table)
        if not self.names_:
            raise Refused(f"no series of table {table.name} has {MIN_HISTORY} values to learn from: load more rows")
        panel = seasons.panel(rows, table, self.frequency, self.gaps)
        self.nonnegative_ = bool(rows[table.target].min() >= 0)
        self.yearly_ = panel.times[-1] - panel.times[0] >= pd.Timedelta(days=365 * YEARS)
        self.half_widths_ = 2 * np.sqrt(np.arange(1.0, self.horizon + 1))  # a random walk's, until calibrated
        self.encoder_, self.weights_, self.trees_, self.share_ = None, None, None, 0.0
        if self.method == "model":
            self._fit_model(panel, rows, table, params)
        return self

    def remember(self, rows: pd.DataFrame, table: Table) -> "Forecaster":
        """Keep the last values of each series of these rows that has MIN_HISTORY of them."""
        _, names, values, _ = panel = seasons.panel(rows, table, self.frequency, self.gaps)
        known = np.isfinite(values)
        series = np.flatnonzero(known.sum(axis=0) >= MIN_HISTORY)
        last = len(values) - 1 - known[::-1, series].argmax(axis=0)
        own = direct_forecasts.histories_of(panel, last, series, self._grid.window)
        kept = [place for place, name in enumerate(self.names_) if name not in set(names)]
        self.names_ = [*(self.names_[place] for place in kept), *(names[place] for place in series)]
        times = [panel.times[place].isoformat() for place in last]
        self.last_times_ = [*(self.last_times_[place] for place in kept), *times]
        self.last_values_ = np.concatenate([self.last_values_[kept], own])
        return self

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `prediction`, `low` and `high` at each row's time; raise BadRows."""
        histories, which, steps = self._requested(rows)
        order = np.argsort(which, kind="stable")
        times = pd.DatetimeIndex(seasons.naive(rows[self.time]))[order]
        known = self._known(times, rows.iloc[order])
        described = direct_forecasts.describe(histories, which[order], steps[order], known, self._grid)
        back = np.argsort(order, kind="stable")
        middle = (described.level + described.scale * self._scaled(described))[back]  # (rows,)
        half = (described.scale * described.volatility)[back] * self.half_widths_[steps - 1]
        found = pd.DataFrame({"prediction": middle, "low": middle - half, "high": middle + half}, rows.index)
        return found.clip(lower=0.0) if self.nonnegative_ else found

    def expand_horizon(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return each row once for every step of the horizon, with the time of that step."""
        ends = [self._history_of(row)[0] for row in rows.to_dict("records")]
        times = [pd.date_range(end, periods=self.horizon + 1, freq=self.frequency)[1:] for end in ends]
        many = rows.loc[rows.index.repeat(self.horizon)]
        return many.assign(**{self.time: np.concatenate(times) if times else pd.Series(dtype="datetime64[us]")})

    def _fit_model(self, panel: Panel, rows: pd.DataFrame, table: Table, params: Params) -> None:
        """Fit weights and trees on forecasts of the past, once they have been backtested on blocks of time."""
        if table.features:
            self.encoder_ = tabular.encoder(rows, table, "continuous")
            self.encoder_.fit(rows, rows[table.target].to_numpy(float))
        progress(f"simple forecasts of {len(panel.names):,} series")
        origins = direct_forecasts.draw_origins(panel, self._grid, params.seed)
        examples = self._examples(panel, origins, rows)
        if not len(examples.truth):  # then Theta
            self.weights_ = np.eye(examples.described.simple.shape[1])[BASELINES.index("theta")]
            return
        progress(f"backtests of {len(examples.truth):,} forecasts")
        tested = direct_forecasts.backtest(examples, params)
        self.weights_ = direct_forecasts.fit_weights(examples.described.simple, examples.truth)
        progress(f"fitting trees to {len(examples.truth):,} forecasts")
        self.trees_ = direct_forecasts.fit_trees(examples.described.features, examples.truth, params)
        self.share_ = 0.5 if self.trees_ is not None else 0.0
        if tested is not None:
            self.share_ = tested.share if self.trees_ is not None else 0.0
            self.half_widths_ = direct_forecasts.half_widths(tested.errors, tested.steps, self.horizon, params.level)

    def _examples(self, panel: Panel, origins: Origins, rows: pd.DataFrame) -> Examples:
        """Return the forecasts from these origins whose truth is among the rows."""
        which, ahead = np.repeat(np.arange(len(origins.at)), origins.steps.shape[1]), origins.steps.ravel()
        at, series = origins.at[which] + ahead, origins.series[which]
        good = at < len(panel.times)
        good[good] = panel.rows[at[good], series[good]] >= 0
        good[good] = np.isfinite(panel.values[at[good], series[good]])
        which, ahead, at, series = which[good], ahead[good], at[good], series[good]
        known = self._known(panel.times[at], rows.iloc[panel.rows[at, series]])
        histories = direct_forecasts.histories_of(panel, origins.at, origins.series, self._grid.window)
        described = direct_forecasts.describe(histories, which, ahead, known, self._grid)
        truth = (panel.values[at, series] - described.level) / described.scale
        return Examples(described, truth, ahead, at, origins.long[which])

    def _known(self, times: pd.DatetimeIndex, rows: pd.DataFrame) -> np.ndarray:
        """Return calendar and covariates of each row, `(rows, columns)`."""
        calendar = direct_forecasts.calendar_of(times, self._grid, self.yearly_)
        return calendar if self.encoder_ is None else np.column_stack([calendar, self.encoder_.transform(rows)])

    def _scaled(self, described: Described) -> np.ndarray:
        """Return the forecasts in units of the scale above the level, `(rows,)`."""
        if self.method != "model":
            return described.simple[:, BASELINES.index(self.method)]
        weighed = (described.simple * self.weights_).sum(axis=1)
        if self.share_ == 0:
            return weighed
        found = (1 - self.share_) * weighed + self.share_ * self.trees_.predict(described.features)
        constant = np.abs(described.simple).max(axis=1) < TINY
        return np.where(constant, 0.0, found)

    def _history_of(self, row: dict[str, Any]) -> tuple[pd.Timestamp, np.ndarray]:
        """Return end and values, `(window,)`, of the row's history, or of what is kept of its series; raise BadRows."""
        history, end = row.get(HISTORY), row.get(END)
        if history is None or np.ndim(history) == 0:
            name = seasons.name(row[self.group]) if self.group else self.names_[0]
            if name not in self.names_:
                raise BadRows(f"series {name!r} is not known: send its {HISTORY} and {END}")
            place = self.names_.index(name)
            return pd.Timestamp(self.last_times_[place]), self.last_values_[place]
        values = np.asarray(history, float)[-self._grid.window :]
        if np.isfinite(values).sum() < MIN_HISTORY:
            raise BadRows(f"column {HISTORY!r} must have at least {MIN_HISTORY} numbers")
        if end is None or pd.isna(end):
            raise BadRows(f"column {END!r} must be the time of the last value in {HISTORY!r}")
        values = np.nan_to_num(values) if self.gaps == "zero" else values
        short = self._grid.window - len(values)
        return pd.Timestamp(end), np.pad(values, (short, 0), constant_values=np.nan)

    def _requested(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the distinct histories, `(histories, window)`, and of each row its history and steps ahead, `(rows,)`.

        Raises:
            BadRows: A row has no usable history, or its time is outside the horizon or not on the grid.
        """
        places: dict[tuple, int] = {}
        histories, ends, which = [], [], []
        wanted = [name for name in (self.group, END, HISTORY) if name in rows]
        for row in rows[wanted].to_dict("records") if wanted else [{}] * len(rows):
            end, values = self._history_of(row)
            place = places.setdefault((end, values.tobytes()), len(places))
            if place == len(histories):
                histories.append(values)
            which.append(place)
            ends.append(end)
        times, ends = seasons.naive(rows[self.time]), pd.Series(ends, rows.index, "datetime64[us]")
        steps = seasons.steps_between(ends, times, self.frequency)
        if (outside := (steps < 1) | (steps > self.horizon)).any():
            raise BadRows(
                f"column {self.time!r}: {times[outside].iloc[0]} is {steps[outside][0]} steps after the end of its "
                f"history ({ends[outside].iloc[0]}), but the forecast is for 1 to {self.horizon}"
            )
        return np.array(histories).reshape(-1, self._grid.window), np.array(which, int), steps
