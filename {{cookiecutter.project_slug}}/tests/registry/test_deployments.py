"""Which version serves: a promotion is verified, and one command takes it back."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from unittest.mock import Mock

import pandas as pd
import pytest
from mlflow import MlflowClient

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
client = import_module(f"{PACKAGE}.registry.client")
deployments = import_module(f"{PACKAGE}.registry.deployments")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
loading = import_module(f"{PACKAGE}.registry.loading")
modules = import_module(f"{PACKAGE}.training.modules")
provenance = import_module(f"{PACKAGE}.registry.provenance")
report = import_module(f"{PACKAGE}.training.report")
served_models = import_module(f"{PACKAGE}.serving.served_models")
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")
model_blocks = import_module(f"{PACKAGE}.training.params").model_blocks


def recorded(model):
    """Score and record what is in the model's workspace; return the version's number."""
    evaluate.score(model)
    report.write_report(model)
    return versions.record_version(model, evaluate.read_scores(model), provenance.current(model.name))[0]


def promoted_on_fewer_rows(model):
    """Promote a version made of two thirds of the rows that the one before was made of."""
    rows = pd.read_parquet(model.files.train)
    rows.iloc[: len(rows) * 2 // 3].to_parquet(model.files.train)
    train.fit(model)
    deployments.promote(model.name, recorded(model), "tests")


def test_rollback_gives_back_what_served_before(model, command):
    first, described = versions.champion(model.name), artifact.signature(model.files.model)
    other = model.module.fit(pd.read_parquet(model.files.train).iloc[::2], model.table, model.params)
    kept = {name: getattr(described, name) for name in ("model", "table", "inputs", "examples")}
    examples = described.typed(pd.DataFrame.from_records(described.examples))
    kept["predictions"] = modules.responses(model.module, other, examples)
    artifact.save(model.files.model, other, kept, model.module.TRUSTED)
    second = recorded(model)

    assert deployments.promote(model.name, second, "tests") == first
    assert deployments.rollback(model.name, "tests") == first == versions.champion(model.name)
    assert [line.version for line in deployments.deployments(model.name)][-2:] == [second, first]
    command("train", model.name)


def test_a_withdrawn_champion_serves_no_more(model, command, monkeypatch):
    """The version before serves again or, if it cannot, none does; no rollback leads to the withdrawn one."""
    first, served = versions.champion(model.name), served_models.ServedModels([model.name])
    pd.read_parquet(model.files.train).iloc[1::4].to_parquet(model.files.train)
    train.fit(model)
    second = recorded(model)
    deployments.promote(model.name, second, "tests")
    served.refresh()
    try:
        assert f"version {first} serves again" in command("withdraw", model.name)
        assert versions.champion(model.name) == first
        assert versions.get_version(model.name, second).out_of_service == {"withdrawn": "by hand"}
        deployments.promote(model.name, second, "by hand all the same")
        deployments.promote(model.name, first, "tests")
        assert deployments.former_champion(model.name) != second
        deployments.promote(model.name, second, "by hand once more")
        monkeypatch.setattr(deployments, "_can_serve", lambda *_: False)
        assert "nothing serves until one is promoted" in command("withdraw", model.name)
        served.refresh()
        assert (versions.champion(model.name), served.champions) == (None, {})
        assert served.errors[model.name].startswith(
            f"no champion: version {second} was withdrawn; retrain, or uv run just promote"
        )
        assert "has no champion to withdraw" in command("withdraw", model.name, status=1)
        assert deployments.deployments(model.name)[-1].version == ""
    finally:
        deployments.promote(model.name, first, "tests")
        command("train", model.name)


def test_a_version_that_does_not_predict_its_own_examples_is_not_promoted(model, monkeypatch):
    before = versions.champion(model.name), len(deployments.deployments(model.name))
    loaded = loading.load_version(model.name, before[0])
    wrong = [each | {"prediction": "rubbish"} for each in loaded.signature.predictions]
    other = replace(loaded.signature, predictions=wrong)
    monkeypatch.setattr(deployments, "load_version", lambda *_: replace(loaded, signature=other))

    with pytest.raises(package.Refused, match=f"{model.name} does not predict its own examples"):
        deployments.promote(model.name, before[0], "tests")
    assert (versions.champion(model.name), len(deployments.deployments(model.name))) == before


def test_an_unknown_version_is_named(model, command):
    with pytest.raises(package.Refused, match="no version 999"):
        deployments.promote(model.name, "999", "tests")
    assert f"error: {model.name} has no version 999" in command("promote", "999", model.name, status=1)


def test_the_drill_a_bad_version_serves_and_one_command_takes_it_back(model, trained, command):
    """Back twice leads to the version before the version before; the log has grown by every step."""
    first = versions.champion(model.name)
    for _ in range(2):
        before = len(deployments.deployments(model.name))
        promoted_on_fewer_rows(model)
    assert versions.champion(model.name) != first
    environment = os.environ | {"PYTHONPATH": str(trained / "src")}
    again = [sys.executable, "-m", PACKAGE, "rollback", model.name]
    subprocess.run(again, cwd=trained, env=environment, check=True)
    assert f"{model.name}: version {first} serves again" in command("rollback", model.name)

    assert versions.champion(model.name) == first
    log = deployments.deployments(model.name)
    assert len(log) == before + 3
    assert log[-1].reason.startswith("rollback")
    assert {line.state for line in log} == {"FINISHED"}
    command("train", model.name)


@pytest.fixture(scope="module")
def two_versions(trained, command):
    """The name of a model and two of its versions; the first one serves again when the tests here are done."""
    model = import_module(f"{PACKAGE}.training.contract").load_model(next(iter(model_blocks([]))))
    first = versions.champion(model.name)
    promoted_on_fewer_rows(model)
    second = versions.champion(model.name)
    yield model.name, first, second
    deployments.promote(model.name, first, "tests")
    if versions.get_version(model.name, first).out_of_service:  # by a rollback: other tests have it judged
        client.connect().delete_model_version_tag(client.registered_name(model.name), first, "rolled_back")
    command("train", model.name)


class Killed(BaseException):
    """Ends a command as a kill does: nothing catches it."""


WRITES = "create_run set_registered_model_alias delete_registered_model_alias set_model_version_tag set_terminated"


def killed_after(writes, work):
    """Run some work that ends after so many writes to the registry; return whether it came that far."""
    left = [writes]

    def counting(whole):
        def counted(*arguments, **named):
            found = whole(*arguments, **named)
            left[0] -= 1
            if not left[0]:
                raise Killed
            return found

        return counted

    with pytest.MonkeyPatch.context() as patched:
        for name in WRITES.split():
            patched.setattr(MlflowClient, name, counting(getattr(MlflowClient, name)))
        try:
            work()
        except Killed:
            return True
    return False


def last_line(model):
    """Check that the log is whole, and that aliases and tags follow from it; return its last line with an effect."""
    log = deployments.deployments(model)
    last = [line for line in log if line.state == "FINISHED"][-1]
    assert {line.state for line in log} <= {"FINISHED", "KILLED"}
    assert last.version == versions.champion(model)
    assert versions.champion(model, versions.PREVIOUS) == deployments.former_champion(model) != last.version
    if last.mark:
        assert last.mark in versions.get_version(model, last.before).tags
    return last


@pytest.mark.parametrize("then", ["promote", "rollback", "history"])
@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_killed_between_two_steps_a_deployment_is_finished_or_undone_by_the_next_call(
    two_versions, monkeypatch, action, then
):
    model, first, second = two_versions
    for name in ("load_version", "version_folder", "package_of"):  # they read only, and take time
        monkeypatch.setattr(deployments, name, lambda *_: Mock())
    actions = {
        "promote": lambda: deployments.promote(model, second, "tests"),
        "rollback": lambda: deployments.rollback(model, "tests"),
        "history": lambda: deployments.deployments(model),
    }
    for writes in range(1, 7):
        deployments.promote(model, first, "tests")
        earlier = deployments.former_champion(model)
        if action == "rollback":
            deployments.promote(model, second, "tests")
        before = versions.champion(model)
        if not killed_after(writes, actions[action]):
            break
        halfway = versions.champion(model)
        assert halfway == before or writes > 1  # after the line in the log, the alias
        if then == "rollback" and halfway == first and not earlier:
            with pytest.raises(package.Refused, match="no earlier champion"):
                actions[then]()
        else:
            actions[then]()
        expected = {"promote": second, "history": halfway, "rollback": first if halfway == second else earlier or first}
        assert last_line(model).version == expected[then], writes
    assert writes > 4  # each of the steps has been the last


@pytest.mark.parametrize(("arguments", "done"), [(["--all"], ["one", "two"]), (["two"], ["two"])])
def test_rollback_of_several_models_takes_those_that_are_named_or_all(command, monkeypatch, arguments, done):
    asked = []
    monkeypatch.setattr(deployments, "serving_models", lambda: ["one", "two"])
    monkeypatch.setattr(deployments, "rollback", lambda model, reason: asked.append(model) or "1")

    command("rollback", *arguments)
    assert asked == done


@pytest.mark.parametrize(
    ("serving", "words"), [(["one", "two"], "say which model, or --all: one, two"), ([], "no model has a champion yet")]
)
def test_rollback_that_cannot_tell_which_model_asks(command, monkeypatch, serving, words):
    monkeypatch.setattr(deployments, "serving_models", lambda: serving)

    assert command("rollback", status=1).startswith(f"error: {words}")


def test_one_model_that_cannot_be_rolled_back_stops_no_other(command, monkeypatch):
    def rollback(model, reason):
        if model == "one":
            raise package.Refused("one has no earlier champion")
        return "7"

    monkeypatch.setattr(deployments, "serving_models", lambda: ["one", "two"])
    monkeypatch.setattr(deployments, "rollback", rollback)
    said = command("rollback", "--all", status=1)

    assert "two: version 7 serves again" in said
    assert said.endswith("error: one has no earlier champion\n")


def test_rollback_of_what_never_served_is_refused(command):
    assert "nobody has no earlier champion" in command("rollback", "nobody", status=1)


def test_a_moved_project_still_loads_its_models(model, trained):
    moved = trained.parent / "moved here"
    trained.rename(moved)
    try:
        code = f"""if True:
            from {PACKAGE}.registry import deployments, versions
            deployments.promote({model.name!r}, versions.champion({model.name!r}), "moved")"""
        environment = os.environ | {"PYTHONPATH": str(moved / "src")}
        subprocess.run([sys.executable, "-c", code], cwd=moved, env=environment, check=True)
    finally:
        moved.rename(trained)


def test_a_number_with_zeros_is_the_version_that_it_names(model):
    serving = versions.champion(model.name)
    before = deployments.deployments(model.name)
    deployments.promote(model.name, f"0{serving}", "tests")

    assert versions.champion(model.name) == serving
    assert deployments.deployments(model.name) == before
    assert versions.get_version(model.name, serving).tags.get("replaced") != serving


def test_a_rollback_to_a_version_whose_code_is_gone_changes_nothing(model, command, monkeypatch):
    def gone(*_):
        raise package.Refused("its commit is not in this repository")

    first = versions.champion(model.name)
    promoted_on_fewer_rows(model)
    serving = versions.champion(model.name)
    before = versions.get_version(model.name, serving)
    with monkeypatch.context() as patched:
        patched.setattr(deployments, "package_of", gone)
        with pytest.raises(package.Refused, match="not in this repository"):
            deployments.rollback(model.name, "tests")
    assert versions.champion(model.name) == serving
    assert versions.get_version(model.name, serving) == before

    command("rollback", model.name)
    assert versions.champion(model.name) == first
    command("train", model.name)
