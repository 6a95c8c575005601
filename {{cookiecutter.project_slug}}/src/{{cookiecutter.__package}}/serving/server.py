"""Run the service: its port, its connections, and how it ends."""

import asyncio
import socket
import sys
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from .. import Refused
from .protection import READ_SECONDS

MAX_CONNECTIONS = 500  # below the 1,024 open files that most systems allow a process
MAX_HEAD = 65_536  # bytes before a body
FINISH_SECONDS = 10  # for requests in work when the service is told to stop
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Connection(HttpToolsProtocol):
    """A connection that is closed if no request of it is in work for READ_SECONDS: uvicorn itself waits for ever.

    A head of more than MAX_HEAD bytes is refused: unlike uvicorn's other parser, this one has no limit.
    """

    deadline: asyncio.TimerHandle | None = None
    since = 0.0  # when the connection was made, or answered last
    head, in_head = 0, True  # bytes of a head that is not whole yet

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Accept the connection, unless there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.deadline = self.loop.call_later(READ_SECONDS, self._drop_idle)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what arrives, unless it is a head without an end."""
        super().data_received(data)
        self.head = self.head + len(data) if self.in_head else 0
        if self.head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self.in_head = True

    def on_headers_complete(self) -> None:
        """Begin a body."""
        super().on_headers_complete()
        self.in_head = False

    def on_response_complete(self) -> None:
        """Wait for the next request, and for this answer to be taken."""
        super().on_response_complete()
        self.since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self.deadline.cancel()
        super().connection_lost(exc)

    def _drop_idle(self) -> None:
        left = self.since + READ_SECONDS - self.loop.time()
        if self.cycle is not None and not self.cycle.response_complete:  # the request's own limits hold
            left = READ_SECONDS
        if left > 0:
            self.deadline = self.loop.call_later(left, self._drop_idle)
        else:
            self.transport.abort()


def configured(service: ASGIApp | str, host: str, port: int, processes: int = 1) -> uvicorn.Config:
    """Return how uvicorn runs the service, which several processes make each for itself, by its function's name."""
    return uvicorn.Config(
        service,
        host=host,
        port=port,
        http=Connection,
        factory=isinstance(service, str),
        workers=processes,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )


def run(service: ASGIApp | str, host: str, port: int, processes: int = 1) -> None:
    """Answer requests until SIGINT or SIGTERM; those in work are answered first. A process that dies is replaced."""
    config = configured(service, host, port, processes)
    with suppress(KeyboardInterrupt):
        if processes == 1:
            uvicorn.Server(config).run()
        else:
            Multiprocess(config, [config.bind_socket()]).run()


def check_port(host: str, port: int) -> None:
    """Raise Refused if the service cannot listen at this port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if sys.platform != "win32":  # where this would share a port that is taken
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Refused(f"port {port} of {host} cannot be used ({reason}): stop what uses it, or name another") from error


def address(host: str, port: int) -> str:
    """Return where this machine reaches a service that listens at this host and port."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reached}:{port}"
