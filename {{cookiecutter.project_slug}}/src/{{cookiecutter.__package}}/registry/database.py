"""The project's own registry database: read if it is whole, created by what records, copied after every change."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from .. import Refused, atomic_write, first_line
from .settings import DATABASE, PROJECT, RUNS

COPIES = DATABASE.with_name(f"{DATABASE.name}.copies")
KEPT = 5  # copies: one for each of the last commands that changed something
LOCK = DATABASE.with_name(f"{DATABASE.name}.lock")
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}  # the last one: it lacks a table
MOVED = [  # columns with addresses below the project's folder
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
]
VERSIONS = "select name, version from model_versions where current_stage <> 'Deleted_Internal' order by name, version"
DEPLOYMENTS = """
select (select value from tags where run_uuid = runs.run_uuid and key = 'model'),
       (select value from tags where run_uuid = runs.run_uuid and key = 'number'),
       (select value from tags where run_uuid = runs.run_uuid and key = 'version')
from runs join experiments using (experiment_id) where experiments.name = ? order by start_time
"""

_verified = ""  # the state of the database when it was found whole
_own_copy: Path | None = None  # what this process has made, to be replaced after its next change


def database_exists() -> bool:
    """Return whether there is a database.

    Raises:
        Refused: If it is damaged, or lost: missing where there are files of versions.
    """
    global _verified
    if now := state():
        if now != _verified:
            _verify(DATABASE)
            _verified = now
        return True
    if RUNS.is_dir() and any(RUNS.iterdir()):
        raise Refused(f"{DATABASE.name} is missing, but {RUNS.name}/ has what it recorded: {remedy()}")
    return False


def local_champion(model: str) -> str | None:
    """Return the version that serves by the project's own database; None if there is none, or it cannot be read."""
    query = "select version from registered_model_aliases where name = ? and alias = 'champion'"
    try:
        with _opened(DATABASE) as database:
            found = database.execute(query, (f"{PROJECT}.{model}",)).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def state() -> str:
    """Return what changes with every change of the database, and when it is replaced; empty if there is none."""
    try:
        facts = DATABASE.stat()  # it is never opened but by SQLite, whose locks would end with that
    except FileNotFoundError:
        return ""
    return f"{facts.st_ino} {facts.st_mtime_ns} {facts.st_size}"


def remedy() -> str:
    """Return how to get the database back, in words that follow what is wrong."""
    if copies():
        return "`uv run just recover` puts its newest copy back"
    return f"bring it back from a backup, or move it and {RUNS.name}/ away to begin anew"


def create_database() -> None:
    """Create the database, if there is none, in one step: a kill leaves none, and one put back meanwhile stays."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    scratch = DATABASE.with_name(f"{DATABASE.name}.new")  # a killed creation's is removed by the next one
    with _lock():
        if database_exists():
            return
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            created = scratch / DATABASE.name
            store = SqlAlchemyStore(f"sqlite:///{created.as_posix()}", RUNS.as_uri())
            store.create_experiment(PROJECT, artifact_location=RUNS.as_uri())
            store.engine.dispose()
            _publish(created)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def keep_copy() -> None:
    """Copy the database; the copy replaces the one that this process made before, or else the oldest of several."""
    global _own_copy
    with _lock():
        if not (_own_copy and _own_copy.exists()):
            _own_copy = COPIES / f"{_number(copies()[-1]) + 1 if copies() else 1:04}.db"
        _copy(DATABASE, _own_copy)
        for path in copies()[:-KEPT]:
            path.unlink()


def copies() -> list[Path]:
    """Return the copies of the database, oldest first."""
    return sorted((path for path in COPIES.glob("*.db") if path.stem.isdigit()), key=_number)


def put_back(number: str) -> tuple[str, list[str]]:
    """Put a copy in the place of the database, which is kept as a copy itself, or aside if it is damaged.

    Args:
        number: Of the copy; empty for the newest.

    Returns:
        The copy's number, and what it lacks: versions and deployments of the database before, or runs if that is lost.
    """
    global _own_copy
    chosen = _chosen(number)
    known = _contents(chosen)
    with _lock(), atomic_write(DATABASE) as part:
        _copy(chosen, part)
        try:
            _verify(DATABASE)
            lost = [line for line in _contents(DATABASE) if line not in known]
            _own_copy = None
            keep_copy()
        except (Refused, sqlite3.Error):
            lost = [f"run {run}: retrain records its model again" for run in _unknown_runs(chosen)]
            if DATABASE.exists():
                DATABASE.replace(DATABASE.with_name(f"{DATABASE.name}.damaged"))
        _own_copy = None
        _forget_journals()
    return str(_number(chosen)), lost


def follow_move() -> None:
    """Write the folder's new address into the database after the project was moved; only writers need it."""
    with _opened(DATABASE) as database, database:
        [before] = database.execute("select artifact_location from experiments where name = ?", (PROJECT,)).fetchone()
        if before == RUNS.as_uri():
            return
        for table, column in MOVED:
            change = f"update {table} set {column} = replace({column}, ?, ?)"  # noqa: S608 - names from the list above
            database.execute(change, (before, RUNS.as_uri()))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a database that exists: none is created."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        yield connection


def _verify(path: Path) -> None:
    """Raise Refused if a database is empty, cut off or something else."""
    try:
        with _opened(path) as database:
            database.execute("select 1 from model_versions limit 1").fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in DAMAGE:
            raise Refused(f"{path.name} is damaged ({first_line(error)}): {remedy()}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy a database at one moment, whoever writes meanwhile; raise Refused if it is damaged anywhere."""
    with atomic_write(target) as part, _opened(source) as database, closing(sqlite3.connect(part)) as copy:
        try:
            database.backup(copy)
            [found] = copy.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        except sqlite3.Error as error:
            raise Refused(f"{source.name} is damaged ({first_line(error)}): {remedy()}") from error


def _lock() -> FileLock:
    return FileLock(LOCK, is_singleton=True)


def _publish(created: Path) -> None:
    """Move a new database in place unless there is one."""
    _forget_journals()
    try:
        os.link(created, DATABASE)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not DATABASE.exists():
            created.rename(DATABASE)


def _forget_journals() -> None:
    """Remove what SQLite would apply to another database of this name."""
    for ending in ("journal", "wal", "shm"):
        DATABASE.with_name(f"{DATABASE.name}-{ending}").unlink(missing_ok=True)


def _chosen(number: str) -> Path:
    """Return the copy of this number, or the newest; raise Refused if there is none."""
    known = {str(_number(path)): path for path in copies()}
    if not known:
        raise Refused(f"there is no copy of {DATABASE.name} in {COPIES.name}/: bring one back from a backup")
    if number and number not in known:
        times = {each: datetime.fromtimestamp(path.stat().st_mtime) for each, path in known.items()}
        listed = ", ".join(f"{each} ({time:%d %b %H:%M})" for each, time in times.items())
        raise Refused(f"there is no copy {number}, only {listed}")
    return known[number] if number else copies()[-1]


def _contents(path: Path) -> list[str]:
    """Return the versions and deployments that a database knows, a line for each."""
    with _opened(path) as database:
        versions = database.execute(VERSIONS).fetchall()
        deployed = database.execute(DEPLOYMENTS, (f"{PROJECT}-deployments",)).fetchall()
    names = [f"{name.removeprefix(f'{PROJECT}.')} version {number}" for name, number in versions]
    return names + [f"{model} deployment {number}: version {version or 'none'}" for model, number, version in deployed]


def _unknown_runs(path: Path) -> list[str]:
    """Return the runs with files here that a database does not know."""
    with _opened(path) as database:
        known = {run for (run,) in database.execute("select run_uuid from runs")}
    here = (each.name for each in RUNS.glob("*") if re.fullmatch("[0-9a-f]{32}", each.name))
    return sorted(set(here) - known)


def _number(path: Path) -> int:
    return int(path.stem)
