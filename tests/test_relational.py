"""The sample of the docs with a database: three tables, joined in data.py, by the one command that stands there."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from projects import LOWEST, ROOT, Project, generate


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("shop")
    project = Project(generate(home / "work", maturity_level=LOWEST), home / "environment")
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^uv run python ADDRESS_OF_THIS_REPOSITORY.*?(?=  #|$)", page, flags=re.MULTILINE)
    done = project.run(*command.replace("ADDRESS_OF_THIS_REPOSITORY", str(ROOT)).split())
    assert done.returncode == 0, done.stderr
    return project


def change(shop: Project, *statements: str) -> str:
    """What `just data` says once these statements have changed the database; the file is put back."""
    path = shop.folder / "data" / "shop.db"
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)
    done = shop.run("uv", "run", "just", "data", "--all")
    path.write_bytes(whole)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_three_tables_of_a_database_become_rows_and_a_join_that_goes_wrong_changes_nothing(shop):
    assert "orders: 3000 rows" in shop.just("data")
    lock = (shop.folder / "data" / "catalog.lock").read_bytes()

    said = change(shop, "delete from customers where customer = 7")
    assert re.search(r"error: the join on customer would lose \d+ rows: nothing on the right is of customer=7\n", said)
    twice = "create table c as select * from customers union all select * from customers where customer = 9"
    said = change(shop, twice, "drop table customers", "alter table c rename to customers")
    assert "the join on customer would multiply rows: several lines on the right are of customer=9\n" in said
    assert (shop.folder / "data" / "catalog.lock").read_bytes() == lock
