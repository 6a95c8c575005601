"""Tables of any kind become numbers, and a blend takes the models that predict rows well which they never saw."""

import tracemalloc
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

PACKAGE = "{{ cookiecutter.__package }}"
artifact = import_module(f"{PACKAGE}.training.artifact")
blend = import_module(f"{PACKAGE}.features.blend")
tabular = import_module(f"{PACKAGE}.features.tabular")

COUNT = 300
RANDOM = np.random.default_rng(0)
NUMBERS = pd.DataFrame({"a": RANDOM.normal(size=COUNT), "b": RANDOM.normal(size=COUNT)})


def table(rows, time=None, group=None):
    features = [name for name in rows if name not in (time, group)]
    return SimpleNamespace(name="own", features=features, time=time, group=group)


def squared(predicted, truth):
    return (predicted - truth) ** 2


def recipe(rows, caution=0.0, **members):
    members = members or {
        "naive": DummyRegressor(),
        "linear": LinearRegression(),
        "boosted": HistGradientBoostingRegressor(max_iter=30, early_stopping=False, random_state=0),
    }
    members = {name: blend.Member(each) for name, each in members.items()}
    return blend.Recipe(members, tabular.encoder(rows, table(rows), "continuous"), squared, 0, caution)


def test_a_fit_says_its_parts(monkeypatch):
    said = []
    monkeypatch.setattr(blend, "progress", said.append)
    recipe(NUMBERS).fit(NUMBERS, NUMBERS["a"].to_numpy() * 3, table(NUMBERS))

    folds = [f"choosing weights: fold {number} of 3" for number in (1, 2, 3)]
    assert said == [*folds, "encoding 300 rows", "fitting linear, 1 of 1, on 300 rows"]


@pytest.mark.parametrize(
    ("truth", "wanted"),
    [
        (3 * NUMBERS["a"] - NUMBERS["b"], "linear"),
        ((NUMBERS["a"].abs() > 1) * 5.0, "boosted"),
        (pd.Series(RANDOM.normal(size=COUNT)), "naive"),
    ],
    ids=["a line", "steps", "noise"],
)
def test_what_predicts_unseen_rows_best_gets_the_weight_and_what_has_none_is_left_out(truth, wanted):
    own = recipe(NUMBERS)
    weights = own.choose_weights(NUMBERS, truth.to_numpy(), table(NUMBERS))
    fitted = own.fit(NUMBERS, truth.to_numpy(), table(NUMBERS))

    assert max(weights, key=weights.get) == wanted
    assert sum(weights.values()) == pytest.approx(1)
    assert len(fitted["blend"].members) == sum(weight > 0 for weight in weights.values())


def test_with_a_time_weights_are_pulled_to_the_prior_ones_unless_others_are_much_better():
    """Boosted trees cannot follow the trend that both the past and the future have."""
    rows = NUMBERS.assign(day=np.arange(COUNT), since=np.arange(COUNT))
    mixed, timed = (rows["a"].abs() > 1) * 1.0 + rows["a"] + RANDOM.normal(size=COUNT), table(rows, time="day")
    weights = [recipe(rows, caution).choose_weights(rows, mixed.to_numpy(), timed) for caution in (0, 0.5, 100)]
    trend = recipe(rows, 0.5).choose_weights(rows, (rows["since"] + mixed).to_numpy(), timed)

    pulled = [abs(each["linear"] - 0.5) + abs(each["boosted"] - 0.5) for each in weights]
    assert pulled == sorted(pulled, reverse=True) and pulled[0] > 0
    assert weights[-1] == {"naive": 0, "linear": 0.5, "boosted": 0.5}
    assert trend["linear"] >= 0.9


def test_trees_that_correct_a_line_follow_a_trend_and_learn_steps():
    encoded = np.column_stack([np.arange(COUNT), NUMBERS["a"]])
    truth = encoded[:, 0] + 50 * (np.abs(encoded[:, 1]) > 1)
    line, trees = LinearRegression(), HistGradientBoostingRegressor(max_iter=30, early_stopping=False, random_state=0)
    errors = [
        squared(blend.Member(each).fitted(encoded[:200], truth[:200], 0).predict(encoded[200:]), truth[200:]).mean()
        for each in (blend.Corrected(line, trees, rows=150), line, trees)
    ]

    assert errors[0] < 0.5 * min(errors[1:])


def test_validation_holds_out_as_the_table_does():
    rows = NUMBERS.assign(shop=np.arange(COUNT) % 7, day=np.arange(COUNT) // 3)
    truth = rows["a"].to_numpy()

    for learned, held in blend.folds(rows, truth, table(rows, group="shop"), 0):
        assert not set(rows["shop"].iloc[learned]) & set(rows["shop"].iloc[held])
    for learned, held in blend.folds(rows, truth, table(rows, time="day"), 0):
        assert rows["day"].iloc[learned].max() < rows["day"].iloc[held].min()
    once = np.concatenate([held for _, held in blend.folds(rows, truth, table(rows), 0)])
    assert sorted(once) == list(range(COUNT))


def test_numbers_are_encoded_without_further_copies_of_the_table():
    rows = pd.DataFrame(RANDOM.normal(size=(20_000, 50)), columns=[f"c{i}" for i in range(50)])
    tracemalloc.start()
    encoded = tabular.floats(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    np.testing.assert_array_equal(encoded, rows)
    assert peak < 1.3 * encoded.nbytes


def test_an_hour_a_weekday_and_a_season_can_be_learned_from_a_date():
    rows = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=3000, freq="5h")})
    truth = (
        (rows["when"].dt.hour > 12) + 2.0 * (rows["when"].dt.day_of_week > 4) + 3.0 * rows["when"].dt.month.isin([6, 7])
    )
    found = recipe(rows).fit(rows[:2000], truth[:2000].to_numpy(), table(rows)).predict(rows[2000:])

    assert squared(found, truth[2000:]).mean() < 0.1 * truth.var()


def test_of_several_dates_the_age_is_known():
    dates = pd.DataFrame({"born": pd.to_datetime(["2000-01-01", None]), "seen": pd.to_datetime(["2000-01-11", None])})

    assert tabular.calendar(dates)[0, -2:].tolist() == [10, 0]
    assert np.isnan(tabular.calendar(dates)[1]).all()


def test_words_of_free_text_can_be_learned_from():
    words = ["engine", "wheel", "door", "lamp", "brake", "horn"]
    texts = [" ".join(RANDOM.choice(words, 4)) + f" case {i}" for i in range(COUNT)]
    rows = pd.DataFrame({"remark": pd.array(texts, dtype="string")})
    truth = rows["remark"].str.contains("brake").to_numpy(float)
    own = recipe(rows)
    found = own.fit(rows[:200], truth[:200], table(rows)).predict(rows[200:].assign(remark=texts[200:]))

    assert [name for name, _, _ in own.encoder.transformers] == ["text 0"]
    assert squared(found, truth[200:]).mean() < 0.5 * truth.var()


def test_five_hundred_columns_of_categories_stay_few_numbers():
    codes = RANDOM.integers(0, 12, (COUNT, 500))
    rows = pd.DataFrame({f"c{i}": pd.Series(codes[:, i]).map("v{}".format) for i in range(500)})
    encoded = tabular.encoder(rows, table(rows), "continuous").fit_transform(rows, RANDOM.normal(size=COUNT))

    assert encoded.shape[1] <= tabular.WIDEST + 500


def test_a_value_that_is_missing_is_a_fact_for_the_linear_model_too():
    rows = NUMBERS.assign(c=np.where(np.arange(COUNT) % 3 == 0, np.nan, 1.0))
    truth = rows["c"].isna().to_numpy(float)
    own = recipe(rows, linear=tabular.scaler(), boosted=tabular.scaler())

    assert own.encoder.fit_transform(rows).shape == (COUNT, 3)
    assert np.corrcoef(tabular.scaler().fit_transform(rows)[:, -1], truth)[0, 1] == pytest.approx(1)
