"""Draw tables as pages: one self-contained HTML file, with figures and without scripts."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import ROOT, atomic_write
from .checks import BadData
from .table import Table, is_holdout

REPORT = ROOT / "reports" / "data.html"
SHOWN = 30  # columns with a plot; the profile lists all of them
WIDE = 8  # inches from which on a figure may be scrolled sideways on a small screen
CELL = 200  # characters of a value shown in a table

matplotlib.rcParams["text.parse_math"] = False  # a $ in the data is a $


@dataclass(frozen=True)
class Section:
    """A part of a page: a title with a state, a paragraph, figures by title, and a table.

    Attributes:
        good: Whether the state is good or bad; None if that is open.
        figures: By title, a figure or several small ones by their captions.
    """

    title: str = ""
    state: str = ""
    good: bool | None = True
    text: str = ""
    figures: Mapping[str, Figure | dict[str, Figure]] = field(default_factory=dict)
    table: pd.DataFrame | None = None

    @property
    def colour(self) -> str:
        """The class of the state in the page's style."""
        return {True: "good", False: "bad", None: "open"}[self.good]


def write_page(path: Path, title: str, sections: Iterable[Section]) -> None:
    """Write one self-contained page of these sections."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, line_statement_prefix="%%")
    environment.filters |= {"png": png, "cell": cell}
    environment.tests["wide"] = lambda figure: figure.get_figwidth() > WIDE
    page = environment.get_template("page.html").render(title=title, sections=list(sections))
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8")


def png(figure: Figure) -> str:
    """Return the figure as a PNG image in base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()


def cell(value: Any) -> str:
    """Return a value as a cell's text: four significant digits for floats, days without a time, nothing if missing."""
    if not isinstance(value, bytes | list | tuple | dict) and pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    return (number(value) if isinstance(value, float) else str(value))[:CELL]


def number(value: float) -> str:
    """Return a number with four significant digits, whole and in thousands from 10,000 on."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def table_section(table: Table, rows: pd.DataFrame) -> Section:
    """Return the page's part on a table that passed its checks: size, split, and columns in figures and numbers."""
    held = is_holdout(table, rows)
    split_by = table.time or table.group or " and ".join(table.keys)
    shown = [name for name in [table.target, *table.features] if not _is_files(rows[name])][:SHOWN]
    figures = {"Training rows (blue) and held-out rows (orange)": histograms(rows[shown], held)}
    text = f"{len(rows):,} rows; {held.sum():,} held out by {split_by}; target {table.target}."
    more = table.plots(rows) if table.plots else {}
    return Section(table.name, "all checks hold", text=text, figures=figures | more, table=profile(rows))


def failure_section(table: Table, bad: BadData) -> Section:
    """Return the page's part on a table that failed: which columns break which checks, and where."""
    lines = [
        {"column": each.column, "check": each.check, "rows": each.rows, "examples": "; ".join(each.shown)}
        for each in bad.findings
    ]
    return Section(table.name, "breaks its schema", good=False, table=pd.DataFrame(lines))


def profile(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a line per column: type, missing, distinct, lowest, mean, highest or most common value."""
    lines = []
    for name, column in rows.items():
        line = {"column": name, "type": str(column.dtype), "missing": int(column.isna().sum())}
        line["distinct"] = int(column.nunique())
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            line |= {"lowest": column.min(), "mean": column.mean(), "highest": column.max()}
        elif _is_files(column):
            line["most common"] = f"{column.dropna().map(len).sum() / 1e6:.3g} MB in all"
        elif column.notna().any():
            counts = column.value_counts()
            line["most common"] = f"{counts.index[0]} ({counts.iloc[0] / len(rows):.0%})"
        lines.append(line)
    return pd.DataFrame(lines)


def histograms(rows: pd.DataFrame, held: pd.Series) -> dict[str, Figure]:
    """Return a small plot per column, by its name: shares of the training rows and of the held-out rows."""
    figures = {}
    for name, column in rows.items():
        figures[str(name)] = figure = Figure(figsize=(3.1, 1.8), layout="constrained")
        axis = figure.subplots()
        axis.tick_params(labelsize=7)
        axis.set_yticks([])
        draw_column(axis, column, held)
    return figures


def draw_column(axis: Axes, column: pd.Series, held: pd.Series) -> None:
    """Draw a column's distribution: bins for numbers and dates, bars for the ten most common other values."""
    sides = {"training": column[~held].dropna(), "held out": column[held].dropna()}
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric or pd.api.types.is_datetime64_any_dtype(column):
        values = [side.astype(float) if numeric else side for side in sides.values()]
        weights = [[1 / max(len(side), 1)] * len(side) for side in values]
        axis.hist(values, bins=20, weights=weights, label=list(sides))
        return
    names = column.value_counts().index[:10]
    for place, (label, side) in enumerate(sides.items()):
        shares = side.value_counts(normalize=True).reindex(names).fillna(0)
        axis.bar([i + 0.4 * place for i in range(len(names))], shares, width=0.4, label=label)
    axis.set_xticks([i + 0.2 for i in range(len(names))], [str(name)[:14] for name in names])
    axis.tick_params(axis="x", rotation=90 if len(names) > 3 else 0)


def _is_files(column: pd.Series) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) == "bytes"
