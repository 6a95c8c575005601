"""Sources of every kind, good and bad, below a folder of their own. Run by a generated project's pytest, with
PACKAGE and POSTGRES (the address of a server that this may fill) in the environment."""

import datetime as dt
import gzip
import io
import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

PACKAGE, POSTGRES = os.environ["PACKAGE"], os.environ["POSTGRES"]
Refused = import_module(PACKAGE).Refused
catalog, databases, places, snapshots = (
    import_module(f"{PACKAGE}.datasets.{name}") for name in ("catalog", "databases", "places", "snapshots")
)
FACTS = {"owner": "tests", "licence": "none", "refresh": "whenever"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("DB", POSTGRES)
    monkeypatch.setattr(places, "RECENT", 0)
    return tmp_path


def describe(root, entry, **more):
    (root / "data" / "catalog.yaml").write_text(yaml.safe_dump({"t": FACTS | entry} | more), encoding="utf-8")


def take(root, **asked):
    with catalog.fetched(root, **asked) as changed:
        pass
    return changed


def refusal(root, entry):
    """The one line that refuses an entry; nothing is left of it."""
    describe(root, entry)
    before = {path: path.read_bytes() for path in (root / "data").rglob("*") if path.is_file()}
    with pytest.raises(Refused) as refused:
        take(root)
    assert len(str(refused.value).splitlines()) == 1
    assert str(refused.value).startswith("source t") or "store" in str(refused.value)
    assert {path: path.read_bytes() for path in (root / "data").rglob("*") if path.is_file()} == before
    return str(refused.value)


def kinds(root):
    path = catalog.snapshot_path("t", catalog.locked(root)["t"]["sha256"], root)
    return dict(zip(pq.read_schema(path).names, map(str, pq.read_schema(path).types), strict=True))


def query(root, text, **entry):
    (root / "q.sql").write_text(text, encoding="utf-8")
    describe(root, {"sql": "q.sql", "database": "DB"} | entry)


def execute(*statements):
    import psycopg

    with psycopg.connect(POSTGRES, autocommit=True) as server:
        for each in statements:
            server.execute(each)


def test_a_csv_file_is_read_as_the_catalogue_says(root):
    (root / "t.csv").write_text("shop;plz;sales\n1;01234;2,5\n;NÄ;-\n3;NA;1,5\n", encoding="latin-1")
    assert "it is not utf-8: declare its encoding" in refusal(root, {"file": "t.csv"})
    assert "declare its delimiter, ';'" in refusal(root, {"file": "t.csv", "encoding": "latin-1"})
    describe(
        root,
        {"file": "t.csv", "encoding": "latin-1", "delimiter": ";", "decimal": ",", "missing": "-", "text": ["plz"]},
    )
    take(root)

    rows = catalog.read("t", root)
    assert rows.dtypes["shop"] == "Int64"
    assert rows["shop"].tolist() == [1, pd.NA, 3]
    assert rows["plz"].tolist() == ["01234", "NÄ", "NA"]
    assert rows["sales"].fillna(-1).tolist() == [2.5, -1, 1.5]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", lambda path: None),
        ("t.csv.gz", lambda path: path.write_bytes(gzip.compress((path.parent / "t.csv").read_bytes()))),
        (
            "t.jsonl",
            lambda path: path.write_text(
                '{"shop":1,"sales":2.5}\n{"shop":null,"sales":3.5}\n{"shop":3,"sales":null}\n'
            ),
        ),
        ("t.parquet", lambda path: pq.write_table(pa.table({"shop": [1, None], "sales": [2.5, None]}), path)),
        ("t.xlsx", lambda path: pd.read_csv(path.parent / "t.csv").to_excel(path, index=False)),
    ],
)
def test_whole_numbers_with_a_gap_stay_whole_numbers(root, name, write):
    (root / "t.csv").write_text("shop,sales\n1,2.5\n,3\n3,\n", encoding="utf-8")
    write(root / name)
    describe(root, {"file": name})
    take(root)

    assert {"shop": "int64", "sales": "double"}.items() <= kinds(root).items()


def test_cells_of_excel_are_what_they_look_like(root):
    rows = pd.DataFrame({"plz": ["01", None], "day": pd.to_datetime(["2024-01-01", None]), "n": [1, 2], "m": [1, "x"]})
    rows.to_excel(root / "t.xlsx", index=False, sheet_name="May")
    assert "column 'm' has cells of several kinds" in refusal(root, {"file": "t.xlsx"})
    assert "cannot be read" in refusal(root, {"file": "t.xlsx", "text": "m", "sheet": "June"})
    describe(root, {"file": "t.xlsx", "text": "m", "sheet": "May"})
    take(root)

    assert list(kinds(root).values())[1].startswith("timestamp")
    assert catalog.read("t", root)[["plz", "n", "m"]].fillna("").to_numpy().tolist() == [["01", 1, "1"], ["", 2, "x"]]


def test_a_parquet_file_with_categories_is_read_as_it_was_written(root):
    pd.DataFrame({"kind": pd.Categorical(["a", None, "b"])}).to_parquet(root / "t.parquet")
    describe(root, {"file": "t.parquet"})

    assert [take(root), take(root)] == [["t"], []]
    assert catalog.read("t", root)["kind"].astype(object).fillna("").tolist() == ["a", "", "b"]


def test_several_files_are_one_table_and_must_have_the_same_columns(root):
    with zipfile.ZipFile(root / "t.zip", "w") as packed:
        for i in (1, 2):
            (root / f"t-{i}.csv").write_text(f"shop,sales\n{i},2.5\n", encoding="utf-8")
            packed.write(root / f"t-{i}.csv", f"t-{i}.csv")
    digests = []
    for name in ("t-*.csv", "t.zip"):
        describe(root, {"file": name})
        take(root)
        digests.append(catalog.locked(root)["t"]["sha256"])
        assert catalog.read("t", root)["shop"].tolist() == [1, 2]
    assert digests[0] == digests[1]

    (root / "t-3.csv").write_text("shop,sold\n3,2.5\n", encoding="utf-8")
    assert "only one of t-1.csv and t-3.csv has a column 'sales'" in refusal(root, {"file": "t-*.csv"})
    assert "no file matches u-*.csv" in refusal(root, {"file": "u-*.csv"})


@pytest.mark.parametrize(
    ("name", "content"), [("t.parquet", b"PAR1cut"), ("t.xlsx", b"PK"), ("t.jsonl", b'{"a": 1'), ("t.zip", b"PK\x03")]
)
def test_a_damaged_file_is_named(root, name, content):
    (root / name).write_bytes(content)

    assert f"source t: {name} cannot be read: " in refusal(root, {"file": name})


def test_a_full_disk_changes_nothing(root):
    (root / "t.csv").write_text("a\n" + "\n".join(map(str, range(20_000))), encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        describe(root, {"file": "t.csv"})
        with pytest.raises(Refused, match=r"the snapshot of t cannot be written: .*File too large"):
            take(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((root / "data").rglob("*.p*"))
    assert catalog.locked(root) == {}


class Site(BaseHTTPRequestHandler):
    """A web server of one file, which notes what it was asked."""

    asked, content, tag, short = [], b"", "", 0

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(self.content[: len(self.content) - self.short])

    def answer(self, body):
        self.asked.append(self.command)
        if "gone" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", self.tag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_file_on_the_web_is_fetched_when_its_etag_changes(root):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    Site.content, Site.tag = b"a,b\n1,2\n", "one"
    describe(root, {"file": f"{place}/t.csv?version=1"})
    assert [take(root), take(root)] == [["t"], []]
    assert Site.asked == ["HEAD", "GET", "HEAD"]
    Site.content, Site.tag = b"a,b\n1,3\n", "two"
    assert take(root) == ["t"]
    assert "HTTP Error 404" in refusal(root, {"file": f"{place}/gone.csv"})
    Site.short, Site.tag = 2, "three"
    assert "cut off: 6 of 8 bytes" in refusal(root, {"file": f"{place}/t.csv?version=1"})
    server.shutdown()
    server.server_close()
    assert "refused" in refusal(root, {"file": f"{place}/t.csv"})


def test_a_snapshot_of_a_former_release_stays_the_version_that_it_is(root):
    """Its hash knew order and types: a column with a gap was floats."""
    (root / "t.csv").write_text("shop,sales\n1,2.5\n,3.5\n", encoding="utf-8")
    table = pa.Table.from_pandas(pd.read_csv(root / "t.csv"), preserve_index=False).replace_schema_metadata(None)
    digest = snapshots.content_hash(table)
    path = root / "data" / "raw" / "t" / f"{digest[:16]}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    catalog.write_lock({"t": {"sha256": digest, "rows": 2, "columns": 2, "taken": "2026-01-01T00:00:00+00:00"}}, root)
    lock = (root / "data" / "catalog.lock").read_bytes()
    describe(root, {"file": "t.csv"})

    assert [take(root), take(root)] == [[], []]
    assert (root / "data" / "catalog.lock").read_bytes() == lock
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert str(catalog.read("t", root)["shop"].dtype) == "float64"
    (root / "t.csv").write_text("shop,sales\n1,2.5\n,4.5\n", encoding="utf-8")
    assert take(root) == ["t"]
    assert catalog.locked(root)["t"]["previous"] == digest


@pytest.fixture(params=["adbc", "sqlalchemy"])
def driver(request, monkeypatch):
    if request.param == "sqlalchemy":
        monkeypatch.setattr(databases, "find_spec", lambda name: None)
        monkeypatch.setenv("DB", POSTGRES.replace("postgresql:", "postgresql+psycopg:"))
    return request.param


def test_the_order_in_which_a_database_answers_is_no_content(root, driver):
    execute(
        "drop table if exists shops",
        "create table shops as select i, (i % 7)::numeric(9, 2) as n, '{\"a\": 1}'::jsonb as j, 'x' || i as s,"
        " timestamptz '2024-01-01 10:00+02' + i * interval '1 s' as at, null::float as f"
        " from generate_series(1, 999) i",
    )
    query(root, "select * from shops;\n", key="i")
    assert take(root) == ["t"]
    assert kinds(root) == {"i": "int64", "n": "double", "j": "string", "s": "string", "at": "timestamp[us, tz=UTC]"} | {
        "f": kinds(root)["f"]
    }
    execute("update shops set n = n where i < 500", "update shops set s = s")
    query(root, "select * from shops", key="i")
    assert take(root) == []
    query(root, "select * from (select * from shops order by i desc) q")
    assert take(root) == []
    query(root, "select * from shops order by i desc")
    assert take(root) == ["t"]
    assert catalog.read("t", root)["i"].tolist()[0] == 999


def test_the_drivers_of_a_database_give_the_same_snapshot(root, monkeypatch):
    execute(
        "drop table if exists kinds",
        "create table kinds (i int, b bigint, n numeric, r real, t timestamp, tz timestamptz, d date, o boolean,"
        " u uuid, j json, x bytea, s text, c char(3))",
        "insert into kinds values (1, 2, 1.25, 0.5, '2024-01-01', '2024-01-01 10:00+02', '2024-01-02', true,"
        " '6f9619ff-8b86-d011-b42d-00c04fc964ff', '{\"a\": 1}', 'abc', 'é', 'ab')",
        "insert into kinds (i, n) values (null, null), (3, 'NaN')",
    )
    query(root, "select * from kinds")
    take(root)
    monkeypatch.setattr(databases, "find_spec", lambda name: None)
    monkeypatch.setenv("DB", POSTGRES.replace("postgresql:", "postgresql+psycopg:"))

    assert take(root, everything=True) == []


def test_a_terminal_shows_how_many_rows_have_been_read(root, driver, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    query(root, "select i from generate_series(1, 120000) i")
    take(root)
    assert terminal.getvalue() == ""
    terminal.isatty = lambda: True
    take(root, everything=True)

    assert "\rt: 120,000 rows read" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_colons_and_percent_signs_of_a_query_are_the_team_s(root, driver):
    query(root, """select '{"a":1}' as j, ':x' as c, '5%' as p, '10:30' as t, 1::int as i where 'ab' like 'a%'""")
    take(root)

    assert catalog.read("t", root).iloc[0].tolist() == ['{"a":1}', ":x", "5%", "10:30", 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("select 1 as a, interval '1 day' as span", "gives 'span' values of no plain type"),
        ("select 1 as a, array[1, 2] as marks", "gives 'marks' values of no plain type"),
        ("select 1 as a, inet '1.2.3.4' as ip", "gives 'ip' values of no plain type"),
        ("select 1 as a, 2 as a", "gives two columns the name 'a'"),
        ("select nothing from nowhere", 'failed: .*relation "nowhere" does not exist'),
        ("select 1 / (150000 - i) as a from generate_series(1, 200000) i", "failed: .*division by zero"),
        ("select 1 as a where false", "is empty: q.sql gave no row"),
    ],
)
def test_what_a_query_cannot_give_is_named(root, driver, text, words):
    query(root, text)
    with pytest.raises(Refused, match=words) as refused:
        take(root)
    assert len(str(refused.value).splitlines()) == 1


def test_a_wrong_password_is_refused_and_not_shown(root, driver, monkeypatch):
    import psycopg

    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute("drop role if exists locked")
        server.execute("create role locked login password 'right'")
        rules = Path(server.execute("show hba_file").fetchone()[0])
        if "locked" not in rules.read_text():
            rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
        server.execute("select pg_reload_conf()")
    monkeypatch.setenv("DB", os.environ["DB"].replace("postgres:@", "locked:s3%24cret@"))
    query(root, "select 1 as a")
    words = refusal(root, {"sql": "q.sql", "database": "DB"})

    assert "password authentication failed" in words
    assert "s3" not in words


def test_a_server_that_does_not_answer_is_given_up_in_seconds(root, monkeypatch):
    """It would be minutes without PGCONNECT_TIMEOUT, which is 10 by default."""
    assert int(os.environ["PGCONNECT_TIMEOUT"]) <= 10
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DB", f"postgresql://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/d")
        (root / "q.sql").write_text("select 1", encoding="utf-8")
        words = refusal(root, {"sql": "q.sql", "database": "DB"})
    assert "timeout expired" in words
    assert "s3cret" not in words


class Shop:
    """A table of a week: orders that come late, change, and are deleted, in a database."""

    def __init__(self, run, time):
        self.run, self.time = run, time
        self.day = dt.datetime(2024, 1, 1)
        run("drop table if exists orders")
        run(f"create table orders (day {time}, id integer, shop text, amount real, updated {time})")
        self.put({i: -1 - i % 300 for i in range(4000)})

    def put(self, days):
        """Insert orders by their number and day."""
        at = {i: f"'{self.day + dt.timedelta(days=day)}'" for i, day in days.items()}
        rows = ", ".join(f"({time}, {i}, 'shop {i % 9}', 1.5, {time})" for i, time in at.items())
        self.run(f"insert into orders values {rows}")

    def next_day(self):
        """New rows, one of yesterday that comes late, one of long ago that is changed, one of today that is gone."""
        self.day += dt.timedelta(days=1)
        first = 10_000 * (self.day - dt.datetime(2024, 1, 1)).days
        self.put(dict.fromkeys(range(first, first + 20), 0) | {first + 50: -1})
        at = self.day + dt.timedelta(hours=5)
        self.run(f"update orders set amount = {first}, updated = '{at}' where id = {first // 100}")
        self.run(f"delete from orders where id = {first + 1}")
        self.run(f"delete from orders where id = {first - 10_000 + 2}")


@pytest.mark.parametrize("kind", ["adbc", "sqlalchemy", "sqlite"])
def test_a_week_of_increments_is_what_a_full_read_gives_after_each(root, kind, monkeypatch, capsys):
    if kind == "sqlite":
        database = sqlite3.connect(root / "t.db", isolation_level=None)
        shop = Shop(database.execute, "text")
        monkeypatch.setenv("DB", f"sqlite:///{root / 't.db'}")
    else:
        import psycopg

        database = psycopg.connect(POSTGRES, autocommit=True)
        shop = Shop(database.execute, "timestamp")
        if kind == "sqlalchemy":
            monkeypatch.setattr(databases, "find_spec", lambda name: None)
            monkeypatch.setenv("DB", POSTGRES.replace("postgresql:", "postgresql+psycopg:"))
    query(root, "select * from orders", key="id", changed="updated", lookback="2 days", full="yearly")
    whole = root / "whole"
    shutil.copytree(root / "data", whole / "data")
    take(root)
    [first] = (root / "data" / "raw" / "t").iterdir()
    for _ in range(7):
        shop.next_day()
        shutil.copy(root / "q.sql", whole / "q.sql")
        take(root), take(whole, everything=True)
        assert catalog.locked(root)["t"]["sha256"] == catalog.locked(whole)["t"]["sha256"]
        pd.testing.assert_frame_equal(catalog.read("t", root), catalog.read("t", whole))
    days = [path.stat().st_size for path in first.parent.iterdir() if path != first]
    assert len(days) == 7
    assert max(days) < first.stat().st_size / 4
    assert "increments" not in capsys.readouterr().out

    shop.run("update orders set amount = 77 where id = 5")
    shop.run("delete from orders where id = 6")
    assert take(root) == []
    assert take(root, everything=True) == ["t"]
    assert "increments cannot see: 0 new, 1 changed, 1 removed" in capsys.readouterr().out
    database.close()


@pytest.mark.parametrize(("column", "lookback"), [("i", "2 days"), ("'t' || i", "2 days"), ("now()", "7")])
def test_a_lookback_that_does_not_fit_is_named(root, column, lookback):
    query(root, f"select i, {column} as at from generate_series(1, 9) i", key="i", changed="at", lookback=lookback)
    take(root)
    with pytest.raises(Refused, match=f"lookback '{lookback}' cannot be taken from at, such as"):
        take(root)


def test_a_key_of_several_rows_and_a_column_that_is_not_there_are_named(root):
    text = "select i % 5 as i, i as n from generate_series(1, 9) i"
    query(root, text, key="i", changed="n")
    with pytest.raises(Refused, match=r"4 rows have the key \(i\) of another row"):
        take(root)
    query(root, text, key="number")
    with pytest.raises(Refused, match="gives no column 'number'"):
        take(root)


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("store", [True, False])
def test_an_old_commit_gives_its_old_data_also_after_prune_and_in_a_fresh_clone(
    root, tmp_path_factory, store, monkeypatch
):
    """The second day is an increment, the fourth is committed nowhere."""
    place = tmp_path_factory.mktemp("store")
    database = sqlite3.connect(root / "t.db", isolation_level=None)
    shop = Shop(database.execute, "text")
    monkeypatch.setenv("DB", f"sqlite:///{root / 't.db'}")
    query(root, "select * from orders", key="id", changed="updated", lookback="2 days", full="yearly")
    if store:
        entries = yaml.safe_load((root / "data" / "catalog.yaml").read_text())
        describe(root, entries["t"], store=place.as_posix())
    (root / ".gitignore").write_text("data/raw\n*.db\ndata/.states.json\n")
    git(root, "init", "-q", "-b", "main")
    rows = {}
    for day in range(4):
        take(root)
        rows[day] = catalog.read("t", root)
        lost = set((root / "data" / "raw" / "t").iterdir())
        if day < 3:
            git(root, "add", "-A"), git(root, "commit", "-qm", str(day)), git(root, "tag", f"day-{day}")
            kept = lost
        shop.next_day()
    git(root, "checkout", "data/catalog.lock")
    count, size = catalog.prune(root)
    left = set((root / "data" / "raw" / "t").iterdir())
    assert count and size
    assert left == kept

    fresh = tmp_path_factory.mktemp("fresh")
    git(fresh, "clone", "-q", str(root), "clone")
    for here in (root, fresh / "clone") if store else (root,):
        for day in range(3):
            catalog.bring_back(f"day-{day}", here)
            pd.testing.assert_frame_equal(catalog.read("t", here), rows[day])
        git(here, "checkout", "data/catalog.lock")
    if not store:
        with pytest.raises(Refused, match=r"recorded t/v2-.*: not in data/raw, and there is no store"):
            catalog.bring_back("day-1", fresh / "clone")
    assert json.loads(git(root, "show", "day-1:data/catalog.lock"))["t"]["sha256"].startswith("v2:")


def test_a_store_that_cannot_be_written_changes_nothing(root):
    (root / "t.csv").write_text("a\n1\n", encoding="utf-8")
    (root / "file").write_text("no folder")
    describe(root, {"file": "t.csv"}, store="file/below")
    with pytest.raises(Refused, match=r"the store file/below in data/catalog.yaml cannot be written"):
        take(root)
    assert catalog.locked(root) == {}
    assert not list((root / "data").rglob("*.parquet"))
