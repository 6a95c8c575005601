"""What holds for every model in params.yaml, whatever it learns."""

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.artifact")
evaluate = import_module(f"{PACKAGE}.evaluate")
models = import_module(f"{PACKAGE}.models")
predict = import_module(f"{PACKAGE}.predict")
registry = import_module(f"{PACKAGE}.registry")
train = import_module(f"{PACKAGE}.train")


@pytest.fixture(params=[model.name for model in models.chosen([])])
def model(request, trained):
    return models.named(request.param)


@pytest.fixture
def champion(model):
    """The folder of the version that serves."""
    return registry.folder(model.name, registry.champion(model.name))


@pytest.fixture
def holdout(model):
    return pd.read_parquet(model.folder / "rows" / "holdout.parquet")


def test_no_row_is_both_learned_from_and_held_out(model, holdout):
    train = pd.read_parquet(model.folder / "rows" / "train.parquet")

    assert len(train) and len(holdout)
    assert train.merge(holdout, on=model.table.keys).empty


def test_every_row_gets_a_finite_prediction(model, champion, holdout):
    estimator = artifact.load(champion, model.module.TRUSTED)
    predictions = model.module.predict(estimator, holdout)

    assert predictions.index.equals(holdout.index)
    assert predictions.notna().all(axis=None)
    assert np.isfinite(model.module.losses(holdout, predictions, model.table)).all()


def test_the_target_is_not_needed_to_predict(model, champion, holdout):
    estimator = artifact.load(champion, model.module.TRUSTED)
    inputs = artifact.signature(champion).typed(holdout.drop(columns=model.table.target))

    pd.testing.assert_frame_equal(model.module.predict(estimator, inputs), model.module.predict(estimator, holdout))


def test_it_learns_something_from_the_rows_it_saw(model, champion):
    train = pd.read_parquet(model.folder / "rows" / "train.parquet")
    asked = model.questions(train, pd.Series(True, train.index))
    naive = model.module.baselines(train, model.table, model.params)["naive"]
    estimator = artifact.load(champion, model.module.TRUSTED)

    ours, theirs = (model.module.predict(each, asked) for each in (estimator, naive))
    assert model.module.losses(asked, ours, model.table).mean() < model.module.losses(asked, theirs, model.table).mean()


def test_the_same_state_gives_the_same_bytes_in_another_process(model, trained):
    before = (model.folder / "model" / artifact.FILE).read_bytes()
    code = f"import {PACKAGE}.train as t; t.fit(t.chosen([{model.name!r}])[0])"
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "3", "PYTHONPATH": str(trained / "src")}
    subprocess.run([sys.executable, "-c", code], cwd=trained, env=environment, check=True)

    assert (model.folder / "model" / artifact.FILE).read_bytes() == before


def test_training_again_on_the_same_state_makes_no_version(model):
    known = [version.number for version in registry.versions(model.name)]
    train.main([model.name])

    assert [version.number for version in registry.versions(model.name)] == known


def test_of_two_trainings_at_once_one_is_told(model):
    with models.alone(), pytest.raises(package.Refused, match="another training is at work"):
        train.main([model.name])


def test_a_version_says_what_it_was_made_of(model):
    version = registry.versions(model.name)[0]

    assert {"commit", "data", "uv.lock", "python", "fingerprint", "prediction_hash"} <= set(version.tags)
    assert version.tags["sha256"] == artifact.signature(registry.folder(model.name, version.number)).sha256


def test_a_changed_file_is_not_loaded(champion, model, tmp_path):
    for name in (artifact.FILE, artifact.SIGNATURE):
        (tmp_path / name).write_bytes((champion / name).read_bytes())
    (tmp_path / artifact.FILE).write_bytes(pickle.dumps({"no": "model"}))

    with pytest.raises(package.Refused, match="its hash differs"):
        artifact.load(tmp_path, model.module.TRUSTED)


def test_a_type_that_nobody_trusts_is_named(tmp_path):
    with pytest.raises(package.Refused, match="add it to TRUSTED"):
        artifact.save(tmp_path, {"step": Stranger()}, {}, ())
    assert not list(tmp_path.iterdir())


class Stranger:
    """A type that no model file may hold."""


def required(signature):
    """A column that every row must have."""
    return next((column.name for column in signature.inputs if not column.optional), None) or pytest.skip("none is")


def test_a_missing_column_is_named(champion, holdout):
    signature = artifact.signature(champion)
    lost = required(signature)

    with pytest.raises(artifact.BadRows, match=re.escape(lost)):
        signature.typed(holdout.drop(columns=lost))


def test_a_wrong_type_is_named(champion, holdout):
    signature = artifact.signature(champion)
    column = next(column for column in signature.inputs if column.kind != "text")
    wrong = holdout.assign(**{column.name: "rubbish"})

    with pytest.raises(artifact.BadRows, match=f"{re.escape(column.name)}.*must be a {column.kind}.*'rubbish'"):
        signature.typed(wrong)


def test_a_file_of_rows_becomes_a_file_of_predictions(model, champion, holdout, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "CHUNK", 7)
    holdout.drop(columns=model.table.target).to_parquet(tmp_path / "rows.parquet")
    for target in ("predictions.csv", "predictions.parquet"):
        predict.main([str(tmp_path / "rows.parquet"), str(tmp_path / target), model.name])

    found = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(found) == len(pd.read_csv(tmp_path / "predictions.csv")) == len(holdout)
    whole = model.module.predict(artifact.load(champion, model.module.TRUSTED), holdout)
    pd.testing.assert_series_equal(found["prediction"], whole["prediction"], check_dtype=False, check_index=False)


def test_keys_are_copied_as_they_stand_in_the_file(model, champion, holdout, tmp_path, monkeypatch):
    asked = {column.name for column in artifact.signature(champion).inputs}
    key = next((name for name in model.table.keys if name not in asked), None) or pytest.skip("the keys are asked for")
    monkeypatch.setattr(predict, "CHUNK", 2)
    if any(holdout[name].map(lambda value: isinstance(value, bytes)).any() for name in asked & set(holdout)):
        pytest.skip("files do not stand in a CSV file")
    names = ["007", "8", "A9"]
    holdout.head(3).drop(columns=model.table.target).assign(**{key: names}).to_csv(tmp_path / "rows.csv", index=False)
    predict.main([str(tmp_path / "rows.csv"), str(tmp_path / "predictions.parquet"), model.name])

    assert pd.read_parquet(tmp_path / "predictions.parquet")[key].tolist() == names


def test_bad_rows_leave_no_file(model, champion, holdout, tmp_path):
    lost = required(artifact.signature(champion))
    holdout.drop(columns=lost).to_parquet(tmp_path / "rows.parquet")

    with pytest.raises(package.Refused, match=re.escape(lost)):
        predict.main([str(tmp_path / "rows.parquet"), str(tmp_path / "predictions.csv"), model.name])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_rollback_gives_back_what_served_before(model):
    first = registry.champion(model.name)
    train.fit(model)
    signature = artifact.signature(model.folder / "model")
    other = model.module.fit(
        pd.read_parquet(model.folder / "rows" / "train.parquet").iloc[::2], model.table, model.params
    )
    kept = {name: getattr(signature, name) for name in ("model", "table", "inputs", "examples", "predictions")}
    artifact.save(model.folder / "model", other, kept, model.module.TRUSTED)
    evaluate.score(model)
    evaluate.report(model)
    second, _ = registry.record(model)

    assert registry.promote(model.name, second, "tests") == first
    assert registry.rollback(model.name, "tests") == first == registry.champion(model.name)
    assert [line.version for line in registry.deployments(model.name)][-2:] == [second, first]
    train.main([model.name])


def test_an_unknown_version_is_named(model):
    with pytest.raises(package.Refused, match="no version 999"):
        registry.promote(model.name, "999", "tests")


def test_a_moved_project_still_loads_its_models(model, trained):
    moved = trained.parent / "moved here"
    trained.rename(moved)
    try:
        code = f"import {PACKAGE}.registry as r; r.promote({model.name!r}, r.champion({model.name!r}), 'moved')"
        environment = os.environ | {"PYTHONPATH": str(moved / "src")}
        subprocess.run([sys.executable, "-c", code], cwd=moved, env=environment, check=True)
    finally:
        moved.rename(trained)


def test_an_unknown_parameter_is_named(monkeypatch, trained):
    params = (trained / "params.yaml").read_text(encoding="utf-8")
    name = models.chosen([])[0].name
    (trained / "params.yaml").write_text(f"models:\n  {name}:\n    rubbish: 1\n", encoding="utf-8")
    try:
        with pytest.raises(package.Refused, match="unknown key 'rubbish'"):
            models.chosen([])
    finally:
        (trained / "params.yaml").write_text(params, encoding="utf-8")


def test_a_parameter_of_another_kind_is_named(monkeypatch, model):
    field = next((each for each in fields(model.params) if isinstance(each.default, float)), None)
    block = {field.name: "1e-3"} if field else pytest.skip("no parameter is a float")
    monkeypatch.setattr(models, "_blocks", lambda: {model.name: block})

    with pytest.raises(package.Refused, match=f"{field.name} of {model.name} must be a float"):
        models.named(model.name)


def test_a_run_that_cannot_be_finished_is_marked_as_failed(model, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(registry, "fingerprint", lambda model: "of something new")
    monkeypatch.setattr(registry, "_log_files", full)
    known = registry.versions(model.name)
    with pytest.raises(package.Refused, match="No space left"):
        registry.record(model)

    mlflow = registry.client()
    newest = mlflow.search_runs([registry._experiment(mlflow)], order_by=["attributes.start_time DESC"])[0]
    assert newest.info.status == "FAILED"
    assert registry.versions(model.name) == known


def test_a_report_shows_no_verdict_on_another_model(model):
    spoken = {"sha256": "of another", "promote": True, "reason": "", "conditions": []}
    (model.folder / "verdict.json").write_text(json.dumps(spoken))
    try:
        assert evaluate.verdict(model) == ""
    finally:
        (model.folder / "verdict.json").unlink()


def test_the_bootstrap_interval_covers_the_mean():
    """Of 200 samples with a known mean, about 95 % give an interval that holds it."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = evaluate.interval(generator.normal(1.0, 1.0, 100), np.arange(100))
        hits += low <= 1.0 <= high

    assert 178 <= hits <= 199


def test_a_slice_is_judged_by_itself(model, holdout):
    half = pd.Series(np.where(np.arange(len(holdout)) % 2, "odd", None))
    lines = evaluate.slice_lines("parity", half, np.arange(len(holdout)) % 2)

    assert [(line["value"], line["loss"]) for line in lines] == [("(missing)", 0.0), ("odd", 1.0)]
    assert evaluate.sliced(replace(model, slices=[model.table.target]), holdout)[0] == model.table.target
