"""Where versions are kept: a server, or the project's folder. Imports nothing of MLflow."""

from pydantic_settings import BaseSettings, SettingsConfigDict

from .. import ROOT, from_environment

PROJECT = __package__.partition(".")[0]
DATABASE, RUNS = ROOT / "mlflow.db", ROOT / "mlruns"


class Settings(BaseSettings):
    """The address of a server, from the environment."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    mlflow_tracking_uri: str = ""  # a server; empty: the project's own database


def server() -> str:
    """Return the address of the MLflow server, empty if the project's own database is used."""
    return from_environment(Settings).mlflow_tracking_uri
