"""Where versions are kept: a server, or the project's folder. Imports nothing of MLflow."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .. import ROOT, from_environment

PROJECT = __package__.partition(".")[0]
DATABASE, RUNS = ROOT / "mlflow.db", ROOT / "mlruns"


ADDRESSES = {"http", "https", "postgresql", "mysql", "mssql", "sqlite", "databricks"}  # that MLflow has a registry at


def _address(value: str) -> str:
    if value and urlsplit(value).scheme.partition("+")[0] not in ADDRESSES:
        raise ValueError(f"is {value!r}, which is no address such as http://host:5000")
    return value


class Settings(BaseSettings):
    """The address of a server, from the environment."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    mlflow_tracking_uri: Annotated[str, AfterValidator(_address)] = ""  # a server; empty: the project's own database


def server() -> str:
    """Return the address of the MLflow server, empty if the project's own database is used."""
    return from_environment(Settings).mlflow_tracking_uri
