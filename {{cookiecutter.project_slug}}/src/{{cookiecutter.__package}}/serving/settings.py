"""How the service is reached, from the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Address, key and pace of the service."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    serve_host: str = "127.0.0.1"  # 0.0.0.0 opens it to other machines
    serve_api_key: str = ""  # if set, every request but those to /health and /ready sends it in X-API-Key
    serve_poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 5  # between checks for a new champion
