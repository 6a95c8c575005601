"""Compare what keeps a forecaster good over a year of new rows: new histories, or also a new fit."""

from __future__ import annotations

import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from forecasting import declared
from sets_forecasting import departures, petrol

PROBLEM = "forecasting"
SETS = {  # name: rows, season, steps appended at a time, how many times
    "monthly departures, 5 kinds": (departures, 12, 1, 12),
    "weekly petrol": (petrol, 52, 4, 13),
}
YEARS = (3, 2, 1)  # before the end of the set: when a year begins
WAYS = ("fitted again", "new histories", "as it was", "seasonal naive")


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    warnings.simplefilter("ignore")
    module = import_module(f"{package}.models.forecaster")
    head = ["set", "year", *WAYS, "gain of fitting again"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, (load, *plan) in SETS.items():
        if not names or name in names:
            rows = load().sort_values(["series", "time"], ignore_index=True)
            lines += [line(name, ago, errors(module, package, rows, ago, *plan)) for ago in YEARS]
    return "\n".join(lines)


def line(name: str, ago: int, found: dict[str, list[float]]) -> str:
    """Return a line of the table: mean errors, and the mean gain of a fit with its standard error over the year."""
    gains = np.array(found["new histories"]) - np.array(found["fitted again"])
    means = [f"{np.mean(found[way]):.2f}" if np.isfinite(found[way]).all() else "-" for way in WAYS]
    gain = f"{gains.mean():.3f} ± {gains.std(ddof=1) / np.sqrt(len(gains)):.3f}"
    return f"| {name} | {'last' if ago == 1 else f'{ago} years ago'} | {' | '.join(means)} | {gain} |"


def errors(
    module: ModuleType, package: str, rows: pd.DataFrame, ago: int, season: int, steps: int, times: int
) -> dict[str, list[float]]:
    """Return the mean absolute scaled error of each way, each time that rows are appended."""
    table, params, moments = declared(rows, package), module.Params(), np.sort(rows["time"].unique())
    start = len(moments) - steps * times * ago
    begun = rows[rows["time"] < moments[start]]
    scale = begun.groupby("series")["value"].apply(lambda each: each.diff(season).abs().mean())
    first = module.fit(begun, table, params)
    before = rows.assign(time=rows["time"].map(dict(zip(moments, moments[season:], strict=False))))
    fixed = {"as it was": ahead(module, first), "seasonal naive": before.rename(columns={"value": "prediction"})}
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for cut in range(start, start + steps * times, steps):
        known, coming = rows[rows["time"] < moments[cut]], rows[rows["time"].isin(moments[cut : cut + steps])]
        forecasts = fixed | {"fitted again": ahead(module, module.fit(known, table, params))}
        forecasts["new histories"] = ahead(module, module.update(first, known, table))
        for way, forecast in forecasts.items():
            found[way].append(error(forecast, coming, scale))
    return found


def ahead(module: ModuleType, model: Any) -> pd.DataFrame:
    """Return the forecasts of all series from now to the horizon."""
    asked = module.future_requests(model, None)
    return module.predict(model, asked).assign(**asked)


def error(forecast: pd.DataFrame, coming: pd.DataFrame, scale: pd.Series) -> float:
    """Return the mean absolute scaled error of the rows to come; NaN if some are beyond the horizon."""
    both = coming.merge(forecast[["series", "time", "prediction"]].dropna(), on=["series", "time"])
    if len(both) < len(coming):
        return np.nan
    return float(((both["prediction"] - both["value"]).abs() / both["series"].map(scale)).mean())
