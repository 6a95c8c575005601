"""Bad data is refused in a clear line each and changes nothing; what is odd is a warning, what is sound is neither."""

import re
import tracemalloc
import types
from datetime import UTC, datetime, timedelta
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
import yaml

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
catalog, checks, draft, history, relations, report, suspects, table = (
    import_module(f"{PACKAGE}.datasets.{name}")
    for name in ("catalog", "checks", "draft", "history", "relations", "report", "suspects", "table")
)

ROWS = 400
SCHEMA = pa.DataFrameSchema(
    {
        "order": pa.Column(int),
        "at": pa.Column("datetime64[ns]"),
        "town": pa.Column(str),
        "weight": pa.Column(float, pa.Check.in_range(0, 1000)),
        "late": pa.Column(bool),
    },
    strict=True,
    coerce=True,
)


def orders(rows=ROWS, seed=0):
    """Orders as they should be."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "order": range(100, 100 + rows),
            "at": pd.date_range("2024-01-01", periods=rows, freq="h").astype(str),
            "town": draw.choice(["Ålesund", "Turku", "Vaasa"], rows),
            "weight": draw.lognormal(2, 0.5, rows).round(3),
            "late": draw.random(rows) < 0.3,
        }
    )


def table_of(rows, schema=SCHEMA, **facts):
    return table.Table("orders", lambda: rows, schema, **{"target": "late", "key": "order"} | facts)


def said(found, total=ROWS):
    return [each.line(total) for each in found]


def jumped(own, rows, former):
    return said(suspects.jumps(own, rows, history.matched(own, rows, former)), len(rows))


# --- errors


def as_csv(path, rows, **options):
    rows.to_csv(path, index=False, **options)


CORRUPTIONS = {
    "a dropped column": (lambda p, r: as_csv(p, r.drop(columns="town")), "town: the column is missing"),
    "an added column": (lambda p, r: as_csv(p, r.assign(x=1)), "x: the column is not in the schema"),
    "a renamed column": (lambda p, r: as_csv(p, r.rename(columns={"town": "city"})), "city: the column is not"),
    "a retyped column": (
        lambda p, r: as_csv(p, r.assign(weight=r["weight"].astype(str).where(r["order"] != 105, "n/a kg"))),
        "weight: coerce_dtype('float64'), 1 of 400 rows, e.g. order=105 weight=n/a kg",
    ),
    "a missing value": (
        lambda p, r: as_csv(p, r.assign(town=r["town"].where(r["order"] > 101))),
        "town: not_nullable, 2 of 400 rows, e.g. order=100 town=nan; order=101 town=nan",
    ),
    "a key twice": (
        lambda p, r: as_csv(p, pd.concat([r, r.head(1)])),
        "order: duplicate keys, 2 of 401 rows, e.g. order=100",
    ),
    "a number out of range": (
        lambda p, r: as_csv(p, r.assign(weight=r["weight"].where(r["order"] != 499, -3.0))),
        "weight: in_range(0, 1000), 1 of 400 rows, e.g. order=499 weight=-3.0",
    ),
    "a decimal comma": (
        lambda p, r: as_csv(p, r.assign(weight=r["weight"].astype(str).str.replace(".", ","))),
        "weight: coerce_dtype('float64'), 400 of 400 rows, e.g. order=100",
    ),
    "two time zones": (
        lambda p, r: as_csv(p, r.assign(at=r["at"] + np.where(r["order"] % 2, "+01:00", "+02:00"))),
        "at: mixes time zones, which the type datetime64[ns] drops",
    ),
    "another delimiter": (lambda p, r: as_csv(p, r, sep=";"), "order"),
    "another encoding": (lambda p, r: as_csv(p, r, encoding="latin-1"), "orders.csv cannot be read"),
    "no row": (lambda p, r: as_csv(p, r.head(0)), "source orders is empty"),
    "no byte": (lambda p, r: p.write_bytes(b""), "source orders is empty"),
    "a quote that is not closed": (lambda p, r: p.write_text(p.read_text("utf-8") + '9,"', "utf-8"), "orders.csv"),
    "half a parquet file": (
        lambda p, r: (r.to_parquet(p), p.write_bytes(p.read_bytes()[:900])),
        "orders.csv cannot be read",
    ),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corruption_is_told_and_changes_nothing(tmp_path, corruption):
    """A file that was sound before: the lock and the snapshots stay, and no message holds a traceback."""
    corrupt, words = CORRUPTIONS[corruption]
    (tmp_path / "data").mkdir()
    path = tmp_path / "orders.csv"
    facts = {"file": path.name, "owner": "tests", "licence": "none", "refresh": "never"}
    (tmp_path / "data" / "catalog.yaml").write_text(yaml.safe_dump({"orders": facts}), encoding="utf-8")
    own = table.Table("orders", lambda: catalog.read("orders", tmp_path), SCHEMA, "late", "order")
    as_csv(path, orders())
    with catalog.fetched(tmp_path):
        assert len(own.rows()) == ROWS
    kept = {each: each.read_bytes() for each in [*tmp_path.glob("data/raw/*/*"), tmp_path / "data" / "catalog.lock"]}

    corrupt(path, orders())
    with pytest.raises(package.Refused, match=re.escape(words)) as refused, catalog.fetched(tmp_path):
        own.rows()
    assert "Traceback" not in str(refused.value)
    assert isinstance(refused.value, checks.BadData) or len(str(refused.value).splitlines()) == 1
    assert {each: each.read_bytes() for each in [*tmp_path.glob("data/raw/*/*"), *kept]} == kept


def test_checking_rows_of_the_right_types_makes_no_copy_of_them():
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50_000, 20)), columns=list("abcdefghijklmnopqrst"))
    rows = rows.assign(key=range(len(rows)))
    schema = pa.DataFrameSchema({name: pa.Column(int if name == "key" else float) for name in rows}, coerce=True)
    own = table_of(rows, schema, target="a", key="key")
    own.rows()
    tracemalloc.start()
    try:
        own.rows()
        assert tracemalloc.get_traced_memory()[1] < rows.memory_usage().sum()
    finally:
        tracemalloc.stop()


def test_findings_are_a_file_to_send_with_examples_by_key_and_without_personal_data(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "FINDINGS", tmp_path / "findings.csv")
    rows = orders().assign(town="jane.doe@example.org")
    schema = SCHEMA.update_column("town", checks=pa.Check.isin(["Turku"]))
    with pytest.raises(checks.BadData, match=r"order=100 town=ja\*\*\*; order=101") as bad:
        table_of(rows, schema).rows()
    checks.write_findings({"orders": bad.value.findings})

    found = pd.read_csv(checks.FINDINGS)
    assert found["example"].tolist() == [f"order={100 + i} town=ja***" for i in range(checks.EXAMPLES)]
    assert set(found["rows"]) == {ROWS}
    assert set(found["severity"]) == {"error"}


# --- warnings

ODD = {
    "a leak": (lambda r: r.assign(weight=r["late"] + r["weight"] / 1e4), "weight: tells 100% of late by itself"),
    "a constant": (lambda r: r.assign(town="Turku"), "town: has the same value in every row, e.g. town=Turku"),
    "an id": (lambda r: r.assign(town=[f"T{i}" for i in range(ROWS)]), "town: has another value in every row"),
    "rows twice": (
        lambda r: pd.concat([r[:-2], r.tail(2), r.tail(2).assign(order=[1, 2])], ignore_index=True),
        "rows are equal but for their key, 4 of 402 rows, e.g. order=",
    ),
    "a rare class": (
        lambda r: r.assign(late=r["order"] % 97 == 0),
        "late: the class True is rare, 4 of 400 rows, e.g.",
    ),
    "e-mail addresses": (
        lambda r: r.assign(town=[f"p{i % 99}@example.org" for i in range(ROWS)]),
        "town: may hold personal data (e-mail addresses)",
    ),
    "bank accounts": (
        lambda r: r.assign(town=np.where(r["order"] % 2, "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432")),
        "town: may hold personal data (bank accounts (IBAN))",
    ),
    "phones": (
        lambda r: r.assign(town=[f"+49 151 {i + 10_000_000}" for i in range(ROWS)]),
        "town: may hold personal data (phone numbers)",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_a_warning(odd):
    change, words = ODD[odd]
    rows = change(orders())
    own = table_of(rows)

    [line] = said(suspects.suspects(own, own.rows()), len(rows))
    assert words in line
    assert "example.org" not in line


def test_a_sound_table_gives_no_warning():
    """Heavy tails, many towns, equal measures by chance, numbers that look like cards: nothing of it is news."""
    draw = np.random.default_rng(0)
    rows = orders().assign(
        order=draw.permutation(ROWS),
        weight=np.minimum(draw.pareto(0.5, ROWS), 1000),
        town=[f"{draw.integers(10**15, 7 * 10**15)}" for _ in range(ROWS // 2)] * 2,
    )
    own = table_of(rows)

    assert said(suspects.suspects(own, own.rows())) == []
    assert jumped(own, own.rows(), own.rows()) == []


@pytest.mark.filterwarnings("error")
def test_a_column_without_a_value_is_named_and_spoils_no_other_check():
    rows = orders().assign(weight=np.nan, town="Turku")
    rows = rows.assign(at=rows["at"].iloc[0], late=rows["order"] % 3 == 0)
    found = said(suspects.suspects(table_of(rows), rows))

    assert "weight: has no value at all" in found
    assert not [line for line in found if "equal but for their key" in line]  # three columns tell two rows apart


def test_a_column_that_is_there_twice_is_named():
    rows = orders().assign(kilos=lambda r: r["weight"])
    own = table_of(rows, SCHEMA.add_columns({"kilos": pa.Column(float)}))

    assert said(suspects.suspects(own, own.rows())) == ["weight and kilos: hold the same values"]


def months(late_start=False):
    """Four series of 60 months: with a gap, an early end, a late start, and one that stands still."""
    month, draw = pd.date_range("2019-01-01", periods=60, freq="MS"), np.random.default_rng(0)
    parts = [pd.DataFrame({"shop": shop, "month": month, "sales": draw.poisson(50, 60) * 1.0}) for shop in "abcde"]
    parts[0] = parts[0].drop(index=[20, 21])
    parts[1] = parts[1].head(30)
    parts[2] = parts[2].tail(5)
    parts[3] = parts[3].assign(sales=7.0)
    return pd.concat(parts, ignore_index=True)


def test_gaps_starts_ends_and_standstills_of_series_are_told():
    kinds = {"shop": pa.Column(str), "month": pa.Column("datetime64[ns]"), "sales": pa.Column(float)}
    facts = {"target": "sales", "key": ("shop", "month"), "time": "month", "group": "shop"}
    own = table_of(months(), pa.DataFrameSchema(kinds, coerce=True), **facts)
    found = said(suspects.suspects(own, own.rows()))

    assert [line for line in found if "shop=c" in line and "start after" in line]
    assert [line for line in found if "shop=b" in line and "end by 2021-06-01" in line]
    assert [line for line in found if "shop=a month=2020-11-01" in line and "missing" in line]
    assert [line for line in found if "shop=d" in line and "never change" in line]
    assert len(found) == 4


def test_weekends_are_no_gaps_and_a_missing_day_is_one():
    days = pd.bdate_range("2023-01-02", periods=300)
    rows = pd.DataFrame({"day": days, "sales": np.arange(300.0)}).drop(index=[101, 102])
    schema = pa.DataFrameSchema({"day": pa.Column("datetime64[ns]"), "sales": pa.Column(float)}, coerce=True)
    own = table_of(rows, schema, target="sales", key="day", time="day")
    [line] = said(suspects.suspects(own, own.rows()))

    assert f"day: times are missing before these rows of a series, 1 of 400 rows, e.g. day={days[103].date()}" == line
    [drawn] = history.series(own, own.rows())
    assert len(drawn.gaps) == 1  # the page's line says the same


JUMPS = {
    "fewer rows": (lambda r: r.head(ROWS // 2), "200 rows, before 400"),
    "another unit": (lambda r: r.assign(weight=r["weight"] * 1000), "weight: the values are 1,000 times what"),
    "new rows in another unit": (
        lambda r: pd.concat([r, orders(2 * ROWS, 1).tail(50).assign(weight=lambda n: n["weight"] / 100)]),
        "weight: those of new rows are a 100th of what they were",
    ),
    "moved": (lambda r: r.assign(weight=r["weight"] + 4), "weight: the distribution has moved"),
    "missing": (lambda r: r.assign(weight=r["weight"].where(r["order"] % 3 > 0)), "weight: missing in 33% of the rows"),
    "a new value": (lambda r: r.assign(town=r["town"].where(r["order"] % 9 > 0, "Oslo")), "before, as Oslo, 44 of"),
    "a value gone": (
        lambda r: r.assign(town=r["town"].replace("Turku", "Vaasa")),
        "no row has the value Turku any more",
    ),
}


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_since_the_last_snapshot_is_told(jump):
    change, words = JUMPS[jump]
    rows = change(orders())
    [line] = jumped(table_of(rows), rows, orders())

    assert words in line


def test_growth_and_chance_are_no_jumps():
    """Of rows drawn again, and of rows added, in many small pairs."""
    for seed in range(30):
        earlier, rows = orders(60, seed), orders(90, 100 + seed)
        assert jumped(table_of(rows), rows, earlier) == []


@pytest.mark.parametrize(("refresh", "days", "stale"), [("daily", 6, True), ("daily", 4, False), ("never", 999, False)])
def test_a_source_that_stands_still_for_longer_than_its_refresh_is_told(monkeypatch, refresh, days, stale):
    source = types.SimpleNamespace(name="orders", refresh=refresh, owner="x", licence="x")
    taken = datetime.now(UTC) - timedelta(days=days)
    monkeypatch.setattr(catalog, "sources", lambda: [source])
    monkeypatch.setattr(
        catalog, "current", lambda: {"orders": {"taken": taken.isoformat(), "rows": 9, "sha256": "v2:0"}}
    )

    told = f"its refresh is {refresh}, but its content is the same for {days:.1f} days"
    assert [each.check for each in suspects.stale_sources().values()] == [told] * stale
    assert (told in report.sources_section().table["taken"].item()) is stale  # on the page by the same rule


# --- a schema drafted from the rows

TABLES_OF_ALL_KINDS = {
    "orders": orders,
    "series": months,
    "no key": lambda: pd.DataFrame({"x": [0.1, 0.1, 0.7] * 20, "y": [1, 0, 1] * 20}),
    "odd names": lambda: pd.DataFrame({'a "b"': range(60), "it's": ["x", "y"] * 30, "the class": [1.5, None] * 30}),
    "missing": lambda: orders().assign(
        weight=lambda r: r["weight"].where(r["order"] % 2 > 0),
        late=lambda r: r["late"].where(r["order"] % 3 > 0),
        empty=None,
        seen=lambda r: pd.to_datetime(r["at"]).dt.tz_localize("UTC").where(r["order"] % 5 > 0),
        count=lambda r: r["order"].astype("Int64").where(r["order"] % 7 > 0),
        label=lambda r: r["town"],
        branch=[f"one of the twenty branches, number {i}" for i in range(20)] * (ROWS // 20),
    ),
    "negative, large": lambda: pd.DataFrame({"id": range(60), "t": np.arange(60.0) - 30, "n": 10**15}),
}


def drafted(rows, references=None):
    """The table that the module drafted for these rows declares."""
    text = draft.drafted_module("orders", rows, references or {})
    source = types.SimpleNamespace(read=lambda name: rows.copy())
    known = {
        "catalog": source,
        "Table": table.Table,
        "found_in": lambda name, column: pa.Check.isin(references[column][1]),
    }
    exec("\n".join(line for line in text.splitlines() if not line.startswith("from .")), known)
    return known["TABLES"][0], text


@pytest.mark.parametrize("name", TABLES_OF_ALL_KINDS)
def test_a_drafted_module_runs_as_it_is_and_takes_the_rows_it_was_drafted_from(name):
    rows = TABLES_OF_ALL_KINDS[name]()
    own, text = drafted(rows)

    assert len(own.rows()) == len(rows)
    assert max(map(len, text.splitlines())) <= 120
    assert "Check.le" not in text  # no bound that the next refresh breaks


def test_a_draft_knows_keys_times_allowed_values_and_foreign_keys():
    own, text = drafted(orders().assign(customer=1), {"customer": ("customers", pd.Series([1, 2]))})

    assert (own.keys, own.time, own.target) == (["order"], "at", "late")
    assert '"town": pa.Column(str, pa.Check.isin(["Turku", "Vaasa", "Ålesund"])),' in text
    assert '"weight": pa.Column(float, pa.Check.ge(0)),' in text
    assert '"customer": pa.Column(int, found_in("customers", "customer")),' in text


def test_a_draft_writes_no_persons_into_the_schema():
    names = [f"Kallas{i}" for i in range(16)] * (ROWS // 16)
    _, text = drafted(orders().assign(surname=names, mail="me@example.org"))

    assert '"surname": pa.Column(str),' in text
    assert "Kallas" not in text
    assert "example.org" not in text


def test_a_draft_tells_what_it_would_change_of_the_schema_there_is():
    schema = SCHEMA.update_column("town", checks=pa.Check.isin(["Turku", "Vaasa", "Oslo"]), nullable=True)
    rows = orders().assign(extra=1).drop(columns="weight")

    assert list(draft.changes(table_of(rows, schema), rows)) == [
        "extra: new",
        "weight: gone",
        "town: not nullable, none is missing",
        "town: no row has Oslo",
        "town: also Ålesund",
    ]
    assert draft.draft("orders", [table_of(rows, schema)]).endswith("# town: also Ålesund")


# --- joins

CUSTOMERS = pd.DataFrame({"customer": [1, 2, 3], "name": ["a", "b", "c"]})


def test_a_join_gives_each_row_its_line_and_keeps_order_and_index():
    rows = pd.DataFrame({"order": [7, 8, 9], "customer": [3, 1, 3]}, index=[5, 3, 4])
    found = relations.joined(rows, CUSTOMERS, "customer")

    assert found["name"].to_dict() == {5: "c", 3: "a", 4: "c"}
    named = relations.joined(rows.rename(columns={"customer": "buyer"}), CUSTOMERS, {"buyer": "customer"})
    assert named["name"].tolist() == ["c", "a", "c"]
    alone = relations.joined(rows.assign(customer=[3.0, 9.0, None]), CUSTOMERS, "customer", required=False)
    assert alone["name"].fillna("none").tolist() == ["c", "none", "none"]


@pytest.mark.parametrize(
    ("rows", "lookup", "words"),
    [
        (
            {"customer": [1, 2]},
            {"customer": [1, 2, 2]},
            "would multiply rows: several lines on the right are of customer=2",
        ),
        ({"customer": [1, 4]}, {"customer": [1, 2]}, "would lose 1 rows: nothing on the right is of customer=4"),
        ({"customer": [1, None]}, {"customer": [1, None]}, "would lose 1 rows"),
        ({"customer": ["1"]}, {"customer": [1]}, "str on the left and int64 on the right: give both one type"),
        ({"customer": [1], "x": [1]}, {"customer": [1], "x": [2]}, "both sides have a column 'x'"),
        ({"client": [1]}, {"customer": [1]}, "there is no column 'customer' on the left, only client"),
    ],
)
def test_a_join_that_multiplies_or_loses_rows_is_refused(rows, lookup, words):
    with pytest.raises(package.Refused, match=re.escape(words)):
        relations.joined(pd.DataFrame(rows), pd.DataFrame(lookup), "customer")


def test_a_foreign_key_names_the_rows_that_refer_to_nothing(monkeypatch):
    monkeypatch.setattr(catalog, "read", {"towns": pd.DataFrame({"name": ["Turku", "Vaasa", "Ålesund"]})}.get)
    schema = SCHEMA.update_column("town", checks=relations.found_in("towns", "name"))
    assert len(table_of(orders(), schema).rows()) == ROWS
    lost = orders().assign(town=lambda r: r["town"].where(r["order"] != 107, "Atlantis"))

    with pytest.raises(checks.BadData, match=r"town: not in name of towns, 1 of 400 rows, .*=107 town=Atlantis"):
        table_of(lost, schema).rows()


# --- quarantine


def spoilt():
    """Of 400 orders, five are bad, one of them seen only once another is away."""
    rows = orders().astype({"weight": object})
    rows.loc[[3, 5], "weight"] = ["much", -1.0]
    rows.loc[4, ["town", "at"]] = None
    rows.loc[7, "order"] = rows.loc[8, "order"]
    return rows


def test_a_declared_quarantine_sets_bad_rows_aside_counted_and_listed_with_the_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "QUARANTINE", tmp_path)
    with pytest.raises(checks.BadData):
        table_of(spoilt()).rows()
    own = table_of(spoilt(), quarantine=0.0125)
    rows, aside, findings = own.sifted()

    assert rows["order"].tolist() == [each for each in range(100, 100 + ROWS) if each not in (103, 104, 105, 107, 108)]
    assert len(own.rows()) == len(rows)
    assert sorted(aside["order"]) == [103, 104, 105, 108, 108]
    assert all("set aside" in line for line in said(checks.set_aside("orders", aside, findings)))
    why = pd.read_csv(tmp_path / "orders.csv").groupby("order")["why"].first()
    assert why[[104, 105]].tolist() == ["at: not_nullable; town: not_nullable", "weight: in_range(0, 1000)"]
    checks.set_aside("orders", aside.head(0), [])
    assert not (tmp_path / "orders.csv").exists()


def test_a_quarantine_takes_no_more_rows_than_declared_and_no_column():
    with pytest.raises(checks.BadData):
        table_of(spoilt(), quarantine=0.0124).rows()
    with pytest.raises(checks.BadData, match="town: the column is missing"):
        table_of(orders().drop(columns="town"), quarantine=0.99).rows()
    with pytest.raises(package.Refused, match="quarantine is 5, but is a share of the rows"):
        table_of(orders(), quarantine=5)
