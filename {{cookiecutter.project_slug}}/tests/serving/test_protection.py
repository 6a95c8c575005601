"""The service's bounds on bytes, rows, time and connections, asked of a real server over raw connections."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from importlib import import_module
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import uvicorn

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
app = import_module(f"{PACKAGE}.serving.app")
columns = import_module(f"{PACKAGE}.datasets.columns")
artifact = import_module(f"{PACKAGE}.training.artifact")
protection = import_module(f"{PACKAGE}.serving.protection")
server = import_module(f"{PACKAGE}.serving.server")

JSON = "Content-Type: application/json"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving():
    """The port of a service that runs in a thread, with the limits as they are now."""
    port = free_port()
    running = uvicorn.Server(server.configured(app.create_app(), "127.0.0.1", port))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield port
    finally:
        running.should_exit = True
        thread.join(30)


@pytest.fixture
def body(holdout, champion):
    """A good request."""
    names = [column.name for column in artifact.signature(champion).inputs]
    return json.dumps({"rows": columns.records(holdout[names].head(3))}).encode()


@pytest.fixture
def path(model):
    return f"/models/{model.name}/predict"


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def head(path, *headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", JSON, *headers, "", ""]).encode()


def chunk(content):
    return b"%x\r\n%s\r\n" % (len(content), content)


def answered(connection):
    """All that the server sends until it closes the connection, or has sent what it announced."""
    found = b""
    while part := connection.recv(65536):
        found += part
        start, _, rest = found.partition(b"\r\n\r\n")
        length = start.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if length.isdigit() and len(rest) >= int(length):
            break
    return found.decode()


def is_closed(connection):
    """Whether the server ends the connection without a word."""
    try:
        return connection.recv(9) == b""
    except ConnectionResetError:
        return True


def test_bytes_are_counted_whatever_the_headers_say(trained, path, body, monkeypatch):
    monkeypatch.setattr(protection, "MAX_BYTES", 100_000)
    with serving() as port, connected(port) as connection:
        connection.sendall(head(path, "Transfer-Encoding: chunked"))
        for _ in range(2):
            connection.sendall(chunk(b"[" * 60_000))
        connection.sendall(chunk(b""))
        assert " 413 " in answered(connection)
    with serving() as port, connected(port) as connection:
        connection.sendall(head(path, "Content-Length: 5", "Transfer-Encoding: chunked"))
        assert " 400 " in answered(connection)
    with serving() as port, connected(port) as connection:
        connection.sendall(head(path, "Transfer-Encoding: chunked") + chunk(body[:9]) + chunk(body[9:]) + chunk(b""))
        assert " 200 " in answered(connection)


def test_a_head_without_an_end_is_refused(trained, path):
    with serving() as port, connected(port) as connection:
        connection.sendall(head(path)[:-2])
        for _ in range(200):
            try:
                connection.sendall(b"X-Long: " + b"x" * 990 + b"\r\n")
            except OSError:
                break
        answer = answered(connection)
    assert " 400 " in answer
    assert "too long" in answer


def test_a_request_that_does_not_arrive_is_given_up(trained, path, monkeypatch):
    """Neither a body, nor a head, nor a connection that says nothing is waited for longer than the limit."""
    monkeypatch.setattr(protection, "READ_SECONDS", 0.3)
    monkeypatch.setattr(server, "READ_SECONDS", 0.3)
    with serving() as port, connected(port) as slow_body, connected(port) as slow_head, connected(port) as silent:
        slow_body.sendall(head(path, "Content-Length: 1000") + b'{"rows":')
        slow_head.sendall(b"POST /models")
        assert " 408 " in answered(slow_body)
        assert slow_body.recv(9) == b""
        for connection in (slow_head, silent):
            assert is_closed(connection)


def test_connections_beyond_the_limit_are_told_to_come_back(trained, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    with serving() as port, connected(port), connected(port), connected(port) as third:
        answer = answered(third)
    assert " 503 " in answer
    assert "Retry-After: 1" in answer


def test_what_is_in_work_is_bounded_and_freed_again(trained, path, body, monkeypatch):
    monkeypatch.setattr(protection, "MAX_BYTES_IN_WORK", 2 * len(body))
    whole = head(path, f"Content-Length: {len(body)}") + body
    with serving() as port, connected(port) as first, connected(port) as second:
        for connection in (first, second):
            connection.sendall(whole[:-1])
        time.sleep(0.5)
        with connected(port) as third:
            third.sendall(whole)
            answer = answered(third)
        assert " 503 " in answer
        assert "retry-after: 1" in answer.lower()
        for connection in (first, second):
            connection.sendall(whole[-1:])
            assert " 200 " in answered(connection)
        first.sendall(whole)
        assert " 200 " in answered(first)


def test_a_client_that_sends_all_before_it_listens_gets_the_refusal(trained, path, monkeypatch):
    monkeypatch.setattr(protection, "MAX_BYTES_IN_WORK", 100)
    request = Request("http://127.0.0.1", bytes(9_000_000), {"Content-Type": "application/json"})
    with serving() as port:
        request.full_url = f"http://127.0.0.1:{port}{path}"
        with pytest.raises(HTTPError) as refused:
            urlopen(request, timeout=30)

    assert refused.value.code == 503
    assert refused.value.headers["Retry-After"] == "1"


def test_rows_in_work_are_bounded(trained, path, body, monkeypatch):
    monkeypatch.setattr(app, "MAX_ROWS_IN_WORK", 2)
    with serving() as port, connected(port) as connection:
        connection.sendall(head(path, f"Content-Length: {len(body)}") + body)
        answer = answered(connection)

    assert " 503 " in answer
    assert "at most 2 rows" in answer
    assert "retry-after: 1" in answer.lower()


def test_a_port_that_is_taken_is_refused_by_its_number(command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        [line] = command("serve", str(port), status=1).splitlines()

    assert line.startswith(f"error: port {port} of 127.0.0.1 cannot be used")


@pytest.mark.skipif(sys.platform == "win32", reason="a process there is ended without being asked")
def test_a_request_in_work_is_answered_before_the_service_ends(trained, path, body):
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(trained / "src")}
    process = subprocess.Popen([sys.executable, "-m", PACKAGE, "serve", str(port)], cwd=trained, env=environment)
    try:
        wait_for(port, process)
        with connected(port) as connection:
            connection.sendall(head(path, f"Content-Length: {len(body)}") + body[:9])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(ConnectionRefusedError):
                connected(port)
            connection.sendall(body[9:])
            assert " 200 " in answered(connection)
        process.wait(timeout=30)
    finally:
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="a process there is ended without being asked")
def test_several_processes_answer_at_one_port_and_count_together(trained, path, body):
    port, sent = free_port(), 12
    environment = os.environ | {"PYTHONPATH": str(trained / "src"), "SERVE_PROCESSES": "2"}
    process = subprocess.Popen([sys.executable, "-m", PACKAGE, "serve", str(port)], cwd=trained, env=environment)
    try:
        wait_for(port, process)
        for _ in range(sent):
            with connected(port) as connection:
                connection.sendall(head(path, f"Content-Length: {len(body)}") + body)
                assert " 200 " in answered(connection)
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            [line] = [
                line for line in answer.read().decode().splitlines() if line.startswith("predict_requests_total{")
            ]
        assert line.endswith(f" {sent}.0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        with pytest.raises(ConnectionRefusedError):
            connected(port)
    finally:
        process.kill()


def wait_for(port, process):
    """Wait until the service is ready."""
    for _ in range(600):
        assert process.poll() is None
        try:
            with urlopen(f"http://127.0.0.1:{port}/ready"):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the service is not ready")
