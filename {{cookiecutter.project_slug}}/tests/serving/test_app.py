"""The service: what it answers, what it refuses, and that it follows the champion."""

import json
from dataclasses import replace
from importlib import import_module

import pytest
from fastapi.testclient import TestClient

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
app = import_module(f"{PACKAGE}.serving.app")
artifact = import_module(f"{PACKAGE}.training.artifact")
columns = import_module(f"{PACKAGE}.datasets.columns")
protection = import_module(f"{PACKAGE}.serving.protection")
served_models = import_module(f"{PACKAGE}.serving.served_models")
versions = import_module(f"{PACKAGE}.registry.versions")


@pytest.fixture(scope="module")
def service(trained):
    with TestClient(app.create_app()) as client:
        yield client


@pytest.fixture
def inputs(champion):
    """The columns that a request has."""
    return artifact.signature(champion).inputs


@pytest.fixture
def rows(holdout, inputs):
    """Three good rows as JSON, without the target."""
    return columns.records(holdout[[column.name for column in inputs]].head(3))


@pytest.fixture
def path(model):
    return f"/models/{model.name}/predict"


def test_every_row_is_answered_by_the_champion(service, model, rows, path):
    answer = service.post(path, json={"rows": rows})

    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == versions.champion(model.name)
    assert len(answer.json()["predictions"]) == len(rows)


def test_it_says_that_it_is_alive_and_ready_and_what_serves(service, model):
    assert service.get("/health").json() == {"status": "ok"}
    assert service.get("/ready").json() == {"ready": True, "errors": {}}
    assert service.get("/version").json()[model.name]["version"] == versions.champion(model.name)
    assert f'model="{model.name}"' in service.get("/metrics").text


def test_bad_rows_are_refused_with_the_column(service, inputs, rows, path):
    lost = next((column.name for column in inputs if not column.optional), None) or pytest.skip("none is required")
    without = [{name: value for name, value in row.items() if name != lost} for row in rows]
    answer = service.post(path, json={"rows": without})

    assert answer.status_code == 422
    assert lost in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"rows": []}, {"rows": "x"}, [], {"rows": [1] * 5000}])
def test_a_body_of_another_shape_is_refused_in_one_line(service, path, body):
    answer = service.post(path, json=body)

    assert answer.status_code == 422
    assert 0 < len(answer.json()["detail"]) < 200


def test_too_much_and_the_unknown_are_refused(service, rows, path, monkeypatch):
    monkeypatch.setattr(protection, "MAX_BYTES", 10)
    assert service.post(path, json={"rows": rows}).status_code == 413
    monkeypatch.undo()
    monkeypatch.setattr(app, "MAX_ROWS", 2)
    assert service.post(path, json={"rows": rows}).status_code == 422
    assert service.post("/models/nobody/predict", json={"rows": rows}).status_code == 404


def test_columns_that_no_model_knows_change_nothing(service, rows, path):
    strange = [row | {f"strange {number} {i}": i for i in range(3)} for number, row in enumerate(rows)]

    with_them, without = (service.post(path, json={"rows": each}).json() for each in (strange, rows))
    assert with_them | {"prediction_ids": []} == without | {"prediction_ids": []}


def test_numbers_that_are_too_large_are_refused(service, inputs, rows, path):
    digits = json.dumps({"rows": rows[:1]}).replace(json.dumps(rows[0][inputs[0].name]), "9" * 400, 1)

    assert service.post(path, content=digits).status_code == 422


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_a_number_that_is_not_finite_is_refused_in_one_line(service, inputs, rows, path, value):
    names = [column.name for column in inputs if column.kind == "number"] or pytest.skip("no input is a number")
    whole = json.dumps({"rows": [rows[0] | {names[0]: "HERE"}]}).replace('"HERE"', value)
    answer = service.post(path, content=whole, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422
    assert names[0] in answer.json()["detail"] if "1" in value else "NaN" in answer.json()["detail"]
    assert len(answer.json()["detail"].splitlines()) == 1


def test_a_key_is_asked_for_where_one_is_set(trained, rows, path, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEY", "key")
    with TestClient(app.create_app()) as guarded:
        assert guarded.post(path, json={"rows": rows}).status_code == 401
        assert guarded.post(path, json={"rows": rows}, headers={"X-API-Key": "other"}).status_code == 401
        assert guarded.post(path, json={"rows": rows}, headers={"X-API-Key": "key"}).status_code == 200
        for behind in ("/docs", "/openapi.json", "/redoc", "/version", "/metrics", "/nothing"):
            assert guarded.get(behind).status_code == 401, behind
        assert guarded.get("/version", headers={"X-API-Key": "key"}).status_code == 200
        assert guarded.get("/health").status_code == guarded.get("/ready").status_code == 200


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_serving(model, monkeypatch):
    served = served_models.ServedModels([model.name])
    served.refresh()
    serving = served.champions[model.name]
    wrong = replace(versions.champion_version(model.name), number="999")
    monkeypatch.setattr(served_models, "champion_version", lambda name: wrong)
    served.refresh()

    assert served.champions[model.name] is serving
    assert served.ready()
    assert "no version 999" in served.errors[model.name]
    monkeypatch.undo()
    served.refresh()
    assert not served.errors


def test_a_champion_that_cannot_be_loaded_is_told_in_one_line_and_counted(model, path, monkeypatch):
    def broken(name, number):
        raise OSError("two\nlines")

    monkeypatch.setattr(served_models, "load_served", broken)
    with TestClient(app.create_app()) as service:
        assert service.get("/ready").status_code == 503
        assert service.get("/ready").json()["errors"][model.name] == "OSError: two"
        assert service.get("/version").json()[model.name] == {"version": None, "error": "OSError: two"}
        assert service.post(path, json={"rows": [{}]}).json() == {"detail": "OSError: two"}
        counted = [line for line in service.get("/metrics").text.splitlines() if "load_failures_total{" in line]
        assert [line for line in counted if f'"{model.name}"' in line and line.endswith(" 1.0")]


def test_without_a_champion_it_starts_and_says_why_it_is_not_ready(path, monkeypatch):
    monkeypatch.setattr(served_models, "champion_version", lambda name: None)
    with TestClient(app.create_app()) as service:
        assert service.get("/health").status_code == 200
        assert service.get("/ready").status_code == 503
        answer = service.post(path, json={"rows": [{}]})
        assert answer.status_code == 503
        assert "no champion" in answer.text


@pytest.mark.parametrize("value", [1e39, -1.7e308])
def test_a_number_beyond_what_models_compute_with_is_refused_with_its_column(service, inputs, rows, path, value):
    names = [column.name for column in inputs if column.kind == "number"] or pytest.skip("no input is a number")
    answer = service.post(path, json={"rows": [rows[0] | {names[-1]: value}]})

    assert answer.status_code == 422
    assert f"column '{names[-1]}' is {value:g}" in answer.json()["detail"]


@pytest.mark.parametrize("seconds", ["abc", "0", "-1", "nan", "inf"])
def test_a_wrong_setting_is_refused_with_its_variable(command, monkeypatch, seconds):
    monkeypatch.setattr(app, "run", lambda *_: pytest.fail("it serves"))
    monkeypatch.setenv("SERVE_POLL_SECONDS", seconds)
    [line] = command("serve", status=1).splitlines()

    assert line.startswith(f"error: the environment: SERVE_POLL_SECONDS is {seconds!r}, but input should be ")


@pytest.mark.parametrize("port", ["abc", "0", "65536", "80.5"])
def test_a_wrong_port_is_refused(command, monkeypatch, port):
    monkeypatch.setattr(app, "run", lambda *_: pytest.fail("it serves"))
    [line] = [line for line in command("serve", port, status=2).splitlines() if line.startswith("Error")]

    assert port in line
