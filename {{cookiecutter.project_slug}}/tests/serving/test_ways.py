"""The short ways to an answer: equal to the ordinary one, together or alone, or not taken."""

import asyncio
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
arrays = import_module(f"{PACKAGE}.serving.arrays")
batching = import_module(f"{PACKAGE}.serving.batching")
columns = import_module(f"{PACKAGE}.datasets.columns")
encodings = import_module(f"{PACKAGE}.serving.encodings")
loading = import_module(f"{PACKAGE}.registry.loading")
plain_rows = import_module(f"{PACKAGE}.serving.plain_rows")
served_version = import_module(f"{PACKAGE}.serving.served_version")
versions = import_module(f"{PACKAGE}.registry.versions")


@pytest.fixture
def champion(model):
    """The champion as it is served."""
    return served_version.served(loading.load_served(model.name, versions.champion(model.name)))


@pytest.fixture
def short(champion):
    """A champion that has a short way."""
    return champion if champion.reader else pytest.skip("its rows are read as frames")


@pytest.fixture
def requests(model, short, holdout):
    """All held-out rows in JSON's types, a request each."""
    names = [column.name for column in short.version.signature.inputs]
    return [[row] for row in columns.records(holdout[names].head(500))]


def same(found, wanted):
    return served_version._alike([each.predictions for each in found], [each.predictions for each in wanted])


def test_held_out_rows_are_answered_as_in_the_ordinary_way(short, requests):
    found, wanted = short.answer_together(requests), [short.answer_alone(request) for request in requests[:20]]

    assert None not in found
    assert same(found[:20], wanted)
    assert same([short.answer_together([request])[0] for request in requests[:20]], wanted)
    assert [each.warnings for each in found[:20]] == [each.warnings for each in wanted]


def test_a_request_that_is_not_plain_is_left_out_of_the_call_for_the_others(short, requests):
    [first, *_] = short.version.signature.inputs
    found = short.answer_together([requests[0], [requests[1][0] | {first.name: ["no value"]}], requests[2]])

    assert found[1] is None
    assert same([found[0], found[2]], [short.answer_alone(requests[0]), short.answer_alone(requests[2])])


def test_rows_become_the_frame_that_the_model_learned_from(short, requests):
    rows = [row for request in requests for row in request]
    found = short.reader.read(rows).frame()
    wanted = short.version.signature.typed(pd.DataFrame.from_records(rows))

    pd.testing.assert_frame_equal(found[list(wanted)], wanted)


def test_what_is_out_of_range_is_told_with_the_rows_of_its_own_request(short, requests):
    [name, *_] = short.reader.names or [pytest.skip("no input is a number")]
    inputs = [replace(each, checks={"less_than": {"max_value": 1e15}}) for each in short.version.signature.inputs]
    inputs = [each if each.kind == "number" else replace(each, checks={}) for each in inputs]
    version = replace(short.version, signature=replace(short.version.signature, inputs=inputs))
    checked = replace(short, version=version, reader=plain_rows.Reader(inputs))
    odd = [requests[0][0], requests[0][0] | {name: 2e15}]

    good, told = checked.answer_together([requests[0], odd])
    assert good.warnings == []
    assert told.warnings == checked.answer_alone(odd).warnings
    assert "(rows from 0: 1)" in told.warnings[0]
    refusing = replace(checked, version=replace(version, signature=replace(version.signature, out_of_range="refuse")))
    assert refusing.answer_together([odd]) == [None]


def test_a_short_way_that_answers_otherwise_is_not_taken(short, monkeypatch):
    if short.model != "arrays":
        pytest.skip("its model is asked as it is")
    for name in ("predict", "predict_proba", "records"):
        exact = getattr(arrays.ArrayPipeline, name)
        monkeypatch.setattr(arrays.ArrayPipeline, name, lambda self, *rows, exact=exact: exact(self, *rows)[::-1])

    assert served_version.served(short.version).ways == {"rows": "arrays", "model": "as fitted"}
    monkeypatch.setattr(plain_rows.Reader, "_numbers", lambda *_: 1 / 0)
    assert served_version.served(short.version).ways == {"rows": "frames", "model": "as fitted"}


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_trees_that_are_joined_predict_as_they_do_apart(classes):
    random = np.random.default_rng(0)
    features = np.where(random.random((300, 4)) < 0.1, np.nan, random.normal(size=(300, 4)))
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(max_iter=7).fit(
        features, random.integers(0, classes, 300) if classes else np.nan_to_num(features[:, 1])
    )
    wanted = model.predict_proba(features) if classes else model.predict(features)

    assert arrays._joined([tree for line in model._predictors for tree in line], 4)
    np.testing.assert_allclose(arrays._boosted(model)(features), wanted, rtol=1e-12)
    np.testing.assert_allclose(arrays._boosted(model)(features[:1]), wanted[:1], rtol=1e-12)


def test_trees_that_correct_a_line_are_arrays_too():
    blend, tabular = (pytest.importorskip(f"{PACKAGE}.features.{name}") for name in ("blend", "tabular"))
    features = np.random.default_rng(0).normal(size=(300, 4))
    trees = HistGradientBoostingRegressor(max_iter=7)
    model = blend.Corrected(make_pipeline(tabular.scaler(), RidgeCV()), trees).fit(features, features[:, 0] ** 2)

    call = arrays._call(model, "predict")
    assert call != model.predict
    np.testing.assert_allclose(call(features), model.predict(features), rtol=1e-9)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_forest_predicts_by_the_trees_of_boosting(classes, monkeypatch):
    random = np.random.default_rng(0)
    features = np.where(random.random((300, 4)) < 0.1, np.nan, random.normal(size=(300, 4)))
    kind = ExtraTreesClassifier if classes else ExtraTreesRegressor
    truth = random.integers(0, classes, 300) if classes else np.nan_to_num(features[:, 1])
    model = kind(n_estimators=7, min_samples_leaf=3, random_state=0).fit(features, truth)
    wanted = model.predict_proba(features) if classes else model.predict(features)

    np.testing.assert_allclose(arrays._forest(model)(features), wanted, rtol=1e-12)
    monkeypatch.setattr(arrays, "COPIED", 0)
    np.testing.assert_allclose(arrays._forest(model)(features), wanted, rtol=1e-12)


def test_columns_of_all_kinds_are_encoded_as_scikit_learn_does():
    tabular = pytest.importorskip(f"{PACKAGE}.features.tabular")
    random, size = np.random.default_rng(0), 60
    rows = [
        {
            "number": float(random.normal()),
            "flag": bool(random.random() < 0.5),
            "town": f"town {random.integers(40)}",
            "kind": "abc"[random.integers(3)],
            "first": f"20{random.integers(10, 30)}-0{random.integers(1, 10)}-1{random.integers(10)}T23:59:59.5",
            "note": " ".join(random.choice(WORDS, 9)),
            "last": f"2031-1{random.integers(3)}-2{random.integers(9)}",
        }
        for _ in range(size)
    ]
    missing = [{name: value if random.random() < 0.8 else None for name, value in row.items()} for row in rows]
    kinds = {"number": "number", "flag": "boolean", "town": "text", "kind": "text", "first": "date", "last": "date"}
    kinds["note"] = "text"
    reader = plain_rows.Reader([columns.Input(name, kind, True) for name, kind in kinds.items()])
    table, target = SimpleNamespace(name="t", features=[*kinds]), np.arange(size) % 2
    fitted = tabular.encoder(reader.read(rows).frame(), table, "binary").fit(reader.read(rows).frame(), target)

    for each in (rows, missing, missing[:1]):
        read = reader.read(each)
        wanted = fitted.transform(read.frame())
        np.testing.assert_allclose(encodings.encoding(fitted)(read), wanted, rtol=1e-9, atol=1e-12)
        framed = encodings.FrameColumns(read.frame())
        np.testing.assert_allclose(encodings.encoding(fitted)(framed), wanted, rtol=1e-9, atol=1e-12)
    assert all(encodings._short(step) for _, step, names in fitted.transformers_ if names)
    assert "text 0" in fitted.named_transformers_


WORDS = np.array(["late", "Late", "paid", "a", "naïve", "twice", "on", "time", "42", "überfällig"])


class Recorder:
    """Stand in for a version: note the calls, and refuse a request with a row below 0."""

    is_quick, reader = False, True

    def __init__(self):
        self.calls = []

    def answer_together(self, requests):
        self.calls.append(len(requests))
        return [self.answer_alone(records) for records in requests]

    def answer_alone(self, records):
        if records[0]["x"] < 0:
            raise package.BadRows("below 0")
        return served_version.Answer([[row["x"]] for row in records], [])


@pytest.mark.parametrize("quick", [True, False])
def test_requests_at_the_same_time_are_answered_by_one_call_each_with_its_own(quick):
    version, answers = Recorder(), batching.Answers()
    version.is_quick = quick

    async def ask(*values):
        asked = [answers.answer(version, [{"x": value}] * 2) for value in values]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(ask(1.0, 2.0, 3.0))
    assert [answer.predictions for answer in found] == [[[1.0]] * 2, [[2.0]] * 2, [[3.0]] * 2]
    assert version.calls == [3]
    first, bad, last = asyncio.run(ask(1.0, -2.0, 3.0))
    assert isinstance(bad, package.BadRows)
    assert (first.predictions, last.predictions) == ([[1.0]] * 2, [[3.0]] * 2)
    assert asyncio.run(ask(4.0))[0].predictions == [[4.0]] * 2
    assert version.calls == [3, 3, 1]
