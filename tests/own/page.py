"""The report's counts against pandas', and its page on odd tables; run by pytest in a generated project."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from click.testing import CliRunner
from markupsafe import Markup

PACKAGE = "my_ml_project"
catalog, history, page, profile, report, tables = (
    import_module(f"{PACKAGE}.datasets.{name}") for name in ("catalog", "history", "page", "profile", "report", "table")
)
Finding = import_module(f"{PACKAGE}.datasets.checks").Finding
short_hash = import_module(f"{PACKAGE}.datasets.snapshots").short_hash
ROWS = 3000
ODD = '"quoted" <script>alert(1)</script> 🙂 ' + "long " * 40


def odd_rows():
    """Columns of all kinds, some of them unpleasant."""
    chance = np.random.default_rng(0)
    rows = pd.DataFrame({"key": np.arange(ROWS), "target": chance.integers(0, 2, ROWS).astype(bool)})
    rows["tails"] = chance.standard_cauchy(ROWS) * 1e6
    rows["extreme"] = np.where(chance.random(ROWS) < 0.5, -1.7e308, 1.7e308)
    rows["infinite"] = np.where(chance.random(ROWS) < 0.01, np.inf, chance.random(ROWS))
    rows["whole"] = pd.array(chance.integers(0, 9, ROWS), "Int64")
    rows.loc[::7, "whole"] = pd.NA
    rows["zoned"] = pd.date_range("2020-01-01", periods=ROWS, freq="h", tz="Europe/Helsinki").where(rows["key"] % 5 > 0)
    rows["flag"] = pd.array(chance.random(ROWS) < 0.1, "boolean")
    rows["few"] = chance.choice(["a", "<b>", ""], ROWS)
    rows["many"] = [f"text {i}" for i in range(ROWS)]
    rows["listed"] = [[i] for i in range(ROWS)]
    rows["nothing"], rows["constant"], rows[ODD] = None, 1.5, chance.random(ROWS)
    return rows


def table_of(rows, **named):
    schema = pa.DataFrameSchema({name: pa.Column(nullable=True) for name in rows})
    return tables.Table(
        **{"name": "odd", "load": lambda: rows, "schema": schema, "target": "target", "key": "key"} | named
    )


def html_of(sections):
    """The page, which must be closed as it was opened."""
    text = page.html("Data", sections)
    reader = Balanced()
    reader.feed(text)
    assert reader.open == []
    return text


class Balanced(HTMLParser):
    VOID = ("meta", "img", "path", "rect")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        assert tag != "script"
        assert all(not name.startswith("on") for name, _ in attributes)
        if tag == "svg":
            assert dict(attributes)["role"] == "img" and dict(attributes)["aria-label"]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in self.VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def rows():
    return odd_rows()


def test_every_value_that_is_not_missing_is_counted_once(rows):
    held = np.arange(ROWS) % 4 == 0
    for name in rows:
        column = profile.measure(rows[name], "", {"learning": ~held, "held out": held})
        for side, mask in (("learning", ~held), ("held out", held)):
            assert column.counts[side].sum() == rows[name][mask].notna().sum(), (name, side)
        assert column.missing == rows[name].isna().sum()


def test_counts_quartiles_and_rates_are_those_of_pandas(rows):
    values, target = rows[ODD], rows["target"]
    everything = {"all": np.ones(ROWS, bool)}
    column = profile.measure(values, "", everything, profile.outcome(target))
    binned = pd.cut(values, column.bins.edges, include_lowest=True, right=False, labels=False).fillna(profile.BINS - 1)

    assert column.counts["all"].tolist() == binned.value_counts().sort_index().tolist()
    np.testing.assert_allclose(column.rates, target.groupby(binned).mean())
    assert column.summary["median"] == values.median() and column.summary["25 %"] == values.quantile(0.25)
    few = profile.measure(rows["few"], "", everything)
    assert dict(zip(few.bins.values, few.counts["all"], strict=False)) == rows["few"].value_counts().to_dict()
    assert few.distinct == 3


def test_missing_patterns_and_associations(rows):
    both = int((rows["whole"].isna() & rows["zoned"].isna()).sum())
    assert (both, ["whole", "zoned", "nothing"]) in profile.missing_patterns(rows)

    noise = np.random.default_rng(1).random(ROWS)
    related = rows.assign(copied=rows["target"].map({True: "yes", False: "no"}), noise=noise)
    found = profile.associations(related, "target", ["copied", "noise", "few"]).set_index(["one", "other"])["strength"]
    assert found["target", "copied"] == pytest.approx(1)
    assert found["target", "noise"] < 0.05


def test_the_page_of_an_odd_table_holds_all_it_shows():
    rows = odd_rows()
    rows["many"] = [f"someone{i}@example.org" for i in range(ROWS)]
    warned = [Finding(ODD, "odd", 1, severity="warning")]
    earlier = rows.iloc[:-100].assign(tails=rows["tails"] * 10)
    table = table_of(rows)
    text = html_of(report.table_sections(table, rows, warned, history.matched(table, rows, earlier)))

    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "http" not in text
    assert not re.findall(r"(?:src|href)=\"(?!data:image|#)|url\(|@import", text)
    assert "someone" not in text and "so***" in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text


def test_what_became_of_the_last_snapshot_by_key(rows):
    table = table_of(rows)
    held = np.zeros(ROWS, bool)
    now = rows.iloc[10:].reset_index(drop=True)
    earlier = rows.iloc[:-5].assign(whole=rows["whole"].where(rows["key"] != 50, 3), former=1).drop(columns="flag")
    earlier["tails"] = earlier["tails"] * 3
    found = history.changes(now, history.matched(table, now, earlier), report.profiled(table, now, held[10:]))

    assert (found.added, found.removed, found.changed) == (5, 10, ROWS - 15)
    assert found.cells == {"tails": ROWS - 15, "whole": 1}
    assert found.columns == ["flag is new", "former is gone"]
    assert next(iter(found.moved)) == "tails"
    assert found.counts["tails"].sum() == len(earlier)


@pytest.mark.parametrize(("step", "unit"), [("1h", "day"), ("1D", "week"), ("7D", "quarter"), ("30D", "year")])
def test_rows_a_period_add_up(step, unit):
    times = pd.Series(pd.date_range("2020-01-01", periods=900, freq=step))
    kept = times[(times.index < 300) | (times.index > 500)].reset_index(drop=True)
    found = history.periods(kept, np.arange(len(kept)) > 500, None)

    assert found.rows.sum() == len(kept) and found.held.sum() == len(kept) - 501
    assert len(found.labels) == len(found.rows) <= history.PERIODS
    assert (found.rows == 0).any()
    assert found.unit == unit


def test_series_with_gaps_late_starts_and_early_ends():
    months = pd.date_range("2010-01-01", periods=60, freq="MS")
    parts = {"whole": months, "late": months[20:], "ended": months[:30], "gap": months.delete(range(10, 20))}
    rows = pd.concat(
        [
            pd.DataFrame({"series": name, "month": own, "value": np.arange(len(own)) * 1.0})
            for name, own in parts.items()
        ],
        ignore_index=True,
    )
    table = table_of(rows, key=("series", "month"), time="month", group="series", target="value")
    found = {one.name: one for one in history.series(table, rows)}

    assert [name for name, one in found.items() if one.late] == ["late"]
    assert [name for name, one in found.items() if one.early] == ["ended"]
    assert {name: len(one.gaps) for name, one in found.items()} == {"ended": 0, "gap": 1, "late": 0, "whole": 0}
    text = html_of(report.table_sections(table, rows, []))
    assert "4 series: 1 with gaps, 1 starting late, 1 ending early." in text
    assert text.count('class="held"') == 5


def test_a_table_without_held_out_rows_and_one_of_300_columns():
    wide = pd.DataFrame(np.random.default_rng(0).random((50, 300)), columns=[f"c{i}" for i in range(300)])
    wide = wide.assign(key=range(50), target=1.0)
    text = html_of(report.table_sections(table_of(wide, holdout=0.0), wide, []))

    assert "more columns</summary>" in text
    assert len(text) < 3_000_000


def test_the_teams_verdict_stays_and_says_which_data_it_was_about(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "VERDICT", tmp_path / "verdict.md")
    assert report.team_verdict().state == "not decided yet"
    digests = [short_hash(entry["sha256"]) for entry in catalog.current().values()]
    report.VERDICT.write_text("Go: enough of each class.\nOn other000.", encoding="utf-8")
    assert report.team_verdict().good is None and "enough of each class" in report.team_verdict().text
    report.VERDICT.write_text(f"Go, on {', '.join(digests)}.", encoding="utf-8")
    assert report.team_verdict().good


def test_figures_of_data_py_are_on_the_page_or_their_library_is_named(monkeypatch):
    def drawn(rows):
        from matplotlib.figure import Figure

        return {"ours": Figure()}

    data, main = (import_module(f"{PACKAGE}.{name}") for name in ("data", "__main__"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(data, "TABLES", [replace(data.TABLES[0], plots=drawn, pictures=None)])
    done = CliRunner().invoke(main.main, ["data"])
    assert done.exit_code == 1 and "matplotlib is not installed" in done.output

    monkeypatch.setattr(
        data, "TABLES", [replace(data.TABLES[0], plots=lambda rows: {"ours": Markup("<i>!</i>")}, pictures=None)]
    )
    assert CliRunner().invoke(main.main, ["data"]).exit_code == 0
    assert "<h4>ours</h4>" in report.REPORT.read_text(encoding="utf-8")


def test_identical_files_are_counted_with_their_labels_and_sides():
    contents = pd.Series([b"a", b"a", b"b", b"b", b"c", None], dtype=object)
    said = report.copies(contents, pd.Series(list("xyxxxx")), np.array([0, 1, 0, 0, 1, 0], bool))

    assert said.startswith(
        "4 files are identical to another one, in 2 sets: 1 of these have several labels, 1 are both"
    )
    assert (
        report.copies(contents[[0, 2]], pd.Series(["x", "x"], [0, 2]), np.zeros(2, bool))
        == "No two files are identical."
    )
