"""The project's own service on loopback, in a thread of the simulation, and requests to it over HTTP."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import uvicorn

from .. import Refused
from ..serving.app import create_app
from ..serving.server import address, configured

HOST = "127.0.0.1"
WAIT = 120.0  # seconds for a start, or for a new champion to serve


class Client:
    """Requests about one model to a service."""

    def __init__(self, place: str, model: str) -> None:
        self.place, self.model = place, model

    def predict(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the service's answer to these rows."""
        return self._asked(f"/models/{self.model}/predict", {"rows": records})

    def label(self, labels: list[dict[str, Any]]) -> int:
        """Send what turned out true; return how many labels were stored."""
        return self._asked(f"/models/{self.model}/feedback", {"labels": labels})["stored"]

    def wait_for(self, version: str) -> None:
        """Wait until this version serves; raise Refused with the service's reason if it does not."""
        deadline = time.monotonic() + WAIT
        while (state := self._asked("/version")[self.model])["version"] != version:
            if time.monotonic() > deadline or (state["error"] and "cannot" in state["error"]):
                raise Refused(f"version {version} of {self.model} does not serve: {state['error']}")
            time.sleep(0.05)

    def _asked(self, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        asked = Request(self.place + path, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
        try:
            with urlopen(asked, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            raise Refused(f"the service answers {error.code}: {error.read().decode(errors='replace')[:300]}") from error


@contextmanager
def serving(model: str) -> Iterator[Client]:
    """Run the service at a free port of this machine while the block runs."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(configured(create_app(), HOST, port))
    thread = threading.Thread(target=server.run, name="service", daemon=True)
    thread.start()
    deadline = time.monotonic() + WAIT
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise Refused("the service of the simulation did not start")
        time.sleep(0.02)
    try:
        yield Client(address(HOST, port), model)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
