"""Held-out rows that are copies of training rows are not judged on; rows that are equal by chance are."""

import tracemalloc
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
copies = import_module(f"{PACKAGE}.training.copies")
table_module = import_module(f"{PACKAGE}.datasets.table")

ROWS = 600
RANDOM = np.random.default_rng(0)
WIDE = pd.DataFrame(RANDOM.normal(size=(ROWS, 4)), columns=list("abcd")).assign(truth=RANDOM.integers(0, 2, ROWS))
COARSE = pd.DataFrame(RANDOM.integers(0, 3, (ROWS, 4)), columns=list("abcd")).assign(truth=RANDOM.integers(0, 2, ROWS))
CITIES = pd.DataFrame({"city": [f"city {i}" for i in RANDOM.integers(0, 40, ROWS)]})
CITIES = CITIES.assign(
    zip=CITIES["city"] + " zip", area=CITIES["city"].str.len() * 1.5, truth=RANDOM.integers(0, 2, ROWS)
)


def found(rows, **declared):
    """How many of the held-out rows are copies, and how many are held out."""
    rows = rows.assign(key=range(len(rows)))
    schema = pa.DataFrameSchema({name: pa.Column() for name in rows})
    table = table_module.Table("rows", lambda: rows, schema, "truth", "key", **declared)
    held = table_module.is_holdout(table, rows)
    copied = copies.copied_rows(table, rows, held)
    assert not (copied & ~held).any()
    return copied.sum(), held.sum()


@pytest.mark.parametrize(
    "again",
    [
        WIDE,
        WIDE.iloc[:100],
        WIDE + 1e-7,
        WIDE.assign(a=WIDE["a"].where(WIDE["b"] > 0)),
    ],
)
def test_rows_under_new_keys_are_found(again):
    base = WIDE.assign(a=WIDE["a"].where(WIDE["b"] > 0)) if again["a"].isna().any() else WIDE
    both = pd.concat([base, again.assign(truth=base["truth"])], ignore_index=True)
    count, held = found(both)

    assert count > 0.15 * len(again)  # the other is held out, too, or both are training rows, for the rest
    assert count < held


def test_images_under_two_names_are_found():
    rows = pd.DataFrame({"image": [bytes([i % 250, i // 250]) for i in range(ROWS)], "truth": WIDE["truth"]})

    assert found(rows)[0] == 0
    assert found(pd.concat([rows, rows.iloc[:200]], ignore_index=True))[0] > 30


@pytest.mark.parametrize("rows", [WIDE, COARSE, CITIES, COARSE[["a", "truth"]], WIDE.assign(truth=WIDE["a"] * 2)])
def test_rows_that_are_equal_by_chance_are_not(rows):
    assert found(rows)[0] == 0


def test_a_row_with_the_same_features_and_another_truth_is_no_copy():
    assert found(pd.concat([WIDE, WIDE.assign(truth=1 - WIDE["truth"])], ignore_index=True))[0] == 0


def test_the_newest_rows_are_judged_on_though_nothing_changed_in_them():
    times = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.repeat([0, 1, 2, 3, 4, 5], ROWS), "D")

    assert found(pd.concat([WIDE] * 6, ignore_index=True).assign(day=times), time="day")[0] == 0


def test_a_wide_table_is_not_held_a_second_time():
    rows = pd.DataFrame(RANDOM.normal(size=(20_000, 60)), columns=[f"c{i}" for i in range(60)])
    rows = pd.concat([rows, rows[:5000]], ignore_index=True).assign(truth=1.0)
    size = rows.memory_usage().sum()
    tracemalloc.start()
    count, _ = found(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count > 500
    assert peak < 0.75 * size
