"""Tell people what happened: one function for each channel, in CHANNELS."""

import json
from http.client import HTTPException
from typing import Annotated
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .. import from_environment
from ..registry.settings import PROJECT

TIMEOUT = 5  # seconds


class Settings(BaseSettings):
    """Where to tell it. An address often holds a secret, so it is not printed."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    webhook_url: Annotated[str, Field(repr=False)] = ""


def tell(model: str, lines: list[str]) -> None:
    """Tell all channels what happened to a model, if anything did; one that fails is warned of, and stops nothing."""
    for channel in CHANNELS if lines else ():
        channel(model, lines)


def webhook(model: str, lines: list[str]) -> None:
    """POST it as JSON to WEBHOOK_URL; `text` is what chats show."""
    if not (address := from_environment(Settings).webhook_url):
        return
    content = {"text": "\n".join([f"{PROJECT}, {model}", *lines]), "project": PROJECT, "model": model, "lines": lines}
    parts, reason = urlsplit(address), "its address does not begin with https:// or http://"
    if parts.scheme in ("http", "https"):
        reason = _posted(address, json.dumps(content).encode())
    if reason:
        print(f"warning: the webhook at {parts.hostname or '?'} (WEBHOOK_URL) was not told: {reason}", flush=True)


def _posted(address: str, content: bytes) -> str:
    """POST JSON; return why it did not arrive, without the address, or nothing."""
    try:
        request = Request(address, content, {"Content-Type": "application/json"})  # noqa: S310 - http, by our settings
        with urlopen(request, timeout=TIMEOUT):  # noqa: S310
            return ""
    except HTTPError as error:
        return f"status {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(getattr(error, 'reason', error)).__name__}"


CHANNELS = [webhook]
