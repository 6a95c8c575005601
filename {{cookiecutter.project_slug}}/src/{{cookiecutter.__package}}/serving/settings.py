"""How the service is reached, from the environment."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

NO_LOG = "none"
DATABASES = ("sqlite", "postgresql")


def _database(value: str) -> str:
    if value != NO_LOG and value.partition(":")[0].partition("+")[0] not in DATABASES:
        raise ValueError(f"is {value!r}, but can be an address such as sqlite:///predictions.db, or {NO_LOG}")
    return value


class Settings(BaseSettings):
    """Address, key and pace of the service, and where it logs its predictions."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    serve_host: str = "127.0.0.1"  # 0.0.0.0 opens it to other machines
    serve_api_key: str = ""  # if set, every request but those to /, /health and /ready sends it in X-API-Key
    serve_processes: Annotated[int, Field(ge=1, le=256)] = 1  # each with all models, and limits of its own
    serve_poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 5  # between checks for a champion, if no file tells
    prediction_log: Annotated[str, AfterValidator(_database)] = "sqlite:///predictions.db"  # none: nothing is logged
    prediction_log_files: bool = False  # whether what `predict` and `forecast` write to files is logged, too
    prediction_log_days: Annotated[int, Field(gt=0, le=36_500)] = 90  # after which predictions are deleted
