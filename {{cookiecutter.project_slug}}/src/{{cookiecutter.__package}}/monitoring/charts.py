"""Draw what a watch found, as inline SVG: loss, signals, versions and rows over the days, and columns that moved."""

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup

from ..datasets.charts import WIDTH, axis, drawing, legend, meters, number, percent, shortened
from ..retraining.profiles import Column, Counts
from . import drift
from .watch import Watched

SHOWN = 12  # columns in the strip of signals, and values of a column
STRONG = 4.0  # standard deviations of the reference days that have the strongest colour
LOSS, STRIP, ROWS = 110, 12, 40  # heights


def over_time(found: Watched) -> dict[str, Markup]:
    """Return the drawings of all days, by their titles."""
    days = [*found.rows]
    ends = axis(days[0], days[len(days) // 2], days[-1])
    drawn = {
        "Loss by labels, and what was promised": (_loss(found), ends),
        "How far columns are from usual days": (_signals(found), Markup("")),
        "Version that answered": (_versions(found), ends),
        "Rows": (_rows(found), ends),
    }
    return {title: shapes + below for title, (shapes, below) in drawn.items() if shapes}


def distribution(column: Column, day: Counts) -> Markup:
    """Draw a column's shares as the version learned them, and on the newest day."""
    old, new = (np.array(each.cells) / max(each.present, 1) for each in (column.counts, day))
    said = legend({"a": "learned", "b": "newest day"})
    if column.kind != "number" or not column.edges:
        names = [*column.values, "any other"]
        lines = [_line(name, *pair) for name, *pair in sorted(zip(names, old, new, strict=True), key=_larger)[:SHOWN]]
        return Markup('<div>{}<table class="bars">{}</table></div>').format(said, Markup("").join(lines))
    old, new = (np.concatenate([each[:1], each[1::2] + each[2::2]]) for each in (old, new))  # an edge with what follows
    top, count = max(old.max(), new.max(), 1e-9), len(old)
    shapes = [_rect("a", i, 1, count, share / top, ROWS) for i, share in enumerate(old)]
    shapes.append(_path("b", [(i + half, share / top) for i, share in enumerate(new) for half in (0, 1)], count, ROWS))
    for i, (before, now) in enumerate(zip(old, new, strict=True)):
        shapes.append(_hint(i, count, ROWS, f"{percent(before)} learned, {percent(now)} now"))
    label = f"{column.name}: shares between quantiles, as learned and on the newest day"
    ends = axis(number(column.edges[0]), number(column.edges[-1]))
    return Markup("<div>{}</div>").format(said + drawing(shapes, label, ROWS) + ends)


def _loss(found: Watched) -> Markup:
    """Draw the loss of each day with enough labels, above the band that was promised."""
    told = found.performance
    if not told or not told.days:
        return Markup("")
    value, low, high = told.promised
    top = max([each for each in (high, value, *told.days.values()) if np.isfinite(each)], default=0.0) or 1.0
    places = {day: i for i, day in enumerate(found.rows)}
    points = [(places[day] + 0.5, max(loss, 0) / top) for day, loss in told.days.items() if day in places]
    shapes = []
    if np.isfinite(high - low):
        height = max(high - low, 0) / top * LOSS
        band = Markup('<rect class="held" y="{}" width="{}" height="{}"/>')
        shapes.append(band.format(round(LOSS * (1 - high / top), 1), WIDTH, round(height, 1)))
    shapes.append(_path("c", [(0, value / top), (len(places), value / top)], len(places), LOSS))
    shapes.append(_path("line", points, len(places), LOSS))
    for day, loss in told.days.items():
        shapes += [_hint(places[day], len(places), LOSS, f"{day}: {number(loss)}")] if day in places else []
    keys = legend({"a": f"loss, up to {number(top)}", "c": f"promised: {number(value)}"})
    return keys + drawing(shapes, f"loss of each day, promised was {number(value)}", LOSS)


def _signals(found: Watched) -> Markup:
    """Draw how far the columns that moved most are from the reference days: a line each, a shade a day."""
    order = sorted(found.changes, key=lambda each: each.p)
    first = {each.column: each.what for each in reversed(order)}
    lines = []
    for name in list(dict.fromkeys(each.column for each in order))[:SHOWN]:
        far = _far(found, name, first[name])
        shapes = [
            Markup('<rect class="{}" fill-opacity="{}" x="{}" width="{}" height="{}"><title>{}</title></rect>').format(
                "b full" if each > 0 else "a",
                round(min(abs(each) / STRONG, 1), 2),
                *(round(x * WIDTH / len(far), 2) for x in (i, 1)),
                STRIP,
                f"{day}: {each:+.1f}",
            )
            for i, (day, each) in enumerate(zip(found.rows, far, strict=True))
            if np.isfinite(each)
        ]
        drawn = drawing(shapes, f"{name}: {first[name]} by day", STRIP)
        line = Markup('<tr><th>{}</th><td class="wide">{}</td><td>{}</td></tr>')
        lines.append(line.format(shortened(name), drawn, first[name]))
    keys = legend({"b": "above the usual", "a": f"below, strongest at {STRONG:.0f} standard deviations"})
    return keys + Markup('<table class="bars">{}</table>').format(Markup("").join(lines)) if lines else Markup("")


def _far(found: Watched, name: str, what: str) -> np.ndarray:
    """Return by how many standard deviations of the earlier days each day is off, `(days,)`."""
    column, known = found.profile.columns[name], found.counts[name]
    values = [drift.properties(column, known[day]).get(what, np.nan) if day in known else np.nan for day in found.rows]
    usual = np.array(values[: -drift.WEEK], float)
    usual = usual[np.isfinite(usual)]
    spread = float(usual.std()) if len(usual) else 0.0
    return (np.array(values, float) - (usual.mean() if len(usual) else 0.0)) / (spread or 1.0)


def _versions(found: Watched) -> Markup:
    versions, count = list(dict.fromkeys(found.served.values())), len(found.rows)
    shapes = [
        _rect(
            "a" if versions.index(found.served[day]) % 2 == 0 else "c",
            i,
            1,
            count,
            1.0,
            STRIP,
            f"{day}: version {found.served[day]}",
        )
        for i, day in enumerate(found.rows)
        if day in found.served
    ]
    said = Markup('<p class="soft">{}</p>').format("versions " + ", ".join(versions))
    return said + drawing(shapes, f"versions {', '.join(versions)}", STRIP) if shapes else Markup("")


def _rows(found: Watched) -> Markup:
    top, count = max(found.rows.values()) or 1, len(found.rows)
    shapes = [
        _rect("a", i, 0.9, count, rows / top, ROWS, f"{day}: {rows:,} rows")
        for i, (day, rows) in enumerate(found.rows.items())
    ]
    return drawing(shapes, f"rows a day, at most {top:,}", ROWS)


def _line(name: str, old: float, new: float) -> Markup:
    told = f"{name}: {percent(old)} learned, {percent(new)} on the newest day"
    drawn = meters({"a": old, "b": new}, told)
    line = Markup('<tr title="{}"><th>{}</th><td class="wide">{}</td><td>{}</td></tr>')
    return line.format(told, shortened(name), drawn, percent(new))


def _larger(line: tuple[str, float, float]) -> float:
    return -max(line[1:])


def _rect(kind: str, start: float, wide: float, count: int, share: float, height: int, title: str = "") -> Markup:
    """Return a bar from the bottom, of a share of the height; places are in days or cells of `count`."""
    tall = round(max(share, 0) * height, 1)
    x, width = (round(each * WIDTH / count, 2) for each in (start, wide))
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
    return shape.format(kind, x, round(height - tall, 1), width, tall, title)


def _hint(place: int, count: int, height: int, title: str) -> Markup:
    return _rect("hint", place, 1, count, 1.0, height, title)


def _path(kind: str, points: Iterable[tuple[float, float]], count: int, height: int) -> Markup:
    """Return a line through points: places in days or cells of `count`, and shares of the height."""
    parts = [
        f"{'L' if i else 'M'}{x * WIDTH / count:.1f} {height * (1 - min(y, 1)):.1f}" for i, (x, y) in enumerate(points)
    ]
    return Markup('<path class="{}" d="{}"/>').format(kind, "".join(parts))
