"""What a watch found, as a page for each model over time, as lines for people, and as metrics for Prometheus."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from .. import ROOT, atomic_write
from ..datasets.charts import number
from ..datasets.page import Section, write_page
from ..serving.log_store import open_log
from . import charts
from .triggers import KINDS, Alarm, known_alarms
from .watch import Watched

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
        Section("Over time", figures=charts.over_time(found)) if found.rows else None,
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


def _moved_sections(found: Watched) -> list[Section]:
    """Return the columns that alarm, with their old and new distributions."""
    names = list(dict.fromkeys(each.column for each in found.alarms if each.column))[: charts.SHOWN]
    newest = max(found.rows, default=None)
    columns = [found.profile.columns[name] for name in names if newest in found.counts.get(name, {})]
    drawn = [column for column in columns if column.kind != "other" and column.counts.cells]
    figures = {each.name: charts.distribution(each, found.counts[each.name][newest]) for each in drawn}
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
