"""What the team promises about its tables. This file is yours: add what your data must keep."""

import re
from importlib import import_module

import pytest

catalog = import_module("{{ cookiecutter.__package }}.datasets.catalog")
data = import_module("{{ cookiecutter.__package }}.data")
table_module = import_module("{{ cookiecutter.__package }}.datasets.table")


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


@pytest.fixture(params=data.TABLES, ids=lambda table: table.name)
def table(request):
    return request.param


def test_every_row_is_good(table):
    assert len(table.rows()) > 0


def test_the_target_varies(table):
    assert table.rows()[table.target].nunique() > 1


def test_the_target_is_no_feature(table):
    assert not {table.target, *table.targets} & set(table.features)


def test_both_sides_of_the_split_have_rows(table):
    held = table_module.is_holdout(table, table.rows())

    assert 0 < held.sum() < len(held)


def test_all_that_is_held_out_is_later_than_all_there_is_to_learn_from(table):
    if table.time:
        rows = table.rows()
        held = table_module.is_holdout(table, rows)

        assert rows[table.time][~held].max() < rows[table.time][held].min()


def test_rows_that_arrive_later_move_no_row_into_the_holdout(table):
    rows = table.rows()
    if table.time:
        rows = rows.sort_values(table.time, ignore_index=True)
        cut = rows[table.time].drop_duplicates().iloc[: max(2, rows[table.time].nunique() * 2 // 3)].max()
        earlier = rows[rows[table.time] <= cut]
    else:
        earlier = rows.iloc[: len(rows) * 2 // 3]
    before = table_module.is_holdout(table, earlier)
    after = table_module.is_holdout(table, rows)[earlier.index]

    assert not (after & ~before).any()
    assert table.time or (after == before).all()


def test_a_lost_column_is_named(table):
    lost = [*table.features, table.target][0]
    rows = table.load().drop(columns=lost)

    with pytest.raises(table_module.BadData, match=re.escape(lost)):
        table_module.checked(table, rows)


def test_duplicate_keys_are_named(table):
    rows = table.load()
    doubled = rows.iloc[[0, *range(len(rows))]].reset_index(drop=True)

    with pytest.raises(table_module.BadData, match="duplicate keys, 2 of"):
        table_module.checked(table, doubled)
