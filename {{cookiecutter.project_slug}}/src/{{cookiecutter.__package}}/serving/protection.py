"""Bounds on what clients can ask of the service, whatever they send: key, bytes, time, memory, plain JSON."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import first_line

MAX_ROWS, MAX_BYTES = 10_000, 10_000_000  # of a request
MAX_ROWS_IN_WORK, MAX_BYTES_IN_WORK = 30_000, 30_000_000  # of all requests together
READ_SECONDS = 30  # in which a request must have arrived
OPEN = {"/", "/health", "/ready"}  # what browsers and probes ask, which send no key; the page knows no model


class InWork:
    """What all requests hold at the same time, up to a limit."""

    def __init__(self, unit: str, limit: int) -> None:
        self.unit, self.limit = unit, limit
        self.held, self._lock = 0, threading.Lock()

    def take(self, amount: int) -> None:
        """Add to what is held; raise a 503 that asks to try again if that is more than the limit."""
        with self._lock:
            if self.held + amount > self.limit:
                detail = f"busy: at most {self.limit} {self.unit} are in work at a time, try again"
                raise HTTPException(503, detail, {"Retry-After": "1"})
            self.held += amount

    def release(self, amount: int) -> None:
        """Take from what is held."""
        with self._lock:
            self.held -= amount

    @contextmanager
    def holding(self, amount: int) -> Iterator[None]:
        """Hold an amount inside the block."""
        self.take(amount)
        try:
            yield
        finally:
            self.release(amount)


class Guard:
    """Check a request's key, and read its body within the bounds, before the service sees it."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key
        self.bytes = InWork("bytes", MAX_BYTES_IN_WORK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self.app(scope, receive, send)
        headers, body = Headers(scope=scope), bytearray()
        try:
            self.check_key(headers)
            if scope["path"].startswith("/models/"):
                await self.read(receive, body, headers)
                receive = replayed(bytes(body), receive)
            await self.app(scope, receive, send)
        except HTTPException as refusal:
            closing = {"Connection": "close"} | (refusal.headers or {})
            await JSONResponse({"detail": refusal.detail}, refusal.status_code, closing)(scope, receive, send)
        finally:
            self.bytes.release(len(body))

    def check_key(self, headers: Headers) -> None:
        """Raise a 401 unless the request sends the key, if there is one."""
        if self.key and not secrets.compare_digest(headers.get("x-api-key", "").encode(), self.key.encode()):
            raise HTTPException(401, "send the key in X-API-Key")

    async def read(self, receive: Receive, body: bytearray, headers: Headers) -> None:
        """Append to `body` what arrives until it is whole; the headers can only make it be refused earlier.

        What is refused is read on for a while and dropped: many clients read no answer before they have sent all.
        """
        declared = headers.get("content-length", "")
        refusal = too_large() if declared.isdigit() and int(declared) > MAX_BYTES else None
        arrived, more = 0, True
        try:
            async with asyncio.timeout(READ_SECONDS):
                while more and arrived <= 2 * MAX_BYTES:
                    message = await receive()
                    part, more = message.get("body", b""), message.get("more_body", False)
                    arrived += len(part)
                    refusal = refusal or self.keep(part, body)
        except TimeoutError:
            refusal = refusal or HTTPException(408, f"the request did not arrive within {READ_SECONDS} seconds")
        if refusal:
            raise refusal

    def keep(self, part: bytes, body: bytearray) -> HTTPException | None:
        """Append a part to the body; if that is too much, drop both and return the refusal."""
        try:
            if len(body) + len(part) > MAX_BYTES:
                raise too_large()
            self.bytes.take(len(part))
            body += part
        except HTTPException as refusal:
            self.bytes.release(len(body))
            body.clear()
            return refusal
        return None


def too_large() -> HTTPException:
    """Return the refusal of a body that is too long."""
    return HTTPException(413, f"a body may have at most {MAX_BYTES} bytes")


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the whole body in one message, and then what else arrives."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def plain_json(body: bytes) -> Any:
    """Return the content of JSON as the standard says, without NaN and Infinity; raise a 422 for what is none."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        detail = f"the body is not JSON, which has no NaN or Infinity: {first_line(error)}"
        raise HTTPException(422, detail) from error


def read_rows(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """Return the `rows` of a request's body; raise a 422 that names the first thing that is wrong."""
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    content = plain_json(body) if body and is_json else None
    rows = content.get("rows") if isinstance(content, dict) else None
    if rows is None:
        raise HTTPException(422, "body.rows: Field required")
    if not isinstance(rows, list):
        raise HTTPException(422, "body.rows: Input should be a valid list")
    if (wrong := next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)) is not None:
        raise HTTPException(422, f"body.rows.{wrong}: Input should be a valid dictionary")
    return rows


class PlainJSON(Request):
    """A request whose body is JSON as the standard says: without NaN and Infinity."""

    async def json(self) -> Any:
        """Return the body's content; raise a 422 for what is no JSON."""
        return plain_json(await self.body())


class PlainJSONRoute(APIRoute):
    """A route that reads its body as plain JSON."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the route's handler, given requests that read plain JSON."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(PlainJSON(request.scope, request.receive))

        return handler
