"""Scores by slice, and the report that shows them."""

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
contract = import_module(f"{PACKAGE}.training.contract")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
folds = import_module(f"{PACKAGE}.training.folds")
report = import_module(f"{PACKAGE}.training.report")
statistics = import_module(f"{PACKAGE}.training.statistics")
table_module = import_module(f"{PACKAGE}.datasets.table")


def test_a_slice_is_scored_by_itself(model, holdout):
    half = pd.Series(np.where(np.arange(len(holdout)) % 2, "odd", None))
    lines = evaluate.slice_losses("parity", half, np.arange(len(holdout)) % 2)

    assert [(line["value"], line["loss"]) for line in lines] == [("(missing)", 0.0), ("odd", 1.0)]
    assert evaluate.slice_columns(replace(model, slices=[model.table.target]), holdout)[0] == model.table.target


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_predictions_that_are_no_numbers_are_not_scored(model, holdout, monkeypatch, value):
    whole = model.module.predict
    monkeypatch.setattr(model.module, "predict", lambda *given: whole(*given).assign(prediction=value))
    before = model.files.metrics.read_bytes()

    with pytest.raises(package.Refused, match=f"missing or infinite values for {len(holdout)} of {len(holdout)}"):
        evaluate.score(model)
    assert model.files.metrics.read_bytes() == before


def test_evaluate_writes_the_report_and_the_card_again(model, command):
    for path in (model.files.report, model.files.card):
        path.unlink()

    assert f"{model.name}: {model.module.PRIMARY}" in command("evaluate", model.name)
    assert model.files.card.read_text(encoding="utf-8").startswith(f"# Model card: {model.name}")
    assert f"<h1>Model {model.name}</h1>" in model.files.report.read_text(encoding="utf-8")


def test_the_card_shows_names_from_the_data_as_they_are(model):
    """In code, on one line: no Markdown of theirs is interpreted."""
    names = ["<script>x</script>", "a | b", "**two**\n# lines", "`tick` ``", "[x](http://y)"]
    scores = evaluate.read_scores(model)
    line = {"loss": 0.5, "rows": 3}
    scores |= {"slices": [{"column": name, "value": name} | line for name in names], "metrics": {names[0]: 0.5}}
    lines = report.model_card(model, scores).splitlines()

    assert "- `<script>x</script>`: 0.5" in lines
    assert "- `a | b` = `a | b`: 0.5, 3 rows" in lines
    assert "- `**two** # lines` = `**two** # lines`: 0.5, 3 rows" in lines
    assert "- ``` `tick` `` ``` = ``` `tick` `` ```: 0.5, 3 rows" in lines
    assert [each for each in lines[1:] if each.startswith("#")] == []


def table_of(rows, **facts):
    return table_module.Table("t", lambda: rows, SimpleNamespace(columns=dict.fromkeys(rows)), "truth", "key", **facts)


def mean_model(table):
    """A module whose model and baseline know the mean of the rows they learned from, and how many there were."""
    return SimpleNamespace(
        PRIMARY="error",
        fit=lambda rows, table, params: rows["truth"],
        baselines=lambda rows, table, params: {"naive": rows["truth"]},
        predict=lambda fitted, rows: pd.DataFrame({"prediction": fitted.mean(), "known": len(fitted)}, rows.index),
        losses=lambda rows, predictions, table: np.abs(rows["truth"].to_numpy() - predictions["prediction"].to_numpy()),
        metrics=lambda rows, predictions, table: {},
    )


def test_months_are_predicted_by_models_of_the_months_before():
    """Of 144 months the later 72 are predicted, a fifth of them at a time, from what came before."""
    rows = pd.DataFrame({"key": np.arange(144), "time": pd.date_range("2014-01", periods=144, freq="MS")})
    table = table_of(rows.assign(truth=1.0), time="time")
    small = contract.Model("m", mean_model(table), table, None)
    tested = folds.refitted(small, table.load())

    assert tested.rows["key"].tolist() == list(range(72, 144))
    assert sorted(set(tested.predictions["known"])) == [72, 86, 100, 115, 129]
    assert (tested.predictions["known"] <= tested.rows["key"]).all()


def test_each_group_is_predicted_by_a_model_that_never_saw_it():
    rows = pd.DataFrame({"key": np.arange(60), "shop": np.arange(60) % 12, "truth": 1.0})
    held = np.array([held for _, held in folds.folds(rows, table_of(rows, group="shop"))])

    assert (held.sum(axis=0) == 1).all()
    assert all(each.groupby(rows["shop"]).nunique().eq(1).all() for each in map(pd.Series, held))


def test_too_few_held_out_rows_are_scored_in_folds(model, holdout):
    """The scores say so; the model file itself is scored on the few rows that it never saw."""
    whole, rows = model.files.holdout.read_bytes(), holdout.iloc[: statistics.SMALL - 1]
    before = evaluate.read_scores(model)
    try:
        rows.to_parquet(model.files.holdout)
        evaluate.score(model)
        scores = evaluate.read_scores(model)
    finally:
        model.files.holdout.write_bytes(whole)
        evaluate.score(model)

    assert scores["folds"] == folds.FOLDS
    assert scores["rows"]["tested"] > len(rows) == scores["held_out"]["rows"]
    assert "in 5 folds, each refitted" in evaluate.summary(scores)
    assert evaluate.read_scores(model).get("folds") == before.get("folds")
