"""Forecasts: nothing of the future is known, rows do not depend on each other, gaps and late starts are bridged."""

from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
columns = import_module(f"{PACKAGE}.datasets.columns")
forecaster = import_module(f"{PACKAGE}.models.forecaster")
seasons = import_module(f"{PACKAGE}.features.seasons")
table_module = import_module(f"{PACKAGE}.datasets.table")

PARAMS = forecaster.Params(rounds=30)


def series(count=10, months=96, noise=3.0, season=20.0):
    """Monthly values of several series: a slope, a season and noise."""
    random, steps = np.random.default_rng(0), np.arange(months)
    parts = []
    for i in range(count):
        values = 100 + steps * season / 40 + season * np.sin(steps * np.pi / 6 + i) + random.normal(0, noise, months)
        at = pd.date_range("2010-01-01", periods=months, freq="MS")
        parts.append(pd.DataFrame({"shop": f"shop {i}", "month": at, "sold": values}))
    return pd.concat(parts).sort_values(["month", "shop"], ignore_index=True)


def prepared(rows):
    """Return the table, a model of the rows that are not held out, and the requests for those that are."""
    schema = pa.DataFrameSchema({name: pa.Column() for name in rows})
    table = table_module.Table("t", lambda: rows, schema, "sold", ("shop", "month"), time="month", group="shop")
    held = table_module.is_holdout(table, rows)
    return table, forecaster.fit(rows[~held], table, PARAMS), forecaster.prediction_requests(rows, held, table, PARAMS)


def mase(rows):
    table, model, requests = prepared(rows)
    return forecaster.losses(requests, forecaster.predict(model, requests), table).mean()


@pytest.fixture(scope="module")
def fitted():
    return prepared(series())


def test_a_season_and_a_slope_are_learned_and_the_interval_has_its_coverage(fitted):
    table, model, requests = fitted
    found = forecaster.predict(model, requests)

    assert forecaster.losses(requests, found, table).mean() < 0.7
    assert 0.8 <= forecaster.metrics(requests, found, table)["coverage"] <= 1


def test_where_there_is_nothing_to_learn_nothing_is_known():
    """Repeating noise has sqrt(2) times the error of its mean: who gets below 1 / sqrt(2) has seen the future."""
    assert mase(series(season=0.0)) > 0.66
    shuffled = series().assign(sold=lambda rows: rows.groupby("shop")["sold"].transform(shuffle))
    assert mase(shuffled) > 0.66


def shuffle(values):
    return values.sample(frac=1, random_state=0).to_numpy()


def test_what_comes_after_the_end_of_a_history_changes_no_forecast_from_it(fitted):
    _, model, requests = fitted
    rows = series()
    end = requests["history_end"].min()
    later = rows.assign(sold=rows["sold"].mask(rows["month"] > end, 1e6))
    _, other, changed = prepared(later)
    first = requests["history_end"] == end

    pd.testing.assert_frame_equal(
        forecaster.predict(model, requests[first]), forecaster.predict(other, changed[changed["history_end"] == end])
    )


def test_every_history_ends_before_what_is_asked_and_no_horizon_is_exceeded(fitted):
    _, model, requests = fitted

    assert (requests["history_end"] < requests["month"]).all()
    assert requests["steps_ahead"].between(1, model.horizon).all()


def test_a_row_is_answered_the_same_alone_and_in_company(fitted):
    _, model, requests = fitted
    alone = [forecaster.predict(model, requests.iloc[[i]]) for i in (0, 57, 103)]

    pd.testing.assert_frame_equal(pd.concat(alone), forecaster.predict(model, requests).iloc[[0, 57, 103]])


def test_gaps_and_late_starts_are_bridged():
    rows = series()
    late = (rows["shop"] == "shop 1") & (rows["month"] < "2015-01-01")
    gaps = np.random.default_rng(0).random(len(rows)) < 0.1

    assert mase(rows[~late & ~gaps].reset_index(drop=True)) < 0.8


def test_the_service_gives_the_whole_horizon_of_a_known_series_or_of_a_history(fitted):
    table, model, requests = fitted
    inputs = forecaster.inputs(requests, table)
    history = {"shop": "new", "history_end": "2020-06-01", "history": [1.0, None, 3.0, 4.0, 5.0]}
    rows = columns.typed(pd.DataFrame.from_records([{"shop": "shop 3"}, history]), inputs)
    known, new = forecaster.prediction_responses(model, rows)

    assert [len(answer["forecast"]) for answer in (known, new)] == [model.horizon] * 2
    assert new["forecast"][0]["month"].startswith("2020-07-01")
    assert all(step["low"] <= step["prediction"] <= step["high"] for step in known["forecast"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"shop": "nobody"}, "series 'nobody' is not known"),
        ({"shop": "shop 1", "month": "2030-01-01"}, "but the forecast is for 1 to 12"),
        ({"shop": "shop 1", "month": "2016-06-02"}, "is not on the time grid of the series"),
        ({"shop": "x", "history": [1, 2, 3]}, "'history_end' must be the time"),
        ({"shop": "x", "history": [1, None], "history_end": "2020-01-01"}, "at least 3 numbers"),
        ({"shop": "x", "history": ["a"], "history_end": "2020-01-01"}, "must be a list of numbers"),
        ({"shop": "shop 1", "month": "9999-01-01"}, "but the forecast is for 1 to 12"),
    ],
)
def test_what_cannot_be_forecast_is_refused_with_the_reason(fitted, row, words):
    table, model, requests = fitted
    with pytest.raises(package.BadRows, match=words):
        forecaster.prediction_responses(
            model, columns.typed(pd.DataFrame.from_records([row]), forecaster.inputs(requests, table))
        )


@pytest.mark.parametrize("frequency", ["YS-JAN", "QE-MAR", "MS", "ME", "W-WED", "B", "D", "h", "15min"])
def test_the_frequency_of_the_times_is_found_through_gaps(frequency):
    times = pd.Series(pd.date_range("2021-03-31", periods=80, freq=frequency)).drop(index=[3, 4, 17])

    assert seasons.infer_frequency(times)[0] == frequency


def test_days_of_a_zone_with_summer_time_are_not_taken_for_hours():
    times = pd.Series(pd.date_range("2024-03-15", periods=40, freq="D", tz="Europe/Berlin"), name="day")
    with pytest.raises(package.Refused, match="'day' is daily only in its own time zone"):
        seasons.infer_frequency(times)


def test_a_row_off_the_time_grid_is_named(fitted):
    rows = series(count=1)
    late = rows.iloc[[0]].assign(month=pd.Timestamp("2012-03-02"))
    with pytest.raises(
        package.Refused, match="series 'shop 0' has a row at 2012-03-02 00:00:00, which is off the grid"
    ):
        seasons.wide(pd.concat([rows, late], ignore_index=True), fitted[0], "MS")


def test_times_without_a_frequency_are_named():
    times = pd.Series(pd.to_datetime(["2021-01-01 00:00:05", "2021-01-03 07:11:13"]), name="seen")
    with pytest.raises(package.Refused, match="'seen' has no regular frequency"):
        seasons.infer_frequency(times)
