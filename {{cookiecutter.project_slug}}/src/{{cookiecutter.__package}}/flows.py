"""Schedule the retrain with Prefect, and run all servers of this machine together."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from . import ROOT, Refused, first_line, from_environment, now

os.environ.setdefault("PREFECT_HOME", str(ROOT / ".prefect"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ["PREFECT_API_URL"] = os.environ.get("PREFECT_API_URL") or "http://127.0.0.1:4200/api"

from prefect import flow, serve
from prefect.artifacts import create_markdown_artifact
from prefect.deployments.runner import EntrypointType
from prefect.events import DeploymentEventTrigger
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from .serving.server import address, check_port
from .serving.settings import Settings as ServiceSettings
from .training.workspace import Workspace

if TYPE_CHECKING:
    from .retraining.retrain import Outcome

NEW_DATA = "new-data"  # the event that anything may send to Prefect
WAIT = 120  # seconds that the server and the service each may take to start
STOPPED_BY = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # besides Ctrl-C


class Settings(BaseSettings):
    """When models are retrained and watched, and by which Prefect server."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    retrain_cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")] = "0 3 * * *"  # every night
    learn_cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")] = "0 5 * * *"  # after it, from the log
    watch_cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")] = "0 6 * * *"  # every morning
    prefect_api_url: Annotated[str, Field(pattern=r"^https?://\S+$")] = "http://127.0.0.1:4200/api"  # started if none


@flow(name="retrain", log_prints=True)
def retrain(model: str = "", reason: str = "schedule") -> list[str]:
    """Retrain the model named, or every model, with nobody watching; fail if one failed."""
    from .monitoring import retrains  # with MLflow, which `up` itself does not need

    outcomes = retrains.retrain_now([model] if model else [], reason)
    _show(outcomes)
    if failed := [outcome.message for outcome in outcomes if outcome.state == "failed"]:
        raise Refused("; ".join(failed))
    return [f"{outcome.model}: {outcome.message}" for outcome in outcomes]


@flow(name="learn", log_prints=True)
def learn() -> list[str]:
    """Let every model that can learn from the logged rows whose labels are there; fail if one failed."""
    from .monitoring import learning, retrains  # with MLflow, which `up` itself does not need

    outcomes = retrains.patiently(partial(learning.learn, [], now(), unattended=True))
    if failed := [outcome.message for outcome in outcomes if outcome.state == "failed"]:
        raise Refused("; ".join(failed))
    return [f"{outcome.model}: {outcome.message}" for outcome in outcomes]


@flow(name="watch", log_prints=True)
def watch() -> list[str]:
    """Watch every model, write the reports, and retrain those for which there is a reason, such as new data."""
    from .monitoring import page, retrains
    from .monitoring import watch as monitoring
    from .serving.log_store import open_log

    retrains.ask_for_new_data(open_log(), [])
    said = page.publish(monitoring.watch([], now(), act=True))
    print("\n".join(said))
    return said


def _show(outcomes: "list[Outcome]") -> None:
    """Show on Prefect's page what came of a retrain: a table, the gate's conditions, and links to the reports."""
    lines = ["| model | outcome | what |", "|---|---|---|"]
    lines += [f"| {each.model} | {each.state} | {_cell(each.message)} |" for each in outcomes]
    for each in outcomes:
        files = Workspace(each.model)
        pages = {"report": files.report, "watch": ROOT / "reports" / f"{each.model}-watch.html"}
        links = [f"[{name}]({path.as_uri()})" for name, path in pages.items() if path.exists()]
        lines += ["", f"## {each.model}", "", ", ".join(links), ""]
        if each.state != "unchanged" and files.verdict.exists():
            lines += ["| condition | holds | found | wanted |", "|---|---|---|---|"]
            for condition in json.loads(files.verdict.read_text(encoding="utf-8"))["conditions"]:
                cells = [condition[name] for name in ("name", "holds", "found", "wanted")]
                lines.append(f"| {' | '.join(map(_cell, cells))} |")
    try:
        create_markdown_artifact("\n".join(lines), key="retrain", description="What came of the retrain")
    except Exception as error:  # the models are what matters
        print(f"warning: Prefect does not show the outcome: {first_line(error)}")


def _cell(value: object) -> str:
    return str(value).replace("|", "/").replace("\n", " ")


def schedule() -> None:
    """Retrain and watch as scheduled, retrain at an event NEW_DATA, until stopped; one run waits for another."""
    told = DeploymentEventTrigger(name="new data", expect={NEW_DATA}, parameters={"reason": "event: new data"})
    settings, how = from_environment(Settings), {"concurrency_limit": 1, "entrypoint_type": EntrypointType.MODULE_PATH}
    serve(
        retrain.to_deployment("nightly", cron=settings.retrain_cron, triggers=[told], **how),
        learn.to_deployment("daily", cron=settings.learn_cron, **how),
        watch.to_deployment("daily", cron=settings.watch_cron, **how),
    )


def up(port: int) -> None:
    """Run server, service and schedule until stopped by a signal, or until one of them ends; end what this started.

    Each runs in a session of its own: a signal reaches this process alone, which ends the schedule first.
    """
    settings, host, started = from_environment(Settings), from_environment(ServiceSettings).serve_host, {}
    check_port(host, port)
    for number in STOPPED_BY:
        signal.signal(number, signal.default_int_handler)
    try:
        if not answers(f"{settings.prefect_api_url}/health"):
            place = urlsplit(settings.prefect_api_url)
            where = ["--host", place.hostname, "--port", str(place.port or 4200)]
            started["Prefect's server"] = _start("-m", "prefect", "server", "start", *where)
            _wait_for(f"{settings.prefect_api_url}/health", started)
        started["the service"] = _start("-m", __package__, "serve", str(port))
        _wait_for(f"{address(host, port)}/health", started)
        started["the schedule"] = _start("-c", f"from {__package__} import flows; flows.schedule()")
        print(f"Prefect: {settings.prefect_api_url.removesuffix('/api')}  service: {address(host, port)}", flush=True)
        while True:
            _refuse_ended(started)
            time.sleep(0.5)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        _end(list(started.values()))


def _start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], start_new_session=True)


def _wait_for(health: str, started: dict[str, subprocess.Popen]) -> None:
    """Wait until what was started last answers; raise Refused if anything ended or this takes too long."""
    deadline = time.monotonic() + WAIT
    while not answers(health):
        _refuse_ended(started)
        if time.monotonic() > deadline:
            raise Refused(f"{list(started)[-1]} did not start within {WAIT} seconds: see what it printed above")
        time.sleep(0.2)
    _refuse_ended(started)  # something else answered at its address


def _refuse_ended(started: dict[str, subprocess.Popen]) -> None:
    """Raise Refused naming what has ended by itself."""
    if ended := [name for name, process in started.items() if process.poll() is not None]:
        raise Refused(f"{' and '.join(ended)} ended: see what it printed above; all that was started is stopped")


def _end(processes: list[subprocess.Popen]) -> None:
    """End the processes, the last one first."""
    for number in (signal.SIGINT, *STOPPED_BY):
        signal.signal(number, signal.SIG_IGN)  # a second one must not leave a child running
    for process in reversed(processes):
        process.terminate()
    for process in reversed(processes):
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def answers(address: str) -> bool:
    """Return whether a server answers at this address."""
    try:
        with urlopen(address, timeout=2) as answer:  # noqa: S310 - an address of our own settings
            return answer.status == 200
    except (URLError, OSError):
        return False
