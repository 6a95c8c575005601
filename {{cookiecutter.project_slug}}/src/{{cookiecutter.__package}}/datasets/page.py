"""Write pages: one self-contained HTML file each, with figures and without scripts."""

import base64
import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from .. import atomic_write
from . import charts
from .checks import Finding
from .profile import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPEN = 24  # cards of columns that are not folded
WIDE = 8  # inches from which on a figure may be scrolled sideways on a small screen


@dataclass(frozen=True)
class Card:
    """A column on the page: its counts by side, the last snapshot's among them, and its place and warnings."""

    column: Column
    counts: Mapping[str, np.ndarray]
    anchor: str
    warnings: int


@dataclass(frozen=True)
class Section:
    """A part of a page: a title with a state, a paragraph, figures by title, a table, and what tables of data have.

    Attributes:
        good: Whether the state is good or bad; None if that is open.
        figures: By title, a figure or several small ones by their captions.
        level: 2 for a part of the page, 3 for a part of that.
        facts: Figures in a row, by their names.
        findings: With the anchor of the column's card, if it has one.
        cards: The columns.
        folded: Whether the part is to be opened first.
    """

    title: str = ""
    state: str = ""
    good: bool | None = True
    text: str = ""
    figures: "Mapping[str, Figure | Markup | dict[str, Figure | Markup]]" = field(default_factory=dict)
    table: pd.DataFrame | None = None
    level: int = 2
    facts: Mapping[str, str] = field(default_factory=dict)
    findings: list[tuple[Finding, str]] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)
    folded: bool = False

    @property
    def colour(self) -> str:
        """The class of the state in the page's style."""
        return {True: "good", False: "bad", None: "open"}[self.good]


def write_page(path: Path, title: str, sections: Iterable[Section]) -> None:
    """Write one self-contained page of these sections."""
    page = html(title, sections)
    with atomic_write(path) as part:
        part.write_text(page, encoding="utf-8")


def html(title: str, sections: Iterable[Section]) -> str:
    """Return one self-contained page of these sections; a notebook shows it in a frame."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, line_statement_prefix="%%", trim_blocks=True)
    environment.filters |= {"png": png, "cell": charts.cell, "percent": charts.percent}
    environment.globals |= {"charts": charts, "open_cards": OPEN}
    environment.tests["wide"] = lambda figure: not isinstance(figure, Markup) and figure.get_figwidth() > WIDE
    return environment.get_template("page.html").render(title=title, sections=list(sections))


def literal_text() -> None:
    """Have Matplotlib, where it is installed, write a $ in the data as a $."""
    with suppress(ModuleNotFoundError):
        import matplotlib

        matplotlib.rcParams["text.parse_math"] = False


def png(figure: "Figure") -> str:
    """Return a figure of matplotlib as a PNG image in base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return base64.b64encode(buffer.getvalue()).decode()
