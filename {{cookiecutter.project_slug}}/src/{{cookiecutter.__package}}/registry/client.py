"""The connection to MLflow: a server's address, or a database in the project's folder."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a dead server is reported in seconds, not minutes

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .. import ROOT, Refused, first_line
from .settings import DATABASE, PROJECT, RUNS, server

logging.getLogger("mlflow").setLevel(logging.WARNING)

ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # MLflow's codes for what does not exist


def connect() -> MlflowClient:
    """Return a client of the server, or of the project's own database, which is created on first use."""
    uri = server()
    if not uri:
        if not DATABASE.exists():
            _create_database()
        uri = f"sqlite:///{DATABASE.as_posix()}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Raise Refused, in one line, for what MLflow or its store of files cannot do."""
    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        raise Refused(f"the registry does not answer: {first_line(error)}") from error


def registered_name(model: str) -> str:
    """Return the name under which MLflow knows a model."""
    return f"{PROJECT}.{model}"


def experiment(mlflow: MlflowClient, part: str = "") -> str:
    """Return the id of the project's experiment, or of a part of it, which is created on first use."""
    name = f"{PROJECT}-{part}" if part else PROJECT
    if found := mlflow.get_experiment_by_name(name):
        return found.experiment_id
    return mlflow.create_experiment(name, artifact_location=None if server() else RUNS.as_uri())


def follow_move() -> None:
    """Write the folder's new address into the database after the project was moved; only writers need it."""
    if server():
        return
    with sqlite3.connect(DATABASE) as database:
        [before] = database.execute("select artifact_location from experiments where name = ?", (PROJECT,)).fetchone()
        if before == RUNS.as_uri():
            return
        columns = [
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ]
        for table, column in columns:
            change = f"update {table} set {column} = replace({column}, ?, ?)"  # noqa: S608 - names from the list above
            database.execute(change, (before, RUNS.as_uri()))


def _create_database() -> None:
    """Create the project's database in one process while others wait; after a crash there is a whole one or none."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with FileLock(ROOT / "mlflow.db.lock"):
        if DATABASE.exists():
            return
        with TemporaryDirectory(dir=ROOT) as scratch:
            created = Path(scratch) / DATABASE.name
            store = SqlAlchemyStore(f"sqlite:///{created.as_posix()}", RUNS.as_uri())
            store.create_experiment(PROJECT, artifact_location=RUNS.as_uri())
            store.engine.dispose()
            created.replace(DATABASE)
