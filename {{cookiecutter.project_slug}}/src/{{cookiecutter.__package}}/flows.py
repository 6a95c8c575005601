"""When: thin Prefect flows around pipeline.py. `up` starts the server, the schedule and the service on this machine."""

import os
import signal
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from . import ROOT

os.environ.setdefault("PREFECT_HOME", str(ROOT / ".prefect"))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_API_URL", "http://127.0.0.1:4200/api")

from prefect import flow

from . import Refused, pipeline, run

CRON = os.environ.get("RETRAIN_CRON", "0 3 * * *")  # every night
WAIT = 60  # seconds the server may take to start


@flow(name="retrain", log_prints=True)
def retrain(model: str = "", reason: str = "schedule") -> list[str]:
    """The model named, or every model, retrained with nobody watching; fails if one failed."""
    outcomes = pipeline.retrain([model] if model else [], reason, unattended=True)
    if failed := [outcome.words for outcome in outcomes if outcome.state == "failed"]:
        raise Refused("; ".join(failed))
    return [f"{outcome.model}: {outcome.words}" for outcome in outcomes]


def main(arguments: list[str]) -> None:
    """Server, schedule and service run until this is stopped; what this started, it ends."""
    port = arguments[0] if arguments else "8000"
    started = []
    try:
        if not healthy():
            place = urlsplit(os.environ["PREFECT_API_URL"])
            where = ["--host", place.hostname, "--port", str(place.port)]
            started.append(subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", *where]))
            wait_for_server(started[0])
        started.append(subprocess.Popen([sys.executable, "-m", f"{__package__}.serve", port]))
        print(f"Prefect: {os.environ['PREFECT_API_URL'].removesuffix('/api')}  service: http://127.0.0.1:{port}/docs")
        retrain.serve(name="nightly", cron=CRON, global_limit=1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave one of them running
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)


def wait_for_server(server: subprocess.Popen) -> None:
    """The server answers; raises Refused if it ended or takes too long."""
    deadline = time.monotonic() + WAIT
    while not healthy():
        if server.poll() is not None or time.monotonic() > deadline:
            raise Refused("Prefect's server did not start: see what it printed above")
        time.sleep(0.2)


def healthy() -> bool:
    try:
        with urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=2) as answer:  # noqa: S310
            return answer.status == 200
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    run(main)
