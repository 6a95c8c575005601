"""The champions over HTTP."""

import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import BadRows, from_environment
from ..registry.loading import LoadedVersion
from ..registry.settings import PROJECT
from ..training.params import model_blocks
from .served_models import ServedModels

MAX_ROWS, MAX_BYTES = 10_000, 10_000_000  # of a request

routes = APIRouter()


class Settings(BaseSettings):
    """How the service is reached."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    serve_host: str = "127.0.0.1"  # 0.0.0.0 opens it to other machines
    serve_api_key: str = ""  # if set, requests to predict send it in X-API-Key
    serve_poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 5  # between checks for a new champion


class Metrics:
    """What /metrics tells about a service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("predict_requests", "Requests to predict", ["model", "status"], registry=self.registry)
        self.rows = Counter("predict_rows", "Rows predicted", ["model"], registry=self.registry)
        self.seconds = Histogram("predict_seconds", "Seconds to answer a request", ["model"], registry=self.registry)
        self.version = Gauge("model_version", "Version that serves", ["model"], registry=self.registry)


class RequestGuard:
    """Check a request's key and length before its body is read."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        guarded = scope["type"] == "http" and scope["path"].startswith("/models/")
        status, reason = check_headers(Headers(scope=scope), self.key) if guarded else (200, "")
        answer = self.app if status == 200 else JSONResponse({"detail": reason}, status)
        await answer(scope, receive, send)


def serve(port: int) -> None:
    """Answer requests until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvicorn.run(create_app(), host=from_environment(Settings).serve_host, port=port, log_level="warning")


def create_app() -> FastAPI:
    """Return the service; it starts without a champion, reports that, and loads one once there is one."""
    service = FastAPI(title=PROJECT, lifespan=_lifespan)
    service.state.models = ServedModels(list(model_blocks([])))
    service.state.metrics = Metrics()
    service.include_router(routes)
    service.add_middleware(RequestGuard, key=from_environment(Settings).serve_api_key)
    return service


@asynccontextmanager
async def _lifespan(service: FastAPI) -> AsyncIterator[None]:
    """Load the champions before the first request, and follow them until the last."""
    stop, models = threading.Event(), service.state.models
    watcher = threading.Thread(target=follow_champions, args=(models, stop), daemon=True)
    models.refresh()
    watcher.start()
    yield
    stop.set()


def follow_champions(models: ServedModels, stop: threading.Event) -> None:
    """Look for new champions until told to stop."""
    seconds = from_environment(Settings).serve_poll_seconds
    while not stop.wait(seconds):
        models.refresh()


def check_headers(headers: Headers, key: str) -> tuple[int, str]:
    """Return 200 for a request that may be read, else the status and the reason."""
    length = headers.get("content-length", "")
    if key and not secrets.compare_digest(headers.get("x-api-key", "").encode(), key.encode()):
        return 401, "send the key in X-API-Key"
    if not length.isdigit():
        return 411, "send the length of the body in Content-Length"
    return (413, f"a body may have at most {MAX_BYTES} bytes") if int(length) > MAX_BYTES else (200, "")


@routes.get("/health")
async def health() -> dict[str, str]:
    """Answer that the process is alive, whatever it serves."""
    return {"status": "ok"}


@routes.get("/ready")
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Answer 200 once every model has a champion here, else 503 and why."""
    models = request.app.state.models
    response.status_code = 200 if models.ready() else 503
    return {"ready": models.ready(), "errors": models.errors}


@routes.get("/version")
async def version(request: Request) -> dict[str, Any]:
    """Answer for each model the version that serves, and why its newest champion does not."""
    return request.app.state.models.versions()


@routes.get("/metrics")
async def metrics(request: Request) -> Response:
    """Answer counters and times in Prometheus' format."""
    state = request.app.state
    for name, champion in state.models.champions.items():
        state.metrics.version.labels(name).set(int(champion.number))
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@routes.post("/models/{name}/predict")
def predict(
    request: Request, name: str, records: Annotated[list[dict[str, Any]], Body(embed=True, alias="rows")]
) -> dict[str, Any]:
    """Answer a prediction for each row, by the champion; 422 names the column that is wrong."""
    start, metrics = time.perf_counter(), request.app.state.metrics
    champion = _champion(request.app.state.models, name)
    if not 0 < len(records) <= MAX_ROWS:
        raise HTTPException(422, f"send between 1 and {MAX_ROWS} rows")
    try:
        predictions = champion.responses(records)
    except BadRows as bad:
        metrics.requests.labels(name, 422).inc()
        raise HTTPException(422, str(bad)) from bad
    metrics.requests.labels(name, 200).inc()
    metrics.rows.labels(name).inc(len(records))
    metrics.seconds.labels(name).observe(time.perf_counter() - start)
    return {"model": name, "version": champion.number, "predictions": predictions}


def _champion(models: ServedModels, name: str) -> LoadedVersion:
    """Return the model's champion as it serves now; 404 for an unknown model, 503 for one without a champion."""
    if name not in models.names:
        raise HTTPException(404, f"there is no model {name!r}, only {', '.join(models.names)}")
    if name not in models.champions:
        raise HTTPException(503, models.errors.get(name, "not loaded yet"))
    return models.champions[name]
