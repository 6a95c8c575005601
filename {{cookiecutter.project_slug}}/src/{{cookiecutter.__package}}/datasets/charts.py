"""Draw counts and series as inline SVG: shapes stretched to the page's width, with their labels beside them as text."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from .history import Periods, Series
from .personal import masked
from .profile import Column

WIDTH = 300  # units of a drawing from side to side, whatever its width on the page
CELL = 200  # characters of a value in a table
LABEL = 28  # characters of a value beside a bar
POINTS = 300  # of a line
SIDES = {"learning": "a", "held out": "b", "last snapshot": "c"}  # classes in the page's style


def cell(value: Any) -> str:
    """Return a value as a cell's text: four significant digits for floats, days without a time, nothing if missing."""
    if not isinstance(value, bytes | list | tuple | dict) and pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return number(value) if isinstance(value, float) else str(value)[:CELL]


def number(value: float) -> str:
    """Return a number with four significant digits, whole and in thousands from 10,000 on."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def brief(value: float | pd.Timestamp) -> str:
    """Return a number with three significant digits, whole from 1,000 to a million, or a time without its seconds."""
    if isinstance(value, pd.Timestamp):
        return value.tz_localize(None).isoformat(" ", "minutes").removesuffix(" 00:00")
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return a share in percent, never rounded to none or all."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")


def shortened(text: str, length: int = LABEL) -> str:
    """Return a text of at most this length, cut in its middle so that its end stays."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def drawing(shapes: Iterable[Markup], label: str, height: int) -> Markup:
    """Return a drawing of these shapes, as wide as its place; the label says what it shows."""
    return Markup(
        '<svg viewBox="0 0 {} {}" height="{}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, height, height, label, Markup("").join(shapes))


def legend(words: Mapping[str, str]) -> Markup:
    """Return what the colours of drawings stand for, by their class."""
    keys = [
        Markup('<span class="named"><span class="key {}"></span> {}</span>').format(kind, text)
        for kind, text in words.items()
    ]
    return Markup(" ").join(keys)


def axis(*labels: object) -> Markup:
    """Return labels spread below a drawing."""
    return Markup('<div class="axis">{}</div>').format(
        Markup("").join(Markup("<span>{}</span>").format(label) for label in labels)
    )


def histogram(column: Column, counts: Mapping[str, np.ndarray], height: int = 64) -> Markup:
    """Draw the shares of each side's values by bin: bars for the first side, outlines for the others.

    Args:
        column: What is measured of a column with edges.
        counts: By side, the counts in its bins `(bins,)`.
        height: Of the drawing, in pixels.
    """
    shares = {side: each / each.sum() for side, each in counts.items() if each.sum()}
    top = max((each.max() for each in shares.values()), default=1)
    bins, names = len(column.bins), bin_names(column)
    if bins == 1:
        return Markup("")
    shapes = []
    for i, (side, each) in enumerate(shares.items()):
        heights = np.where(each > 0, np.maximum(each / top * (height - 2), 1), 0)
        path = _bars(heights, height) if i == 0 else _outline(heights, height)
        shapes.append(Markup('<path class="{}" d="{}"/>').format(SIDES.get(side, "c"), path))
    for i, name in enumerate(names):
        told = ", ".join(f"{each[i]:,} {side}" for side, each in counts.items())
        if any(each[i] for each in counts.values()):
            shapes.append(_hint(i, bins, height, f"{name}: {told}"))
    low, high = names[0], names[-1]
    drawn = drawing(shapes, f"{column.name}: values by bin, {low} to {high}", height)
    return drawn + rates(column) + axis(low.split(" to ")[0], high.split(" to ")[-1])


def rates(column: Column, height: int = 26) -> Markup:
    """Draw the mean outcome in each bin as a dash, on a scale that all columns have; nothing where there is none."""
    if column.rates is None:
        return Markup("")
    low, high = column.scale
    step, shapes = WIDTH / len(column.rates), []
    for i, rate in enumerate(column.rates):
        if not np.isnan(rate):
            y = height - 3 - np.clip((rate - low) / (high - low or 1), 0, 1) * (height - 6)
            shapes.append(f"M{i * step:.1f} {y:.1f}h{step:.1f}")
    path = Markup('<path class="r" d="{}"/>').format("".join(shapes))
    return drawing(
        [path], f"{column.name}: the outcome by bin, on a scale from {number(low)} to {number(high)}", height
    )


def bin_names(column: Column) -> list[str]:
    """Return what is in each bin, in words."""
    bins = column.bins
    if len(bins.values):
        others = column.distinct - len(bins.values)
        names = [shortened(cell(masked(value))) or "(empty text)" for value in bins.values]
        return [*names, *([f"{others:,} others"] if others > 0 else [])]
    edges = bins.edges
    if column.kind != "date" and (np.diff(edges) == 1).all() and (edges % 1 == 0.5).all():
        return [_edge(each + 0.5, column.kind) for each in edges[:-1]]
    return [f"{_edge(low, column.kind)} to {_edge(high, column.kind)}" for low, high in pairwise(edges)]


def _edge(value: float, kind: str) -> str:
    if kind != "date" or not np.isfinite(value):
        return number(value)
    try:
        return brief(pd.Timestamp(int(value), unit="us"))
    except (OverflowError, ValueError):
        return number(value)


def values_table(column: Column, counts: Mapping[str, np.ndarray]) -> Markup:
    """Draw the shares of each value: a line with a thin bar for each side, and the mean outcome if there is one."""
    shares = {side: each / each.sum() for side, each in counts.items() if each.sum()}
    top = max((each.max() for each in shares.values()), default=1)
    first = next(iter(shares.values()), np.zeros(len(column.bins)))
    lines = []
    for i, name in enumerate(bin_names(column)):
        told = ", ".join(f"{each[i]:,} {side}" for side, each in counts.items())
        drawn = meters({SIDES.get(side, "c"): each[i] / top for side, each in shares.items()}, f"{name}: {told}")
        rate = column.rates[i] if column.rates is not None else np.nan
        last = (
            Markup("<td>{}</td>").format("" if np.isnan(rate) else number(float(rate)))
            if column.rates is not None
            else ""
        )
        line = Markup('<tr title="{}"><th>{}</th><td class="wide">{}</td><td>{}</td>{}</tr>')
        lines.append(line.format(told, name, drawn, percent(first[i]), last))
    return Markup('<table class="bars">{}</table>').format(Markup("").join(lines))


def meters(shares: Mapping[str, float], label: str) -> Markup:
    """Draw thin bars below each other, by class."""
    thick = 5 if len(shares) > 1 else 9
    shapes = [
        Markup('<rect class="{}" y="{}" width="{}" height="{}"/>').format(
            kind, i * (thick + 1), round(min(share, 1) * WIDTH, 1), thick
        )
        for i, (kind, share) in enumerate(shares.items())
    ]
    return drawing(shapes, label, len(shares) * (thick + 1))


def ranking(lines: Sequence[tuple[str, float, str]], top: float | None = None) -> Markup:
    """Draw named lengths below each other: name, length, and what is written behind it."""
    top = top or max((length for _, length, _ in lines), default=1) or 1
    drawn = [
        Markup('<tr><th>{}</th><td class="wide">{}</td><td>{}</td></tr>').format(
            name, meters({"a": length / top}, f"{name}: {text}"), text
        )
        for name, length, text in lines
    ]
    return Markup('<table class="bars far">{}</table>').format(Markup("").join(drawn))


def timeline(found: Periods, height: int = 60) -> Markup:
    """Draw the rows in each period, held-out ones apart, and shade periods without any."""
    heights = found.rows / max(found.rows.max(), 1) * (height - 4)
    held = np.divide(found.held, found.rows, out=np.zeros(len(heights)), where=found.rows > 0) * heights
    count = len(heights)
    shapes = [_span(i / count, (i + 1) / count, height, "gap") for i in np.flatnonzero(found.rows == 0)]
    shapes.append(Markup('<path class="a" d="{}"/>').format(_bars(heights, height)))
    shapes.append(Markup('<path class="b full" d="{}"/>').format(_bars(held, height)))
    for i, (label, rows) in enumerate(zip(found.labels, found.rows, strict=True)):
        shapes.append(_hint(i, count, height, f"{label}: {rows:,} rows"))
    label = f"rows a {found.unit}, {found.labels[0]} to {found.labels[-1]}, at most {found.rows.max():,}"
    return drawing(shapes, label, height) + axis(found.labels[0], found.labels[count // 2], found.labels[-1])


def outcome_line(found: Periods, label: str, height: int = 70) -> Markup:
    """Draw the mean outcome over the periods, with those from the first held-out row on shaded."""
    mean = found.outcome
    held_from = np.argmax(found.held > 0) / len(mean) if found.held.any() else 1
    low, high = np.nanmin(mean), np.nanmax(mean)
    places = (np.arange(len(mean)) + 0.5) / len(mean)
    known = ~np.isnan(mean)
    parts = [_span(held_from, 1, height, "held")] if held_from < 1 else []
    parts.append(
        _line(
            places[known], _scaled(mean[known], low, high), height, np.flatnonzero(np.diff(np.flatnonzero(known)) > 1)
        )
    )
    told = f"{label}: {number(low)} to {number(high)}"
    return drawing(parts, told, height) + axis(found.labels[0], told, found.labels[-1])


def series_line(one: Series, span: tuple[float, float], held_from: float, height: int = 70) -> Markup:
    """Draw a series over the whole time of its table, with its gaps and the held-out span shaded.

    Args:
        one: The series.
        span: The first and the last time of the table.
        held_from: The first time that is held out.
        height: Of the drawing, in pixels.
    """
    first, length = span[0], (span[1] - span[0]) or 1
    low, high = np.min(one.values), np.max(one.values)
    parts = [_span((held_from - first) / length, 1, height, "held")] if held_from <= span[1] else []
    parts += [_span(*((gap - first) / length), height, "gap") for gap in one.gaps]
    kept = thinned(one.values)
    broken = np.flatnonzero(np.isin(one.times[kept][:-1], one.gaps[:, 0]))
    parts.append(_line((one.times[kept] - first) / length, _scaled(one.values[kept], low, high), height, broken))
    return drawing(parts, f"{one.name}: {number(low)} to {number(high)}", height)


def thinned(values: np.ndarray) -> np.ndarray:
    """Return the places of at most some `POINTS` values: the lowest and highest of each stretch."""
    if len(values) <= POINTS:
        return np.arange(len(values))
    stretches = np.array_split(np.arange(len(values)), POINTS // 2)
    ends = [each[[0, -1]] for each in (stretches[0], stretches[-1])]
    peaks = [each[[np.argmin(values[each]), np.argmax(values[each])]] for each in stretches]
    return np.unique(np.concatenate([*ends, *peaks]))


def presence(one: Series, span: tuple[float, float]) -> Markup:
    """Draw when a series has values."""
    first, length = span[0], (span[1] - span[0]) or 1
    starts, ends = [one.times[0], *one.gaps[:, 1]], [*one.gaps[:, 0], one.times[-1]]
    spans = [
        _span((start - first) / length, max(end - first, start - first + length / 200) / length, 8, "a")
        for start, end in zip(starts, ends, strict=True)
    ]
    return drawing(spans, f"{one.name}: {len(one.values):,} values, {len(one.gaps)} gaps", 8)


def strips(found: Iterable[Series], span: tuple[float, float]) -> Markup:
    """Draw when each series has values, below each other."""
    lines = [
        Markup('<tr><th>{}</th><td class="wide">{}</td><td>{}</td></tr>').format(
            shortened(one.name), presence(one, span), f"{len(one.values):,}"
        )
        for one in found
    ]
    return Markup('<table class="bars">{}</table>').format(Markup("").join(lines))


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5)


def _line(x: np.ndarray, y: np.ndarray, height: int, broken: np.ndarray) -> Markup:
    """Return a line through points in shares of width and height; after the places `broken` it starts anew."""
    starts = {0, *(broken + 1).tolist()}
    points = [
        f"{'M' if i in starts else 'L'}{a * WIDTH:.1f} {height - 3 - b * (height - 6):.1f}"
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    ]
    return Markup('<path class="line" d="{}"/>').format("".join(points))


def _bars(heights: np.ndarray, height: int) -> str:
    """Return the path of bars side by side."""
    step = WIDTH / len(heights)
    wide = step * 0.88 if step > 3 else step
    return "".join(
        f"M{i * step:.1f} {height}v-{each:.1f}h{wide:.1f}v{each:.1f}z" for i, each in enumerate(heights) if each > 0
    )


def _outline(heights: np.ndarray, height: int) -> str:
    """Return the path of a line along the tops of bars."""
    step = WIDTH / len(heights)
    return f"M0 {height}" + "".join(f"V{height - each:.1f}h{step:.2f}" for each in heights) + f"V{height}"


def _span(start: float, end: float, height: int, kind: str) -> Markup:
    """Return a rectangle over the whole height, between two shares of the width."""
    return Markup('<rect class="{}" x="{}" width="{}" height="{}"/>').format(
        kind, round(start * WIDTH, 1), round(max(end - start, 0) * WIDTH, 1), height
    )


def _hint(i: int, bins: int, height: int, text: str) -> Markup:
    """Return what a bin says where a mouse is over it."""
    return Markup('<rect class="hint" x="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        round(i * WIDTH / bins, 1), round(WIDTH / bins, 1), height, text
    )
