"""Compare the shipped forecaster with simple methods on the same held-out rows."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import time
import warnings
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from sets_forecasting import LICENCES, Set, sets
from sklearn.ensemble import HistGradientBoostingRegressor

PROBLEM = "forecasting"
LEVEL = 0.9
SIMPLE = ("naive", "seasonal naive", "long seasonal naive", "drift", "theta", "ETS")
BEFORE = ("0.3.0", "a081f42")  # the release whose forecaster is compared, and its commit
FITS = 200  # most fits of ETS on one set
ROWS = 60_000  # that the plain boosted model learns from
PACKAGE = "{{cookiecutter.project_slug}}/src/{{cookiecutter.__package}}"


@dataclass
class Measured:
    """What was measured on one set."""

    name: str
    package: str
    chosen: bool
    rows: int
    losses: dict[str, np.ndarray]  # (rows,) of each method that could be tried
    units: np.ndarray  # (rows,)
    coverage: list[float] = field(default_factory=list)  # of all, of the first and of the last third of the steps
    scores: dict[str, float] = field(default_factory=dict)  # interval scores
    seconds: float = 0.0  # of one fit

    @property
    def best(self) -> str:
        """The simple method with the lowest loss, chosen afterwards."""
        return min((name for name in SIMPLE if name in self.losses), key=lambda name: self.losses[name].mean())

    @property
    def ratio(self) -> float:
        """Our loss relative to the best simple one."""
        return float(self.losses["ours"].mean() / self.losses[self.best].mean())


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    warnings.simplefilter("ignore")
    before = released()
    found = []
    for each in sets():
        if not names or each.name in names:
            found.append(measured(each, package, before))
            print(found[-1].name, f"{found[-1].ratio:.3f}", found[-1].coverage, file=sys.stderr, flush=True)
    return markdown(found, import_module(f"{package}.training.statistics"))


def measured(each: Set, package: str, before: ModuleType | None) -> Measured:
    """Fit and score all methods on one set."""
    module = import_module(f"{package}.models.forecaster")
    rows = each.load().reset_index(drop=True)
    params = module.Params(horizon=each.horizon, level=LEVEL, gaps=each.gaps)
    table, held = declared(rows, package), held_out(each, rows, package)
    asked = module.prediction_requests(rows, held, table, params)
    start = time.perf_counter()
    model = module.fit(rows[~held], table, params)
    seconds = time.perf_counter() - start
    ours = module.predict(model, asked)
    found = {name: module.predict(one, asked) for name, one in module.baselines(rows[~held], table, params).items()}
    frequency = import_module(f"{package}.features.seasons").Frequency.of(rows[~held], table, params)
    if frequency.long_season:
        found["long seasonal naive"] = long_seasonal_naive(asked, frequency.long_season)
    if (smoothed := ets(asked, frequency)) is not None:
        found["ETS"] = smoothed
    found |= {"boosted": boosted(rows, held, asked, table, frequency), "ours": ours}
    if before is not None:
        own = before.Params(horizon=each.horizon, level=LEVEL)
        found[BEFORE[0]] = before.predict(before.fit(rows[~held], table, own), asked)
    losses = {name: module.losses(asked, one, table) for name, one in found.items()}
    units = import_module(f"{package}.training.statistics").resampling_units(asked, table)
    scores = {name: interval_score(asked, found[name]) for name in ("ours", BEFORE[0]) if name in found}
    return Measured(
        each.name, each.package, each.chosen, len(asked), losses, units, coverage(asked, ours), scores, seconds
    )


def declared(rows: pd.DataFrame, package: str) -> Any:
    """Return the table of a set, as data.py would declare it."""
    schema = pa.DataFrameSchema({name: pa.Column() for name in rows})
    table = import_module(f"{package}.datasets.table").Table
    return table("set", lambda: rows, schema, "value", ("series", "time"), time="time", group="series")


def held_out(each: Set, rows: pd.DataFrame, package: str) -> pd.Series:
    """Return which rows are held out: a competition's last horizon, else the newest fifth as the template splits it."""
    if each.horizon:
        return rows["time"] > np.sort(rows["time"].unique())[-each.horizon - 1]
    return import_module(f"{package}.datasets.table").is_holdout(declared(rows, package), rows)


def coverage(asked: pd.DataFrame, found: pd.DataFrame) -> list[float]:
    """Return the share of true values inside the interval: of all, of the first and of the last third of the steps."""
    inside = found["low"].le(asked["value"]) & found["high"].ge(asked["value"])
    steps, third = asked["steps_ahead"], asked["steps_ahead"].max() / 3
    return [float(inside.mean()), float(inside[steps <= max(third, 1)].mean()), float(inside[steps > 2 * third].mean())]


def interval_score(asked: pd.DataFrame, found: pd.DataFrame) -> float:
    """Return the mean interval score in units of the naive error: width, and a penalty for each miss."""
    low, high, truth = found["low"], found["high"], asked["value"]
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float(((high - low + 2 / (1 - LEVEL) * missed) / asked["naive_error"]).mean())


def long_seasonal_naive(asked: pd.DataFrame, season: int) -> pd.DataFrame:
    """Return the last value a long season before each row, else the mean of its history."""
    found = []
    for history, step in zip(asked["history"], asked["steps_ahead"], strict=True):
        place = -season + (step - 1) % season
        value = history[place] if len(history) >= -place else np.nan
        found.append(value if np.isfinite(value) else np.nanmean(history))
    return pd.DataFrame({"prediction": found}, asked.index)


def ets(asked: pd.DataFrame, frequency: Any) -> pd.DataFrame | None:
    """Return forecasts by damped exponential smoothing, with a season up to 24 steps; None if that is too dear."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    groups = asked.groupby(["series", "history_end"])
    season = frequency.season_length
    if groups.ngroups > FITS or season > 24:
        return None
    found = []
    for _, own in groups:
        history = pd.Series(own["history"].iloc[0]).interpolate(limit_direction="both").to_numpy()
        seasonal = "add" if 1 < season <= len(history) // 2 else None
        steps = own["steps_ahead"].to_numpy()
        try:
            trend = {"trend": "add", "damped_trend": True} if len(history) > 8 else {}
            model = ExponentialSmoothing(
                history, seasonal=seasonal, seasonal_periods=season if seasonal else None, **trend
            )
            ahead = np.asarray(model.fit().forecast(int(steps.max())))
        except (ValueError, np.linalg.LinAlgError):
            ahead = np.full(steps.max(), history[-1])
        found.append(pd.Series(np.where(np.isfinite(ahead), ahead, history[-1])[steps - 1], own.index))
    return pd.DataFrame({"prediction": pd.concat(found)}).loc[asked.index]


def boosted(rows: pd.DataFrame, held: pd.Series, asked: pd.DataFrame, table: Any, frequency: Any) -> pd.DataFrame:
    """Return forecasts of a boosted model with default parameters: last values, step, calendar, series."""
    count = max(frequency.season_length, 12)
    codes = {name: i for i, name in enumerate(sorted(rows["series"].unique()))}
    known = [name for name in rows if name not in ("series", "time", "value")]

    def features(past: np.ndarray, steps: np.ndarray, own: pd.DataFrame) -> np.ndarray:
        times = own["time"].dt
        parts = [past, steps, times.hour, times.dayofweek, times.month, own["series"].map(codes)]
        return np.column_stack([*parts, *(own[name].astype(float) for name in known)])

    train = rows[~held].sort_values(["series", "time"], ignore_index=True)
    random = np.random.default_rng(0)
    train = train.assign(place=train.groupby("series").cumcount())
    chosen = np.sort(random.permutation(np.flatnonzero(train["place"] > 0))[:ROWS])
    steps = np.minimum(random.integers(1, frequency.horizon + 1, len(chosen)), train["place"].to_numpy()[chosen])
    values, places = np.append(train["value"], np.nan), train["place"].to_numpy()
    back = np.arange(count)
    at = np.where((places[chosen] - steps)[:, None] >= back, (chosen - steps)[:, None] - back, len(train))
    model = HistGradientBoostingRegressor(random_state=0)
    model.fit(features(values[at], steps, train.iloc[chosen]), train["value"].iloc[chosen])
    past = np.array([[*each[: -count - 1 : -1], *[np.nan] * (count - len(each))] for each in asked["history"]])
    return pd.DataFrame({"prediction": model.predict(features(past, asked["steps_ahead"], asked))}, asked.index)


def released() -> ModuleType | None:
    """Return the forecaster of the release before, with its code from this repository's history."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "archive", BEFORE[1], PACKAGE]
    done = subprocess.run(command, cwd=root, capture_output=True)
    if done.returncode:  # a copy without history
        return None
    import tempfile

    folder = Path(tempfile.mkdtemp())
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / PACKAGE).rename(folder / "released")
    sys.path.insert(0, str(folder))
    return import_module("released.models.forecaster")


def markdown(found: list[Measured], statistics: ModuleType) -> str:
    """Return the tables."""
    lines = [
        "MASE (errors in units of the seasonal naive error on the training rows), with the 95 % interval of ours; "
        "`/ best` is ours relative to the best of the simple methods, chosen afterwards.",
        "",
        "| set | rows | " + " | ".join(SIMPLE) + f" | boosted | {BEFORE[0]} | **ours** | / best |",
        "|---" * (len(SIMPLE) + 6) + "|",
    ]
    for each in found:
        means = {name: f"{losses.mean():.2f}" for name, losses in each.losses.items()}
        low, high = statistics.interval(each.losses["ours"], each.units)
        others = " | ".join(means.get(name, "-") for name in (*SIMPLE, "boosted", BEFORE[0]))
        ours = f"**{means['ours']}** ({low:.2f} to {high:.2f})"
        mark = "" if each.chosen else " \\*"
        lines.append(f"| {each.name}{mark} | {each.rows} | {others} | {ours} | {each.ratio:.2f} |")
    lines += ["", summary(found, statistics), "", *bands(found)]
    return "\n".join(lines)


def summary(found: list[Measured], statistics: ModuleType) -> str:
    """Return what the table says in sentences."""
    groups = {"all sets": found, "those that the recipe was chosen on": [each for each in found if each.chosen]}
    groups["the others (\\*), which confirm it"] = [each for each in found if not each.chosen]
    said = []
    for name, own in groups.items():
        if own:
            ratios = np.array([each.ratio for each in own])
            said.append(f"{name}: {np.exp(np.log(ratios).mean()):.3f} (worst {ratios.max():.2f})")
    worse = []
    for each in found:
        gain = statistics.gain_over(each.losses[each.best], each.losses["ours"], each.units)
        worse += [each.name] if gain["interval"][1] < 0 else []
    licences = ", ".join(f"{name} ({LICENCES[name]})" for name in sorted({each.package for each in found}))
    return (
        f"Geometric mean of ours relative to the best simple method: {'; '.join(said)}. Surely worse (the interval "
        f"of the difference is on one side of 0): {', '.join(worse) or 'none'}. The sets come from {licences}."
    )


def bands(found: list[Measured]) -> list[str]:
    """Return the table of the intervals' coverage and score, and the seconds of a fit."""
    lines = [
        f"Intervals at {LEVEL}: the share of true values inside, of all steps and of the first and last third of them; "
        f"the mean interval score relative to that of {BEFORE[0]}; and the seconds of one fit on one core.",
        "",
        "| set | coverage | first steps | last steps | interval score | fit, s |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        shares = " | ".join(f"{share:.2f}" for share in each.coverage)
        relative = each.scores["ours"] / each.scores[BEFORE[0]] if BEFORE[0] in each.scores else np.nan
        lines.append(f"| {each.name} | {shares} | {relative:.2f} | {each.seconds:.1f} |")
    relative = [each.scores["ours"] / each.scores[BEFORE[0]] for each in found if BEFORE[0] in each.scores]
    if relative:
        lines += [
            "",
            f"Geometric mean of the interval score relative to {BEFORE[0]}: {np.exp(np.log(relative).mean()):.2f}.",
        ]
    return lines
