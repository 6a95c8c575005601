"""The champions over HTTP. A new champion is loaded beside the old one, tried on its examples, and then takes over."""

import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import pandas as pd
import uvicorn
from fastapi import APIRouter, Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from . import Refused, artifact, first_line, registry, run
from .artifact import BadRows, Signature
from .models import Model, chosen

POLL = float(os.environ.get("SERVE_POLL_SECONDS", "5"))  # between looks at who is champion
ROWS, BYTES = 10_000, 10_000_000  # a request holds at most
TOLERANCE = 1e-9  # between an example's prediction as stored and as made here

routes = APIRouter()


@dataclass(frozen=True)
class Champion:
    """A version, loaded and proven on its own examples."""

    model: Model
    version: str
    signature: Signature
    estimator: Any

    def predictions(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A prediction for each record; raises BadRows."""
        known = {column.name for column in self.signature.inputs}
        asked = [{name: value for name, value in record.items() if name in known} for record in records]
        try:
            rows = self.signature.typed(pd.DataFrame.from_records(asked, index=range(len(asked))))
            return self.model.answers(self.estimator, rows)
        except (OverflowError, UnicodeError) as error:
            raise BadRows(f"a number is too large, or a text is none: {first_line(error)}") from error


@dataclass
class Desk:
    """What serves now, by model, and why a model's newest champion does not."""

    models: dict[str, Model]
    champions: dict[str, Champion] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """Every model's champion serves; one that cannot be loaded leaves the old one where it is."""
        for name, model in self.models.items():
            try:
                version = registry.champion(name)
                if version is None:
                    self.troubles[name] = f"no champion yet: uv run just promote VERSION {name}"
                    continue
                if name not in self.champions or self.champions[name].version != version:
                    self.champions[name] = loaded(model, version)
                self.troubles.pop(name, None)
            except Exception as error:  # whatever is wrong with the new one, the old one serves on
                self.troubles[name] = f"{type(error).__name__}: {error}"

    def ready(self) -> bool:
        return set(self.champions) == set(self.models)

    def versions(self) -> dict[str, dict[str, str | None]]:
        """For each model the version that serves here, if any, and what is wrong."""
        serving = {name: champion.version for name, champion in self.champions.items()}
        return {name: {"version": serving.get(name), "trouble": self.troubles.get(name)} for name in self.models}


def main(arguments: list[str]) -> None:
    """The service answers on this machine until it is stopped; set SERVE_HOST to be reached from outside."""
    port = int(arguments[0]) if arguments else 8000
    uvicorn.run(app(), host=os.environ.get("SERVE_HOST", "127.0.0.1"), port=port, log_level="warning")


def loaded(model: Model, version: str) -> Champion:
    """The version, from a file proven by its hash, predicting its own examples as it did when it was made."""
    folder = registry.folder(model.name, version)
    champion = Champion(model, version, artifact.signature(folder), artifact.load(folder, model.module.TRUSTED))
    found = pd.DataFrame(champion.predictions(champion.signature.examples))
    stored = pd.DataFrame(champion.signature.predictions)
    try:
        pd.testing.assert_frame_equal(found, stored, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
    except AssertionError as error:
        raise Refused(f"version {version} does not predict its own examples here as it did when trained") from error
    return champion


class Meters:
    """What /metrics says of a service."""

    def __init__(self) -> None:
        self.all = CollectorRegistry()
        self.requests = Counter("predict_requests", "Requests to predict", ["model", "status"], registry=self.all)
        self.rows = Counter("predict_rows", "Rows predicted", ["model"], registry=self.all)
        self.seconds = Histogram("predict_seconds", "Seconds to answer a request", ["model"], registry=self.all)
        self.serving = Gauge("model_version", "Version that serves", ["model"], registry=self.all)


def app() -> FastAPI:
    """The service; it starts without a champion, says so, and picks one up when there is one."""
    service = FastAPI(title=registry.PROJECT, lifespan=lifespan)
    service.state.desk = Desk({model.name: model for model in chosen([])})
    service.state.meters = Meters()
    service.include_router(routes)
    service.add_middleware(Door)
    return service


@asynccontextmanager
async def lifespan(service: FastAPI) -> AsyncIterator[None]:
    """The champions are loaded before the first request, and followed until the last."""
    stop, desk = threading.Event(), service.state.desk
    watcher = threading.Thread(target=watch, args=(desk, stop), daemon=True)
    desk.look()
    watcher.start()
    yield
    stop.set()


def watch(desk: Desk, stop: threading.Event) -> None:
    """The desk looks for new champions until told to stop."""
    while not stop.wait(POLL):
        desk.look()


def serving_champion(desk: Desk, name: str) -> Champion:
    """The model's champion as it serves now; 404 for a model unknown, 503 for one without a champion."""
    if name not in desk.models:
        raise HTTPException(404, f"there is no model {name!r}, only {', '.join(desk.models)}")
    if name not in desk.champions:
        raise HTTPException(503, desk.troubles.get(name, "not loaded yet"))
    return desk.champions[name]


class Door:
    """No request to a model is read before its key and its length are good."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"].startswith("/models/")
        status, words = refusal(Headers(scope=scope)) if asked else (200, "")
        answer = self.app if status == 200 else JSONResponse({"detail": words}, status)
        await answer(scope, receive, send)


def refusal(headers: Headers) -> tuple[int, str]:
    """Status and words for a request that is not let in; 200 for one that is."""
    wanted, length = os.environ.get("SERVE_API_KEY", ""), headers.get("content-length", "")
    if wanted and not secrets.compare_digest(headers.get("x-api-key", "").encode(), wanted.encode()):
        return 401, "send the key in X-API-Key"
    if not length.isdigit():
        return 411, "say the length of the body"
    return (413, f"a body holds at most {BYTES} bytes") if int(length) > BYTES else (200, "")


@routes.get("/health")
async def health() -> dict[str, str]:
    """The process answers, whatever it serves."""
    return {"status": "ok"}


@routes.get("/ready")
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Status 200 once every model has a champion here, else 503 and why."""
    desk = request.app.state.desk
    response.status_code = 200 if desk.ready() else 503
    return {"ready": desk.ready(), "troubles": desk.troubles}


@routes.get("/version")
async def version(request: Request) -> dict[str, Any]:
    """For each model the version that serves, and why its newest champion does not."""
    return request.app.state.desk.versions()


@routes.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counters and times, as Prometheus reads them."""
    state = request.app.state
    for name, champion in state.desk.champions.items():
        state.meters.serving.labels(name).set(int(champion.version))
    return Response(generate_latest(state.meters.all), media_type=CONTENT_TYPE_LATEST)


@routes.post("/models/{name}/predict")
def predict(
    request: Request, name: str, records: Annotated[list[dict[str, Any]], Body(embed=True, alias="rows")]
) -> dict[str, Any]:
    """A prediction for each row, by the champion; 422 names the column that is wrong."""
    start, meters = time.perf_counter(), request.app.state.meters
    champion = serving_champion(request.app.state.desk, name)
    if not 0 < len(records) <= ROWS:
        raise HTTPException(422, f"send between 1 and {ROWS} rows")
    try:
        predictions = champion.predictions(records)
    except BadRows as bad:
        meters.requests.labels(name, 422).inc()
        raise HTTPException(422, str(bad)) from bad
    meters.requests.labels(name, 200).inc()
    meters.rows.labels(name).inc(len(records))
    meters.seconds.labels(name).observe(time.perf_counter() - start)
    return {"model": name, "version": champion.version, "predictions": predictions}


if __name__ == "__main__":
    run(main)
