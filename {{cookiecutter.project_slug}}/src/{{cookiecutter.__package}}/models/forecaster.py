"""How each series goes on, with a band: one model of all series, fed its own forecasts step by step (mlforecast).

A question is a row with the series, the time asked for, and what was known then: `history`, the values up to
`history_end`. Without a history, the model goes on from the end of what it has learned from.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

from .. import BadRows, Refused, artifact
from ..parts import seasons, tabular
from ..table import Table

PRIMARY = "mase"  # mean absolute error, in units of what repeating the last season would have got on the training rows
TRUSTED = (*tabular.TRUSTED, f"{__name__}.Forecaster")
HISTORY, END = "history", "history_end"  # columns of a question besides the table's own
SCALE, STEP = "naive_error", "steps_ahead"  # columns by which its answer is judged
LEAST = 3  # values that a history must have
BACKTESTS = 4  # stretches of one horizon at the end of the training rows, from which the band is learned
SHOWN = 12  # series with a picture
WAYS = ("model", "naive", "seasonal naive", "drift")  # to go on from a history; all but the first need no fit
FAR = 100_000  # steps between the ends of two histories in one request


@dataclass(frozen=True)
class Params:
    horizon: int = 0  # steps ahead; 0: one season, or 12 steps where that is less than 4 or more than 24
    season: int = 0  # steps until the same comes again; 0: by the frequency, 12 for months
    level: float = 0.9  # share of the true values that the band should hold
    seed: int = 0
    learning_rate: float = 0.05
    rounds: int = 100
    leaves: int = 8


@dataclass(frozen=True)
class Beat:
    """How often the series are seen, how many steps a season has, and how many are forecast."""

    frequency: str
    season: int
    horizon: int

    @classmethod
    def of(cls, rows: pd.DataFrame, table: Table, params: Params) -> "Beat":
        if not table.time:
            raise Refused(f"table {table.name} has no time column: name it in data.py")
        frequency, season = seasons.rhythm(rows[table.time])
        season = params.season or season
        return cls(frequency, season, params.horizon or (season if 4 <= season <= 24 else 12))

    @property
    def window(self) -> int:
        """How many values of a history are used."""
        return max(3 * self.season, 40)

    @property
    def lags(self) -> list[int]:
        return sorted({1, 2, 3, *(lag for lag in (self.season - 1, self.season, self.season + 1) if lag > 0)})

    @property
    def date_features(self) -> list[str]:
        known = {"Y": [], "Q": ["quarter"], "M": ["month"], "W": ["month"]}
        return known.get(self.frequency[0], ["hour", "dayofweek"] if self.frequency[-1] in "hn" else ["dayofweek"])


def questions(rows: pd.DataFrame, held: pd.Series, table: Table, params: Params) -> pd.DataFrame:
    """The held-out rows as a forecaster would have met them: every horizon, the values known by then are its history.

    Rows of series with fewer than LEAST values by then are left out: nobody could be asked for them.
    """
    known = rows[~held] if (~held).any() else rows
    beat = Beat.of(known, table, params)
    if clash := {HISTORY, END, SCALE, STEP} & set(rows):
        raise Refused(f"table {table.name} has a column {min(clash)!r}: a forecaster needs that name for itself")
    values = seasons.wide(rows, table, beat.frequency)
    times, series = seasons.naive(rows[table.time]), seasons.names(rows, table)
    cut = values.index.get_loc(times[~held].max()) if (~held).any() else 0
    scales = {}
    for name in values:
        own = values[name].to_numpy()
        early = own[: cut + 1] if np.isfinite(own[: cut + 1]).sum() > beat.season else own  # a new series: all of it
        scales[name] = seasons.naive_error(early, beat.season)
    asked = []
    for i, time, name in zip(rows.index[held], times[held], series[held], strict=True):
        at = values.index.get_loc(time)
        end = cut + (at - cut - 1) // beat.horizon * beat.horizon
        history = values[name].to_numpy()[max(0, end + 1 - beat.window) : max(0, end + 1)]
        if np.isfinite(history).sum() >= LEAST:
            first = np.flatnonzero(np.isfinite(history))[0]
            asked.append((i, values.index[end], history[first:].tolist(), scales[name], at - end))
    facts = pd.DataFrame(asked, columns=["row", END, HISTORY, SCALE, STEP]).set_index("row")
    return rows.loc[facts.index].assign(**{name: facts[name] for name in facts})


def inputs(rows: pd.DataFrame, table: Table) -> list[artifact.Input]:
    """A question's columns: the series if there are several, covariates; time and history may be left out."""
    own = artifact.inputs(rows, table, [table.group]) if table.group else []
    free = [artifact.Input(table.time, "date", True, True), artifact.Input(END, "date", True, True)]
    return [*own, *free, artifact.Input(HISTORY, "list of numbers", True, True), *artifact.inputs(rows, table)]


def fit(rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
    """A model of all series; backtests on the last stretches say whether of their values or changes, and the band."""
    beat = Beat.of(rows, table, params)
    times = seasons.naive(rows[table.time])
    distinct = np.sort(times.unique())
    backtests = min(BACKTESTS, (len(distinct) - 2 * beat.season - 8) // beat.horizon)
    if backtests < 1:
        return Forecaster.of(beat, table).fit(rows, table, params)
    held = times > distinct[-backtests * beat.horizon - 1]
    asked = questions(rows, held, table, params)
    tried = []
    for changes in {(1,), (beat.season,), ()}:
        earlier = Forecaster.of(beat, table, changes=changes).fit(rows[~held], table, params)
        tried.append((losses(asked, earlier.predict(asked), table).mean(), changes, earlier))
    _, changes, earlier = min(tried, key=lambda each: each[:2])
    final = Forecaster.of(beat, table, changes=changes).fit(rows, table, params)
    final.widen(earlier, asked, table.target, params.level)
    return final


def baselines(rows: pd.DataFrame, table: Table, params: Params) -> dict[str, "Forecaster"]:
    """What is simpler: the last value for ever, the last season again and again, the mean slope of the history."""
    beat = Beat.of(rows, table, params)
    return {way: Forecaster.of(beat, table, way).fit(rows, table, params) for way in WAYS[1:]}


def predict(estimator: "Forecaster", rows: pd.DataFrame) -> pd.DataFrame:
    """The value to expect, and the band from `low` to `high`, in the target's unit; raises BadRows."""
    return estimator.predict(rows)


def answers(estimator: "Forecaster", rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What the service says to each row: the value at its time, or, if it names none, the whole horizon."""
    unasked = rows[estimator.time].isna()
    both = pd.concat([rows[~unasked], estimator.horizons(rows[unasked])], ignore_index=True)
    found = estimator.predict(both).assign(**{estimator.time: both[estimator.time]})
    single = iter(artifact.records(found.iloc[: (~unasked).sum()]))
    many = iter(artifact.records(found.iloc[(~unasked).sum() :]))
    return [{"forecast": [next(many) for _ in range(estimator.horizon)]} if each else next(single) for each in unasked]


def losses(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    """The absolute error of each row, in units of its series' naive error."""
    return np.abs(_errors(rows, predictions, table)) / rows[SCALE].to_numpy()


def metrics(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, float]:
    """Errors in the target's unit; `coverage`, the share of true values inside the band; its width in naive errors."""
    errors = _errors(rows, predictions, table)
    truth = rows[table.target].to_numpy(float)
    found = {"mae": np.abs(errors).mean(), "rmse": np.sqrt(np.square(errors).mean()), "bias": errors.mean()}
    inside = (predictions["low"] <= truth) & (truth <= predictions["high"])
    width = (predictions["high"] - predictions["low"]).to_numpy() / rows[SCALE].to_numpy()
    found |= {"coverage": inside.mean(), "band_width": width.mean()}
    return {name: float(value) for name, value in found.items()}


def pictures(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> dict[str, Figure]:
    """Some series with their forecasts and bands, and how error and coverage go with the steps ahead."""
    names, times, ends = seasons.names(rows, table), seasons.naive(rows[table.time]), seasons.naive(rows[END])
    lost = pd.Series(losses(rows, predictions, table), rows.index)
    shown = list(dict.fromkeys(names))[:SHOWN]
    lines = Figure(figsize=(12, 2.3 * -(-len(shown) // 3)), layout="constrained")
    for axis, name in zip(lines.subplots(-(-len(shown) // 3), 3, squeeze=False).flat, shown, strict=False):
        own = rows[names == name].assign(at=times, end=ends).sort_values("at")
        guess, first = predictions.loc[own.index], own.iloc[0]
        gap = own["at"].diff().min()
        before = first["end"] - gap * np.arange(len(first[HISTORY]))[::-1]
        axis.plot(before, first[HISTORY], color="grey", linewidth=1)
        axis.plot(own["at"], own[table.target], color="black", linewidth=1, label="true")
        for end, part in own.groupby("end"):
            axis.plot(part["at"], guess.loc[part.index, "prediction"], color="C0", label="forecast")
            axis.fill_between(
                part["at"], guess.loc[part.index, "low"], guess.loc[part.index, "high"], color="C0", alpha=0.25
            )
            axis.axvline(end, color="C1", linewidth=0.7)
        axis.set_title(f"{name}: MASE {lost[own.index].mean():.2f}", fontsize=9)
        axis.tick_params(labelsize=7)
    truth = rows[table.target].to_numpy(float)
    steps = pd.DataFrame({"mase": lost, "inside": predictions["low"].le(truth) & predictions["high"].ge(truth)})
    by = steps.groupby(rows[STEP]).mean()
    along = Figure(figsize=(12, 3), layout="constrained")
    for axis, (column, title) in zip(along.subplots(1, 2), {"mase": "MASE", "inside": "coverage"}.items(), strict=True):
        axis.plot(by.index, by[column], marker="o")
        axis.set(xlabel="steps ahead", ylabel=title, ylim=(0, None))
    return {"Held-out times (black) and forecasts, from what was known at the orange line": lines, "By distance": along}


class Forecaster(BaseEstimator):
    """How series go on: `way` is the model or one of the simple WAYS; with the end of every series it was fitted on.

    The model learns changes from so many steps ago, one after the other, or the values themselves if there is none.
    """

    def __init__(
        self,
        way: str,
        changes: tuple[int, ...],
        frequency: str,
        season: int,
        horizon: int,
        time: str,
        group: str | None,
    ) -> None:
        self.way, self.changes, self.frequency, self.season, self.horizon = way, changes, frequency, season, horizon
        self.time, self.group = time, group

    @classmethod
    def of(cls, beat: Beat, table: Table, way: str = WAYS[0], changes: tuple[int, ...] = (1,)) -> "Forecaster":
        return cls(way, changes, beat.frequency, beat.season, beat.horizon, table.time, table.group)

    @property
    def beat(self) -> Beat:
        return Beat(self.frequency, self.season, self.horizon)

    def fit(self, rows: pd.DataFrame, table: Table, params: Params) -> "Forecaster":
        """The last values of every series are known and, if it takes one, a model of their steps is fitted."""
        values = seasons.wide(rows, table, self.frequency)
        known = {
            name: values[name].loc[values[name].first_valid_index() : values[name].last_valid_index()]
            for name in values
        }
        known = {name: own for name, own in known.items() if own.notna().sum() >= LEAST}
        if not known:
            raise Refused(f"no series of table {table.name} has {LEAST} values to learn from")
        self.names_, self.ends_ = list(known), [own.index[-1].isoformat() for own in known.values()]
        self.tails_ = [own.to_numpy()[-self.beat.window :] for own in known.values()]
        self.spreads_ = np.sqrt(np.arange(1, self.horizon + 1)) * 2.0  # of a random walk, until backtests say better
        self.encoder_ = tabular.encoder(rows, table, "continuous") if table.features and self.way == WAYS[0] else None
        if self.encoder_ is not None:
            self.encoder_.fit(rows, rows[table.target].to_numpy(float))
        if self.way == WAYS[0]:
            self._learn(rows, table, known, params)
        return self

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The value to expect at each row's time, and its band; raises BadRows."""
        histories, which, steps = self._asked(rows)
        covariates = None
        if self.encoder_ is not None:  # no row may profit from what another says of the steps between
            covariates = np.tile(self.usual_, (len(rows), steps.max(), 1))
            covariates[np.arange(len(rows)), steps - 1] = self.encoder_.transform(rows)
            histories, which = [histories[i] for i in which], np.arange(len(rows))
        ahead = self._ahead(histories, steps.max(), covariates)
        frame = pd.DataFrame({"prediction": ahead[which, steps - 1]}, index=rows.index)
        half = _restless(histories)[which] * self.spreads_[steps - 1]
        return frame.assign(low=frame["prediction"] - half, high=frame["prediction"] + half)

    def widen(self, earlier: "Forecaster", asked: pd.DataFrame, target: str, level: float) -> None:
        """The band is as wide as it takes to hold that share of what an earlier model was asked (split conformal)."""
        if asked.empty:
            return
        histories, which, steps = self._asked(asked)
        misses = np.abs(earlier.predict(asked)["prediction"].to_numpy() - asked[target].to_numpy(float))
        misses = pd.Series(misses / _restless(histories)[which]).groupby(steps)
        ranks = misses.apply(lambda each: each.quantile(min(1.0, np.ceil((len(each) + 1) * level) / len(each))))
        found = ranks.reindex(range(1, self.horizon + 1)).ffill().bfill().to_numpy()
        self.spreads_ = np.maximum.accumulate(found)

    def horizons(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Each row, without a time, once for every step of the horizon."""
        ends = [end for end, _ in map(self._known, rows.to_dict("records"))]
        times = [pd.date_range(end, periods=self.horizon + 1, freq=self.frequency)[1:] for end in ends]
        many = rows.loc[rows.index.repeat(self.horizon)]
        return many.assign(**{self.time: np.concatenate(times) if times else pd.Series(dtype="datetime64[us]")})

    def _known(self, row: dict[str, Any]) -> tuple[pd.Timestamp, np.ndarray]:
        """Where the row's history ends, and its values; those the model knows if the row has none; raises BadRows."""
        history, end = row.get(HISTORY), row.get(END)
        if history is None or np.ndim(history) == 0:
            name = seasons.name(row[self.group]) if self.group else self.names_[0]
            if name not in self.names_:
                raise BadRows(f"series {name!r} is not known: send its {HISTORY} and {END}")
            place = self.names_.index(name)
            return pd.Timestamp(self.ends_[place]), self.tails_[place]
        values = np.asarray(history, float)[-self.beat.window :]
        if np.isfinite(values).sum() < LEAST:
            raise BadRows(f"column {HISTORY!r} must have at least {LEAST} numbers")
        if end is None or pd.isna(end):
            raise BadRows(f"column {END!r} must say the time of the last value in {HISTORY!r}")
        return pd.Timestamp(end), values

    def _asked(self, rows: pd.DataFrame) -> tuple[list[tuple[pd.Timestamp, np.ndarray]], np.ndarray, np.ndarray]:
        """The distinct histories in the rows, which one each row has, and how many steps after its end it asks for."""
        places: dict[tuple, int] = {}
        histories, which = [], []
        for row in rows.to_dict("records"):
            end, values = self._known(row)
            name = seasons.name(row[self.group]) if self.group else ""
            place = places.setdefault((name, end, values.tobytes()), len(places))
            if place == len(histories):
                histories.append((end, seasons.filled(values)))
            which.append(place)
        times, ends = seasons.naive(rows[self.time]), pd.Series([histories[place][0] for place in which], rows.index)
        if times.isna().any():
            raise BadRows(f"column {self.time!r} is empty in {times.isna().sum()} rows: say which time is asked for")
        step = pd.date_range("2001-01-01", periods=2, freq=self.frequency)
        if (max(times.max(), ends.max()) - ends.min()) / (step[1] - step[0]) > FAR:
            raise BadRows(f"column {self.time!r} and {END!r} are more than {FAR} steps apart")
        grid = pd.date_range(ends.min(), max(times.max(), ends.max()), freq=self.frequency)
        last, at = grid.get_indexer(ends), grid.get_indexer(times)
        if (last < 0).any() or (at < 0).any():
            wrong = ends[last < 0].iloc[0] if (last < 0).any() else times[at < 0].iloc[0]
            raise BadRows(f"{wrong} is no time at which the series are seen (every {self.frequency})")
        steps = at - last
        if (outside := (steps < 1) | (steps > self.horizon)).any():
            raise BadRows(
                f"column {self.time!r}: {times[outside].iloc[0]} is {steps[outside][0]} steps after the history ends "
                f"({ends[outside].iloc[0]}), but the forecast is for 1 to {self.horizon}"
            )
        return histories, np.array(which), steps

    def _ahead(self, histories: list, count: int, covariates: np.ndarray | None) -> np.ndarray:
        """The next values of each history (histories x count), given covariates (histories x count x k) if any."""
        far = np.arange(1, count + 1)
        last = np.array([values[-1] for _, values in histories])
        if self.way == "naive":
            return np.repeat(last[:, None], count, axis=1)
        if self.way == "drift":
            slopes = [(values[-1] - values[0]) / (len(values) - 1) for _, values in histories]
            return last[:, None] + np.outer(slopes, far)
        if self.way == "seasonal naive":
            cycles = [values[-self.season :] for _, values in histories]
            return np.array([cycle[(far - 1) % len(cycle)] for cycle in cycles])
        history, future = self._long(histories), None
        if covariates is not None:
            after = [pd.date_range(end, periods=count + 1, freq=self.frequency)[1:] for end, _ in histories]
            keys = {"unique_id": np.repeat(np.arange(len(histories)), count), "ds": np.concatenate(after)}
            columns = {f"x{i}": covariates[:, :, i].ravel() for i in range(covariates.shape[2])}
            future, history = pd.DataFrame(keys | columns), history.assign(**dict.fromkeys(columns, 0.0))
        engine = _engine(self.beat, self.changes)
        engine.preprocess(history, static_features=[], dropna=False)
        engine.models_ = {"prediction": self.model_}
        found = engine.predict(count, new_df=history, X_df=future)["prediction"].to_numpy().reshape(-1, count)
        flat = np.array([np.ptp(values) == 0 for _, values in histories])
        return np.where(flat[:, None], last[:, None], found)

    def _long(self, series: list[tuple[pd.Timestamp, np.ndarray]]) -> pd.DataFrame:
        """The series, each given by its last time and its values, as mlforecast takes them, none too short for it."""
        least = sum(self.changes) + LEAST
        padded = [(end, np.pad(own, (max(0, least - len(own)), 0), mode="edge")) for end, own in series]
        grids = [pd.date_range(end=end, periods=len(own), freq=self.frequency) for end, own in padded]
        places = np.repeat(np.arange(len(padded)), [len(own) for _, own in padded])
        return pd.DataFrame(
            {"unique_id": places, "ds": np.concatenate(grids), "y": np.concatenate([own for _, own in padded])}
        )

    def _learn(self, rows: pd.DataFrame, table: Table, known: dict[str, pd.Series], params: Params) -> None:
        """A ridge regression and boosted trees have learned the steps of all series, each on its own scale."""
        frame = self._long([(own.index[-1], seasons.filled(own.to_numpy())) for own in known.values()])
        if self.encoder_ is not None:
            place = {name: i for i, name in enumerate(known)}
            keys = [seasons.names(rows, table).map(place), seasons.naive(rows[table.time])]
            said = pd.DataFrame(self.encoder_.transform(rows), pd.MultiIndex.from_arrays(keys))
            self.usual_ = said.mean().fillna(0.0).to_numpy()
            every = said.reindex(pd.MultiIndex.from_frame(frame[["unique_id", "ds"]])).fillna(
                dict(enumerate(self.usual_))
            )
            frame = frame.join(every.reset_index(drop=True).add_prefix("x"))
        trees = HistGradientBoostingRegressor(**tabular.boosting(params))
        linear = make_pipeline(tabular.scaler(), RidgeCV(alphas=np.logspace(-1, 3, 9)))
        engine = _engine(self.beat, self.changes, VotingRegressor([("linear", linear), ("trees", trees)]))
        try:
            self.model_ = engine.fit(frame, static_features=[]).models_["prediction"]
        except ValueError as error:
            raise Refused(f"the series of table {table.name} are too short to learn from: {error}") from error


def _engine(beat: Beat, changes: tuple[int, ...], regressor: BaseEstimator | None = None) -> Any:
    """mlforecast, told what to make of a history: lags and the mean of a season, all on its own scale, and the date."""
    from mlforecast import MLForecast  # two seconds that only a forecast waits for
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    warnings.filterwarnings("ignore", "Found null values")  # the lags that a short history does not have
    scaler = LocalStandardScaler()
    return MLForecast(
        models={"prediction": regressor} if regressor is not None else {},
        freq=beat.frequency,
        lags=beat.lags,
        lag_transforms={1: [RollingMean(max(beat.season, 2), min_samples=1)]},
        date_features=beat.date_features,
        target_transforms=[Differences(list(changes)), scaler] if changes else [scaler],
        num_threads=1,
    )


def _restless(histories: list[tuple[pd.Timestamp, np.ndarray]]) -> np.ndarray:
    """How much each history changes from step to step: the mean absolute change, of which the band is a multiple."""
    return np.array([max(np.abs(np.diff(values)).mean(), 1e-9) for _, values in histories])


def _errors(rows: pd.DataFrame, predictions: pd.DataFrame, table: Table) -> np.ndarray:
    return predictions["prediction"].to_numpy() - rows[table.target].to_numpy(float)
