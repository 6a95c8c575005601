"""Rows -> reports/data.html: what the data holds and what is wrong with it. Running it takes the snapshots."""

import base64
import io
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import ROOT, catalog, run
from .data import TABLES
from .table import BadData, Table, is_holdout

REPORT = ROOT / "reports" / "data.html"
SHOWN = 30  # columns with a picture; the profile lists all of them
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #dde3ea; padding-top: 1.5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #edf0f4; vertical-align: top }
div { overflow-x: auto } img { max-width: 100% } .bad { color: #b3261e } .good { color: #1b6e3c }
.note { color: #5b6775 }
"""


def main(arguments: list[str]) -> None:
    """Snapshots are taken, every table is checked and reports/data.html is written; bad data changes no snapshot."""
    sections = []
    with catalog.fetched() as changed:
        try:
            for table in TABLES:
                sections.append(section(table, table.rows()))
                print(f"{table.name}: all checks hold")
        except BadData as bad:
            sections.append(failure(bad, table))
            raise
        finally:
            write(REPORT, "Data", sections)
    for name, entry in catalog.locked().items():
        state = "new snapshot" if name in changed else "unchanged"
        print(f"{name}: {entry['rows']} rows, {entry['columns']} columns, {entry['sha256'][:12]}, {state}")
    print(f"report: {REPORT.relative_to(ROOT).as_posix()}")


def section(table: Table, rows: pd.DataFrame) -> str:
    """The report's part on one good table: its size, its split, its columns in words and in pictures."""
    held = is_holdout(table, rows)
    by = table.time or table.group or " and ".join(table.keys)
    shown = [name for name in [table.target, *table.features] if not is_files(rows[name])][:SHOWN]
    more = table.pictures(rows) if table.pictures else {}
    return "".join(
        [
            f"<h2>{escape(table.name)} <span class='good'>all checks hold</span></h2>",
            f"<p>{len(rows):,} rows; {held.sum():,} held out by {escape(by)}; target {escape(table.target)}.</p>",
            picture(histograms(rows[shown], held), f"How the columns of {table.name} are distributed"),
            *(f"<h3>{escape(title)}</h3>{picture(figure, title)}" for title, figure in more.items()),
            html(profile(rows)),
        ]
    )


def failure(bad: BadData, table: Table) -> str:
    """The report's part on a bad table: which columns break which checks, and where."""
    return f"<h2>{escape(table.name)} <span class='bad'>breaks its schema</span></h2>{html(bad.problems)}"


def profile(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a column: type, missing, distinct, lowest, mean, highest or most common value."""
    lines = []
    for name, column in rows.items():
        line = {"column": name, "type": str(column.dtype), "missing": int(column.isna().sum())}
        line["distinct"] = int(column.nunique())
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            line |= {"lowest": column.min(), "mean": column.mean(), "highest": column.max()}
        elif is_files(column):
            line["most common"] = f"{column.dropna().map(len).sum() / 1e6:.3g} MB in all"
        elif column.notna().any():
            counts = column.value_counts()
            line["most common"] = f"{counts.index[0]} ({counts.iloc[0] / len(rows):.0%})"
        lines.append(line)
    return pd.DataFrame(lines)


def is_files(column: pd.Series) -> bool:
    """Whether the column holds the contents of files."""
    return pd.api.types.infer_dtype(column, skipna=True) == "bytes"


def histograms(rows: pd.DataFrame, held: pd.Series) -> Figure:
    """A small picture for each column: the rows to learn from in blue, the held out rows in orange, as shares."""
    across = 4
    down = -(-rows.shape[1] // across)
    figure = Figure(figsize=(12, 1.9 * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.flat[rows.shape[1] :]:
        axis.set_axis_off()
    for axis, (name, column) in zip(axes.flat, rows.items(), strict=False):
        axis.set_title(str(name)[:32], fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_yticks([])
        draw_column(axis, column, held)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=9)
    return figure


def draw_column(axis: Axes, column: pd.Series, held: pd.Series) -> None:
    """The column's distribution is drawn: bins for numbers and dates, bars for the ten most common other values."""
    sides = {"to learn from": column[~held].dropna(), "held out": column[held].dropna()}
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
    axis.tick_params(axis="x", rotation=30 if len(names) > 3 else 0)


def picture(figure: Figure, words: str) -> str:
    """The figure as an image that needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='{escape(words, quote=True)}' src='data:image/png;base64,{content}'>"


def html(frame: pd.DataFrame) -> str:
    """The frame as a table; numbers have four significant digits."""
    return f"<div>{frame.to_html(index=False, border=0, na_rep='', float_format='{:.4g}'.format)}</div>"


def write(path: Path, title: str, sections: list[str]) -> None:
    """One self-contained page of these sections stands at the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    path.write_text(f"{head}<h1>{escape(title)}</h1>{''.join(sections)}</html>", encoding="utf-8")


if __name__ == "__main__":
    run(main)
