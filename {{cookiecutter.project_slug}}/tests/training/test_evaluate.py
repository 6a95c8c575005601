"""Scores by slice, and the report that shows them."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
report = import_module(f"{PACKAGE}.training.report")


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


def test_a_report_shows_no_verdict_on_another_model(model):
    verdict = {"sha256": "of another", "promote": True, "reason": "", "conditions": []}
    before = model.files.verdict.read_bytes() if model.files.verdict.exists() else None
    try:
        model.files.verdict.write_text(json.dumps(verdict), encoding="utf-8")
        assert report.verdict_sections(model) == []
        verdict["sha256"] = artifact.signature(model.files.model).sha256
        model.files.verdict.write_text(json.dumps(verdict), encoding="utf-8")
        assert [section.state for section in report.verdict_sections(model)] == ["promoted"]
    finally:
        model.files.verdict.unlink()
        if before is not None:
            model.files.verdict.write_bytes(before)


def test_evaluate_writes_the_report_and_the_card_again(model, command):
    for path in (model.files.report, model.files.card):
        path.unlink()

    assert f"{model.name}: {model.module.PRIMARY}" in command("evaluate", model.name)
    assert model.files.card.read_text(encoding="utf-8").startswith(f"# Model card: {model.name}")
    assert model.module.PRIMARY in model.files.report.read_text(encoding="utf-8")


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
