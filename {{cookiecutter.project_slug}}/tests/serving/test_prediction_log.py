"""The prediction log: every answer is kept with an id, labels find it later, and no request waits for it."""

import json
from importlib import import_module

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
app = import_module(f"{PACKAGE}.serving.app")
columns = import_module(f"{PACKAGE}.datasets.columns")
labels = import_module(f"{PACKAGE}.serving.labels")
log = import_module(f"{PACKAGE}.serving.prediction_log")
store = import_module(f"{PACKAGE}.serving.log_store")
tables = import_module(f"{PACKAGE}.datasets.table")
versions = import_module(f"{PACKAGE}.registry.versions")
artifact = import_module(f"{PACKAGE}.training.artifact")


@pytest.fixture(autouse=True)
def database(trained, tmp_path, monkeypatch):
    """A log of its own for each test."""
    monkeypatch.setenv("PREDICTION_LOG", f"sqlite:///{tmp_path / 'log.db'}")
    return store.open_log()


@pytest.fixture
def rows(holdout, champion):
    """Three requests with their keys."""
    signature = artifact.signature(champion)
    names = list(dict.fromkeys([*(column.name for column in signature.inputs), *signature.keys]))
    return columns.records(holdout[names].head(3))


@pytest.fixture
def service():
    with TestClient(app.create_app()) as client:
        yield client


@pytest.fixture
def answer(service, model, rows):
    return service.post(f"/models/{model.name}/predict", json={"rows": rows}).json()


def logged(engine):
    """All rows of the only model that was asked."""
    with engine.connect() as connection:
        [model] = connection.scalars(select(store.REQUESTS.c.model).distinct()).all()
    return [row for rows in store.read_rows(engine, model, 0, 2**51) for row in rows]


def keys(engine):
    with engine.connect() as connection:
        return list(connection.scalars(select(store.KEYS.c.entity_key).order_by(store.KEYS.c.prediction_id)))


def stored_labels(engine):
    with engine.connect() as connection:
        return {row.prediction_id: json.loads(row.label) for row in connection.execute(select(store.LABELS))}


def lost(service, model):
    """What /metrics counts as not logged."""
    counted = [line for line in service.get("/metrics").text.splitlines() if "not_logged_total{" in line]
    return [line.split()[1] for line in counted if f'"{model.name}"' in line]


def test_every_answer_is_kept_with_its_id_its_inputs_and_its_version(service, database, model, rows, answer):
    service.app.state.log.flush()
    kept = logged(database)

    assert [row.prediction_id for row in kept] == answer["prediction_ids"]
    assert [row.answer for row in kept] == answer["predictions"]
    assert {row.version for row in kept} == {versions.champion(model.name)}
    files = {column.name for column in model.inputs(pd.read_parquet(model.files.holdout)) if column.kind == "file"}
    for row, given in zip(kept, rows, strict=True):
        inputs = row.inputs
        assert {name: inputs[name] for name in inputs if name not in files} == {
            name: value for name, value in given.items() if name not in files
        }
        assert all(set(inputs[name]) == {"sha256", "bytes"} for name in files)
    assert len(keys(database)) == len(kept)


def test_ids_are_in_the_order_of_time(service, model, rows, answer):
    later = service.post(f"/models/{model.name}/predict", json={"rows": rows}).json()

    ids = [*answer["prediction_ids"], *later["prediction_ids"]]
    assert ids == sorted(set(ids))


def test_labels_come_later_by_id_or_key_and_the_newest_wins(service, database, model, answer):
    path, ids = f"/models/{model.name}/feedback", answer["prediction_ids"]
    service.app.state.log.flush()
    key = keys(database)[1]
    sent = [
        {"prediction_id": ids[0], "label": 1, "time": "2026-01-02"},
        {"prediction_id": ids[0], "label": 2, "time": "2026-01-01T12:00:00Z"},
        {"key": key, "label": "three"},
        {"prediction_id": "unknown", "label": 4},
    ]
    stored = service.post(path, json={"labels": sent}).json()

    assert (stored["stored"], stored["unknown"], stored["unknown_count"]) == (3, ["unknown"], 1)
    assert stored_labels(database) == {ids[0]: 1, ids[1]: "three"}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([], "between 1 and"),
        ([{"label": 1}], "one of prediction_id and key"),
        ([{"prediction_id": "x", "key": "y", "label": 1}], "one of prediction_id and key"),
        ([{"prediction_id": "x"}], "has no label"),
        ([{"prediction_id": "x", "label": 1, "time": "soon"}], "time is 'soon'"),
        ([{"prediction_id": "x", "label": 1, "more": 1}], "unknown field 'more'"),
    ],
)
def test_a_label_that_is_none_is_refused_with_its_place(service, model, sent, said):
    refused = service.post(f"/models/{model.name}/feedback", json={"labels": sent})

    assert refused.status_code == 422
    assert said in refused.json()["detail"]


def test_a_file_of_labels_by_id_or_by_the_tables_key(
    service, database, model, holdout, answer, command, tmp_path, monkeypatch
):
    service.app.state.log.flush()
    file, target = tmp_path / "labels.csv", model.table.target
    holdout[[*model.table.keys, target]].head(3).to_csv(file, index=False)
    assert "3 labels stored" in command("labels", file, model.name)
    assert len(stored_labels(database)) == 3
    pd.DataFrame({"prediction_id": [*answer["prediction_ids"], "x"], "label": 1}).to_csv(file, index=False)
    assert "1 labels are of no logged prediction" in command("labels", file, model.name, status=1)
    assert {*stored_labels(database).values()} == {1}
    monkeypatch.setenv("PREDICTION_LOG", "none")
    assert "PREDICTION_LOG is none" in command("labels", file, model.name, status=1)


def test_what_is_known_about_one_key_is_deleted_with_its_labels(service, database, model, answer, command):
    service.app.state.log.flush()
    key, *others = keys(database)
    labels.add_labels(database, model.name, [labels.Label(1, key=key)])
    assert "1 logged predictions deleted" in command("forget", key, model.name)
    assert [row.prediction_id for row in logged(database)] == answer["prediction_ids"][1:]
    assert keys(database) == others
    assert stored_labels(database) == {}


def test_what_is_too_old_is_deleted(service, database, answer, monkeypatch):
    service.app.state.log.flush()
    with database.connect() as connection:
        [when] = connection.scalars(select(store.REQUESTS.c.event_timestamp))
    monkeypatch.setattr(store, "CHUNK", 1)

    assert store.delete_before(database, when - 1) == 0
    assert store.delete_before(database, when + 1) == 1
    assert keys(database) == []


def test_a_log_that_cannot_be_written_fails_no_request_and_is_counted(model, rows, monkeypatch, tmp_path):
    monkeypatch.setenv("PREDICTION_LOG", f"sqlite:///{tmp_path / 'no' / 'folder' / 'log.db'}")
    with TestClient(app.create_app()) as service:
        assert service.post(f"/models/{model.name}/predict", json={"rows": rows}).status_code == 200
        service.app.state.log.flush()
        assert lost(service, model) == ["3.0"]
        sent = {"labels": [{"key": "x", "label": 1}]}
        assert service.post(f"/models/{model.name}/feedback", json=sent).status_code == 503


def test_a_queue_that_is_full_drops_and_counts(model, rows, monkeypatch):
    monkeypatch.setattr(log, "MAX_WAITING", 2)
    with TestClient(app.create_app()) as service:
        assert service.post(f"/models/{model.name}/predict", json={"rows": rows}).status_code == 200
        assert lost(service, model) == ["3.0"]


def test_without_a_log_the_service_answers_as_before(model, rows, monkeypatch):
    monkeypatch.setenv("PREDICTION_LOG", "none")
    with TestClient(app.create_app()) as service:
        answer = service.post(f"/models/{model.name}/predict", json={"rows": rows})
        assert answer.status_code == 200
        assert "prediction_ids" not in answer.json()
        sent = {"labels": [{"key": "x", "label": 1}]}
        assert service.post(f"/models/{model.name}/feedback", json=sent).status_code == 409


@pytest.mark.parametrize("address", ["predictions.db", "mysql://here", ""])
def test_another_address_is_refused_with_its_variable(address, monkeypatch):
    monkeypatch.setenv("PREDICTION_LOG", address)
    if address:
        with pytest.raises(package.Refused, match="PREDICTION_LOG is"):
            store.open_log()
    else:  # as if it were not set
        assert store.open_log().url.database.endswith("predictions.db")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([17], "17"),
        ([17.0], "17"),
        (["a", "2024-01-01T00:00:00.000"], "a | 2024-01-01"),
        ([pd.Timestamp("2024-01-01"), 2], "2024-01-01 | 2"),
        (["a", None], None),
        ([], None),
    ],
)
def test_a_key_is_one_text_however_it_was_written(parts, text):
    assert tables.key_text(parts) == text


def test_what_is_written_to_a_file_is_logged_if_that_is_asked_and_read_some_at_a_time(
    database, model, holdout, command, tmp_path, monkeypatch
):
    holdout.head(5).drop(columns=model.table.target).to_parquet(tmp_path / "rows.parquet")
    command("predict", tmp_path / "rows.parquet", tmp_path / "answers.csv", model.name)
    assert list(store.read_rows(database, model.name, 0, 2**51)) == []

    monkeypatch.setenv("PREDICTION_LOG_FILES", "true")
    monkeypatch.setattr(log, "FILE_ROWS", 2)
    monkeypatch.setattr(store, "READ_ROWS", 3)
    command("predict", tmp_path / "rows.parquet", tmp_path / "answers.parquet", model.name)
    chunks = list(store.read_rows(database, model.name, 0, 2**51))
    found = columns.records(pd.read_parquet(tmp_path / "answers.parquet")[["prediction"]])

    assert sum(map(len, chunks)) == 5
    assert max(map(len, chunks)) <= 3
    assert sorted(str(row.answer["prediction"]) for chunk in chunks for row in chunk) == sorted(
        str(row["prediction"]) for row in found
    )
    assert {*keys(database)} == {tables.key_text([*row]) for row in holdout.head(5)[model.table.keys].to_numpy()}
