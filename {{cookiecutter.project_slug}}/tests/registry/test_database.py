"""The registry's database: only what records creates it, and whatever happens to it, a copy can be put back."""

import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
client = import_module(f"{PACKAGE}.registry.client")
database = import_module(f"{PACKAGE}.registry.database")
deployments = import_module(f"{PACKAGE}.registry.deployments")
settings = import_module(f"{PACKAGE}.registry.settings")
versions = import_module(f"{PACKAGE}.registry.versions")
CREATION = f"""if True:
    import os, signal
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from {PACKAGE}.registry import database
    SqlAlchemyStore.create_experiment = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    database.create_database()"""


@pytest.fixture(autouse=True)
def kept(trained):
    """The database, the copies and the files of versions are afterwards as they were before."""
    aside, places = trained.parent / "aside", (database.DATABASE, database.COPIES, settings.RUNS)
    aside.mkdir()
    shutil.copy(database.DATABASE, aside)
    shutil.copytree(database.COPIES, aside / database.COPIES.name)
    settings.RUNS.rename(aside / settings.RUNS.name)
    shutil.copytree(aside / settings.RUNS.name, settings.RUNS)
    yield
    for place in places:
        (shutil.rmtree if place.is_dir() else os.unlink)(place) if place.exists() else None
        (aside / place.name).rename(place)
    aside.rmdir()
    database._own_copy = None


@pytest.fixture
def nothing(kept):
    """Nothing was ever recorded."""
    database.DATABASE.unlink()
    shutil.rmtree(settings.RUNS)
    shutil.rmtree(database.COPIES)


def another_version(model):
    """Record a version as nothing but a line in the database; return its number."""
    with client.changes() as mlflow:
        name = client.registered_name(model.name)
        return mlflow.create_model_version(name, source=settings.RUNS.as_uri()).version


def test_what_only_reads_finds_nothing_and_creates_nothing(model, nothing, command):
    assert versions.champion(model.name) is None
    assert versions.versions(model.name) == versions.registered_models() == versions.unused_runs() == []
    assert deployments.deployments(model.name) == []
    assert "has no version 1 (it has: none yet)" in command("promote", "1", model.name, status=1)
    assert "error: " in command("rollback", model.name, status=1)
    assert not database.DATABASE.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="ends a process by a signal")
def test_a_killed_creation_leaves_no_database_and_the_next_one_succeeds(nothing, trained):
    environment = os.environ | {"PYTHONPATH": str(trained / "src")}
    done = subprocess.run([sys.executable, "-c", CREATION], cwd=trained, env=environment)
    assert done.returncode == -signal.SIGKILL
    assert not database.database_exists()
    shutil.rmtree(settings.RUNS, ignore_errors=True)

    database.create_database()
    assert database.database_exists()
    assert not database.DATABASE.with_name("mlflow.db.new").exists()


def test_a_creation_does_not_replace_a_database_that_is_put_back_meanwhile(model, nothing, trained, monkeypatch):
    whole = database._publish

    def late(created):
        shutil.copy(trained.parent / "aside" / database.DATABASE.name, database.DATABASE)
        whole(created)

    monkeypatch.setattr(database, "_publish", late)
    database.create_database()
    assert versions.champion(model.name)


def test_a_lost_database_is_refused_and_the_newest_copy_put_back(model, command):
    another_version(model)
    before = versions.versions(model.name)
    database.DATABASE.unlink()
    with pytest.raises(package.Refused, match=r"mlflow.db is missing, but mlruns/ has what it recorded: `uv run just"):
        versions.champion(model.name)

    assert "of mlflow.db is back; nothing newer is lost" in command("recover")
    assert versions.versions(model.name) == before


@pytest.mark.parametrize("damage", [lambda _: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[::-1]])
def test_a_damaged_database_is_named_in_one_line_and_kept_aside(model, command, damage):
    another_version(model)
    before = versions.versions(model.name)
    broken = damage(database.DATABASE.read_bytes())
    database.DATABASE.write_bytes(broken)
    with pytest.raises(package.Refused, match=r"^mlflow\.db is damaged \(.*\): `uv run just recover` puts .* back$"):
        versions.champion(model.name)
    assert database.DATABASE.read_bytes() == broken

    command("recover")
    assert versions.versions(model.name) == before
    aside = database.DATABASE.with_name("mlflow.db.damaged")
    assert aside.read_bytes() == broken
    aside.unlink()


def test_without_a_copy_a_damaged_database_needs_a_backup(model, command):
    shutil.rmtree(database.COPIES)
    database.DATABASE.write_bytes(b"")
    with pytest.raises(package.Refused, match="bring it back from a backup"):
        versions.champion(model.name)
    assert "there is no copy of mlflow.db" in command("recover", status=1)


def test_an_older_copy_tells_what_it_lacks_and_can_be_taken_back(model, command):
    database.keep_copy()
    [*_, older] = database.copies()
    database._own_copy = None  # as in another command
    number = another_version(model)
    said = command("recover", int(older.stem))

    assert said.splitlines()[0].endswith("1 newer is lost")
    assert said.splitlines()[1:] == [f"  {model.name} version {number}"]
    assert "no version" in command("promote", number, model.name, status=1)
    assert "nothing newer is lost" in command("recover")
    assert versions.versions(model.name)[0].number == str(number)
    assert "there is no copy 999, only " in command("recover", "999", status=1)


def test_a_copy_follows_every_change_and_a_few_are_kept(model):
    for value in map(str, range(database.KEPT + 2)):
        database._own_copy = None
        versions.set_tags(model.name, "1", {"seen": value})
    database._own_copy = None
    versions.champion(model.name)
    assert len(database.copies()) == database.KEPT

    database.put_back("")
    assert versions.get_version(model.name, "1").tags["seen"] == value


def test_a_database_that_is_replaced_is_followed(model):
    number, serving = another_version(model), versions.champion(model.name)
    other = shutil.copy(database.DATABASE, f"{database.DATABASE}.other")
    client.connect().set_registered_model_alias(client.registered_name(model.name), versions.CHAMPION, str(number))
    assert versions.champion(model.name) == str(number)

    Path(other).replace(database.DATABASE)
    assert versions.champion(model.name) == serving


def test_an_address_that_is_none_and_a_server_that_is_gone_are_told_apart(model, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(package.Refused, match="MLFLOW_TRACKING_URI is 'localhost:5000', which is no address such as"):
        versions.champion(model.name)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    with pytest.raises(package.Refused, match=r"registry at http://127.0.0.1:9 \(MLFLOW_TRACKING_URI\) fails: "):
        versions.champion(model.name)
