"""The gate promotes what is surely not worse, and names every condition that does not hold."""

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
columns = import_module(f"{PACKAGE}.datasets.columns")
conditions = import_module(f"{PACKAGE}.retraining.conditions")
contract = import_module(f"{PACKAGE}.training.contract")
deployments = import_module(f"{PACKAGE}.registry.deployments")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
gate = import_module(f"{PACKAGE}.retraining.gate")
limits = import_module(f"{PACKAGE}.retraining.limits")
modules = import_module(f"{PACKAGE}.training.modules")
provenance = import_module(f"{PACKAGE}.registry.provenance")
report = import_module(f"{PACKAGE}.training.report")
target = import_module(f"{PACKAGE}.retraining.target")
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")


@pytest.fixture(scope="module", autouse=True)
def settled(trained, command):
    """The tests start with the versions that are made of the rows as they are."""
    command("train")
    for model in contract.load_models([]):
        deployments.promote(model.name, versions.versions(model.name, versions.fingerprint(model))[0].number, "tests")


def version_from(model, change):
    """A version trained on the training rows as changed."""
    train.split(model)
    path = model.files.train
    change(pd.read_parquet(path)).to_parquet(path)
    train.fit(model)
    evaluate.score(model)
    report.write_report(model)
    return versions.record_version(model, evaluate.read_scores(model), provenance.current(model.name))[0]


def version_of_noise(model):
    """A version that has learned nothing: the naive baseline."""

    def fit(rows, table, params):
        return model.module.baselines(rows, table, params)["naive"]

    noise = SimpleNamespace(**(vars(model.module) | {"fit": fit}))
    return version_from(replace(model, module=noise), lambda rows: rows)


@pytest.fixture
def model(model):
    """Each model that has enough rows to be judged."""
    enough = conditions.enough_rows(model, pd.read_parquet(model.files.holdout))
    return model if enough.holds else pytest.skip(f"rows to judge on: {enough.found}")


@pytest.fixture
def promotable(model, monkeypatch):
    """The model, where it is good enough on these rows to serve as the first champion."""
    number = version_from(model, lambda rows: rows)
    with monkeypatch.context() as first:
        first.setattr(gate, "champion", lambda *_: None)
        verdict = gate.judge(model, number)
    return model if verdict.promote else pytest.skip(f"not good enough on these rows: {verdict.reason}")


def test_a_tie_keeps_the_champion(model):
    verdict = gate.judge(model, version_from(model, lambda rows: rows))

    assert not verdict.promote
    assert "equal on every row" in verdict.reason


def test_a_model_of_noise_is_refused(model):
    verdict = gate.judge(model, version_of_noise(model))

    assert not verdict.promote
    assert "better than naive" in verdict.reason


def test_a_first_model_of_noise_is_refused_too(model, monkeypatch):
    monkeypatch.setattr(gate, "champion", lambda *_: None)
    verdict = gate.judge(model, version_of_noise(model))

    assert not verdict.promote
    assert "better than naive" in verdict.reason


def test_a_better_model_is_promoted_over_one_of_noise(promotable):
    model = replace(promotable, gate={"max_slowdown": None})  # noise takes no time
    noise = version_of_noise(model)
    before = versions.champion(model.name)
    deployments.promote(model.name, noise, "tests")
    try:
        verdict = gate.judge(model, version_from(model, lambda rows: rows))
    finally:
        deployments.promote(model.name, before, "tests")

    assert verdict.promote, verdict.reason
    assert verdict.reason.startswith(f"better than version {noise}")


def test_a_limit_that_is_not_met_is_named(model):
    strict = replace(model, gate={"max_loss": -1e9, "guards": {"rubbish": {"min": 1}}, "max_megabytes": 1e-9})
    verdict = gate.judge(strict, version_from(model, lambda rows: rows))

    assert not verdict.promote
    for words in (model.module.PRIMARY, "guard rubbish: no such metric", "size of the model file"):
        assert words in verdict.reason


def test_a_champion_that_has_seen_the_rows_is_not_compared(model, monkeypatch):
    version = version_from(model, lambda rows: rows.iloc[::2])
    monkeypatch.setattr(gate, "learned_from", lambda model, version, rows: np.ones(len(rows), bool))
    verdict = gate.judge(model, version)

    assert not verdict.promote
    assert "rows new to the champion" in verdict.reason


def test_a_metric_of_another_name_and_scale_is_computed_for_both(model):
    """The champion is scored anew by the module as it is now, not compared by numbers of another metric."""
    version = version_from(model, lambda rows: rows.iloc[::2])
    before = gate.judge(model, version)

    def tenfold(rows, predictions, table):
        return 10 * model.module.losses(rows, predictions, table)

    renamed = SimpleNamespace(**(vars(model.module) | {"PRIMARY": "renamed", "losses": tenfold}))
    changed = replace(model, module=renamed)
    evaluate.score(changed)
    after = gate.judge(changed, version)

    assert evaluate.summary(evaluate.read_scores(changed)).startswith("renamed")
    assert [each.holds for each in after.conditions] == [each.holds for each in before.conditions]
    assert after.conditions != before.conditions


def test_an_unknown_limit_is_named(model):
    with pytest.raises(package.Refused, match="unknown key 'rubbish'"):
        limits.limits(replace(model, gate={"rubbish": 1}))


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"allowed_loss": "much"}, ": allowed_loss is 'much', but input should be a valid number"),
        ({"allowed_loss": float("nan")}, ": allowed_loss is nan, but input should be "),
        ({"allowed_loss": -0.1}, ": allowed_loss is -0.1, but input should be greater than or equal to 0"),
        ({"max_loss": float("inf")}, ": max_loss is inf, but input should be a finite number"),
        ({"max_megabytes": 0}, ": max_megabytes is 0, but input should be greater than 0"),
        ({"level": 95}, ": level is 95, but input should be less than 1"),
        ({"guards": {"accuracy": {"least": 1}}}, " has an unknown key 'guards.accuracy.least'"),
        ({"guards": {"accuracy": {}}}, ": guards.accuracy needs a min or a max"),
        ({"guards": {"accuracy": 0.9}}, ": guards.accuracy is 0.9, but input should be "),
        ({"guards": ["accuracy"]}, ": guards is ['accuracy'], but input should be "),
    ],
)
def test_a_limit_that_says_nothing_is_named(model, block, words):
    with pytest.raises(package.Refused) as refused:
        limits.limits(replace(model, gate=block))

    assert str(refused.value).startswith(f"params.yaml: gate of {model.name}{words}")
    assert "\n" not in str(refused.value)


def test_what_was_rolled_back_comes_back_by_hand_only(model, monkeypatch):
    version = version_from(model, lambda rows: rows.iloc[::2])
    before = versions.champion(model.name)
    deployments.promote(model.name, version, "tests")
    assert deployments.rollback(model.name, "it was wrong on Monday") == before
    verdict = gate.judge(model, version)

    assert not verdict.promote
    assert "was not rolled back: it was wrong on Monday" in verdict.reason


@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_a_file_that_cannot_be_loaded_is_no_tie_and_no_crash(model, who):
    version = version_from(model, lambda rows: rows.iloc[1::2])
    broken = version if who == "challenger" else versions.champion(model.name)
    file = versions.version_folder(model.name, broken) / artifact.FILE
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    try:
        verdict = gate.judge(model, version)
    finally:
        file.write_bytes(content)

    assert not verdict.promote
    assert f"the {who} loads and predicts: Refused" in verdict.reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_refused(model, monkeypatch, value):
    version = version_from(model, lambda rows: rows)
    whole = gate.Contender.on

    def holed(*arguments):
        found = whole(*arguments)
        return replace(found, predictions=found.predictions.assign(prediction=value))

    monkeypatch.setattr(gate.Contender, "on", holed)
    verdict = gate.judge(model, version)

    assert not verdict.promote
    assert "predictions are finite: some are missing or infinite" in verdict.reason
    assert "the file predicts what was scored: other hash" in verdict.reason


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 5)])
def test_too_few_rows_promote_nothing(model, rows):
    version = version_from(model, lambda rows: rows)
    path = model.files.holdout
    pd.read_parquet(path).iloc[rows].to_parquet(path)
    verdict = gate.judge(model, version)
    train.split(model)

    assert not verdict.promote
    assert verdict.reason.startswith(f"rows to judge on: {rows.stop} rows")


def test_rows_that_all_have_the_same_truth_promote_nothing(model):
    version = version_from(model, lambda rows: rows)
    path = model.files.holdout
    rows = pd.read_parquet(path)
    rows.assign(**{model.table.target: rows[model.table.target].iloc[0]}).to_parquet(path)
    verdict = gate.judge(model, version)
    train.split(model)

    assert not verdict.promote
    assert f"1 values of {model.table.target}" in verdict.reason


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([columns.Input("a", "number", False), columns.Input("b", "text", True)], "needs a new column 'b'"),
        ([columns.Input("a", "text", False)], "'a' was a number, is a text"),
        ([columns.Input("a", "number", True)], ""),
        ([], ""),
    ],
)
def test_a_request_that_the_champion_takes_is_one_that_the_challenger_takes(wanted, words):
    found = conditions.compatible_inputs([columns.Input("a", "number", False)], wanted)

    assert found.holds is not bool(words)
    assert words in found.found


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        (["prediction", "probability_1"], ["prediction", "probability_1.0", "probability_2"], ""),
        (["prediction", "probability_a", "probability_b"], ["prediction", "probability_a"], "'probability_b'"),
    ],
)
def test_a_class_that_the_champion_answers_is_one_that_the_challenger_answers(before, now, lost):
    found = conditions.compatible_answers(pd.DataFrame(columns=before), pd.DataFrame(columns=now))

    assert found.holds is not bool(lost)
    assert lost in found.found


def test_a_column_that_the_champion_needs_and_the_rows_lack_is_named(model):
    """As after a column was renamed: what is gone and what is new are both said."""
    version = version_from(model, lambda rows: rows)
    taken = [each.name for each in artifact.signature(model.files.model).inputs if not each.optional]
    if not taken:
        pytest.skip("no column is needed")
    path = model.files.holdout
    rows = pd.read_parquet(path)
    gone = next((name for name in taken if name in model.table.features), taken[0])
    with pytest.raises(package.Refused, match=f"needs column {re.escape(repr(gone))}, which table"):
        conditions.Contender.on(model, version, rows.drop(columns=gone))


def test_copies_of_training_rows_are_said_and_refuse_nothing():
    found = conditions.no_copies(3)

    assert found.holds
    assert gate.decided([found], "good").reason.startswith("good; warning: 3 held-out rows are copies")
    assert gate.decided([conditions.no_copies(0)], "good").reason == "good"


def gains(mean, rows=400, spread=1.0):
    """Differences of losses with just this mean."""
    drawn = np.random.default_rng(0).normal(0, spread, rows)
    return drawn - drawn.mean() + mean


@pytest.mark.parametrize(
    ("mean", "block", "holds"),
    [
        (0.5, {}, True),  # better
        (-0.5, {}, False),  # worse
        (0.05, {"allowed_loss": 0.2}, True),  # a gain within noise is not worse
        (0.05, {"min_gain": 0.0}, False),  # but no gain either
        (0.5, {"min_gain": 0.2}, True),
        (0.5, {"min_gain": 0.45}, False),
        (-0.15, {"allowed_loss": 0.9}, False),  # a loss that is sure is never allowed
    ],
)
def test_a_difference_is_judged_by_what_is_sure_of_it(mean, block, holds):
    [found] = conditions.compared(gains(mean), np.arange(400), {}, 1.0, limits.Limits(**block))

    assert found.holds is holds, found


def test_better_on_average_and_worse_on_a_slice_is_refused_with_the_slice():
    inside = np.arange(400) < 40
    gain = np.where(inside, gains(-1, spread=0.5), gains(1, spread=0.5))
    whole, slices = conditions.compared(
        gain, np.arange(400), {"sex = f": inside, "sex = m": ~inside}, 1.0, limits.Limits()
    )

    assert whole.holds
    assert not slices.holds
    assert slices.found.startswith("sex = f: gain -1")


def test_rows_of_few_groups_give_no_certainty():
    """Two hundred rows of two shops, one of which gained, say nothing of the next shop."""
    shops = np.repeat([0, 1], 100)
    [found] = conditions.compared(np.where(shops, 1.0, 0.1), shops, {}, 1.0, limits.Limits())

    assert not found.holds


def test_a_version_surely_worse_than_any_baseline_is_refused(model):
    """Better than naive is not enough: a module may declare baselines of any name."""
    version = version_from(model, lambda rows: rows.iloc[::2])
    scores = evaluate.read_scores(model)
    far = 1e9  # beyond the allowed loss in the units of any table
    scores["baselines"]["seasonal"] = {"value": -far, "gain": -2 * far, "interval": [-3 * far, -far]}
    model.files.metrics.write_text(json.dumps(scores), encoding="utf-8")
    verdict = gate.judge(model, version)

    assert "not surely worse than seasonal: gain -2e+09 (-3e+09 to -1e+09)" in verdict.reason

    evaluate.score(model)
    scores = evaluate.read_scores(model)
    assert scores["baselines"][scores["best_baseline"]]["value"] == min(
        each["value"] for each in scores["baselines"].values()
    )
    assert f"best baseline: {scores['best_baseline']} " in evaluate.summary(scores)
    tag = versions.get_version(model.name, version).tags["score"]  # of the fit on half of the rows
    assert any(f"best baseline {name} " in tag for name in scores["baselines"])


@pytest.mark.parametrize(("mean", "holds", "above"), [(0.0, True, False), (-0.6, False, False), (0.6, True, True)])
def test_small_losses_do_not_add_up(mean, holds, above):
    found, better = conditions.not_below_anchor("3", gains(mean), np.arange(400), 1.0, limits.Limits(allowed_loss=0.2))

    assert (found.holds, better) == (holds, above)
    assert found.name == "not worse in all than version 3, the best before"


def test_the_best_former_champion_is_asked_too_if_it_can_be_run(model):
    """A version promoted as not worse leaves the anchor where it was."""
    anchor, version = versions.champion(model.name), version_from(model, lambda rows: rows.iloc[::2])
    deployments.promote(model.name, version, "tests")
    versions.set_tags(model.name, version, {"anchor": anchor})
    try:
        challenger = version_from(model, lambda rows: rows.iloc[1::2])
        asked = gate.judge(model, challenger)
        versions.set_tags(model.name, version, {"anchor": "999"})
        alone = gate.judge(model, challenger)
    finally:
        deployments.promote(model.name, anchor, "tests")

    assert asked.conditions[-1].name == f"not worse in all than version {anchor}, the best before"
    assert asked.anchor in (anchor, challenger)
    assert alone.conditions[-1].found.startswith("not compared: ")


def test_a_comparison_says_what_gain_it_could_have_seen():
    [found] = conditions.compared(gains(0.0), np.arange(400), {}, 1.0, limits.Limits())

    assert found.found.endswith("here a gain from 0.0941 on (9% of the skill) is told from chance")


@pytest.mark.parametrize(
    ("factor", "shift", "words"),
    [
        (60, 0, "times larger"),
        (1 / 60, 0, "times smaller"),
        (1, 5000, "times its spread higher"),
        (1.5, 0, ""),  # growth by half is a trend
        (1, 50, ""),
    ],
)
def test_a_jump_of_the_target_is_named(factor, shift, words):
    """A thousand rows with trend and season; then the newest come in another unit."""
    steps = np.arange(1000)
    values = 2000 + steps + 200 * np.sin(steps / 20) + np.random.default_rng(0).normal(0, 100, 1000)
    before = train.target_levels(values[:900])
    found = target.jump(values[900:] * factor + shift, before, limits.Limits())

    assert words in found
    assert bool(found) is bool(words)


def test_a_month_in_another_unit_is_refused_as_such_even_without_a_champion(model, monkeypatch):
    """The earlier version is the reference, unless its own target had jumped."""
    earlier = version_from(model, lambda rows: rows)
    number = version_from(model, lambda rows: rows.iloc[::2])
    rows = pd.read_parquet(model.files.holdout)
    monkeypatch.setattr(gate, "champion", lambda *_: None)
    monkeypatch.setattr(target, "versions", lambda _: [versions.get_version(model.name, earlier)])
    if not json.loads(model.files.table_facts.read_text(encoding="utf-8"))["target_levels"]:
        assert target.steady_target(model, number, None, limits.Limits()) == []  # classes have no level
        return
    assert target.steady_target(model, number, None, limits.Limits())[0].holds
    for path in (model.files.train, model.files.holdout):
        rows = pd.read_parquet(path)
        rows.assign(**{model.table.target: rows[model.table.target] * 600}).to_parquet(path)
    verdict = gate.judge(model, number)
    quiet = gate.judge(replace(model, gate={"max_target_change": None}), number)
    train.split(model)

    assert "the target as before: " in verdict.reason
    assert f"times larger than in the rows of version {earlier}, in all" in verdict.reason
    assert "target as before" not in quiet.reason
