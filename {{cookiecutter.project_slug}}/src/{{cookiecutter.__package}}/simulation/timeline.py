"""Draw what happened over the days: losses and what was promised, alarms, champions, rows."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from ..datasets.charts import WIDTH, axis, drawing, legend, number
from .findings import losses, together
from .plan import BROKEN
from .policies import BLIND, FROZEN, SERVED

LINES = {FROZEN: "c", BLIND: "b", SERVED: "line"}  # classes of the page's style
KINDS = ("quality", "drift", "performance", "staleness")
LOSS, STRIP, BAR = 120, 10, 16  # heights
STYLE = """
:root{--text:#1d2733;--a:#4d7fb5;--b:#d9731a;--c:#6b7280;--held:#e2f0e6;--gap:#f6d5d2}
@media(prefers-color-scheme:dark){:root{--text:#dfe5ec;--a:#7ba3cf;--b:#f0984a;--c:#a3adb8;--held:#1f3327;--gap:#4d2826}}
text{font:12px system-ui,sans-serif;fill:var(--text)}path,rect{vector-effect:non-scaling-stroke}
.a{fill:var(--a)}.b{fill:none;stroke:var(--b);stroke-width:1.5}rect.b{fill:var(--b);stroke:none}
.c{fill:none;stroke:var(--c);stroke-width:1.2;stroke-dasharray:3 2}rect.c{fill:var(--c);stroke:none}
.line{fill:none;stroke:var(--a);stroke-width:2.2}.held{fill:var(--held)}.gap{fill:var(--gap)}.hint{fill:transparent}
"""


def figures(run: dict[str, Any]) -> dict[str, Markup]:
    """Return the drawings of a run, by their titles."""
    days, top = run["days"], _top(run)
    ends = axis("day 1", f"day {len(days) // 2}", f"day {len(days)}")
    keys = {"a": SERVED, "c": FROZEN} | ({"b": BLIND} if _has(run, BLIND) else {})
    loss = drawing(_losses(run, top), f"loss, from 0 to {number(top)}", LOSS)
    strips = [
        Markup('<div class="axis">{}</div>').format(kind) + drawing(_alarms(run, kind), f"{kind} alarms", STRIP)
        for kind in KINDS[:3]
    ]
    return {
        f"Loss, means of three days, up to {number(top)}, by its square root; shaded: what was promised, and faults": (
            legend(keys) + loss + ends
        ),
        "Alarms": Markup("").join(strips) + ends,
        "Champions, and versions that the gate kept back": drawing(_champions(run), "champions", 2 * BAR) + ends,
        "Rows a day": drawing(_rows(run), "rows a day", 2 * BAR) + ends,
    }


def picture(run: dict[str, Any]) -> str:
    """Return all of it as one drawing that stands by itself."""
    top, wide, left = _top(run), 860, 96
    parts: list[Markup] = []
    place = 26
    panels: list[tuple[str, int, Callable[[], Iterable[Markup]]]] = [
        ("loss", LOSS + 40, lambda: _losses(run, top, LOSS + 40)),
        *[(kind, STRIP + 2, lambda kind=kind: _alarms(run, kind, STRIP + 2)) for kind in KINDS[:3]],
        ("champions", 2 * BAR, lambda: _champions(run)),
        ("rows a day", 2 * BAR, lambda: _rows(run)),
    ]
    for name, height, draw in panels:
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(left - 8, place + height / 2 + 4, name)
        )
        frame = Markup(
            '<svg x="{}" y="{}" width="{}" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
        )
        shapes = Markup("").join(draw())
        parts.append(frame.format(left, place, wide - left - 10, height, WIDTH, height, shapes))
        place += height + 8
    words = {"a": SERVED, "b": BLIND, "c": FROZEN, "held": "promised", "gap": "faults"}
    for i, (kind, word) in enumerate(words.items()):
        box = Markup('<rect class="{}" x="{}" y="6" width="11" height="11"/><text x="{}" y="16">{}</text>')
        parts.append(box.format(kind, left + i * 150, left + 16 + i * 150, word))
    days = len(run["days"])
    for i in range(0, days, 15):
        x = left + (wide - left - 10) * i / days
        parts.append(Markup('<text x="{}" y="{}">day {}</text>').format(round(x), place + 8, i + 1))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {place + 16}" role="img"><style>{STYLE}</style>'
    )
    return f"{head}{Markup('').join(parts)}</svg>\n"


def _losses(run: dict[str, Any], top: float, height: int = LOSS) -> list[Markup]:
    """Return the lines of the policies, above what was promised and the days of faults."""
    count = len(run["days"])
    shapes = [*_faults(run, height)]
    for i, day in enumerate(run["days"]):
        if promised := run["promised"].get(day["version"]):
            low, high = (_height(each, top, height) for each in promised[1:])
            shapes.append(_rect("held", i, 1, count, high, max(low - high, 1)))
    for policy, kind in LINES.items():
        if _has(run, policy):
            values = together(losses(run, policy))
            points = [
                f"{'L' if i else 'M'}{(i + 0.5) / count * WIDTH:.1f} {_height(each, top, height):.1f}"
                for i, each in enumerate(values)
            ]
            shapes.append(Markup('<path class="{}" d="{}"/>').format(kind, "".join(points)))
    return shapes


def _height(loss: float, top: float, height: int) -> float:
    """Return where a loss is drawn: on the scale of its square root, which shows small and large ones."""
    return height * (1 - float(np.sqrt(np.clip(loss / top, 0, 1))))


def _faults(run: dict[str, Any], height: int) -> list[Markup]:
    """Return shades for the days of the broken column, and a mark where a change begins, which stays."""
    count = len(run["days"])
    return [
        _rect(
            "gap",
            each["first"],
            each["end"] - each["first"] if each["kind"] == BROKEN else 1,
            count,
            0,
            height,
            f"{each['kind']}: {each['column']}, from day {each['first'] + 1}",
        )
        for each in run["plan"]["faults"]
    ]


def _alarms(run: dict[str, Any], kind: str, height: int = STRIP) -> list[Markup]:
    """Return a mark for each day with a new alarm of a kind."""
    shapes, count = _faults(run, height), len(run["days"])
    for i, day in enumerate(run["days"]):
        if words := [each[2] for each in day["alarms"] if each[0] == kind]:
            shapes.append(_rect("b", i, 1, count, 0, height, "; ".join(words)))
    return shapes


def _champions(run: dict[str, Any]) -> list[Markup]:
    """Return a bar for the days of each version, in two shades by turns; below it marks for versions kept back."""
    shapes, count, first = [], len(run["days"]), 0
    for i, (version, own) in enumerate(groupby(day["version"] for day in run["days"])):
        length = len([*own])
        told = f"version {version}, from day {first + 1}"
        shapes.append(_rect("c" if i % 2 else "a", first, length, count, 0, BAR, told))
        first += length
    for i, day in enumerate(run["days"]):
        if kept := [each for each in day["versions"] if each not in day["promoted"]]:
            shapes.append(_rect("b", i, 0.8, count, BAR + 4, BAR - 4, f"version {', '.join(kept)} was kept back"))
    return shapes


def _rows(run: dict[str, Any]) -> list[Markup]:
    """Return a bar for the rows of each day."""
    count, most = len(run["days"]), max(day["rows"] for day in run["days"])
    heights = [2 * BAR * day["rows"] / most for day in run["days"]]
    return [
        _rect("a", i, 0.8, count, 2 * BAR - each, each, f"day {i + 1}: {day['rows']} rows")
        for i, (day, each) in enumerate(zip(run["days"], heights, strict=True))
    ]


def _rect(kind: str, day: float, length: float, count: int, y: float, height: float, told: str = "") -> Markup:
    """Return a rectangle over some of so many days, and what it says where a mouse is over it."""
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>')
    title = Markup("<title>{}</title>").format(told) if told else ""
    x, wide = round(day / count * WIDTH, 2), round(length / count * WIDTH, 2)
    return shape.format(kind, x, round(y, 1), wide, round(height, 1), title)


def _top(run: dict[str, Any]) -> float:
    """Return the largest loss of three days under any policy."""
    known = [together(losses(run, policy)).max() for policy in LINES if _has(run, policy)]
    return float(np.max(known)) * 1.05


def _has(run: dict[str, Any], policy: str) -> bool:
    return policy in run["days"][0]["losses"]
