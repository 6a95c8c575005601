"""The report: the best baseline first, in red where it wins; the gate's verdict; nothing from elsewhere."""

import json
import re
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
page_module = import_module(f"{PACKAGE}.datasets.page")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
importance = import_module(f"{PACKAGE}.training.importance")
report = import_module(f"{PACKAGE}.training.report")


@pytest.fixture
def verdict(model):
    """A function that writes a verdict on the model as it is; afterwards, the one there was is back."""
    before = model.files.verdict.read_bytes() if model.files.verdict.exists() else None

    def write(**changes):
        found = {
            "sha256": artifact.signature(model.files.model).sha256,
            "promote": True,
            "reason": "",
            "conditions": [],
        }
        model.files.verdict.write_text(json.dumps(found | changes), encoding="utf-8")

    yield write
    model.files.verdict.unlink()
    if before is not None:
        model.files.verdict.write_bytes(before)


@pytest.mark.parametrize(
    ("gain", "interval", "colour", "word"),
    [
        (0.5, [0.25, 0.75], "good", "better than"),
        (0.5, [-0.25, 1.25], "open", "not surely better than"),
        (-0.5, [-0.75, 0.25], "bad", "worse than"),
    ],
)
def test_the_headline_names_the_best_baseline_and_is_red_where_that_wins(model, tmp_path, gain, interval, colour, word):
    best = {"value": 2.0 + gain, "gain": gain, "interval": interval}
    scores = evaluate.read_scores(model) | {"value": 2.0, "best_baseline": "repeated"}
    scores["baselines"] = {"naive": {"value": 9.0, "gain": 7.0, "interval": [6.0, 8.0]}, "repeated": best}
    page_module.write_page(tmp_path / "page.html", "a title", [report.headline(model, scores)])

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f'<span class="{colour}">{word} repeated, the best baseline</span>' in page
    assert f"gain is {gain} in {next(iter(report.loss_units(model, 0.0)))}" in page
    assert f"({interval[0]} to {interval[1]})" in page
    assert report.baseline_table(model, scores)["model"].tolist()[-1] == "naive"


def test_a_report_shows_no_verdict_on_another_model(model, verdict):
    verdict(sha256="of another")
    assert report.verdict_sections(model) == []
    verdict()
    assert [section.state for section in report.verdict_sections(model)] == ["promoted"]


def test_what_fails_comes_first_and_warnings_apart(model, verdict):
    met = {"name": "met", "holds": True, "found": "1", "wanted": "1", "warning": False}
    warned = met | {"name": "warned", "warning": True}
    verdict(promote=False, conditions=[met, warned, met | {"name": "failed", "holds": False}])
    judged, warnings = report.verdict_sections(model)

    assert judged.table.iloc[:, :2].to_numpy().tolist() == [["✗", "failed"], ["✓", "met"]]
    assert warnings.table["condition"].tolist() == ["warned"]


def test_a_report_holds_all_it_shows_and_runs_nothing(model, command):
    command("evaluate", model.name)
    page = model.files.report.read_text(encoding="utf-8")

    assert "<img" in page and "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:image/)|url\(|@import|\son\w+=", page)


def test_a_module_without_tables_and_units_has_a_report(model, monkeypatch):
    for part in ("tables", "loss_units"):
        monkeypatch.delattr(model.module, part, raising=False)
    report.write_report(model)

    page = model.files.report.read_text(encoding="utf-8")
    assert f"<h2>{model.module.PRIMARY.replace('_', ' ')} " in page


def test_a_feature_matters_as_much_as_the_loss_rises_without_it(model, monkeypatch):
    module = SimpleNamespace(
        TRUSTED=(),
        predict=lambda _, rows: pd.DataFrame({"prediction": rows["used"]}),
        losses=lambda rows, predictions, _: (predictions["prediction"] - rows["truth"]).abs().to_numpy(),
    )
    monkeypatch.setattr(importance.artifact, "load", lambda *given: None)
    rows = pd.DataFrame({"unused": np.arange(3000.0), "used": np.arange(3000.0), "truth": np.arange(3000.0)})
    table = SimpleNamespace(features=["unused", "used", "picture"])
    asked = replace(model, module=module, table=table)

    found = importance.permutation_importance(asked, rows.assign(picture=b""))
    assert (found.rises.loc["unused"] == 0).all() and (found.rises.loc["used"] > 500).all()
    assert found.rows == importance.ROWS
    assert found.table("loss", 1)["feature"].tolist() == ["used"]
    assert importance.permutation_importance(asked, rows[["truth"]].assign(picture=b"")) is None


def test_a_model_that_refuses_shuffled_values_has_a_report(model, holdout, monkeypatch):
    def refuses(*given):
        raise package.Refused("no such pair")

    monkeypatch.setattr(report, "permutation_importance", refuses)
    (section,) = report.importance_sections(model, holdout)
    assert section.text.endswith("no such pair") and section.table is None
