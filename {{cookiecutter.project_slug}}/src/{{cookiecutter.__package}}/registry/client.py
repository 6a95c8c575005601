"""The connection to MLflow: a server's address, or a database in the project's folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a dead server is reported in seconds, not minutes

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from .. import Refused, Unavailable, first_line
from . import database
from .settings import DATABASE, PROJECT, RUNS, server

logging.getLogger("mlflow").setLevel(logging.WARNING)

ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # MLflow's codes for what does not exist


def registry_exists() -> bool:
    """Return whether anything was ever recorded here; a server's registry always exists.

    Raises:
        Refused: If the project's own database is damaged or lost.
    """
    return bool(server()) or database.database_exists()


def connect() -> MlflowClient:
    """Return a client of the server, or of the project's own database; raise Refused if that does not exist yet."""
    if not registry_exists():
        raise Refused("no version is recorded yet: uv run just train")
    uri = server()
    if not uri:
        os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # no connection to a replaced file
        uri = f"sqlite:///{DATABASE.as_posix()}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def changes() -> Iterator[MlflowClient]:
    """Yield a client to change the registry with; when the block ends well, keep a copy of the project's database."""
    with mlflow_errors():
        mlflow, before = connect(), database.state()
        yield mlflow
        if not server() and database.state() != before:
            database.keep_copy()


@contextmanager
def recording() -> Iterator[MlflowClient]:
    """Yield a client as `changes` does, with addresses below today's folder; create the database if there is none."""
    with mlflow_errors():
        if not registry_exists():
            database.create_database()
    with changes() as mlflow:
        if not server():
            database.follow_move()
        yield mlflow


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Raise Refused, in one line, for what MLflow or its store of files cannot do."""
    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        kind = Unavailable if server() else Refused
        raise kind(f"the registry {_place()} fails: {first_line(error)}") from error


def registered_name(model: str) -> str:
    """Return the name under which MLflow knows a model."""
    return f"{PROJECT}.{model}"


def experiment(mlflow: MlflowClient, part: str = "") -> str:
    """Return the id of the project's experiment, or of a part of it, which is created on first use."""
    if found := experiments(mlflow, part):
        return found[0]
    return mlflow.create_experiment(_name(part), artifact_location=None if server() else RUNS.as_uri())


def experiments(mlflow: MlflowClient, part: str = "") -> list[str]:
    """Return the id of the project's experiment, or of a part of it; nothing if there is none yet."""
    found = mlflow.get_experiment_by_name(_name(part))
    return [found.experiment_id] if found else []


def _name(part: str) -> str:
    return f"{PROJECT}-{part}" if part else PROJECT


def _place() -> str:
    """Return where the registry is, without a password."""
    if not (uri := server()):
        return f"in {DATABASE.name}"
    parts = urlsplit(uri)
    return f"at {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()} (MLFLOW_TRACKING_URI)"
