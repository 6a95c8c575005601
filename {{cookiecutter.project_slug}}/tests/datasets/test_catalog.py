"""Sources become snapshots that are verified by their hash, and a bad source changes nothing."""

import os
import re
import sqlite3
import sys
import tracemalloc
import zipfile
import zlib
from decimal import Decimal
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest
import yaml

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
catalog = import_module(f"{PACKAGE}.datasets.catalog")
checks = import_module(f"{PACKAGE}.datasets.checks")
databases = import_module(f"{PACKAGE}.datasets.databases")
places = import_module(f"{PACKAGE}.datasets.places")
readers = import_module(f"{PACKAGE}.datasets.readers")
refresh = import_module(f"{PACKAGE}.datasets.refresh")
snapshots = import_module(f"{PACKAGE}.datasets.snapshots")
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


@pytest.fixture
def reads(monkeypatch):
    """The names of the sources that were read, one for each time."""
    names, read = [], refresh.read_source
    monkeypatch.setattr(refresh, "read_source", lambda source, *more: names.append(source.name) or read(source, *more))
    monkeypatch.setattr(places, "RECENT", 0)
    return names


def test_a_file_that_has_not_changed_is_read_once(root, reads):
    assert [take(root), take(root), take(root)] == [["shops"], [], []]
    assert reads == ["shops"]


def test_a_folder_that_has_not_changed_is_read_once(root, reads):
    (root / "photos" / "a").mkdir(parents=True)
    (root / "photos" / "a" / "1.txt").write_bytes(b"one")
    describe(root, {"folder": "photos"})
    assert [take(root), take(root), reads] == [["shops"], [], ["shops"]]

    (root / "photos" / "a" / "2.txt").write_bytes(b"two")
    assert take(root) == ["shops"]


@pytest.mark.parametrize("times", ["kept", "new"])
def test_a_file_of_other_content_is_read_again(root, reads, times):
    """Also one of the same size that is given the times of the former."""
    take(root)
    before = (root / "shops.csv").stat()
    part = root / "part"
    part.write_bytes((root / "shops.csv").read_bytes().replace(b"2.5", b"9.5"))
    if times == "kept":
        os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.replace(root / "shops.csv")

    assert take(root) == ["shops"]
    assert catalog.read("shops", root)["sales"].tolist()[0] == 9.5


def test_a_file_that_was_written_just_now_is_read_again(root, reads, monkeypatch):
    """Within a tick of the clock it may change again without another time."""
    monkeypatch.setattr(places, "RECENT", 3600)
    assert [take(root), take(root), reads] == [["shops"], [], ["shops", "shops"]]


@pytest.mark.parametrize("change", ["lost", "cut", "unlocked"])
def test_a_file_is_read_again_where_its_snapshot_is_not_here(root, reads, change):
    take(root)
    [path] = root.glob("data/raw/shops/*.parquet")
    if change == "unlocked":
        catalog.write_lock({}, root)
    else:
        path.unlink() if change == "lost" else path.write_bytes(path.read_bytes()[:-4])

    assert take(root) == (["shops"] if change == "unlocked" else [])
    assert reads == ["shops", "shops"]
    assert len(catalog.read("shops", root)) == 3


def test_a_database_is_read_when_it_is_due_or_asked_for(root, reads, monkeypatch):
    with sqlite3.connect(root / "shop.db") as database:
        pd.read_csv(root / "shops.csv").to_sql("shops", database, index=False)
    (root / "shops.sql").write_text("select shop, sales from shops order by shop", encoding="utf-8")
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{(root / 'shop.db').as_posix()}")
    for period, times in [("yearly", 1), ("as it comes", 2)]:
        describe(root, {"sql": "shops.sql", "database": "SHOP_URL", "refresh": period})
        take(root), take(root)
        assert reads == ["shops"] * times
        reads.clear()
    describe(root, {"sql": "shops.sql", "database": "SHOP_URL", "refresh": "yearly"})
    for asked in ({"asked": ["shops"]}, {"everything": True}):
        with catalog.fetched(root, **asked) as changed:
            assert changed == []
    assert reads == ["shops", "shops"]


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S+00:00"])
def test_a_time_of_change_in_the_future_hides_no_later_row(root, monkeypatch, capsys, form):
    with sqlite3.connect(root / "shop.db") as database:
        database.execute("create table shops (shop integer, at text)")
        put = "insert into shops values (?, ?)"
        for shop, year in ((1, "2024"), (2, "2099")):
            database.execute(put, (shop, f"{pd.Timestamp(year):{form}}"))
    (root / "shops.sql").write_text("select * from shops", encoding="utf-8")
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{(root / 'shop.db').as_posix()}")
    entry = {"sql": "shops.sql", "database": "SHOP_URL", "refresh": "as it comes", "full": "yearly"}
    describe(root, entry | {"key": "shop", "changed": "at"})
    take(root)
    with sqlite3.connect(root / "shop.db") as database:
        database.execute(put, (3, f"{pd.Timestamp('2024-01-02'):{form}}"))
    capsys.readouterr()

    assert take(root) == ["shops"]
    assert catalog.read("shops", root)["shop"].tolist() == [1, 2, 3]
    assert "shops: at is in the future in 1 rows, such as 2099-01-01" in capsys.readouterr().out


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


def test_a_table_is_read_and_sorted_without_a_second_copy_of_it():
    def load():
        draw = np.random.default_rng(0)
        columns = {"key": draw.permutation(50_000)} | {f"x{i}": draw.random(50_000) for i in range(19)}
        return pd.DataFrame(columns, copy=False)

    columns = {"key": pa.Column(int)} | {f"x{i}": pa.Column(float) for i in range(19)}
    own = table.Table("t", load, pa.DataFrameSchema(columns, strict=True, coerce=True), "x0", "key")
    size = own.rows().memory_usage().sum()
    tracemalloc.start()
    try:
        rows = own.rows()
        assert tracemalloc.get_traced_memory()[1] < 1.8 * size
    finally:
        tracemalloc.stop()
    assert rows["key"].tolist() == list(range(50_000))
    assert rows["x0"].tolist() == load().sort_values("key")["x0"].tolist()


def test_the_columns_of_a_snapshot_are_let_go_one_by_one():
    columns = {f"x{i}": pyarrow.chunked_array([np.arange(9.0)]) for i in range(3)}
    frame = catalog._frame(columns, whole_numbers=True)
    frame.loc[0, "x0"] = 5.0  # a column is no view of what was read

    assert columns == {} and frame["x0"].tolist() == [5.0, *range(1, 9)]


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
        ([1.0, 2.5, 3.0], int, "cut by the type int64, 1 of 3 rows, e.g. key=1 x=2.5"),
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


def test_the_rows_before_the_newest_change_can_be_read(root):
    take(root)
    with catalog.before(root) as known:
        assert not known
    (root / "shops.csv").write_text("shop\n9\n", encoding="utf-8")

    with catalog.fetched(root):
        with catalog.before(root) as known:
            assert known and len(catalog.read("shops", root)) == 3
        assert len(catalog.read("shops", root)) == 1
    with catalog.before(root) as known:
        assert known and len(catalog.read("shops", root)) == 3
    catalog.snapshot_path("shops", catalog.locked(root)["shops"]["previous"], root).unlink()
    with catalog.before(root) as known:
        assert not known and len(catalog.read("shops", root)) == 1


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
    monkeypatch.setattr(snapshots, "BATCH", 2)

    assert catalog.content_hash(rows) == whole
    assert catalog.content_hash(rows.iloc[::-1]) != whole


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file": "absent.csv"}, "absent.csv cannot be read"),
        ({"file": "shops.doc"}, "none of .csv"),
        ({"file": "shops.xlsx"}, "uv add .python-calamine"),
        ({"sql": "shops.sql"}, "the variable of its database"),
        ({"sql": "shops.sql", "database": "NOT_SET_URL"}, "set it to a SQLAlchemy URL"),
        ({"file": "shops.csv", "flie": "x"}, "unknown key 'flie'"),
    ],
)
def test_a_wrong_entry_is_named_and_changes_nothing(root, monkeypatch, entry, message):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    take(root)
    before = (root / "data" / "catalog.lock").read_bytes()
    describe(root, entry)

    with pytest.raises(package.Refused, match=message):
        take(root)
    assert (root / "data" / "catalog.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://h/d", 'SHOP_URL needs a driver for postgresql: uv add "adbc-driver-postgresql'),
        ("mysql://h/d", 'SHOP_URL needs SQLAlchemy and its driver for mysql: uv add "sqlalchemy'),
    ],
)
def test_what_reads_a_database_is_named_where_it_is_not_installed(root, monkeypatch, url, words):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    (root / "shops.sql").write_text("select 1", encoding="utf-8")
    describe(root, {"sql": "shops.sql", "database": "SHOP_URL"})
    monkeypatch.setenv("SHOP_URL", url)

    with pytest.raises(package.Refused, match=re.escape(words)):
        take(root)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg://h/d", 'SHOP_URL needs the driver psycopg: uv add "psycopg[binary]"'),
        ("mysql+nothing://h/d", "SHOP_URL needs the driver mysql.nothing: `uv add` the package"),
        ("duckdb:///x", 'SHOP_URL needs the driver duckdb: uv add "duckdb-engine"'),
    ],
)
def test_a_driver_that_is_not_installed_is_named(root, monkeypatch, url, words):
    pytest.importorskip("sqlalchemy")
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    for module in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, module, None)
    (root / "shops.sql").write_text("select 1", encoding="utf-8")
    describe(root, {"sql": "shops.sql", "database": "SHOP_URL"})
    monkeypatch.setenv("SHOP_URL", url)

    with pytest.raises(package.Refused, match=re.escape(words)):
        take(root)


def zipped(path, names, content=b"content"):
    """A zip of files with the same content, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path.read_bytes()


def test_a_zip_gives_a_row_for_each_file_that_is_not_hidden(root):
    zipped(root / "shops.zip", ["a/1.txt", "b/2.txt", ".hidden", "__MACOSX/a"])
    describe(root, {"folder": "shops.zip"})
    take(root)

    assert catalog.read("shops", root)["path"].tolist() == ["a/1.txt", "b/2.txt"]


def with_bad_content(whole):
    return whole.replace(zlib.compress(b"content")[2:-4], b"\xff" * 9)


def with_encryption(whole):
    """The same zip with the mark of a password in both headers of each file."""
    return re.sub(rb"(PK\x03\x04..|PK\x01\x02....)\0", b"\\g<1>\x01", whole, flags=re.S)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda whole: whole.replace(zlib.compress(b"content")[2:-4], b"\xff" * 9),
            "'a/1.txt' in shops.zip cannot be read",
        ),
        (lambda whole: whole[:-30], "shops.zip cannot be read"),
        (lambda whole: b"rubbish", "shops.zip cannot be read"),
        (with_encryption, "'a/1.txt' in shops.zip is encrypted"),
    ],
)
def test_a_damaged_or_encrypted_zip_is_refused_in_one_line(root, damage, words):
    whole = zipped(root / "shops.zip", ["a/1.txt", "b/2.txt"])
    (root / "shops.zip").write_bytes(damage(whole))
    assert (root / "shops.zip").read_bytes() != whole
    describe(root, {"folder": "shops.zip"})

    with pytest.raises(package.Refused, match=words) as refused:
        take(root)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("limit", [{"UNZIPPED": 1999}, {"SMALL": 1999}])
def test_a_zip_that_unpacks_to_too_much_is_refused_with_the_limits(root, monkeypatch, limit):
    zipped(root / "shops.zip", ["a/1.txt", "b/2.txt"], bytes(100_000))
    describe(root, {"folder": "shops.zip"})
    for name, value in limit.items():
        monkeypatch.setattr(readers, name, value)

    with pytest.raises(package.Refused, match=r"to 200,000, at most .* bytes and 100 times its packed size are read"):
        take(root)


def test_a_zip_that_lies_about_a_size_is_refused_before_it_is_unpacked(root):
    whole = zipped(root / "shops.zip", ["a/1.txt"], bytes(50_000_000))
    (root / "shops.zip").write_bytes(whole.replace((50_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    describe(root, {"folder": "shops.zip"})
    tracemalloc.start()
    try:
        with pytest.raises(package.Refused, match=r"'a/1.txt' in shops.zip cannot be read: Bad CRC"):
            take(root)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


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
