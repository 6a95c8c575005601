"""The service: what it answers, what it refuses, and that it follows the champion."""

import json
from importlib import import_module

import pandas as pd
import pytest
from fastapi.testclient import TestClient

PACKAGE = "{{ cookiecutter.__package }}"
artifact = import_module(f"{PACKAGE}.artifact")
models = import_module(f"{PACKAGE}.models")
registry = import_module(f"{PACKAGE}.registry")
serve = import_module(f"{PACKAGE}.serve")


@pytest.fixture
def service(trained):
    with TestClient(serve.app()) as client:
        yield client


@pytest.fixture
def model(trained):
    return models.chosen([])[0]


@pytest.fixture
def rows(model):
    """Three good rows as JSON, without the target."""
    holdout = pd.read_parquet(model.folder / "rows" / "holdout.parquet")
    signature = artifact.signature(model.folder / "model")
    return artifact.records(holdout[[column.name for column in signature.inputs]].head(3))


def test_every_row_is_answered_by_the_champion(service, model, rows):
    answer = service.post(f"/models/{model.name}/predict", json={"rows": rows})

    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == registry.champion(model.name)
    assert len(answer.json()["predictions"]) == len(rows)


def test_it_is_alive_ready_and_says_what_serves(service, model):
    assert service.get("/health").json() == {"status": "ok"}
    assert service.get("/ready").json() == {"ready": True, "troubles": {}}
    assert service.get("/version").json()[model.name]["version"] == registry.champion(model.name)
    assert f'model="{model.name}"' in service.get("/metrics").text


def test_bad_rows_are_refused_with_the_column(service, model, rows):
    inputs = artifact.signature(model.folder / "model").inputs
    lost = next((column.name for column in inputs if not column.optional), None) or pytest.skip("none is required")
    without = [{name: value for name, value in row.items() if name != lost} for row in rows]
    answer = service.post(f"/models/{model.name}/predict", json={"rows": without})

    assert answer.status_code == 422
    assert lost in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"rows": []}, {"rows": "x"}, [], {"rows": [1]}])
def test_a_body_of_another_shape_is_refused(service, model, body):
    assert service.post(f"/models/{model.name}/predict", json=body).status_code == 422


def test_too_much_and_the_unknown_are_refused(service, model, rows, monkeypatch):
    monkeypatch.setattr(serve, "BYTES", 10)
    assert service.post(f"/models/{model.name}/predict", json={"rows": rows}).status_code == 413
    monkeypatch.undo()
    monkeypatch.setattr(serve, "ROWS", 2)
    assert service.post(f"/models/{model.name}/predict", json={"rows": rows}).status_code == 422
    assert service.post("/models/nobody/predict", json={"rows": rows}).status_code == 404


def test_nothing_is_read_before_its_length_is_known(service, model):
    answer = service.post(f"/models/{model.name}/predict", content=iter([b"[" * 1000] * 9))

    assert answer.status_code == 411


def test_columns_that_no_model_knows_take_no_room(service, model, rows):
    strange = [row | {f"strange {number} {i}": i for i in range(3)} for number, row in enumerate(rows)]
    path = f"/models/{model.name}/predict"

    assert service.post(path, json={"rows": strange}).json() == service.post(path, json={"rows": rows}).json()


def test_numbers_that_are_too_large_are_refused(service, model, rows):
    name = next((column.name for column in artifact.signature(model.folder / "model").inputs), None)
    digits = json.dumps({"rows": rows[:1]}).replace(json.dumps(rows[0][name]), "9" * 400, 1)

    assert service.post(f"/models/{model.name}/predict", content=digits).status_code == 422


def test_a_key_is_asked_for_where_one_is_set(service, model, rows, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEY", "key")
    path = f"/models/{model.name}/predict"

    assert service.post(path, json={"rows": rows}).status_code == 401
    headers = {"X-API-Key": "key"}
    assert service.post(path, json={"rows": rows}, headers=headers).status_code == 200


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_serving(trained, model, monkeypatch):
    desk = serve.Desk({model.name: model})
    desk.look()
    serving = desk.champions[model.name]
    monkeypatch.setattr(registry, "champion", lambda name: "999")
    desk.look()

    assert desk.champions[model.name] is serving
    assert "no version 999" in desk.troubles[model.name]
    monkeypatch.undo()
    desk.look()
    assert not desk.troubles


def test_without_a_champion_it_starts_and_says_why_it_is_not_ready(trained, monkeypatch, model):
    monkeypatch.setattr(registry, "champion", lambda name: None)
    with TestClient(serve.app()) as service:
        assert service.get("/health").status_code == 200
        assert service.get("/ready").status_code == 503
        assert "no champion yet" in service.post(f"/models/{model.name}/predict", json={"rows": [{}]}).text
