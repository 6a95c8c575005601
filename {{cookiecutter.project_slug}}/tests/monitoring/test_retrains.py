"""Retrains that are asked for: none is lost, what is away is waited for, and people are told."""

import json
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from threading import Thread

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
log = import_module(f"{PACKAGE}.serving.log_store")
notify = import_module(f"{PACKAGE}.monitoring.notify")
params = import_module(f"{PACKAGE}.training.params")
retrains = import_module(f"{PACKAGE}.monitoring.retrains")
triggers = import_module(f"{PACKAGE}.monitoring.triggers")
Outcome = import_module(f"{PACKAGE}.retraining.retrain").Outcome


@pytest.fixture(autouse=True)
def engine(tmp_path, monkeypatch):
    """A log of its own for each test, and no waiting."""
    monkeypatch.setenv("PREDICTION_LOG", f"sqlite:///{tmp_path / 'log.db'}")
    monkeypatch.setattr(retrains, "PAUSES", (0, 0, 0))
    engine = log.open_log()
    triggers.prepare(engine)
    return engine


@pytest.fixture
def retrain(monkeypatch):
    """What a retrain does, in turn: raise, or return an outcome of this state; and with what reasons it was called."""
    plan, reasons = [], []

    def planned(names, reason, *, unattended):
        reasons.append(reason)
        done = plan.pop(0) if plan else "kept"
        if not isinstance(done, str):
            raise done
        return [Outcome(name, done, "1", f"it is {done}") for name in names]

    monkeypatch.setattr(retrains, "retrain", planned)
    return plan, reasons


def test_a_source_or_registry_that_is_away_for_a_while_is_waited_for(engine, retrain, capsys):
    plan, reasons = retrain
    plan += [package.Unavailable("the source sleeps"), package.Unavailable("the registry sleeps"), "promoted"]

    assert {each.state for each in retrains.retrain_now([], "schedule")} == {"promoted"}
    assert reasons == ["schedule"] * 3
    assert capsys.readouterr().out.count("tried again in 0 seconds: the ") == 2
    assert triggers.waiting(engine) == []


def test_what_is_bad_for_good_is_not_waited_for_and_tried_three_times(engine, retrain):
    plan, reasons = retrain
    plan += [package.Refused("a column is missing")] * 9

    for attempt in range(3):
        assert {each.state for each in retrains.retrain_now([], "schedule")} == {"failed"}
        assert len(reasons) == attempt + 1
    assert triggers.waiting(engine) == []


def test_a_retrain_that_was_killed_is_done_by_the_next_one(engine, retrain):
    plan, reasons = retrain
    plan.append(SystemExit("killed"))
    with pytest.raises(SystemExit):
        retrains.retrain_now([], "event: new data")
    assert {each.reason for each in triggers.waiting(engine)} == {"event: new data"}

    retrains.retrain_asked(engine)
    assert reasons == ["event: new data"] * 2
    assert triggers.waiting(engine) == []


def test_without_a_log_a_retrain_is_done_all_the_same(retrain, monkeypatch):
    monkeypatch.setenv("PREDICTION_LOG", "none")

    assert {each.state for each in retrains.retrain_now([], "schedule")} == {"kept"}


def test_new_data_asks_for_a_retrain_of_every_model_and_a_bad_source_for_none(engine, monkeypatch, capsys):
    def bad():
        raise package.Refused("table x breaks its schema")

    monkeypatch.setattr(retrains, "take_snapshots", bad)
    retrains.ask_for_new_data(engine, [])
    assert capsys.readouterr().out == "sources: table x breaks its schema\n"
    monkeypatch.setattr(retrains, "take_snapshots", lambda: [])
    retrains.ask_for_new_data(engine, [])
    assert triggers.waiting(engine) == []

    monkeypatch.setattr(retrains, "take_snapshots", lambda: ["orders", "shops"])
    for _ in range(2):
        retrains.ask_for_new_data(engine, [])
    asked = [(each.model, each.reason) for each in triggers.waiting(engine)]
    assert asked == [(name, "new data: orders, shops") for name in params.model_blocks([])]


def test_alarms_wait_for_each_other_but_not_for_the_schedule(engine, retrain):
    retrains.retrain_now([], "schedule")
    [name, *_] = params.model_blocks([])
    assert triggers.ask(engine, name, "drift: x", package.now())
    retrains.retrain_asked(engine)

    assert not triggers.ask(engine, name, "performance: y", package.now())
    assert triggers.ask(engine, name, "performance: y", package.now() + timedelta(triggers.PAUSE, 60))


@contextmanager
def listening(status):
    """A server on loopback that answers with this status, and what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret", got
    finally:
        server.shutdown()
        server.server_close()


def test_outcomes_are_told_to_the_webhook(retrain, monkeypatch):
    with listening(204) as (address, got):
        monkeypatch.setenv("WEBHOOK_URL", address)
        outcomes = retrains.retrain_now([], "schedule")
        retrain[0].append("unchanged")
        retrains.retrain_now([outcomes[0].model], "schedule")  # of which there is nothing to tell

    assert [each["model"] for each in got] == [each.model for each in outcomes]
    assert got[0]["lines"] == ["retrained (schedule): it is kept"]
    assert got[0]["text"].splitlines() == [f"{got[0]['project']}, {got[0]['model']}", *got[0]["lines"]]


def test_a_webhook_that_fails_is_warned_of_in_one_line_without_its_address(monkeypatch, capsys):
    with listening(500) as (address, _):
        monkeypatch.setenv("WEBHOOK_URL", address)
        notify.tell("m", ["it broke"])
    notify.tell("m", ["it broke"])
    monkeypatch.setenv("WEBHOOK_URL", "chat.example/secret")
    notify.tell("m", ["it broke"])

    said = capsys.readouterr().out
    reasons = ["status 500", "ConnectionRefusedError", "its address does not begin with https:// or http://"]
    assert [line.rpartition(" was not told: ")[2] for line in said.splitlines()] == reasons
    assert "secret" not in said
