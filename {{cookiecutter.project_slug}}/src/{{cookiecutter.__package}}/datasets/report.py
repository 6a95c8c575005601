"""Describe tables on reports/data.html: what they hold, what is odd about them, what changed, where they come from."""

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b

import numpy as np
import pandas as pd
from markupsafe import Markup

from .. import ROOT, now
from . import catalog, charts, history
from .charts import number, percent
from .checks import BadData, Finding
from .page import Card, Section, literal_text, write_page
from .personal import masked as conceal
from .personal import suspected
from .profile import (
    SAMPLE,
    Column,
    Outcome,
    as_numbers,
    associations,
    extremes,
    kind_of,
    measure,
    missing_patterns,
    outcome,
)
from .snapshots import short_hash
from .suspects import is_series, stale_sources
from .table import Table, is_holdout

REPORT = ROOT / "reports" / "data.html"
VERDICT = ROOT / "data" / "verdict.md"
LISTED = 12  # changes, associations
SERIES, STRIPS = 6, 40  # series drawn as lines, and as strips
ROWS, COLUMNS = 5, 30  # of a table of samples
IMAGES, SIZED = 60, 5_000  # thumbnails, and images whose size is read


def write_data(sections: Iterable[Section]) -> None:
    """Write the page about all tables: the team's verdict, the parts about each table, and the sources."""
    write_page(REPORT, "Data", [team_verdict(), *sections, sources_section()])


def team_verdict() -> Section:
    """Return what the team has decided about the data, and whether it was about these snapshots."""
    digests = {short_hash(entry["sha256"]): name for name, entry in catalog.current().items()}
    try:
        text = VERDICT.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        text = ""
    if not text:
        named = ", ".join(f"{name} {short}" for short, name in digests.items())
        advice = f"Can this data do what it is for? Write it into data/verdict.md: go or no-go, why, on what ({named})."
        return Section("Go or no-go:", "not decided yet", None, advice)
    if digests and all(short in text for short in digests):
        return Section("Go or no-go:", "decided on this data", True, text)
    return Section("Go or no-go:", "decided on other data: the text names other snapshots than these", None, text)


def failure_section(table: Table, bad: BadData) -> Section:
    """Return the page's part on a table that failed: which columns break which checks, and where."""
    return Section(table.name, "breaks its schema", False, findings=[(each, "") for each in bad.findings])


def table_sections(
    table: Table, rows: pd.DataFrame, warnings: list[Finding], earlier: history.Earlier | None = None
) -> list[Section]:
    """Return the page's parts on a table that passed its checks.

    Args:
        table: The table.
        rows: Its rows, all good.
        warnings: What is odd about them.
        earlier: Its rows before the newest change of a source, if they are here.
    """
    held = is_holdout(table, rows).to_numpy()
    learned = pd.Series(np.flatnonzero(~held))
    drawn = rows.iloc[learned.sample(min(len(learned), SAMPLE), random_state=0)]
    masked = frozenset(suspected(rows))
    columns = profiled(table, rows, held, masked)
    changed = history.changes(rows, earlier, columns) if earlier else None
    cards = _cards(table, columns, warnings, changed)
    anchors = {card.column.name: card.anchor for card in cards}
    listed = [(each, anchors.get(each.column, "")) for each in warnings]
    return [
        headline(table, rows, held, warnings, columns),
        *changes_sections(changed),
        *([Section("Warnings", level=3, findings=listed)] if listed else []),
        *time_sections(table, rows, held),
        *series_sections(table, rows, held),
        *own_sections(table, rows),
        *image_sections(table, rows, held),
        Section("Columns", level=3, text=_legend(outcome(rows[table.target]), changed), cards=cards),
        *missing_sections(rows),
        *association_sections(table, drawn, masked),
        *sample_sections(table, rows, columns),
    ]


def columns_section(table: Table, rows: pd.DataFrame, held: np.ndarray, names: list[str]) -> Section:
    """Return a part with the cards of some columns."""
    columns = profiled(table, rows, held, names=names)
    return Section(level=3, text=_legend(outcome(rows[table.target]), None), cards=_cards(table, columns, [], None))


def profiled(
    table: Table,
    rows: pd.DataFrame,
    held: np.ndarray,
    masked: frozenset[str] = frozenset(),
    names: list[str] | None = None,
) -> list[Column]:
    """Return what is measured of each column, or of those named, the target first and keys last."""
    roles = {table.time: "time", table.group: "group"} | dict.fromkeys(table.keys, "key")
    roles |= dict.fromkeys([table.target, *table.targets], "target")
    order = {"target": 0, "": 1, "group": 2, "time": 3, "key": 4}
    sides, found = {"learning": ~held, "held out": held}, outcome(rows[table.target])
    names = sorted(names or rows, key=lambda name: order[roles.get(name, "")])
    return [measure(rows[name], roles.get(name, ""), sides, found, name in masked) for name in names]


def headline(
    table: Table, rows: pd.DataFrame, held: np.ndarray, warnings: list[Finding], columns: list[Column]
) -> Section:
    """Return the first part about a table: how large it is, and whether its checks hold."""
    split_by = table.time or table.group or " and ".join(table.keys)
    missing = sum(column.missing for column in columns) / max(rows.size, 1)
    facts = {
        "rows": f"{len(rows):,}",
        "features": f"{len(table.features):,}",
        "target": table.target,
        f"held out by {split_by}": f"{held.sum():,} ({percent(held.mean())})",
        "missing values": percent(missing),
    }
    counted = f", {len(warnings):,} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    return Section(table.name, f"all checks hold{counted}", not warnings or None, facts=facts)


def changes_sections(changed: history.Changes | None) -> list[Section]:
    """Return the page's part on what became of the last snapshot's rows, if they are here."""
    if changed is None:
        return []
    facts = {f"rows {word}": f"{getattr(changed, word):,}" for word in ("added", "changed", "removed")}
    moved = [(name, far, percent(far)) for name, far in list(changed.moved.items())[:LISTED]]
    cells = [(name, count, f"{count:,} rows") for name, count in list(changed.cells.items())[:LISTED]]
    drawn = {"Distributions that moved: the share of rows in another bin": charts.ranking(moved, 1)} if moved else {}
    drawn |= {"Columns with other values, in rows of the same key": charts.ranking(cells)} if cells else {}
    figures = {"": drawn} if drawn else {}
    text = "; ".join(changed.columns)
    return [Section("Since the last snapshot", level=3, text=text, facts=facts, figures=figures)]


def time_sections(table: Table, rows: pd.DataFrame, held: np.ndarray) -> list[Section]:
    """Return the page's part on rows and target over time, if the table has a time."""
    if not table.time:
        return []
    target = outcome(rows[table.target])
    found = history.periods(rows[table.time], held, target)
    empty, count = int((found.rows == 0).sum()), len(found.rows)
    text = f"{count:,} {found.unit}s" + (f", {empty:,} of them without a row (shaded)" if empty else "")
    figures = {f"Rows a {found.unit}, held-out ones in orange": charts.timeline(found)}
    if target and count > 1:
        figures[f"{target.label} a {found.unit}"] = charts.outcome_line(found, target.label)
    return [Section("Over time", level=3, text=f"{text}.", figures=figures)]


def series_sections(table: Table, rows: pd.DataFrame, held: np.ndarray) -> list[Section]:
    """Return the page's part on series, if a row is a point of one: some as lines, and when each has values."""
    if not is_series(table) or kind_of(rows[table.target]) != "number":
        return []
    found = list(history.series(table, rows))
    span = (min(one.times[0] for one in found), max(one.times[-1] for one in found))
    held_from = as_numbers(rows[table.time][held]).min() if held.any() else np.inf
    counts = {"with gaps": 0, "starting late": 0, "ending early": 0}
    for one in found:
        for words, holds in zip(counts, (len(one.gaps) > 0, one.late, one.early), strict=True):
            counts[words] += bool(holds)
    drawn = {}
    for one in history.telling(found, SERIES):
        range_of = f"{number(one.values.min())} to {number(one.values.max())}"
        drawn[f"{charts.shortened(one.name, 60)}: {range_of}"] = charts.series_line(one, span, held_from)
    strips = sorted((one for one in found if one.lacking), key=lambda one: -one.lacking)
    shown = f" (the worst {STRIPS} of {len(strips):,})" if len(strips) > STRIPS else ""
    text = f"{len(found):,} series: {', '.join(f'{count:,} {words}' for words, count in counts.items())}."
    figures = {"Some of the series; held-out time and gaps are shaded": drawn}
    if strips:
        figures[f"When those with gaps have values{shown}"] = charts.strips(strips[:STRIPS], span)
    return [Section("Series", level=3, text=text, figures=figures)]


def own_sections(table: Table, rows: pd.DataFrame) -> list[Section]:
    """Return the page's part with the figures that data.py draws, if it does."""
    if not table.plots:
        return []
    literal_text()
    return [Section("Plots of data.py", level=3, figures=table.plots(rows))]


def missing_sections(rows: pd.DataFrame) -> list[Section]:
    """Return the page's part on what is missing together, if anything is."""
    found = missing_patterns(rows)
    lines = [
        (charts.shortened(", ".join(names), 120), count, f"{count:,} rows, {percent(count / len(rows))}")
        for count, names in found
    ]
    text = "The most common sets of columns that are missing in the same row."
    return (
        [Section("Missing together", level=3, text=text, figures={"": charts.ranking(lines, len(rows))})]
        if lines
        else []
    )


def association_sections(table: Table, rows: pd.DataFrame, masked: frozenset[str] = frozenset()) -> list[Section]:
    """Return the page's part on which columns tell of each other."""
    found = associations(rows, table.target, [name for name in table.features if name not in masked])
    with_target = found[found["one"] == table.target]
    others = found[found["one"] != table.target]
    pairs = (others["one"] + ", " + others["other"]).head(LISTED)
    parts = {f"With {table.target}": with_target["other"].head(LISTED), "Between features": pairs}
    figures = {
        title: charts.ranking(
            [(name, far, f"{far:.2f}") for name, far in zip(names, found.loc[names.index, "strength"], strict=True)], 1
        )
        for title, names in parts.items()
        if len(names)
    }
    text = (
        "How much two columns tell of each other, among rows to learn from: 0 nothing, 1 all (Cramér's V of values in "
        "bins)."
    )
    return [Section("Associations", level=3, text=text, figures={"": figures})] if len(found) else []


def sample_sections(table: Table, rows: pd.DataFrame, columns: list[Column]) -> list[Section]:
    """Return the page's part with some rows: the first, some by chance, and unusual ones."""
    named = list(dict.fromkeys([*table.keys, *([table.time] if table.time else []), table.target, *rows]))[:COLUMNS]
    unusual = extremes(rows, columns, ROWS)
    picked = [rows.head(ROWS), rows.sample(min(ROWS, len(rows)), random_state=0), rows.loc[unusual.index]]
    shown = pd.concat(picked, ignore_index=True)[named].astype(object)
    shown = shown.apply(lambda column: column.map(lambda value: conceal(value, str(column.name))))
    why = [word for word, part in zip(("first", "by chance"), picked, strict=False) for _ in range(len(part))]
    shown.insert(0, "", [*why, *(f"unusual {name}" for name in unusual)])
    text = f"The first {COLUMNS} of {rows.shape[1]:,} columns." if rows.shape[1] > COLUMNS else ""
    return [Section("Some rows", level=3, text=text, table=shown, folded=True)]


def sources_section() -> Section:
    """Return the page's part on where the data comes from, and how old it is."""
    lock, lines, stale = catalog.current(), [], stale_sources()
    for source in catalog.sources():
        entry = lock.get(source.name, {})
        line = {"source": source.name, "owner": source.owner, "licence": source.licence, "refresh": source.refresh}
        line |= (
            {
                "rows": f"{entry['rows']:,}",
                "snapshot": short_hash(entry["sha256"]),
                "taken": _age(entry, stale.get(source.name)),
            }
            if entry
            else {}
        )
        lines.append(line)
    return Section("Where the data comes from", table=pd.DataFrame(lines))


def image_sections(table: Table, rows: pd.DataFrame, held: np.ndarray) -> list[Section]:
    """Return the page's part on images, if the table has any: some of each class, their sizes, identical files."""
    names = [name for name in rows if kind_of(rows[name]) == "file"]
    try:
        from .images import sheet, size
    except ModuleNotFoundError:
        return []
    sections = []
    for name in names:
        part = rows[rows[name].notna()].sample(frac=1, random_state=0)
        classes = part[table.target] if kind_of(part[table.target]) == "category" else pd.Series("", part.index)
        few = part.groupby(classes).head(max(1, IMAGES // classes.nunique())).head(IMAGES).sort_index()
        few = few.loc[classes[few.index].astype("str").sort_values(kind="stable").index]
        sides = part[name].head(SIZED).map(size).value_counts()
        sizes = [(f"{width} x {height}", count, f"{count:,}") for (width, height), count in sides.head(LISTED).items()]
        figures = {"Some of each class": sheet(few[name], classes[few.index])}
        figures["Most common sizes, in pixels"] = charts.ranking(sizes)
        sections.append(
            Section(f"Images: {name}", level=3, text=copies(rows[name], rows[table.target], held), figures=figures)
        )
    return sections


def copies(contents: pd.Series, labels: pd.Series, held: np.ndarray) -> str:
    """Return how many files are identical to others, and how many of these disagree or are on both sides."""
    digests = contents.map(lambda content: blake2b(content, digest_size=16).hexdigest(), na_action="ignore")
    doubled = digests[digests.duplicated(keep=False) & digests.notna()]
    if doubled.empty:
        return "No two files are identical."
    labelled = labels[doubled.index].groupby(doubled).nunique()
    crossing = pd.Series(held, contents.index)[doubled.index].groupby(doubled).nunique()
    return (
        f"{len(doubled):,} files are identical to another one, in {len(labelled):,} sets: {(labelled > 1).sum():,} of "
        f"these have several labels, {(crossing > 1).sum():,} are both among learning and held-out rows."
    )


def profile(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per column: type, missing, distinct, lowest, median, highest or most common value."""
    everything = {"all": np.ones(len(rows), bool)}
    lines = []
    for column in (measure(rows[name], "", everything) for name in rows):
        line = {"column": column.name, "type": column.dtype, "missing": column.missing, "distinct": column.distinct}
        line |= {name: column.summary[name] for name in ("lowest", "median", "highest") if name in column.summary}
        if len(column.bins.values):
            line["most common"] = f"{column.bins.values[0]} ({percent(column.counts['all'][0] / column.rows)})"
        lines.append(line)
    return pd.DataFrame(lines)


def _age(entry: dict, stale: Finding | None) -> str:
    """Return when a snapshot was taken, and the warning if its content is older than its source should be."""
    taken = datetime.fromisoformat(entry["taken"])
    days = (now() - taken).total_seconds() / 86_400
    return f"{taken:%Y-%m-%d %H:%M} UTC, {days:,.0f} days ago{f': {stale.check}' if stale else ''}"


def _cards(table: Table, columns: list[Column], warnings: list[Finding], changed: history.Changes | None) -> list[Card]:
    """Return a card for each column."""
    place = re.sub(r"\W", "-", table.name)
    cards = []
    for i, column in enumerate(columns):
        former = changed.counts.get(column.name) if changed else None
        counts = dict(column.counts) | ({"last snapshot": former} if former is not None and former.sum() else {})
        own = sum(column.name in each.column.split(" and ") for each in warnings)
        cards.append(Card(column, counts, f"{place}-{i}", own))
    return cards


def _legend(found: Outcome | None, changed: history.Changes | None) -> Markup:
    words = {"a": "learning rows (and their share of each value)", "b": "held-out rows"}
    words |= {"c": "all rows of the last snapshot"} if changed else {}
    return charts.legend(words | ({"r": _of_outcome(found)} if found else {}))


def _of_outcome(found: Outcome) -> str:
    low, high = (number(each) for each in found.scale)
    return f"{found.label} among learning rows, from {low} to {high}"
