"""What the service says of itself is so: examples that can be asked, statuses, a page that loads nothing else."""

import base64
import re
from hashlib import sha256
from importlib import import_module

import pytest
from fastapi.testclient import TestClient

PACKAGE = "{{ cookiecutter.__package }}"
app = import_module(f"{PACKAGE}.serving.app")
served_models = import_module(f"{PACKAGE}.serving.served_models")


@pytest.fixture(scope="module")
def service(trained):
    with TestClient(app.create_app()) as client:
        yield client


def described(service, model):
    return service.get("/openapi.json").json()["paths"][f"/models/{model.name}/predict"]["post"]


def test_the_example_of_every_model_can_be_asked_and_is_answered_as_it_says(service, model):
    operation = described(service, model)
    body = operation["requestBody"]["content"]["application/json"]
    answer = service.post(f"/models/{model.name}/predict", json=body["example"])
    shown = operation["responses"]["200"]["content"]["application/json"]["example"]

    assert answer.status_code == 200
    assert answer.json()["version"] == shown["version"]
    assert answer.json()["predictions"][0].keys() == shown["predictions"][0].keys()
    row = body["schema"]["properties"]["rows"]["items"]
    assert {*row["required"]} <= {*body["example"]["rows"][0]} <= {*row["properties"]}


def test_a_model_without_a_champion_is_described_without_columns(model, monkeypatch):
    monkeypatch.setattr(served_models, "champion_version", lambda name: None)
    with TestClient(app.create_app()) as service:
        assert "example" not in described(service, model)["requestBody"]["content"]["application/json"]


def test_statuses_that_it_answers_are_described(service, model):
    path, known = f"/models/{model.name}/predict", described(service, model)["responses"]

    for body in ({"rows": []}, {"rows": [{}] * 20_000}, {"rows": [{}]}, [], {"rows": "x"}):
        assert str(service.post(path, json=body).status_code) in known
    assert str(service.post(path, content=b"x" * 10_000_001).status_code) in known


def test_labels_are_described_with_what_they_are_answered(service, model):
    path = f"/models/{model.name}/feedback"
    known = service.get("/openapi.json").json()["paths"][path]["post"]["responses"]

    for body in ({"labels": []}, {"labels": [{}]}, {"labels": [{"prediction_id": 1, "label": 1}]}, {}):
        answer = service.post(path, json=body)
        assert str(answer.status_code) == "422"
        assert isinstance(answer.json()["detail"], str)
    answer = service.post(path, json={"labels": [{"prediction_id": "unknown", "label": 1}]})
    schema = known["200"]["content"]["application/json"]["schema"]
    assert answer.json().keys() == schema["properties"].keys()
    assert service.get("/metrics").headers["content-type"].startswith("text/plain")


def test_the_page_needs_no_key_and_may_run_only_its_own_script(trained, monkeypatch):
    monkeypatch.setenv("SERVE_API_KEY", "key")
    with TestClient(app.create_app()) as guarded:
        page = guarded.get("/")
    policy = page.headers["content-security-policy"]

    assert page.status_code == 200
    assert "default-src 'none'" in policy
    for kind in ("script", "style"):
        [content] = re.findall(f"<{kind}[^>]*>(.*?)</{kind}>", page.text, re.DOTALL)
        digest = base64.b64encode(sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"https?://|\bon\w+=|\bstyle=|innerHTML", page.text)
