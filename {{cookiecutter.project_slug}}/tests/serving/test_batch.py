"""A file of rows becomes a file of predictions, or an error that leaves no file."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
artifact = import_module(f"{PACKAGE}.training.artifact")
batch = import_module(f"{PACKAGE}.serving.batch")
batch_files = import_module(f"{PACKAGE}.serving.batch_files")
columns = import_module(f"{PACKAGE}.datasets.columns")
contract = import_module(f"{PACKAGE}.training.contract")
loading = import_module(f"{PACKAGE}.registry.loading")
modules = import_module(f"{PACKAGE}.training.modules")
versions = import_module(f"{PACKAGE}.registry.versions")


def test_a_file_of_rows_becomes_a_file_of_predictions(model, champion, holdout, command, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_files, "CHUNK", len(holdout) // 4 + 1)
    holdout.drop(columns=model.table.target).to_parquet(tmp_path / "rows.parquet")
    for target in ("predictions.csv", "predictions.parquet"):
        command("predict", tmp_path / "rows.parquet", tmp_path / target, model.name)

    found = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(found) == len(pd.read_csv(tmp_path / "predictions.csv")) == len(holdout)
    assert set(found["model_version"]) == {versions.champion(model.name)}
    whole = model.module.predict(artifact.load(champion, model.module.TRUSTED), holdout)
    pd.testing.assert_series_equal(found["prediction"], whole["prediction"], check_dtype=False, check_index=False)


def test_rows_and_predictions_come_as_lines_of_json_and_in_folders(model, holdout, command, tmp_path):
    rows, half = holdout.drop(columns=model.table.target), len(holdout) // 2
    lines = "\n".join(json.dumps(row) for row in columns.records(rows))
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    for place, part in enumerate([rows.iloc[:half], rows.iloc[half:]]):
        (tmp_path / "rows" / f"part={place}").mkdir(parents=True)
        part.to_parquet(tmp_path / "rows" / f"part={place}" / "rows.parquet")
    (tmp_path / "rows" / "_SUCCESS").touch()
    command("predict", tmp_path / "rows.jsonl", tmp_path / "of_lines.parquet", model.name)
    command("predict", tmp_path / "rows", tmp_path / "of_folder.jsonl", model.name)
    found = pd.read_json(tmp_path / "of_folder.jsonl", lines=True, dtype=False)

    wanted = pd.read_parquet(tmp_path / "of_lines.parquet")["prediction"]
    pd.testing.assert_series_equal(found["prediction"], wanted, check_dtype=False, rtol=1e-9)
    assert len(found) == len(rows)
    (tmp_path / "rows.jsonl").write_text(lines[:-1], encoding="utf-8")
    said = command("predict", tmp_path / "rows.jsonl", tmp_path / "none.csv", model.name, status=1)
    assert f"rows.jsonl, line {len(rows)}: not JSON" in said


def test_a_folder_says_a_column_of_its_rows(model, champion, holdout, command, tmp_path):
    kinds = [column for column in artifact.signature(champion).inputs if column.kind in ("number", "text")]
    name = next((column.name for column in kinds), None) or pytest.skip("no input is a number or a text")
    row = holdout.drop(columns=model.table.target)[lambda rows: rows[name].notna()].head(1)
    (tmp_path / "rows" / f"{name}={row[name].iloc[0]}").mkdir(parents=True)
    row.drop(columns=name).to_parquet(tmp_path / "rows" / f"{name}={row[name].iloc[0]}" / "a.parquet")
    row.to_parquet(tmp_path / "whole.parquet")
    for source in ("rows", "whole.parquet"):
        command("predict", tmp_path / source, tmp_path / f"of_{source}.csv", model.name)

    assert (tmp_path / "of_rows.csv").read_text() == (tmp_path / "of_whole.parquet.csv").read_text()


def test_a_folder_of_files_is_a_row_for_each_of_them(model, champion, holdout, command, tmp_path):
    column = next((column.name for column in artifact.signature(champion).inputs if column.kind == "file"), None)
    if not column:
        (tmp_path / "rows").mkdir()
        (tmp_path / "rows" / "a.png").touch()
        assert "rows holds no" in command("predict", tmp_path / "rows", tmp_path / "out.csv", model.name, status=1)
        return
    (tmp_path / "images" / "b").mkdir(parents=True)
    for place, content in enumerate(holdout[column].head(3)):
        (tmp_path / "images" / "b" / f"{place}.png").write_bytes(content)
    command("predict", tmp_path / "images", tmp_path / "out.csv", model.name)
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)

    assert found[model.table.keys[0]].tolist() == ["b/0.png", "b/1.png", "b/2.png"]
    whole = model.module.predict(artifact.load(champion, model.module.TRUSTED), holdout.head(3))
    assert found["prediction"].tolist() == whole["prediction"].astype(str).tolist()


def test_a_run_that_was_killed_goes_on_where_it_was(model, holdout, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_files, "CHUNK", 2)
    rows, predicted, calls = holdout.drop(columns=model.table.target).head(7), batch._predicted, []
    rows.to_parquet(tmp_path / "rows.parquet")

    def killed_in_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predicted(*arguments)

    monkeypatch.setattr(batch, "_predicted", killed_in_the_third)
    ask = tmp_path / "rows.parquet", tmp_path / "out.parquet", model.name, model.table.keys
    with pytest.raises(KeyboardInterrupt):
        batch.predict_file(*ask)
    assert not (tmp_path / "out.parquet").exists()
    _, total = batch.predict_file(*ask)
    assert len(calls) == 3 + 2
    assert total == len(pd.read_parquet(tmp_path / "out.parquet")) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "rows.parquet"]


def test_keys_are_copied_as_they_are_in_the_file(model, champion, holdout, command, tmp_path, monkeypatch):
    names = {column.name for column in artifact.signature(champion).inputs}
    key = next((name for name in model.table.keys if name not in names), None) or pytest.skip("the keys are inputs")
    monkeypatch.setattr(batch_files, "CHUNK", 2)
    if any(holdout[name].map(lambda value: isinstance(value, bytes)).any() for name in names & set(holdout)):
        pytest.skip("a CSV file cannot hold files")
    keys = ["007", "8", "A9"]
    holdout.head(3).drop(columns=model.table.target).assign(**{key: keys}).to_csv(tmp_path / "rows.csv", index=False)
    command("predict", tmp_path / "rows.csv", tmp_path / "predictions.parquet", model.name)

    assert pd.read_parquet(tmp_path / "predictions.parquet")[key].tolist() == keys


def test_bad_rows_leave_no_file(model, champion, holdout, command, tmp_path):
    required = [column.name for column in artifact.signature(champion).inputs if not column.optional]
    lost = required[0] if required else pytest.skip("none is required")
    holdout.drop(columns=lost).to_parquet(tmp_path / "rows.parquet")

    said = command("predict", tmp_path / "rows.parquet", tmp_path / "predictions.csv", model.name, status=1)
    assert re.search(f"error: .*{re.escape(lost)}", said)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_broken_file_keeps_what_the_target_had(model, command, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"rubbish")
    (tmp_path / "predictions.csv").write_text("of yesterday", encoding="utf-8")

    said = command("predict", tmp_path / "rows.parquet", tmp_path / "predictions.csv", model.name, status=1)
    assert "rows.parquet cannot be read" in said
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8") == "of yesterday"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a$(touch x)", "a$(touch x) is not a .csv, .jsonl or .parquet file, nor a folder"),
        ("a$(touch x).csv", "a$(touch x).csv cannot be read"),
        ("`touch x`; touch x.csv", "`touch x`; touch x.csv cannot be read"),
    ],
)
def test_an_argument_is_a_file_name_and_nothing_else(model, command, tmp_path, monkeypatch, rows, words):
    monkeypatch.chdir(tmp_path)

    assert f"error: {words}" in command("predict", rows, "predictions.csv", model.name, status=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="PowerShell quotes otherwise")
@pytest.mark.parametrize("rows", ["a$(touch x)", "it's `touch x`; touch x", 'a "b" \\'])
def test_just_passes_an_argument_on_as_it_is(project, rows):
    beside = Path(sys.executable).with_name("just")
    just = str(beside) if beside.exists() else shutil.which("just") or pytest.skip("just is not installed")
    run = [just, "--dry-run", "predict", rows, "to here.csv", "any"]
    shown = subprocess.run(run, cwd=project, check=True, capture_output=True, text=True).stderr

    assert shlex.split(shown)[-4:] == ["predict", rows, "to here.csv", "any"]


def test_a_target_that_cannot_be_written_is_told_in_one_line(model, holdout, command, tmp_path):
    holdout.drop(columns=model.table.target).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "file").write_text("ours", encoding="utf-8")
    said = command("predict", str(tmp_path / "rows.parquet"), str(tmp_path / "file" / "out.csv"), model.name, status=1)

    assert "file/out.csv cannot be written" in said.replace("\\", "/")


def test_a_broken_module_does_not_stop_the_champion(model, holdout, command, tmp_path, monkeypatch):
    """The command needs the table's keys, not today's model."""
    monkeypatch.setattr(contract, "load_module", lambda name: pytest.fail("today's module is loaded"))
    holdout.drop(columns=model.table.target).to_parquet(tmp_path / "rows.parquet")
    command("predict", str(tmp_path / "rows.parquet"), str(tmp_path / "out.csv"), model.name)

    assert (tmp_path / "out.csv").exists()


def test_the_next_periods_of_every_series_come_in_one_command(model, command, tmp_path):
    if not modules.optional(model.module, "future_requests"):
        assert "forecasts no series" in command("forecast", tmp_path / "out.csv", model.name, status=1)
        return
    if model.table.features:
        assert "at the times to come" in command("forecast", tmp_path / "out.csv", model.name, status=1)
        return
    said = command("forecast", tmp_path / "out.csv", "--periods", "2", model.name)
    found = pd.read_csv(tmp_path / "out.csv", parse_dates=[model.table.time])
    series = found[model.table.group].nunique() if model.table.group else 1

    assert f"{2 * series} forecasts" in said
    assert len(found) == 2 * series
    assert found["prediction"].notna().all()
    assert "set `horizon` in params.yaml" in command(
        "forecast", tmp_path / "out.csv", "--periods=9999", model.name, status=1
    )
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2 * series


def test_a_row_without_a_time_gives_the_horizon_and_a_history_may_stand_in_a_file(model, holdout, command, tmp_path):
    if not modules.optional(model.module, "expand_requests"):
        pytest.skip("no forecaster")
    time, inputs = model.table.time, [column.name for column in model.inputs(holdout)]
    row = columns.records(holdout[inputs].head(1))[0] | {time: None}
    row["history"] = [*row["history"][:-2], None, row["history"][-1]]
    pd.DataFrame([row | {"history": json.dumps(row["history"])}]).to_csv(tmp_path / "rows.csv", index=False)
    command("predict", tmp_path / "rows.csv", tmp_path / "out.csv", model.name)
    found = pd.read_csv(tmp_path / "out.csv", parse_dates=[time])
    served = loading.load_served(model.name, versions.champion(model.name))
    answer = pd.DataFrame(served.responses([row])[0]["forecast"])

    assert found[time].is_monotonic_increasing
    np.testing.assert_allclose(found["prediction"], answer["prediction"])
