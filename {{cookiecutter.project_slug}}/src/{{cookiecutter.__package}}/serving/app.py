"""The champions over HTTP."""

import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import BadRows, from_environment
from ..registry import database
from ..registry.settings import PROJECT
from ..training.params import model_blocks
from . import feedback
from .batching import Answers
from .canary import BYTES
from .openapi import document, page
from .prediction_log import PredictionLog
from .protection import MAX_ROWS, MAX_ROWS_IN_WORK, Guard, InWork, PlainJSONRoute, read_rows
from .served_models import ServedModels
from .served_version import ServedVersion
from .server import check_port, run
from .settings import Settings

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the variable of the folder in which several processes count
NO_KEY = {401: {"description": "the key is missing or wrong (X-API-Key)"}}
GLANCE = 0.1  # seconds between looks at whether the project's own registry has changed, which cost nothing
PREDICT = re.compile("/models/(?P<name>[^/]+)/predict")
routes = APIRouter(route_class=PlainJSONRoute)


class Metrics:
    """What /metrics tells about a service, of all its processes together."""

    def __init__(self) -> None:
        own = {"registry": (registry := CollectorRegistry())}
        self.registry = registry
        self.requests = Counter("predict_requests", "Requests to predict", ["model", "status"], **own)
        self.rows = Counter("predict_rows", "Rows predicted", ["model"], **own)
        self.seconds = Histogram("predict_seconds", "Seconds to answer a request", ["model"], **own)
        self.failures = Counter("champion_load_failures", "Champions not loaded", ["model"], **own)
        self.lost = Counter("predictions_not_logged", "Rows missing in the log", ["model"], **own)
        newest = {"multiprocess_mode": "mostrecent"}
        self.version = Gauge("model_version", "Version that serves", ["model"], **newest, **own)

    def text(self) -> bytes:
        """Return them in Prometheus' format."""
        registry = self.registry
        if SHARED in os.environ:
            MultiProcessCollector(registry := CollectorRegistry())
        return generate_latest(registry)


def serve(port: int) -> None:
    """Answer requests until stopped, by as many processes as are set."""
    settings = from_environment(Settings)
    check_port(settings.serve_host, port)
    if settings.serve_processes == 1:
        run(create_process(), settings.serve_host, port)
        return
    with TemporaryDirectory() as folder:
        os.environ[SHARED] = folder
        run(f"{__name__}:create_process", settings.serve_host, port, settings.serve_processes)


def create_process() -> FastAPI:
    """Return the service of a process of its own."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return create_app()


def create_app() -> FastAPI:
    """Return the service; it starts without a champion, reports that, and loads one once there is one."""
    service = FastAPI(title=PROJECT, lifespan=_lifespan)
    service.state.metrics = metrics = Metrics()
    service.state.models = ServedModels(list(model_blocks([])), lambda name: metrics.failures.labels(name).inc())
    service.state.rows = InWork("rows", MAX_ROWS_IN_WORK)
    service.state.answers = {name: Answers() for name in service.state.models.names}
    service.state.log = PredictionLog(lambda name, rows: metrics.lost.labels(name).inc(rows))
    service.add_route("/models/{name}/predict", predict, ["POST"])
    service.include_router(routes)
    service.include_router(feedback.routes)
    service.add_exception_handler(RequestValidationError, _first_problem)
    service.openapi = partial(document, service)
    service.add_middleware(Shortcut)
    service.add_middleware(Guard, key=from_environment(Settings).serve_api_key)
    return service


@asynccontextmanager
async def _lifespan(service: FastAPI) -> AsyncIterator[None]:
    """Load the champions before the first request, and follow them until the last."""
    stop, models = threading.Event(), service.state.models
    watcher = threading.Thread(target=follow_champions, args=(models, stop), daemon=True)
    models.refresh()
    watcher.start()
    with service.state.log.writing():
        yield
    stop.set()


def follow_champions(models: ServedModels, stop: threading.Event) -> None:
    """Look for new champions until told to stop: when the project's own registry changes, and now and then."""
    seconds, seen, looked = from_environment(Settings).serve_poll_seconds, database.state(), time.monotonic()
    while not stop.wait(min(seconds, GLANCE)):
        state = database.state()
        if state != seen or time.monotonic() - looked >= seconds:
            seen, looked = state, time.monotonic()
            models.refresh()


@routes.get("/", include_in_schema=False)
async def try_a_model() -> Response:
    """Answer a page on which a person tries the models."""
    text, headers = page()
    return Response(text, media_type="text/html", headers=headers)


@routes.get("/health")
async def health() -> dict[str, str]:
    """Answer that the process is alive, whatever it serves."""
    return {"status": "ok"}


@routes.get("/ready", responses={503: {"description": "a model has no champion here, or not its newest"}})
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Answer 200 once every model has a champion here, else 503 and why."""
    models = request.app.state.models
    response.status_code = 200 if models.ready() else 503
    return {"ready": models.ready(), "errors": models.errors}


@routes.get("/version", responses=NO_KEY)
async def version(request: Request) -> dict[str, Any]:
    """Answer for each model the version that serves, and why its newest champion does not."""
    return request.app.state.models.versions()


@routes.get("/metrics", responses=NO_KEY, response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Answer counters and times in Prometheus' format."""
    state = request.app.state
    for name, champion in state.models.champions.items():
        state.metrics.version.labels(name).set(int(champion.number))
    return Response(state.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def predict(request: Request) -> Response:
    """Answer a prediction for each row, by the champion; 422 names the column that is wrong."""
    start, state, name = time.perf_counter(), request.app.state, request.path_params["name"]
    body = await request.body()
    records = read_rows(body, request.headers.get("content-type", ""))
    champion = _champion(state.models, name)
    if not 0 < len(records) <= MAX_ROWS:
        raise HTTPException(422, f"send between 1 and {MAX_ROWS} rows")
    try:
        with state.rows.holding(len(records)):
            predictions, warnings = await state.answers[name].answer(champion, records)
    except BadRows as bad:
        state.metrics.requests.labels(name, 422).inc()
        raise HTTPException(422, str(bad)) from bad
    state.metrics.requests.labels(name, 200).inc()
    state.metrics.rows.labels(name).inc(len(records))
    state.metrics.seconds.labels(name).observe(seconds := time.perf_counter() - start)
    if len(body) <= BYTES:
        state.models.newest[name].append(records)
    ids = state.log.add(champion.version, records, predictions, seconds)
    answer = {"model": name, "version": champion.number, "predictions": predictions, "warnings": warnings}
    return Response(to_json(answer | ({"prediction_ids": ids} if ids else {})), media_type="application/json")


class Shortcut:
    """Answer requests to predict at once: what else a framework does for a request costs more than the model."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to predict, and pass any other on."""
        found = PREDICT.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if not found:
            return await self.app(scope, receive, send)
        scope["path_params"] = found.groupdict()
        try:
            response = await predict(Request(scope, receive))
        except HTTPException as refusal:
            response = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
        return await response(scope, receive, send)


async def _first_problem(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 with the first thing that is wrong with a request, in one line, without what was sent."""
    problem = error.errors()[0]
    return JSONResponse({"detail": f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"}, 422)


def _champion(models: ServedModels, name: str) -> ServedVersion:
    """Return the model's champion as it serves now; 404 for an unknown model, 503 for one without a champion."""
    if name not in models.names:
        raise HTTPException(404, f"there is no model {name!r}, only {', '.join(models.names)}")
    if name not in models.champions:
        raise HTTPException(503, models.errors.get(name, "not loaded yet"))
    return models.champions[name]
