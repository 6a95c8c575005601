"""What the team promises about its tables. This file is yours: add what your data must keep."""

import re
from importlib import import_module

import pytest

catalog = import_module("{{ cookiecutter.__package }}.datasets.catalog")
data = import_module("{{ cookiecutter.__package }}.data")
table_module = import_module("{{ cookiecutter.__package }}.datasets.table")

EXAMPLES = 1000  # rows that something is done to


@pytest.fixture(scope="module", autouse=True)
def snapshots():
    """The tests read the snapshots, or, where there are none yet, the sources as they are now."""
    if catalog.complete():
        yield
    elif missing := catalog.missing_variables():
        pytest.skip(missing)
    else:
        with catalog.fetched(keep=False):
            yield


@pytest.fixture(scope="module", params=data.TABLES, ids=lambda table: table.name)
def table(request, snapshots):
    return request.param


@pytest.fixture(scope="module")
def rows(table):
    """All rows, which are good."""
    return table.rows()


@pytest.fixture(scope="module")
def held(table, rows):
    """Which rows are held out."""
    return table_module.is_holdout(table, rows)


def test_every_row_is_good(rows):
    assert len(rows) > 0


def test_every_target_varies(table, rows):
    assert (rows[[table.target, *table.targets]].nunique() > 1).all()


def test_no_target_is_a_feature(table):
    assert not {table.target, *table.targets} & set(table.features)


def test_both_sides_of_the_split_have_rows(held):
    assert 0 < held.sum() < len(held)


def test_all_that_is_held_out_is_later_than_all_there_is_to_learn_from(table, rows, held):
    if table.time:
        assert rows[table.time][~held].max() < rows[table.time][held].min()


def test_rows_that_arrive_later_move_no_row_into_the_holdout(table, rows, held):
    if table.time:
        times = rows[table.time].drop_duplicates()
        earlier = rows[rows[table.time] <= times.iloc[: max(2, len(times) * 2 // 3)].max()]
    else:
        earlier = rows.iloc[: len(rows) * 2 // 3]
    before, after = table_module.is_holdout(table, earlier), held[earlier.index]

    assert not (after & ~before).any()
    assert table.time or (after == before).all()


def test_a_lost_column_is_named(table, rows):
    without = rows.head(EXAMPLES).drop(columns=table.target)

    with pytest.raises(table_module.BadData, match=re.escape(table.target)):
        table_module.checked(table, without)


def test_duplicate_keys_are_named(table, rows):
    doubled = rows.iloc[[0, *range(min(len(rows), EXAMPLES))]].reset_index(drop=True)

    with pytest.raises(table_module.BadData, match="duplicate keys, 2 of"):
        table_module.checked(table, doubled)
