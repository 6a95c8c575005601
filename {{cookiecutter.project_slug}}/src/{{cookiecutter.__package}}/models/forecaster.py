"""Forecast many series with prediction intervals: one global model, applied recursively with mlforecast."""

import warnings
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

from .. import BadRows, Refused
from ..datasets import columns
from ..datasets.table import Table
from ..features import seasons, tabular
from ..features.seasons import END, HISTORY, MIN_HISTORY, Frequency, History

PRIMARY = "mase"  # mean absolute scaled error: in units of the seasonal naive error on the training rows
TRUSTED = (*tabular.TRUSTED, f"{__name__}.Forecaster")
BACKTESTS = 4  # horizons at the end of the training rows that calibrate the interval
METHODS = ("model", "naive", "seasonal naive", "drift")  # all but the first are baselines without a fit

prediction_requests = seasons.prediction_requests
losses, metrics, plots = seasons.losses, seasons.metrics, seasons.plots


@dataclass(frozen=True)
class Params:
    """Parameters that params.yaml may set."""

    horizon: NonNegativeInt = 0  # steps to forecast; 0: one season, or 12 steps if a season has under 4 or over 24
    season: NonNegativeInt = 0  # season length in steps; 0: by the frequency, 12 for months
    level: Annotated[float, Field(gt=0, lt=1)] = 0.9  # nominal coverage of the prediction interval
    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 0.05
    rounds: PositiveInt = 100
    leaves: Annotated[int, Field(ge=2)] = 8


def inputs(rows: pd.DataFrame, table: Table) -> list[columns.Input]:
    """Return the columns of a request: the group if there is one, covariates, and optional time and history."""
    group = columns.inputs(rows, table, [table.group]) if table.group else []
    times = [columns.Input(table.time, "date", True, True), columns.Input(END, "date", True, True)]
    return [*group, *times, columns.Input(HISTORY, "list of numbers", True, True), *columns.inputs(rows, table)]


def fit(rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
    """Fit one model of all series, its differencing chosen and its interval calibrated by backtests.

    With too few rows for a backtest, use first differences and the interval of a random walk.
    """
    frequency = Frequency.of(rows, table, params)
    times = seasons.naive(rows[table.time])
    distinct = np.sort(times.unique())
    backtests = min(BACKTESTS, (len(distinct) - 2 * frequency.season_length - 8) // frequency.horizon)
    if backtests < 1:
        return Forecaster.of(frequency, table).fit(rows, table, params)
    held = times > distinct[-backtests * frequency.horizon - 1]
    requests = prediction_requests(rows, held, table, params)
    candidates = []
    for differences in {(1,), (frequency.season_length,), ()}:
        earlier = Forecaster.of(frequency, table, differences=differences).fit(rows[~held], table, params)
        candidates.append((losses(requests, earlier.predict(requests), table).mean(), differences, earlier))
    _, differences, earlier = min(candidates, key=lambda candidate: candidate[:2])
    final = Forecaster.of(frequency, table, differences=differences).fit(rows, table, params)
    final.calibrate_interval(earlier, requests, table.target, params.level)
    return final


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, "Forecaster"]:
    """Fit the naive, seasonal naive and drift methods."""
    frequency = Frequency.of(rows, table, params)
    return {method: Forecaster.of(frequency, table, method).fit(rows, table, params) for method in METHODS[1:]}


def predict(estimator: "Forecaster", rows: pd.DataFrame) -> pd.DataFrame:
    """Return `prediction` and its interval from `low` to `high`, in the target's unit; raise BadRows."""
    return estimator.predict(rows)


def update(estimator: "Forecaster", rows: pd.DataFrame, table: Table) -> "Forecaster":
    """Return the forecaster with the last values of every series in these rows; nothing is fitted again."""
    newer = copy(estimator)
    newer.keep_histories(rows, table)
    return newer


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
    """A forecaster of all series of a table, which keeps the last values of each series it was fitted on.

    Args:
        method: One of METHODS: the model or a baseline.
        differences: Lags at which the model differences the values, one after the other; empty: not at all.
        frequency: The pandas frequency of the series.
        season_length: Steps of a season.
        horizon: Largest number of steps ahead.
        time: The time column.
        group: The column that identifies a series; None if there is only one.

    Attributes:
        names_: The names of the series.
        last_times_: The time of the last value of each series, in ISO format.
        last_values_: The last values of each series, each `(<= window,)`.
        half_widths_: Half the interval's width by step, `(horizon,)`, in mean absolute changes of the history.
        encoder_: The fitted encoder of the covariates; None without covariates.
        covariate_means_: The mean of each encoded covariate, `(covariates,)`.
        model_: The fitted regressor of the next value.
    """

    def __init__(
        self,
        method: str,
        differences: tuple[int, ...],
        frequency: str,
        season_length: int,
        horizon: int,
        time: str,
        group: str | None,
    ) -> None:
        self.method, self.differences, self.frequency = method, differences, frequency
        self.season_length, self.horizon, self.time, self.group = season_length, horizon, time, group

    @classmethod
    def of(
        cls, frequency: Frequency, table: Table, method: str = METHODS[0], differences: tuple[int, ...] = (1,)
    ) -> "Forecaster":
        """Return an unfitted forecaster of the table's series."""
        grid = (frequency.frequency, frequency.season_length, frequency.horizon)
        return cls(method, differences, *grid, table.time, table.group)

    @property
    def _grid(self) -> Frequency:
        return Frequency(self.frequency, self.season_length, self.horizon)

    def fit(self, rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
        """Keep the last values of every series and, unless the method is a baseline, fit the model.

        Raises:
            Refused: No series has MIN_HISTORY values, or all are too short for the model's lags.
        """
        series = self.keep_histories(rows, table)
        self.half_widths_ = np.sqrt(np.arange(1, self.horizon + 1)) * 2.0  # a random walk's, until calibrated
        covariates = bool(table.features) and self.method == METHODS[0]
        self.encoder_ = tabular.encoder(rows, table, "continuous") if covariates else None
        if self.encoder_ is not None:
            self.encoder_.fit(rows, rows[table.target].to_numpy(float))
        if self.method == METHODS[0]:
            self._fit_model(rows, table, series, params)
        return self

    def keep_histories(self, rows: pd.DataFrame, table: Table) -> dict[str, pd.Series]:
        """Keep the last values of every series, and return each series; raise Refused if all are too short."""
        series = seasons.trimmed(seasons.wide(rows, table, self.frequency))
        series = {name: own for name, own in series.items() if own.notna().sum() >= MIN_HISTORY}
        if not series:
            raise Refused(f"no series of table {table.name} has {MIN_HISTORY} values to learn from: load more rows")
        self.names_, self.last_times_ = list(series), [own.index[-1].isoformat() for own in series.values()]
        self.last_values_ = [own.to_numpy()[-self._grid.window :] for own in series.values()]
        return series

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `prediction`, `low` and `high` at each row's time; raise BadRows."""
        histories, which, steps = self._requested(rows)
        covariates = None
        if self.encoder_ is not None:  # a history per row: covariates of one row must not reach another's forecast
            covariates = np.tile(self.covariate_means_, (len(rows), steps.max(), 1))  # (rows, steps, covariates)
            covariates[np.arange(len(rows)), steps - 1] = self.encoder_.transform(rows)
            histories, which = [histories[i] for i in which], np.arange(len(rows))
        forecast = self._forecast(histories, steps.max(), covariates)  # (histories, steps)
        frame = pd.DataFrame({"prediction": forecast[which, steps - 1]}, index=rows.index)
        half = seasons.mean_absolute_change(histories)[which] * self.half_widths_[steps - 1]  # (rows,)
        return frame.assign(low=frame["prediction"] - half, high=frame["prediction"] + half)

    def calibrate_interval(self, earlier: "Forecaster", requests: pd.DataFrame, target: str, level: float) -> None:
        """Set the interval's width by split conformal prediction, non-decreasing with the steps ahead.

        Args:
            earlier: A forecaster fitted without the rows of the requests.
            requests: Prediction requests with their actual values.
            target: The column of the actual values.
            level: The nominal coverage, between 0 and 1.
        """
        if requests.empty:
            return
        histories, which, steps = self._requested(requests)
        errors = np.abs(earlier.predict(requests)["prediction"].to_numpy() - requests[target].to_numpy(float))
        scaled = pd.Series(errors / seasons.mean_absolute_change(histories)[which]).groupby(steps)
        quantiles = scaled.apply(lambda each: each.quantile(min(1.0, np.ceil((len(each) + 1) * level) / len(each))))
        quantiles = quantiles.reindex(range(1, self.horizon + 1)).ffill().bfill().to_numpy()  # (horizon,)
        self.half_widths_ = np.maximum.accumulate(quantiles)

    def expand_horizon(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return each row once for every step of the horizon, with the time of that step."""
        ends = [self._history_of(row).end for row in rows.to_dict("records")]
        times = [pd.date_range(end, periods=self.horizon + 1, freq=self.frequency)[1:] for end in ends]
        many = rows.loc[rows.index.repeat(self.horizon)]
        return many.assign(**{self.time: np.concatenate(times) if times else pd.Series(dtype="datetime64[us]")})

    def _history_of(self, row: dict[str, Any]) -> History:
        """Return the row's history, or the last training values of its series if it has none; raise BadRows."""
        history, end = row.get(HISTORY), row.get(END)
        if history is None or np.ndim(history) == 0:
            name = seasons.name(row[self.group]) if self.group else self.names_[0]
            if name not in self.names_:
                raise BadRows(f"series {name!r} is not known: send its {HISTORY} and {END}")
            place = self.names_.index(name)
            return History(pd.Timestamp(self.last_times_[place]), self.last_values_[place])
        values = np.asarray(history, float)[-self._grid.window :]
        if np.isfinite(values).sum() < MIN_HISTORY:
            raise BadRows(f"column {HISTORY!r} must have at least {MIN_HISTORY} numbers")
        if end is None or pd.isna(end):
            raise BadRows(f"column {END!r} must be the time of the last value in {HISTORY!r}")
        return History(pd.Timestamp(end), values)

    def _requested(self, rows: pd.DataFrame) -> tuple[list[History], np.ndarray, np.ndarray]:
        """Return the distinct histories, and for each row the position of its history and its steps ahead, `(rows,)`.

        Raises:
            BadRows: A row has no usable history, or its time is outside the horizon or not on the grid.
        """
        places: dict[tuple, int] = {}
        histories, which = [], []
        for row in rows.to_dict("records"):
            end, values = self._history_of(row)
            name = seasons.name(row[self.group]) if self.group else ""
            place = places.setdefault((name, end, values.tobytes()), len(places))
            if place == len(histories):
                histories.append(History(end, seasons.filled(values)))
            which.append(place)
        times, ends = seasons.naive(rows[self.time]), pd.Series([histories[place].end for place in which], rows.index)
        steps = seasons.steps_between(ends, times, self.frequency)
        if (outside := (steps < 1) | (steps > self.horizon)).any():
            raise BadRows(
                f"column {self.time!r}: {times[outside].iloc[0]} is {steps[outside][0]} steps after the end of its "
                f"history ({ends[outside].iloc[0]}), but the forecast is for 1 to {self.horizon}"
            )
        return histories, np.array(which), steps

    def _forecast(self, histories: list[History], count: int, covariates: np.ndarray | None) -> np.ndarray:
        """Return the next `count` values of each history, `(histories, count)`.

        Covariates, if any, are `(histories, count, covariates)`.
        """
        if self.method != METHODS[0]:
            return seasons.extrapolated(self.method, histories, count, self.season_length)
        history, future = seasons.long(histories, self.frequency, self._min_length), None
        if covariates is not None:
            after = [pd.date_range(end, periods=count + 1, freq=self.frequency)[1:] for end, _ in histories]
            keys = {"unique_id": np.repeat(np.arange(len(histories)), count), "ds": np.concatenate(after)}
            values = {f"x{i}": covariates[:, :, i].ravel() for i in range(covariates.shape[2])}
            future, history = pd.DataFrame(keys | values), history.assign(**dict.fromkeys(values, 0.0))
        engine = _engine(self._grid, self.differences)
        engine.preprocess(history, static_features=[], dropna=False)
        engine.models_ = {"prediction": self.model_}
        found = engine.predict(count, new_df=history, X_df=future)["prediction"].to_numpy().reshape(-1, count)
        constant = np.array([np.ptp(values) == 0 for _, values in histories])  # (histories,)
        last = np.array([values[-1] for _, values in histories])  # (histories,)
        return np.where(constant[:, None], last[:, None], found)

    @property
    def _min_length(self) -> int:
        """Return the length, in steps, to which shorter histories are padded."""
        return sum(self.differences) + MIN_HISTORY

    def _fit_model(self, rows: pd.DataFrame, table: Table, series: dict[str, pd.Series], params: Params) -> None:
        """Fit the mean of a ridge regression and boosted trees on all series, each standardised."""
        histories = [History(own.index[-1], seasons.filled(own.to_numpy())) for own in series.values()]
        frame = seasons.long(histories, self.frequency, self._min_length)
        if self.encoder_ is not None:
            frame = self._with_covariates(frame, rows, table, list(series))
        trees = HistGradientBoostingRegressor(**tabular.boosting(params))
        linear = make_pipeline(tabular.scaler(), RidgeCV(alphas=np.logspace(-1, 3, 9)))
        engine = _engine(self._grid, self.differences, VotingRegressor([("linear", linear), ("trees", trees)]))
        try:
            self.model_ = engine.fit(frame, static_features=[]).models_["prediction"]
        except ValueError as error:
            raise Refused(f"the series of table {table.name} are too short to learn from: {error}") from error

    def _with_covariates(self, frame: pd.DataFrame, rows: pd.DataFrame, table: Table, names: list[str]) -> pd.DataFrame:
        """Return the long frame with the encoded covariates of each time, their means where a series has no row."""
        places = {name: i for i, name in enumerate(names)}
        keys = [seasons.names(rows, table).map(places), seasons.naive(rows[table.time])]
        encoded = pd.DataFrame(self.encoder_.transform(rows), pd.MultiIndex.from_arrays(keys))  # (rows, covariates)
        self.covariate_means_ = encoded.mean().fillna(0.0).to_numpy()
        aligned = encoded.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]]))
        aligned = aligned.fillna(dict(enumerate(self.covariate_means_)))
        return frame.join(aligned.reset_index(drop=True).add_prefix("x"))


def _engine(frequency: Frequency, differences: tuple[int, ...], regressor: BaseEstimator | None = None) -> Any:
    """Return mlforecast with lags and a seasonal mean of the differenced, standardised series, and date features."""
    from mlforecast import MLForecast  # takes two seconds to import, so only where a forecast is made
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    warnings.filterwarnings("ignore", "Found null values")  # lags that a short history does not have
    scaler = LocalStandardScaler()
    return MLForecast(
        models={"prediction": regressor} if regressor is not None else {},
        freq=frequency.frequency,
        lags=frequency.lags,
        lag_transforms={1: [RollingMean(max(frequency.season_length, 2), min_samples=1)]},
        date_features=frequency.date_features,
        target_transforms=[Differences(list(differences)), scaler] if differences else [scaler],
        num_threads=1,
    )
