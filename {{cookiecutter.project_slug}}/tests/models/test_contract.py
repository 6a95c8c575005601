"""What holds for every model in params.yaml, whatever it learns."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
modules = import_module(f"{PACKAGE}.training.modules")
params = import_module(f"{PACKAGE}.training.params")


def test_no_row_is_both_learned_from_and_held_out(model, holdout):
    train = pd.read_parquet(model.files.train)

    assert len(train)
    assert len(holdout)
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


def test_it_is_not_worse_than_naive_on_the_rows_it_saw(model, champion):
    """By a quarter at most: there may be nothing to learn."""
    train = pd.read_parquet(model.files.train)
    requests = model.prediction_requests(train, pd.Series(True, train.index))
    naive = model.module.baselines(train, model.table, model.params)["naive"]
    estimator = artifact.load(champion, model.module.TRUSTED)

    ours, theirs = (
        model.module.losses(requests, model.module.predict(each, requests), model.table) for each in (estimator, naive)
    )
    assert ours.mean() <= 1.25 * theirs.mean()


def test_a_module_that_lacks_a_part_of_the_contract_is_named(model, monkeypatch):
    parts = vars(model.module) | {"losses": None}
    monkeypatch.setattr(modules, "import_module", lambda name: SimpleNamespace(**parts))

    with pytest.raises(
        package.Refused, match=f"models/{params.module_name(model.name)}.py lacks losses: see the contract"
    ):
        modules.load_module(params.module_name(model.name))


def test_a_block_without_a_module_is_named():
    with pytest.raises(package.Refused, match="names module 'nobody', but there is no"):
        modules.load_module("nobody")


def test_parts_of_the_contract_are_also_taken_under_the_names_of_release_0_2():
    names = {"pictures": "plots", "questions": "prediction_requests", "answers": "prediction_responses"}
    former = SimpleNamespace(__name__="models.own", **names)

    for name in names.values():
        with pytest.warns(FutureWarning, match=f"is called {name} now"):
            assert modules.optional(former, name) == name
