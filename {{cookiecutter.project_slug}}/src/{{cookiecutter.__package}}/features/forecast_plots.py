"""Plots and tables of scored forecasts for the report."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EACH = 2  # series plotted of the best, the median and the worst ones
LISTED = 7  # series listed of each
ORIGINS = 3  # last origins plotted of a series
BEFORE = 2  # horizons of values plotted before them
FORMATS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"]  # of years, months, days, hours, minutes and seconds
STARTS = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]  # of the first one in a larger unit
LABEL = 60  # characters of a series' name in a plot


def plots(scored: pd.DataFrame, frequency: str | None) -> dict[str, "Figure | dict[str, Figure]"]:
    """Return figures of the best, median and worst series, and of error, bias and coverage by steps ahead.

    Args:
        scored: A line per held-out row: `series`, `time`, `origin`, `step`, `history`, `actual`, `prediction`, `low`,
            `high`, `mase`, `bias` (in units of the scale), `inside` (the interval) and its nominal `level`, if known.
        frequency: The pandas frequency of the series, if known.
    """
    shown = chosen(scored.groupby("series")["mase"].mean().sort_values(), EACH)
    figures = {
        f"{name[:LABEL]}: MASE {mase:.3g}, place {place}": _series(scored[scored["series"] == name], frequency)
        for name, mase, place in shown.itertuples(index=False)
    }
    title = "Best, median and worst series: forecasts from the last origins"
    return {title: figures, "Error, bias and coverage by steps ahead": _steps(scored)}


def tables(scored: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a line for each of the best, median and worst series: errors, bias and coverage."""
    errors = scored["prediction"] - scored["actual"]
    by = scored.assign(error=errors, size=errors.abs()).groupby("series")
    listed = chosen(by["mase"].mean().sort_values(), LISTED).set_index("series")
    found = {"rows": by.size(), "MAE": by["size"].mean(), "bias": by["error"].mean(), "coverage": by["inside"].mean()}
    lines = pd.DataFrame(found).loc[listed.index]
    lines.insert(0, "MASE", listed["mase"])
    count = scored["series"].nunique()
    title = "Series" if len(lines) == count else f"Series: the {LISTED} best, median and worst of {count}"
    return {title: lines.reset_index()}


def chosen(mase: pd.Series, each: int) -> pd.DataFrame:
    """Return `series`, `mase` and `place` (1 is the best) of some of the best, median and worst series.

    Args:
        mase: The error of each series, in ascending order.
        each: How many of each kind.
    """
    count, middle = len(mase), (len(mase) - each) // 2
    places = np.r_[:each, middle : middle + each, count - each : count] if count > 3 * each else np.arange(count)
    return pd.DataFrame({"series": mase.index[places], "mase": mase.to_numpy()[places], "place": places + 1})


def _series(own: pd.DataFrame, frequency: str | None) -> "Figure":
    """Plot one series: actual values, and the forecasts and intervals from its last origins."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # only reports plot
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 2.8), layout="constrained")
    axis = figure.subplots()
    own = own.sort_values("time")
    origins = own["origin"].unique()[-ORIGINS:]
    actual = _actual(own, frequency)
    axis.plot(actual.loc[_start(own, origins[0], actual) :], color="black", linewidth=1, label="actual")
    for i, origin in enumerate(origins):
        part, words = own[own["origin"] == origin], ("forecast", "interval", "origin") if i == 0 else (None,) * 3
        axis.plot(part["time"], part["prediction"], color="C0", marker="." if len(part) < 3 else None, label=words[0])
        axis.fill_between(part["time"], part["low"], part["high"], color="C0", alpha=0.25, label=words[1])
        axis.axvline(origin, color="C1", linewidth=1, label=words[2])
    locator = AutoDateLocator()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator, formats=FORMATS, zero_formats=STARTS))
    figure.legend(loc="outside upper left", fontsize=8, ncols=4)
    return figure


def _start(own: pd.DataFrame, origin: pd.Timestamp, actual: pd.Series) -> pd.Timestamp:
    """Return the time from which on the values before the first origin are plotted."""
    before = actual.index[actual.index <= origin]
    return before[-BEFORE * own["step"].max() :][0] if len(before) else origin


def _actual(own: pd.DataFrame, frequency: str | None) -> pd.Series:
    """Return the values of a series by their time: its first history, if its times are known, and the held-out rows."""
    values, first = own.set_index("time")["actual"], own.iloc[0]
    if frequency is None or len(pd.date_range(first["origin"], first["time"], freq=frequency)) != first["step"] + 1:
        return values
    times = pd.date_range(end=first["origin"], periods=len(first["history"]), freq=frequency)
    return pd.concat([pd.Series(np.asarray(first["history"], float), times), values])


def _steps(scored: pd.DataFrame) -> dict[str, "Figure"]:
    """Plot mean error, bias and coverage by steps ahead, with the values that they should have."""
    from matplotlib.figure import Figure

    by_step = scored.groupby("step")[["mase", "bias", "inside"]].mean()
    nominal = scored["level"].iloc[0] if "level" in scored else None
    lines = {
        "MASE by steps ahead": ("mase", 1.0, "in-sample seasonal naive"),
        "Bias by steps ahead, in naive errors": ("bias", 0.0, "no bias"),
        "Coverage of the interval by steps ahead": ("inside", nominal, f"nominal: {nominal}"),
    }
    figures = {}
    for caption, (column, wanted, words) in lines.items():
        figures[caption] = figure = Figure(figsize=(3.75, 2.8), layout="constrained")
        _plot_steps(figure.subplots(), by_step[column], wanted, words)
    return figures


def _plot_steps(axis: Any, means: pd.Series, wanted: float | None, words: str) -> None:
    axis.plot(means.index, means, marker="." if len(means) > 30 else "o")
    if wanted is not None:
        axis.axhline(wanted, color="grey", linestyle="--", label=words)
        axis.legend(fontsize=8)
    axis.set(xlabel="steps ahead")
    axis.set_ylim(bottom=0 if means.min() >= 0 else None)
    axis.xaxis.get_major_locator().set_params(integer=True)
