"""Random rows, as JSON gives them, for random columns, read in both ways: `rows.py PROJECT EXAMPLES`.

What the short way accepts, the ordinary one accepts too and makes the same frame of; what it takes for good breaks no
check.
"""

import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROJECT, EXAMPLES = Path(sys.argv[1]), int(sys.argv[2])
sys.path.insert(0, str(PROJECT / "src"))
PACKAGE = next(path.parent.name for path in PROJECT.glob("src/*/__init__.py"))
package = import_module(PACKAGE)
columns = import_module(f"{PACKAGE}.datasets.columns")
plain_rows = import_module(f"{PACKAGE}.serving.plain_rows")
ranges = import_module(f"{PACKAGE}.datasets.ranges")

NUMBERS = st.floats(allow_nan=False) | st.integers() | st.integers(-(2**53) - 2, 2**53 + 2) | st.sampled_from([0, -0.0])
DATES = (
    st.datetimes().map(lambda time: time.isoformat())
    | st.dates().map(str)
    | st.sampled_from(
        ["2024-01-01T24:00:00", "2024-02-30", "0000-01-01", "2024-01-01T00:00:00Z", "1500-01-01", "2024-01-01 10:00:00"]
    )
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["a", "b", "nan", "1"])
PLAIN = {"number": NUMBERS, "text": TEXTS, "boolean": st.booleans(), "date": DATES}
ODD = st.none() | NUMBERS | TEXTS | st.booleans() | DATES | st.lists(NUMBERS, max_size=2) | st.just({"a": 1})
BOUND = st.integers(-3, 3) | st.floats(-3, 3)
CHECKS = {
    "number": st.dictionaries(
        st.sampled_from(["greater_than", "greater_than_or_equal_to"]),
        BOUND.map(lambda value: {"min_value": value}),
        max_size=1,
    )
    | st.tuples(BOUND, BOUND, st.booleans(), st.booleans()).map(
        lambda each: {
            "in_range": dict(zip(["min_value", "max_value", "include_min", "include_max"], each, strict=True))
        }
    )
    | st.lists(BOUND, max_size=2).map(lambda values: {"isin": {"allowed_values": values}}),
    "text": st.lists(TEXTS, max_size=3).map(lambda values: {"isin": {"allowed_values": values}})
    | st.just({"str_startswith": {"string": "a"}})
    | st.just({}),
}


@st.composite
def tables(draw):
    """Some columns, and some rows, of which most values are of the column's kind."""
    kinds = draw(st.lists(st.sampled_from([*PLAIN]), min_size=1, max_size=4))
    inputs = [
        columns.Input(f"c{i}", kind, draw(st.booleans()), checks=draw(CHECKS.get(kind, st.just({}))))
        for i, kind in enumerate(kinds)
    ]
    odd = draw(st.sampled_from([False, False, True]))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = {}
        for column in inputs:
            good = PLAIN[column.kind] | st.none() if column.nullable else PLAIN[column.kind]
            row[column.name] = draw(ODD if odd and draw(st.integers(0, 5)) == 0 else good)
        if odd and draw(st.integers(0, 9)) == 0:
            del row[inputs[0].name]
        rows.append(row)
    return inputs, rows


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tables())
def same_frame(table):
    inputs, rows = table
    reader = plain_rows.Reader(inputs)
    found = reader.read(rows)
    if found is None:
        return
    COUNT["accepted"] += 1
    wanted = columns.typed(pd.DataFrame.from_records(rows, index=range(len(rows))), inputs)
    wanted = wanted.astype({column.name: "datetime64[us]" for column in inputs if column.kind == "date"})  # if empty
    pd.testing.assert_frame_equal(found.frame([*wanted]), wanted, check_exact=True)
    if found.in_range:
        COUNT["in range"] += 1
        assert ranges.sentences(wanted, inputs) == []


COUNT = {"accepted": 0, "in range": 0}
same_frame()
assert COUNT["accepted"] > EXAMPLES // 4, COUNT
assert COUNT["in range"] > EXAMPLES // 20, COUNT
print(COUNT)
