"""What serves knows the newest rows; what was judged stays as it was."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
artifact = import_module(f"{PACKAGE}.training.artifact")
loading = import_module(f"{PACKAGE}.registry.loading")
modules = import_module(f"{PACKAGE}.training.modules")
refit = import_module(f"{PACKAGE}.training.refit")
refits = import_module(f"{PACKAGE}.registry.refits")
served_models = import_module(f"{PACKAGE}.serving.served_models")
versions = import_module(f"{PACKAGE}.registry.versions")


@pytest.fixture
def refitted(model):
    """A model whose champion was fitted again."""
    if not refit.is_refitted(model):
        pytest.skip("only a table with time holds its newest rows out")
    return model


@pytest.fixture
def forecaster(refitted):
    """A model that keeps the last values of every series."""
    if not modules.optional(refitted.module, "update"):
        pytest.skip("it keeps nothing of its rows")
    yield refitted
    refits.update_champion(refitted)


def with_rows(model, changed):
    """Return the model with other rows in its table."""
    return replace(model, table=replace(model.table, load=lambda: changed(model.table.rows()), pictures=None))


def without_newest(model, count):
    """Return the model with a table that lacks its newest times."""

    def older(rows):
        times = rows[model.table.time]
        return rows[times < times.drop_duplicates().nlargest(count).min()]

    return with_rows(model, older)


def served(model):
    return loading.load_served(model.name, versions.champion(model.name))


def ask_next(model, periods=None):
    """Return requests for the next periods, with what the table's newest row says in the further columns."""
    return served(model).future_requests(periods, **model.table.rows().iloc[-1].to_dict())


def first_forecast(model):
    """Return the first time that the champion can be asked for."""
    return ask_next(model)[model.table.time].min()


def test_what_serves_was_fitted_on_all_rows_and_what_was_judged_is_kept(refitted):
    tags = versions.champion_version(refitted.name).tags
    judged = loading.load_version(refitted.name, versions.champion(refitted.name))

    assert judged.signature.sha256 == tags["sha256"] != tags["refit"] == served(refitted).signature.sha256


def test_a_forecaster_is_asked_about_the_time_after_the_newest_row(forecaster):
    newest = forecaster.table.rows()[forecaster.table.time].max()
    asked = ask_next(forecaster, 1)

    assert asked[forecaster.table.time].min() > newest.tz_localize(None)
    assert np.isfinite(served(forecaster).predict(asked)["prediction"]).all()


def test_a_champion_that_stays_is_brought_up_to_date(forecaster):
    before = first_forecast(forecaster)
    words, known = refits.update_champion(without_newest(forecaster, 2)), versions.champion_version(forecaster.name)

    assert "knows the newest rows" in words
    assert first_forecast(forecaster) < before
    assert "knows the newest rows" in refits.update_champion(forecaster)
    assert first_forecast(forecaster) == before
    assert refits.update_champion(forecaster) == ""  # nothing new
    refits.update_champion(without_newest(forecaster, 2))
    assert versions.champion_version(forecaster.name).tags["refit"] == known.tags["refit"]  # a file of its rows only


def test_a_service_follows_a_champion_that_was_brought_up_to_date(forecaster):
    models = served_models.ServedModels([forecaster.name])
    models.refresh()
    before = models.champions[forecaster.name]
    refits.update_champion(without_newest(forecaster, 1))
    models.refresh()

    assert models.champions[forecaster.name].number == before.number
    assert models.champions[forecaster.name].version.signature.sha256 != before.version.signature.sha256


def test_rows_in_another_unit_do_not_reach_what_serves(forecaster):
    before = versions.champion_version(forecaster.name).tags["refit"]
    target = forecaster.table.target
    poisoned = with_rows(forecaster, lambda rows: rows.assign(**{target: rows[target] * 60}))
    object.__setattr__(poisoned.table, "rows", poisoned.table.load)  # whatever the schema says
    words = refits.update_champion(poisoned)

    assert "serves on with the rows it knows" in words
    assert "times as large" in words
    assert versions.champion_version(forecaster.name).tags["refit"] == before


def test_a_refit_that_is_not_close_to_what_was_judged_does_not_serve(refitted, monkeypatch):
    monkeypatch.setattr(refit, "WORSE", -1e9)
    known = versions.champion_version(refitted.name)
    tags = {name: value for name, value in known.tags.items() if name != "refit"}
    monkeypatch.setattr(refits, "get_version", lambda *_: replace(known, tags=tags))

    assert "on the held-out rows, wanted at most" in refits.add_refit(refitted, known.number)
    assert versions.champion_version(refitted.name).tags["refit"]


def test_a_damaged_refit_is_made_again(refitted):
    number, fitted = versions.champion(refitted.name), versions.champion_version(refitted.name).tags["fitted"]
    file = versions.served_folder(refitted.name, number) / artifact.FILE
    file.write_bytes(b"damaged")

    assert "was damaged; it serves" in refits.mend_refit(refitted, number)
    assert served(refitted).signature.sha256 == fitted
    assert refits.mend_refit(refitted, number) == ""
