"""Sources become snapshots that are verified by their hash, and a bad source changes nothing."""

import sqlite3
import sys
from decimal import Decimal
from importlib import import_module

import pandas as pd
import pandera.pandas as pa
import pytest
import yaml

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
catalog = import_module(f"{PACKAGE}.datasets.catalog")
checks = import_module(f"{PACKAGE}.datasets.checks")
table = import_module(f"{PACKAGE}.datasets.table")

FACTS = {"owner": "tests", "licence": "none", "refresh": "never"}


@pytest.fixture
def root(tmp_path):
    """A project of one source: three rows in a CSV file."""
    (tmp_path / "data").mkdir()
    describe(tmp_path, {"file": "shops.csv"})
    (tmp_path / "shops.csv").write_text("shop,town,sales\n1,Ålesund,2.5\n2,,3.5\n3,Turku,\n", encoding="utf-8")
    return tmp_path


def describe(root, entry):
    (root / "data" / "catalog.yaml").write_text(yaml.safe_dump({"shops": FACTS | entry}), encoding="utf-8")


def take(root):
    with catalog.fetched(root) as changed:
        pass
    return changed


def test_a_snapshot_gives_the_rows_of_its_source(root):
    assert take(root) == ["shops"]

    pd.testing.assert_frame_equal(catalog.read("shops", root), pd.read_csv(root / "shops.csv"))
    assert catalog.locked(root)["shops"]["rows"] == 3


def test_the_same_content_changes_nothing(root):
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()

    assert take(root) == []
    assert (root / "data" / "catalog.lock").read_bytes() == before


def test_columns_that_hold_lists_are_named(root):
    (root / "shops.jsonl").write_text('{"shop": 1, "tags": ["a"]}\n{"shop": 2, "tags": ["b"]}\n', encoding="utf-8")
    describe(root, {"file": "shops.jsonl"})

    with pytest.raises(package.Refused, match="source shops has a column that is no plain value"):
        take(root)


def test_a_key_is_the_same_whatever_rows_are_beside_it(root):
    """Else a row would change sides, or a version forget what it has learned from."""
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03 06:00"], format="ISO8601")
    keys = pd.DataFrame({"day": days, "whole": [1, 2, 3], "cut": [1.0, 2.0, 3.5], "word": ["1", "b", "c"]})
    for name in keys:
        few, all_of_them = (table.Table("t", None, None, "", name) for _ in range(2))
        assert (table.key_hashes(few, keys.head(2)) == table.key_hashes(all_of_them, keys)[:2]).all()
        assert table.is_holdout(few, keys.head(2)).equals(table.is_holdout(all_of_them, keys).head(2))
    assert table.texts(keys["whole"]) == table.texts(keys["whole"].astype(float)) == ["1", "2", "3"]


def broken(rows, columns, **facts):
    """What is said of a table of these rows under these types."""
    schema = pa.DataFrameSchema({"key": pa.Column(int), **columns}, strict=True, coerce=True)
    whole = pd.DataFrame({"key": range(len(next(iter(rows.values()))))} | rows)
    with pytest.raises(checks.BadData) as bad:
        table.checked(table.Table("t", None, schema, **{"target": "key", "key": "key"} | facts), whole)
    return str(bad.value)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([True, None, False], bool, "missing, and made a value by the type bool, 1 of 3 rows"),
        ([1.0, 2.5, 3.0], int, "cut by the type int64, 1 of 3 rows, e.g. 2.5"),
        ([Decimal("0.10"), Decimal("0.2"), None], object, "holds values of kind decimal"),
    ],
)
def test_a_type_that_would_change_values_is_named(values, kind, words):
    assert words in broken(
        {"x": pd.Series(values, dtype=object if kind is not int else float)}, {"x": pa.Column(kind, nullable=True)}
    )


def test_times_that_are_text_are_no_times():
    words = broken({"at": ["02.01.2024", "01.02.2024"]}, {"at": pa.Column(str)}, time="at")

    assert "at: names times, but is text" in words


def test_an_earlier_snapshot_stays_readable_when_the_source_changes(root):
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()
    with (root / "shops.csv").open("a", encoding="utf-8") as file:
        file.write("4,Vaasa,1.5\n")

    assert take(root) == ["shops"]
    assert len(catalog.read("shops", root)) == 4
    (root / "data" / "catalog.lock").write_bytes(before)
    assert len(catalog.read("shops", root)) == 3


@pytest.mark.parametrize("damage", [b"", b"not a parquet file"])
def test_a_damaged_snapshot_is_refused(root, damage):
    take(root)
    next(root.glob("data/raw/shops/*.parquet")).write_bytes(damage)

    with pytest.raises(package.Refused, match="damaged"):
        catalog.read("shops", root)


def test_a_changed_snapshot_is_refused(root):
    take(root)
    path = next(root.glob("data/raw/shops/*.parquet"))
    pd.read_parquet(path).assign(sales=1.0).to_parquet(path)

    with pytest.raises(package.Refused, match="not what the lock names"):
        catalog.read("shops", root)


def test_rows_come_from_a_database(root, monkeypatch):
    with sqlite3.connect(root / "shop.db") as database:
        pd.read_csv(root / "shops.csv").to_sql("shops", database, index=False)
    (root / "shops.sql").write_text("select shop, sales from shops where sales > 1 order by shop", encoding="utf-8")
    describe(root, {"sql": "shops.sql", "database": "SHOP_URL"})
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{(root / 'shop.db').as_posix()}")
    take(root)

    assert catalog.read("shops", root).to_dict("list") == {"shop": [1, 2], "sales": [2.5, 3.5]}


def test_the_hash_does_not_depend_on_batches(root, monkeypatch):
    rows = pd.read_csv(root / "shops.csv")
    whole = catalog.content_hash(rows)
    monkeypatch.setattr(catalog, "BATCH", 2)

    assert catalog.content_hash(rows) == whole
    assert catalog.content_hash(rows.iloc[::-1]) != whole


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file": "absent.csv"}, "absent.csv cannot be read"),
        ({"file": "shops.xlsx"}, "none of .csv"),
        ({"sql": "shops.sql"}, "the variable of its database"),
        ({"sql": "shops.sql", "database": "NOT_SET_URL"}, "set it to a SQLAlchemy URL"),
        ({"file": "shops.csv", "flie": "x"}, "unknown key 'flie'"),
    ],
)
def test_a_wrong_entry_is_named_and_changes_nothing(root, entry, message):
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()
    describe(root, entry)

    with pytest.raises(package.Refused, match=message):
        take(root)
    assert (root / "data" / "catalog.lock").read_bytes() == before


@pytest.mark.parametrize("content", ["", "shop,town,sales\n"])
def test_an_empty_source_changes_nothing(root, content):
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()
    (root / "shops.csv").write_text(content, encoding="utf-8")

    with pytest.raises(package.Refused, match="source shops is empty"):
        take(root)
    assert (root / "data" / "catalog.lock").read_bytes() == before


def test_a_failed_check_keeps_the_earlier_version(root):
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()
    (root / "shops.csv").write_text("shop\n9\n", encoding="utf-8")

    snapshots = sorted(root.glob("data/raw/shops/*"))
    with pytest.raises(ZeroDivisionError), catalog.fetched(root):
        assert catalog.read("shops", root)["shop"].tolist() == [9]
        raise ZeroDivisionError
    assert sorted(root.glob("data/raw/shops/*")) == snapshots
    assert (root / "data" / "catalog.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("former", "now"), [("catalog", "datasets.catalog"), ("quality", "datasets.report"), ("table", "datasets.table")]
)
def test_a_module_name_of_release_0_2_imports_the_module_it_is_now(former, now, monkeypatch):
    module = import_module(f"{PACKAGE}.{now}")
    spec = module.__spec__
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.{former}", raising=False)

    with pytest.warns(FutureWarning, match=f"{PACKAGE}.{former} is {PACKAGE}.{now} now"):
        found = import_module(f"{PACKAGE}.{former}")
    assert found is module
    assert module.__spec__ is spec
    assert (module.__name__, spec.name) == (f"{PACKAGE}.{now}",) * 2


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module(f"{PACKAGE}.nothing")
