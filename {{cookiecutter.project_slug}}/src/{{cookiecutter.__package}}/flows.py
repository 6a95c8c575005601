"""Schedule the retrain with Prefect, and run all servers of this machine together."""

import os
import signal
import subprocess
import sys
import time
from typing import Annotated
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from . import ROOT, Refused, from_environment

os.environ.setdefault("PREFECT_HOME", str(ROOT / ".prefect"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ["PREFECT_API_URL"] = os.environ.get("PREFECT_API_URL") or "http://127.0.0.1:4200/api"

from prefect import flow
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .retraining import retrain as retraining

WAIT = 60  # seconds the server may take to start


class Settings(BaseSettings):
    """When models are retrained, and by which Prefect server."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retrain_cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")] = "0 3 * * *"  # every night
    prefect_api_url: Annotated[str, Field(pattern=r"^https?://\S+$")] = "http://127.0.0.1:4200/api"  # started if none


@flow(name="retrain", log_prints=True)
def retrain(model: str = "", reason: str = "schedule") -> list[str]:
    """Retrain the model named, or every model, with nobody watching; fail if one failed."""
    outcomes = retraining.retrain([model] if model else [], reason, unattended=True)
    if failed := [outcome.message for outcome in outcomes if outcome.state == "failed"]:
        raise Refused("; ".join(failed))
    return [f"{outcome.model}: {outcome.message}" for outcome in outcomes]


def up(port: int) -> None:
    """Run server, schedule and service until stopped by Ctrl-C or SIGTERM; end what this started.

    The two run in sessions of their own: a signal reaches this process alone, which ends the schedule first.
    """
    settings, started = from_environment(Settings), []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not healthy(settings.prefect_api_url):
            place = urlsplit(settings.prefect_api_url)
            where = ["--host", place.hostname, "--port", str(place.port or 4200)]
            started.append(_start("-m", "prefect", "server", "start", *where))
            wait_for_server(settings.prefect_api_url, started[0])
        started.append(_start("-m", __package__, "serve", str(port)))
        server = settings.prefect_api_url.removesuffix("/api")
        print(f"Prefect: {server}  service: http://127.0.0.1:{port}/docs", flush=True)
        retrain.serve(name="nightly", cron=settings.retrain_cron, global_limit=1)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one must not leave a child running
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], start_new_session=True)


def wait_for_server(address: str, server: subprocess.Popen) -> None:
    """Wait until the server answers; raise Refused if it ended or takes too long."""
    deadline = time.monotonic() + WAIT
    while not healthy(address):
        if server.poll() is not None or time.monotonic() > deadline:
            raise Refused("Prefect's server did not start: see what it printed above")
        time.sleep(0.2)


def healthy(address: str) -> bool:
    """Return whether a Prefect server answers at this address."""
    try:
        with urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310 - an address of our own settings
            return answer.status == 200
    except (URLError, OSError):
        return False
