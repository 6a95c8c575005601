"""Rows that are not what the champion learned from: a broken batch is set aside, the others are learned."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
aside = import_module(f"{PACKAGE}.training.aside")
profiles = import_module(f"{PACKAGE}.retraining.profiles")
sift = import_module(f"{PACKAGE}.retraining.sift")
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")
NEW = 40  # the rows of a batch


@pytest.fixture
def name(model):
    """A number whose range the champion knows."""
    profile = profiles.known_profile(model, versions.champion(model.name))
    for name, column in profile.columns.items():
        if column.kind == "number" and column.closed and not name.startswith(profiles.ANSWER):
            return name
    return pytest.skip("no input is a number that can be watched")


@pytest.fixture
def arrive(model, monkeypatch):
    """A function that lets rows be those of the model's table; nothing is set aside before and after."""
    files = [model.files.set_aside, model.files.sifted]
    model.files.set_aside.unlink(missing_ok=True)
    model.files.folder.mkdir(parents=True, exist_ok=True)
    np.save(model.files.sifted, np.array([], np.uint64))  # so the list of the champion is not taken up
    yield lambda rows: monkeypatch.setattr(type(model.table), "rows", lambda self: rows.copy())
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture
def rows(model):
    return model.table.rows()


def batch(model, rows, number):
    """Copies of known rows under keys that no row has, later in time if rows have one."""
    key, new = model.table.keys[0], rows.sample(NEW, random_state=number, replace=True).reset_index(drop=True)
    values = [f"{number}-{i}" for i in range(NEW)] if rows[key].dtype.kind not in "iuM" else None
    if rows[key].dtype.kind in "iu":
        values = [int(rows[key].max()) + NEW * number + i for i in range(NEW)]
    if values is None:
        pytest.skip("its keys are times")
    return new.assign(**{key: values})


def test_a_broken_batch_is_set_aside_and_the_others_are_learned(model, rows, name, arrive, capsys):
    good, broken = batch(model, rows, 1), batch(model, rows, 2)
    broken[name] = broken[name] * 1000 + 1e9
    everything = pd.concat([rows, good], ignore_index=True)
    arrive(everything)
    assert not sift.sift(model)
    assert len(model.rows()) == len(everything)

    arrive(pd.concat([everything, broken], ignore_index=True))
    assert sift.sift(model)
    assert (
        f"{NEW} rows are set aside, arrived {package.now():%Y-%m-%d}: {name}: 100% of the values are outside"
        in capsys.readouterr().out
    )
    listed = aside.read(model.files.set_aside)
    assert {*listed["key"]} == {*aside.keys_of(model.table, broken)}
    assert {*listed["column"]} == {name}
    left = model.rows().astype(everything.dtypes)  # the broken batch made floats of integers
    pd.testing.assert_frame_equal(left, everything)
    assert not sift.sift(model)

    arrive(pd.concat([everything, broken.assign(**{name: good[name]})], ignore_index=True))  # mended at its source
    assert sift.sift(model)
    assert len(model.rows()) == len(everything) + NEW
    assert not model.files.set_aside.exists()


def test_of_a_batch_with_gaps_only_these_rows_are_set_aside(model, rows, name, arrive):
    new = batch(model, rows, 1)
    holes = new.index < NEW // 2
    new[name] = new[name].astype(float).mask(holes, np.nan)
    arrive(pd.concat([rows, new], ignore_index=True))

    assert sift.sift(model)
    assert {*aside.read(model.files.set_aside)["key"]} == {*aside.keys_of(model.table, new[holes])}


def test_rows_that_a_watch_suspects_wait_until_they_can_be_judged(model, rows, name, arrive):
    new = batch(model, rows, 1)
    keys = aside.keys_of(model.table, new)
    aside.suspect(model.files.set_aside, keys, "asked on 2026-02-28", name, "constant")
    aside.suspect(model.files.set_aside, keys, "asked on 2026-02-28", name, "constant")
    arrive(pd.concat([rows, new.head(5)], ignore_index=True))
    assert not sift.sift(model)
    assert len(model.rows()) == len(rows)

    arrive(pd.concat([rows, new], ignore_index=True))
    assert sift.sift(model)
    assert len(model.rows()) == len(rows) + NEW


def test_where_all_rows_are_others_nothing_is_learned(model, rows, name, arrive):
    arrive(rows.assign(**{name: rows[name] * 1000 + 1e9}))
    with pytest.raises(
        package.Refused, match=f"{name}: 100% of the values are outside .* nothing is learned from them"
    ):
        sift.sift(model)

    many = [batch(model, rows, number) for number in range(1, 3 * len(rows) // NEW)]
    many = pd.concat(many, ignore_index=True)
    arrive(pd.concat([rows, many.assign(**{name: many[name] * 1000 + 1e9})], ignore_index=True))
    with pytest.raises(package.Refused, match=r"rows are not what they were .* `gate: {steady_columns: false}`"):
        sift.sift(model)
    assert not model.files.set_aside.exists()


def test_what_is_set_aside_stands_with_the_split(model, rows, arrive):
    keys = aside.keys_of(model.table, rows)
    before = {path: path.read_bytes() for path in model.files.rows.iterdir()}
    aside.suspect(model.files.set_aside, keys[:3], "asked on 2026-02-28", "x", "constant")
    try:
        train.split(model)
        assert '"set_aside": 3' in model.files.table_facts.read_text(encoding="utf-8")
        known = [np.load(path) for path in (model.files.train_keys, model.files.holdout_keys)]
        assert sum(map(len, known)) == len(rows) - 3
    finally:
        for path, content in before.items():
            path.write_bytes(content)
