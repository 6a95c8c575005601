"""A champion takes over only after a trial; one that served last serves again where the registry cannot be asked."""

import time
from dataclasses import replace
from importlib import import_module
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
canary = import_module(f"{PACKAGE}.serving.canary")
last_served = import_module(f"{PACKAGE}.registry.last_served")
served_models = import_module(f"{PACKAGE}.serving.served_models")
served_version = import_module(f"{PACKAGE}.serving.served_version")
versions = import_module(f"{PACKAGE}.registry.versions")


@pytest.fixture
def models(model):
    """What serves, with the champion's examples as the newest requests."""
    found = served_models.ServedModels([model.name])
    found.refresh()
    found.newest[model.name] += [[row] for row in found.champions[model.name].version.signature.examples]
    return found


def predicting(served, predict):
    """Return the version as it would be served if its module predicted by this function of the model and the rows."""
    module = ModuleType("changed")
    module.__dict__.update(vars(served.version.module))
    module.predict = predict
    module.prediction_responses = None
    return served_version.ServedVersion(replace(served.version, module=module))


def slow(estimator, rows):
    time.sleep(0.3)
    return pd.DataFrame({"prediction": np.ones(len(rows))}, rows.index)


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (lambda estimator, rows: pd.DataFrame({"prediction": np.nan}, rows.index), "which is no number"),
        (lambda estimator, rows: 1 / 0, "fails at one of the newest: division by zero"),
        (slow, "all in "),
    ],
)
def test_a_new_champion_that_fails_its_trial_is_not_served(model, models, monkeypatch, predict, words):
    old, told = models.champions[model.name], []
    monkeypatch.setattr(canary, "SLOWER", 0)  # so that only `slow`, which sleeps longer, is too slow
    monkeypatch.setattr(canary, "SECONDS", 0.2)
    monkeypatch.setattr(served_models, "champion_version", lambda name: wrong)
    monkeypatch.setattr(served_models, "load_served", lambda name, number: old.version)
    monkeypatch.setattr(served_models, "served", lambda version: predicting(old, predict))
    wrong = replace(versions.champion_version(model.name), number="999")
    models.on_failure = told.append
    models.refresh()

    assert models.champions[model.name] is old
    assert words in models.errors[model.name]
    assert told == [model.name]


def test_predictions_far_from_those_of_the_old_version_are_no_success(model, models):
    old = models.champions[model.name]
    requests = list(models.newest[model.name])
    known = canary._numbers([old.answer_alone(each).predictions for each in requests])
    if not known:
        pytest.skip("it predicts no numbers")
    far = predicting(old, lambda estimator, rows: pd.DataFrame({"prediction": 1e3 * max(known) + 1e3}, rows.index))

    with pytest.raises(package.Refused, match="far from version"):
        canary.try_out(far, old, requests)


def test_what_served_last_serves_where_the_registry_cannot_be_asked(model, models, monkeypatch):
    def failing(name):
        raise package.Refused("the registry at http://host fails: refused")

    serving = models.champions[model.name].number
    monkeypatch.setattr(served_models, "champion_version", failing)
    again = served_models.ServedModels([model.name])
    again.refresh()

    assert again.ready()
    assert again.champions[model.name].number == serving
    assert f"version {serving} serves from its copy here" in again.errors[model.name]
    monkeypatch.undo()
    again.refresh()
    assert again.errors == {}
    monkeypatch.setattr(served_models, "champion_version", failing)
    last_served.forget_served(model.name)
    without = served_models.ServedModels([model.name])
    without.refresh()
    assert not without.ready()
    assert without.errors[model.name].endswith("refused")
