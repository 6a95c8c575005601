"""While the champion changes under load, every request is answered, by the version that it names."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from itertools import cycle
from pathlib import Path

import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
client = import_module(f"{PACKAGE}.registry.client")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
loading = import_module(f"{PACKAGE}.registry.loading")
provenance = import_module(f"{PACKAGE}.registry.provenance")
same = import_module(f"{PACKAGE}.serving.served_version")._alike
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")

CLIENTS, SWITCHES = 32, 50
PAUSE = 1  # seconds between two requests of a client, which leave room for the switches
PATIENCE = 120  # seconds


@pytest.fixture
def three(model, command):
    """The numbers of three versions, made of fewer and fewer rows; the third one's file is damaged meanwhile."""
    numbers = [versions.champion(model.name)]
    for _ in range(2):
        rows = pd.read_parquet(model.files.train)
        rows.iloc[: len(rows) * 4 // 5].to_parquet(model.files.train)
        train.fit(model)
        evaluate.score(model)
        numbers.append(versions.record_version(model, evaluate.read_scores(model), provenance.current(model.name))[0])
    file = versions.version_folder(model.name, numbers[2]) / "model.skops"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    yield numbers
    file.write_bytes(whole)
    let_serve(model.name, numbers[0])
    command("train", model.name)


def let_serve(model, number):
    """Move the alias as a promotion does, whether or not the version is good."""
    client.connect().set_registered_model_alias(client.registered_name(model), versions.CHAMPION, number)


@pytest.fixture
def service(trained):
    """A service at `port` that asks the registry only once it has changed, but for once a minute."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(trained / "src"), "SERVE_POLL_SECONDS": "60"}
    process = subprocess.Popen([sys.executable, "-m", PACKAGE, "serve", str(port)], cwd=trained, env=environment)
    process.port = port
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def until(port, model, **wanted):
    """Wait until /version says this of the model."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", "/version")
            found = json.loads(connection.getresponse().read())[model]
            if all(expected(found[key]) for key, expected in wanted.items()):
                return
        except OSError as error:
            found = error
        time.sleep(0.02)
    pytest.fail(f"the service says {found}")


def open_files(process):
    """How many files and connections a process has open; 0 where that is not told."""
    folder = Path(f"/proc/{process.pid}/fd")
    return len([*folder.iterdir()]) if folder.exists() else 0


def test_every_request_is_answered_by_the_version_it_names_while_the_champion_changes(model, three, service):
    port = service.port
    [first, second, broken], stop, wrong, served = three, threading.Event(), [], set()
    loaded = {number: loading.load_served(model.name, number) for number in (first, second)}
    examples = loaded[first].signature.examples
    expected = {number: each.responses(examples) for number, each in loaded.items()}
    assert not same(expected[first], expected[second])
    until(port, model.name, version=first.__eq__)
    opened = open_files(service)

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        content = json.dumps({"rows": examples})
        while not stop.wait(PAUSE):
            connection.request("POST", f"/models/{model.name}/predict", content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            found = json.loads(answer.read())
            served.add(found.get("version"))
            if answer.status != 200 or not same(found["predictions"], expected.get(found["version"])):
                wrong.append((answer.status, found))

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    try:
        for step, number in zip(range(SWITCHES), cycle([second, first]), strict=False):
            if step == SWITCHES // 2:
                let_serve(model.name, broken)
                until(port, model.name, version={first, second}.__contains__, error=lambda text: broken in (text or ""))
            let_serve(model.name, number)
            until(port, model.name, version=number.__eq__, error=lambda text: text is None)
    finally:
        stop.set()
        for each in clients:
            each.join(PATIENCE)

    assert wrong == []
    assert served == {first, second}
    deadline = time.monotonic() + PATIENCE
    while open_files(service) > opened + CLIENTS // 2:  # few are left of the switches, and of the clients none
        assert time.monotonic() < deadline, open_files(service)
        time.sleep(0.1)
