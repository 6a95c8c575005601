"""A column that holds the answer is named, alone or with another; an honest one is not, however much it tells."""

from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
columns = import_module(f"{PACKAGE}.datasets.columns")
leakage = import_module(f"{PACKAGE}.retraining.leakage")
limits = import_module(f"{PACKAGE}.retraining.limits")
Table = import_module(f"{PACKAGE}.datasets.table").Table

ROWS = 400
RANDOM = np.random.default_rng(0)
HONEST = pd.DataFrame(RANDOM.normal(size=(ROWS, 5)), columns=list("abcde"))
NUMBER = 50 + 10 * (HONEST["a"] + HONEST["b"] * HONEST["c"] + RANDOM.normal(0, 0.3, ROWS))
FLAG = (NUMBER > 52).astype(int)
FLIPPED = FLAG ^ (RANDOM.random(ROWS) < 0.03)
CODE = RANDOM.integers(0, 2, ROWS)
SERIES, DAY = np.arange(ROWS) // 100, np.arange(ROWS) % 100
TIMES = {"time": pd.Timestamp("2020-01-01") + pd.to_timedelta(DAY, "D"), "group": SERIES}
SALES = 1000 * SERIES + 10 * DAY + RANDOM.normal(0, 5, ROWS)  # each series on its own level, all growing


def check(truth, features, max_skill=0.98, **declared):
    """The condition on a table of these columns; declared are its time and its group."""
    rows = pd.DataFrame({"key": range(len(truth)), **features, "truth": truth, **declared})
    schema = pa.DataFrameSchema({name: pa.Column() for name in rows})
    named = {name: name for name in declared}
    table = Table("rows", lambda: rows, schema, "truth", "key", time=named.get("time"), group=named.get("group"))
    return leakage.check_leakage(table, columns.inputs(rows, table), rows, limits.Limits(max_skill=max_skill))


@pytest.mark.parametrize(
    ("truth", "leak", "named"),
    [
        (NUMBER, {"leak": NUMBER}, "'leak' tells 100% of truth alone"),
        (NUMBER, {"leak": NUMBER, "again": NUMBER}, " tells 100% of truth alone"),
        (NUMBER, {"leak": np.log(NUMBER + 100)}, "'leak' tells 100% of truth alone"),
        (NUMBER, {"leak": NUMBER + RANDOM.normal(0, 0.03 * NUMBER.std(), ROWS)}, "'leak' tells "),
        (FLAG, {"leak": FLAG.map({0: "no", 1: "yes"})}, "'leak' tells 100% of truth alone"),
        (FLAG, {"leak": FLAG, "again": FLAG}, " tells 100% of truth alone"),
        (FLAG, {"leak": CODE, "key to it": CODE ^ FLAG}, " tell 100% of truth alone"),
    ],
)
def test_an_answer_among_the_columns_is_refused(truth, leak, named):
    found = check(truth, {**HONEST, **leak})

    assert not found.holds
    assert named in found.found
    assert check(truth, {**HONEST, **leak}, max_skill=1).holds


def test_a_copy_with_errors_is_warned_of():
    found = check(FLAG, {**HONEST, "copy": FLIPPED})

    assert found.holds
    assert found.warning
    assert found.found.startswith("'copy' tells 9")


@pytest.mark.parametrize(
    ("truth", "features"),
    [
        (NUMBER, HONEST),
        (FLAG, HONEST),
        (NUMBER, HONEST.assign(a=NUMBER + RANDOM.normal(0, 0.25 * NUMBER.std(), ROWS))),  # R2 of .94 by itself
        (NUMBER > 60, HONEST.assign(a=HONEST["a"].where(HONEST["b"] > 0), name=[f"{i}" for i in range(ROWS)])),
    ],
)
def test_honest_columns_are_not(truth, features):
    found = check(truth, features)

    assert found.holds
    assert not found.warning


def test_what_grows_with_the_same_time_is_no_leak_but_the_target_itself_is():
    trend = {"trend": DAY * 3.0 + SERIES}

    assert check(SALES, trend, **TIMES).holds
    assert not check(SALES, {**trend, "copy": SALES}, **TIMES).holds


def test_a_column_that_is_one_with_the_group_is_no_leak():
    """Rows of a patient are on one side of every fold, as they are of the split."""
    patients = np.arange(ROWS) // 8
    sick, born = RANDOM.integers(0, 2, 50)[patients], RANDOM.normal(size=50)[patients]

    assert check(sick, {"born": born}, group=patients).holds
