"""What a watch found, as a page for each model over time, as lines for people, and as metrics for Prometheus."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .. import ROOT, atomic_write
from ..datasets.charts import number
from ..datasets.page import Section, write_page
from ..retraining.profiles import Column, Counts
from ..serving.log_store import open_log
from . import drift
from .triggers import KINDS, Alarm, known_alarms
from .watch import Watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 12  # columns in the strip of signals, and with old and new distributions
STRONG = 4.0  # standard deviations of the reference days that have the strongest colour
METRICS = ROOT / "reports" / "watch.prom"


def lines(found: Watched) -> Iterator[str]:
    """Yield what a watch found of a model, a line each."""
    rows = sum(found.rows.values())
    yield f"{found.model}: version {found.version or 'none'}, {len(found.rows)} days, {rows:,} rows logged"
    if found.performance and found.performance.now is not None:
        yield f"  {_performance_words(found)}"
    if found.challenger:
        yield f"  {found.challenger}"
    for each in found.alarms:
        yield f"  {each.kind}: {each.words}"
    for words in found.unknown:
        yield f"  cannot tell {words}"


def publish(watched: list[Watched]) -> list[str]:
    """Write the page of each model and the metrics of all; return what was found, in lines."""
    said = []
    for found in watched:
        write_report(found, known_alarms(open_log(), found.model))
        said += [*lines(found), f"  report: {report_path(found.model).relative_to(ROOT).as_posix()}"]
    write_metrics(watched)
    return said


def report_path(model: str) -> Path:
    """Return where the page of a model is."""
    return ROOT / "reports" / f"{model}-watch.html"


def write_report(found: Watched, earlier: list[Alarm]) -> None:
    """Write the page of a model."""
    state = "alarm" if found.alarms else "nothing alarms" if not found.unknown else "not all can be told yet"
    good = False if found.alarms else None if found.unknown else True
    sections = [
        Section(f"Version {found.version or 'none'}", state, good, " ".join(f"{each}." for each in found.unknown)),
        Section("What does not hold now", table=_alarm_table(found.alarms)) if found.alarms else None,
        Section("Over time", figures={_caption(found): timeline(found)}) if found.rows else None,
        Section("Loss by labels that came later", text=_performance_words(found)) if found.performance else None,
        Section("Learning from the log", text=found.challenger) if found.challenger else None,
        *_moved_sections(found),
        Section("Latency", text=_latency_words(found)) if found.latency else None,
        Section("Earlier alarms", table=_alarm_table(earlier)) if earlier else None,
    ]
    write_page(report_path(found.model), f"Watch of {found.model}", [each for each in sections if each])


def write_metrics(watched: list[Watched]) -> None:
    """Write what was found in Prometheus' format, for a collector of text files."""
    content = []
    for found in watched:
        values = {"watched_days": float(len(found.rows))}
        for kind in KINDS:
            values[f"{kind}_alarms"] = float(sum(each.kind == kind for each in found.alarms))
        if (told := found.performance) is not None:
            values |= {"labelled_share": told.share, "promised_loss": told.promised[0]}
            values |= {"loss": told.now} if told.now is not None else {}
        label = '{model="' + found.model + '"}'
        content += [f"model_{name}{label} {value:.6g}" for name, value in values.items()]
    with atomic_write(METRICS) as part:
        part.write_text("\n".join([*content, ""]), encoding="utf-8")


def timeline(found: Watched) -> "Figure":
    """Draw loss, signals, versions and rows over the days."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    heights = {"loss": 3, "signals": 3, "version": 0.7, "rows": 1}
    axes = figure.subplots(len(heights), sharex=True, height_ratios=[*heights.values()])
    for axis, (name, draw) in zip(axes, zip(heights, (_loss, _signals, _versions, _rows), strict=True), strict=True):
        draw(axis, found)
        axis.set_ylabel(name, rotation=0, ha="right", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def distribution(column: Column, day: Counts) -> "Figure":
    """Draw a column's shares as the version learned them, and on the newest day."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 2.0), layout="constrained")
    axis = figure.subplots()
    axis.tick_params(labelsize=7)
    old, new = (np.array(each.cells) / max(each.present, 1) for each in (column.counts, day))
    if column.kind == "number":
        axis.step(range(len(old)), np.cumsum(old), label="learned")
        axis.step(range(len(new)), np.cumsum(new), label="newest day")
        axis.set_xticks([1, len(old) - 2], [number(each) for each in (column.edges[0], column.edges[-1])])
    else:
        names = [*column.values, "other"][:SHOWN]
        for i, shares in enumerate((old, new)):
            axis.bar(np.arange(len(names)) + 0.4 * i, shares[: len(names)], width=0.4)
        axis.set_xticks(range(len(names)), [name[:10] for name in names], rotation=90 if len(names) > 4 else 0)
    return figure


def _loss(axis: "Axes", found: Watched) -> None:
    told = found.performance
    if not told or not told.days:
        axis.text(0.5, 0.5, "no day with enough labels", transform=axis.transAxes, ha="center", fontsize=8)
        return
    value, low, high = told.promised
    axis.axhspan(low, high, color="tab:green", alpha=0.15, linewidth=0)
    axis.axhline(value, color="tab:green", linewidth=1)
    axis.plot([*told.days], [*told.days.values()], ".-", markersize=4, linewidth=1)


def _signals(axis: "Axes", found: Watched) -> None:
    """Draw how far each property of the columns that moved most is from the reference days, as a strip."""
    order = sorted(found.changes, key=lambda each: each.p)
    names = list(dict.fromkeys(each.column for each in order))[:SHOWN]
    if not names:
        axis.text(0.5, 0.5, "too few days to compare with", transform=axis.transAxes, ha="center", fontsize=8)
        return
    every = [*found.rows]
    strip = np.full((len(names), len(every)), np.nan)
    for i, name in enumerate(names):
        what = next(each.what for each in order if each.column == name)
        known = found.counts[name]
        values = {day: drift.properties(found.profile.columns[name], each).get(what) for day, each in known.items()}
        strip[i] = [np.nan if values.get(day) is None else values[day] for day in every]
        spread = np.nanstd(strip[i][: -drift.WEEK]) or 1.0
        strip[i] = (strip[i] - np.nanmean(strip[i][: -drift.WEEK])) / spread
    from matplotlib.dates import date2num

    extent = (date2num(every[0]) - 0.5, date2num(every[-1]) + 0.5, len(names) - 0.5, -0.5)
    axis.imshow(strip, aspect="auto", cmap="RdBu_r", vmin=-STRONG, vmax=STRONG, extent=extent, interpolation="nearest")
    axis.set_yticks(range(len(names)), [name[:24] for name in names])


def _versions(axis: "Axes", found: Watched) -> None:
    versions = list(dict.fromkeys(found.served.values()))
    for i, version in enumerate(versions):
        own = [day for day, each in found.served.items() if each == version]
        axis.bar(own, [1] * len(own), width=1, color=f"C{i % 10}")
        axis.text(own[0], 0.5, version, fontsize=7, va="center")
    axis.set_yticks([])


def _rows(axis: "Axes", found: Watched) -> None:
    axis.bar([*found.rows], [*found.rows.values()], width=0.9, color="tab:gray")


def _caption(found: Watched) -> str:
    return (
        "Loss of each day with enough labels, and what was promised (green); how far columns are from usual days; "
        f"the version that served; rows of {len(found.rows)} days"
    )


def _moved_sections(found: Watched) -> list[Section]:
    """Return the columns that alarm, with their old and new distributions."""
    names = list(dict.fromkeys(each.column for each in found.alarms if each.column))[:SHOWN]
    newest = max(found.rows, default=None)
    columns = [found.profile.columns[name] for name in names if newest in found.counts.get(name, {})]
    drawn = [column for column in columns if column.kind != "other" and column.counts.cells]
    figures = {column.name: distribution(column, found.counts[column.name][newest]) for column in drawn}
    lines = [
        {"column": each.column, "property": each.what, "of": each.span, "usually": each.before, "now": each.now}
        for each in found.changes
        if each.alarm
    ]
    figures = {"As learned, and on the newest day": figures} if figures else {}
    table = pd.DataFrame(lines) if lines else None
    return [Section("Columns that moved", figures=figures, table=table)] if figures or lines else []


def _performance_words(found: Watched) -> str:
    """Return what labels tell, in a sentence; what is only estimated is called so."""
    told = found.performance
    words = f"labels of {told.share:.0%} of the newest four weeks' rows; {number(told.promised[0])} was promised"
    if told.now is not None:
        words += f", {number(told.now)} in the newest week with labels"
    if told.interval:
        low, high = told.interval
        words += f"; 95 % interval of four weeks, by weeks: {number(low)} to {number(high)}"
    if found.calibration:
        words += f"; {found.calibration}"
    if found.estimated is not None:
        words += f"; estimated from its own probabilities, without labels: {number(found.estimated)}"
    return words


def _latency_words(found: Watched) -> str:
    return f"{found.latency['mean']:.1f} ms for a request on average, {found.latency['largest']:.1f} ms at most."


def _alarm_table(alarms: list[Alarm]) -> pd.DataFrame:
    return pd.DataFrame([{"day": str(each.day), "kind": each.kind, "what": each.words} for each in reversed(alarms)])
