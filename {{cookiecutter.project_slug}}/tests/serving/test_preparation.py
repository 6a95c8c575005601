"""What a caller gives becomes a row by the same function in training, service and files; odd values are told."""

import shutil
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
batch = import_module(f"{PACKAGE}.serving.batch")
catalog = import_module(f"{PACKAGE}.datasets.catalog")
columns = import_module(f"{PACKAGE}.datasets.columns")
contract = import_module(f"{PACKAGE}.training.contract")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
loading = import_module(f"{PACKAGE}.registry.loading")
model_code = import_module(f"{PACKAGE}.registry.model_code")
provenance = import_module(f"{PACKAGE}.registry.provenance")
ranges = import_module(f"{PACKAGE}.datasets.ranges")
table_module = import_module(f"{PACKAGE}.datasets.table")
train = import_module(f"{PACKAGE}.training.train")
versions = import_module(f"{PACKAGE}.registry.versions")

PREPARATION = """
from .datasets.table import as_of


def trips(requests, lookups):
    return as_of(requests, lookups["weather"], "leaves", "seen", by="town")
"""
LINEAR = """
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

PRIMARY, TRUSTED = "mae", ()


@dataclass(frozen=True)
class Params:
    intercept: bool = True


def fit(rows, table, params):
    return LinearRegression(fit_intercept=params.intercept).fit(rows[["distance", "rain"]], rows[table.target])


def baselines(rows, table, params):
    return {"naive": fit(rows.assign(distance=0.0, rain=0.0), table, params)}


def predict(estimator, rows):
    return pd.DataFrame({"prediction": estimator.predict(rows[["distance", "rain"]].fillna(0))}, rows.index)


def losses(rows, predictions, table):
    return np.abs(predictions["prediction"].to_numpy() - rows[table.target].to_numpy())


def metrics(rows, predictions, table):
    return {}


def plots(rows, predictions, table):
    return {}
"""
REQUEST = {
    "town": pa.Column(str, pa.Check.isin(["A", "B"])),
    "leaves": pa.Column("datetime64[ns]"),
    "distance": pa.Column(float, pa.Check.ge(0)),
}


def weather(offset=0.0):
    """The rain in two towns, as seen every day at noon."""
    seen = pd.date_range("2024-01-01 12:00", periods=100, freq="D")
    rain = np.random.default_rng(0).gamma(1, 5, 200) + offset
    return pd.DataFrame({"seen": [*seen, *seen], "town": ["A"] * 100 + ["B"] * 100, "rain": rain})


def own_trips():
    """Trips that take as long as they are, and longer by the rain that was last seen."""
    random = np.random.default_rng(1)
    leaves = pd.Timestamp("2024-01-02") + pd.to_timedelta(random.integers(0, 90 * 24, 300), "h")
    given = {"trip": range(300), "town": random.choice(["A", "B"], 300), "leaves": leaves}
    rows = pd.DataFrame(given | {"distance": random.uniform(1, 100, 300)})
    known = table_module.as_of(rows, weather(), "leaves", "seen", by="town")
    return rows.assign(minutes=known["distance"] + 3 * known["rain"])


def table(**changed):
    place = import_module(f"{PACKAGE}.preparation").trips
    features = {"distance": pa.Column(float), "rain": pa.Column(float), "minutes": pa.Column(float)}
    schema = pa.DataFrameSchema({"trip": pa.Column(int), **features}, strict=True)
    given = {"request": pa.DataFrameSchema(REQUEST), "prepare": place, "lookups": ("weather",)}
    return table_module.Table("trips", own_trips, schema, "minutes", "trip", **(given | changed))


@pytest.fixture(scope="module")
def prepared(project):
    """The name and number of a version of a table with a preparation, made of code that is not committed."""
    source = project / "src" / PACKAGE
    (source / "preparation.py").write_text(PREPARATION, encoding="utf-8")
    (source / "models" / "linear_of_tests.py").write_text(LINEAR, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalog, "read", lambda name: weather())
        patched.setattr(contract, "TABLES", [table()])
        patched.setattr(contract, "model_blocks", lambda names: {"trip": {"module": "linear_of_tests"}})
        patched.setattr(provenance, "module_name", lambda name: "linear_of_tests")
        model = contract.load_model("trip")
        made_of = provenance.current("trip", model.preparation)
        train.split(model)
        train.fit(model)
        evaluate.score(model)
        number, _ = versions.record_version(model, evaluate.read_scores(model), made_of)
    yield model, number
    for path in (source / "preparation.py", source / "models" / "linear_of_tests.py"):
        path.unlink()
    shutil.rmtree(model.files.folder)


def requests(model, count=5):
    """Held-out rows as a caller asks for them."""
    return pd.read_parquet(model.files.holdout)[list(REQUEST)].head(count)


def test_the_signature_names_what_a_caller_gives_and_the_service_makes_the_row(prepared):
    model, number = prepared
    version = loading.load_version("trip", number)
    asked, rows = requests(model), pd.read_parquet(model.files.holdout).head(5)

    assert [column.name for column in version.signature.inputs] == ["town", "leaves", "distance"]
    assert set(version.signature.examples[0]) == set(REQUEST)
    version.verify_examples()
    answers, warnings = version.answered(columns.records(asked))
    assert [each["prediction"] for each in answers] == pytest.approx(rows["minutes"].tolist())
    assert warnings == []


def test_a_file_of_requests_is_answered_as_the_service_does(prepared, tmp_path, monkeypatch):
    model, number = prepared
    monkeypatch.setattr(batch, "champion", lambda name: number)
    odd = requests(model).assign(trip=range(5), distance=[-5.0, 1, 2, 3, 4])
    odd.to_csv(tmp_path / "rows.csv", index=False)
    batch.predict_file(tmp_path / "rows.csv", tmp_path / "found.parquet", "trip", ["trip"])
    found = pd.read_parquet(tmp_path / "found.parquet")

    answers, warnings = loading.load_version("trip", number).answered(columns.records(odd))
    assert found["prediction"].tolist() == pytest.approx([each["prediction"] for each in answers])
    assert found["warnings"].tolist() == ["distance should be at least 0", *[""] * 4]
    assert warnings == ["column 'distance' should be at least 0, but holds -5.0 (rows from 0: 0)"]


def test_a_version_keeps_its_lookups_and_the_code_that_prepares(prepared, monkeypatch):
    """A lookup that moves on, and an edit of the preparation, change nothing until a new version serves."""
    model, number = prepared
    before = loading.load_version("trip", number).responses(columns.records(requests(model)))
    file = model_code.SOURCE / "preparation.py"
    known = model_code.code_hash("linear_of_tests", preparation="preparation:trips")
    file.write_text(PREPARATION.replace('by="town")', 'by="town").assign(rain=0.0)'), encoding="utf-8")
    monkeypatch.setattr(catalog, "read", lambda name: weather(100.0))
    loading.running_code.cache_clear()
    try:
        assert known != model_code.code_hash("linear_of_tests", preparation="preparation:trips")
        again = loading.load_version("trip", number)
        assert again.module.__name__.startswith(f"{PACKAGE}_")
        assert again.responses(columns.records(requests(model))) == before
    finally:
        file.write_text(PREPARATION, encoding="utf-8")
        loading.running_code.cache_clear()


def test_a_changed_lookup_is_not_served(prepared):
    file = versions.version_folder("trip", prepared[1]) / artifact.LOOKUP.format("weather")
    content = file.read_bytes()
    weather(1.0).to_parquet(file)
    try:
        with pytest.raises(package.Refused, match="is not the file that was saved"):
            loading.load_version("trip", prepared[1])
    finally:
        file.write_bytes(content)


def test_what_is_out_of_range_is_refused_where_the_table_says_so(prepared):
    version = loading.load_version("trip", prepared[1])
    strict = replace(version, signature=replace(version.signature, out_of_range="refuse"))
    odd = columns.records(requests(prepared[0]).assign(town="Z"))

    assert "column 'town' should be one of A, B, but holds 'Z'" in version.answered(odd)[1][0]
    with pytest.raises(package.BadRows, match="column 'town' should be one of A, B"):
        strict.answered(odd)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prepare": lambda requests, lookups: requests.iloc[1:]}, "must return a row for each request"),
        (
            {"prepare": lambda requests, lookups: requests.assign(distance=0.0)},
            "changes 'distance', or the order of the rows",
        ),
        ({"prepare": lambda requests, lookups: requests.sort_values("distance", ignore_index=True)}, "or the order of"),
        ({"prepare": lambda requests, lookups: requests.assign(minutes=0.0)}, "adds 'minutes', which its rows have"),
        ({"request": pa.DataFrameSchema({"none": pa.Column(int)})}, "a request has 'none', which its rows lack"),
        ({"request": pa.DataFrameSchema({"distance": pa.Column(float, pa.Check.ge(50))})}, "distance: .*_equal_to"),
        ({"request": None}, "has one of request and prepare"),
        ({"out_of_range": "ignore"}, "out_of_range is 'ignore', but can be 'warn' or 'refuse'"),
    ],
)
def test_a_preparation_that_would_mean_two_things_is_refused(prepared, monkeypatch, change, words):
    monkeypatch.setattr(catalog, "read", lambda name: weather())
    with pytest.raises(package.Refused, match=words):
        table(**change).rows()


def test_a_preparation_in_data_py_is_refused_since_the_service_does_not_import_that(prepared):
    def mine(requests, lookups):
        return requests

    model = replace(prepared[0], table=table(prepare=mine))
    with pytest.raises(package.Refused, match="make it a function of a module beside"):
        model.preparation  # noqa: B018


def test_the_newest_line_known_at_a_time_is_looked_up_whatever_units_and_zones():
    at = pd.to_datetime(["2024-01-03 12:00", None, "2023-01-01 00:00", "2024-01-02 11:59"])
    rows = pd.DataFrame({"leaves": at.as_unit("us"), "town": "A"}, index=[7, 3, 9, 1])
    lines = weather().assign(seen=lambda lines: lines["seen"].dt.tz_localize("UTC")).sample(frac=1, random_state=0)
    found = table_module.as_of(rows, lines, "leaves", "seen", by="town")
    known = weather()["rain"]

    assert found.index.tolist() == [7, 3, 9, 1]
    np.testing.assert_equal(found["rain"].to_numpy(), [known[2], np.nan, np.nan, known[0]])


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (pa.Check.ge(0), 0.0, -1.0, "at least 0"),
        (pa.Check.gt(0), 1.0, 0.0, "above 0"),
        (pa.Check.le(np.float64(1.5)), 1.5, 2.0, "at most 1.5"),
        (pa.Check.lt(2), 1.0, 2.0, "below 2"),
        (pa.Check.in_range(1, 12), 12.0, 13.0, "from 1 to 12"),
        (pa.Check.in_range(1, 12, include_max=False), 11.0, 12.0, "from 1 to 12"),
        (pa.Check.isin([1, 2]), 2.0, 3.0, "one of 1, 2"),
        (pa.Check.notin([1, 2]), 3.0, 2.0, "none of 1, 2"),
        (pa.Check.isin({"a"}), "a", "b", "one of a"),
        (pa.Check.str_matches("^a"), "ab", "ba", "a text like ^a"),
        (pa.Check.str_startswith("a"), "ab", "ba", "a text that starts with a"),
    ],
)
def test_a_simple_check_of_the_schema_is_asked_of_a_request(check, good, bad, words):
    kind = "text" if isinstance(good, str) else "number"
    column = columns.Input("x", kind, True, checks=ranges.simple_checks([check]))
    rows = columns.typed(pd.DataFrame({"x": [good, None, bad]}), [column])

    assert [(name, said, wrong.tolist()) for name, said, wrong in ranges.out_of_range(rows, [column])] == [
        ("x", words, [False, False, True])
    ]


def test_a_check_that_is_code_or_has_a_long_list_is_left_to_training():
    own = [pa.Check(lambda values: values > 0), pa.Check(lambda values: values > 0, name="isin")]

    assert ranges.simple_checks([*own, pa.Check.isin(range(ranges.LISTED + 1))]) == {}
