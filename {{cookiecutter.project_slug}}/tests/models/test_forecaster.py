"""Forecasts: nothing of the future is known, rows do not depend on each other, gaps and late starts are bridged."""

import warnings
from importlib import import_module

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
columns = import_module(f"{PACKAGE}.datasets.columns")
artifact = import_module(f"{PACKAGE}.training.artifact")
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


def declared(rows):
    schema = pa.DataFrameSchema({name: pa.Column() for name in rows})
    return table_module.Table("t", lambda: rows, schema, "sold", ("shop", "month"), time="month", group="shop")


def prepared(rows, params=PARAMS):
    """Return the table, a model of the rows that are not held out, and the requests for those that are."""
    table = declared(rows)
    held = table_module.is_holdout(table, rows)
    return table, forecaster.fit(rows[~held], table, params), forecaster.prediction_requests(rows, held, table, params)


def asked(model, *records):
    """Return the forecasts of each record without a time, `(records, horizon)`."""
    rows = pd.DataFrame.from_records(records)
    answers = forecaster.prediction_responses(model, rows.assign(month=pd.NaT))
    return np.array([[step["prediction"] for step in answer["forecast"]] for answer in answers])


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


def test_the_interval_is_wider_where_the_history_was_wild_lately(fitted):
    """The last 12 of 96 values are wilder: in units of the mean change of all, the interval would widen by 1.4."""
    _, model, _ = fitted
    own = series(count=1, noise=0.0)["sold"].to_numpy()
    noise = np.random.default_rng(0).normal(0, 3, 96)
    histories = [own + noise, own + noise * np.where(np.arange(96) < 84, 1, 5)]
    rows = pd.DataFrame([{"shop": "new", "history_end": "2017-12-01", "history": list(each)} for each in histories])
    requests = model.expand_horizon(rows.assign(month=pd.NaT))
    found = forecaster.predict(model, requests.reset_index(drop=True))
    calm, wild = (found["high"] - found["low"]).to_numpy().reshape(2, -1)

    assert wild.mean() > 1.6 * calm.mean()


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


def hours(days=70):
    """Hourly values of two series with a day, and a week in which the weekend is quiet."""
    at, random = pd.date_range("2024-01-01", periods=24 * days, freq="h"), np.random.default_rng(0)
    busy = np.where(at.day_of_week < 5, 30, 5) * (1 + np.sin(at.hour * np.pi / 12))
    parts = [
        pd.DataFrame({"shop": shop, "month": at, "sold": busy * size + random.normal(10, 1, len(at))})
        for shop, size in {"a": 1.0, "b": 3.0}.items()
    ]
    return pd.concat(parts).sort_values(["month", "shop"], ignore_index=True)


def test_hours_have_a_day_and_a_week():
    rows = hours()
    table, model, requests = prepared(rows)
    ours = forecaster.losses(requests, forecaster.predict(model, requests), table).mean()
    held = table_module.is_holdout(table, rows)
    simple = forecaster.baselines(rows[~held], table, PARAMS)["seasonal naive"]

    assert ours < 0.5 * forecaster.losses(requests, forecaster.predict(simple, requests), table).mean()


def test_of_what_is_never_below_zero_no_forecast_is_and_no_interval():
    rows = series(season=5.0)
    counts = rows.assign(sold=(rows["sold"] - 101).clip(lower=0).round())
    _, model, requests = prepared(counts)
    found = forecaster.predict(model, requests)

    assert (counts["sold"] == 0).any()
    assert found.min(axis=None) == 0
    _, model, requests = prepared(rows.assign(sold=rows["sold"] - 101))
    assert forecaster.predict(model, requests)["low"].min() < 0


def test_a_row_that_is_not_there_is_a_gap_or_a_zero_as_declared():
    rows = series(count=3, season=5.0)
    rows = rows[(rows["shop"] != "shop 1") | (rows["month"].dt.month == 1)]  # sold in January only
    year = {}
    for gaps in ("missing", "zero"):
        model = forecaster.fit(rows, declared(rows), forecaster.Params(rounds=30, gaps=gaps))
        year[gaps] = asked(model, {"shop": "shop 1"})[0]

    assert year["zero"][1:].mean() < 0.3 * year["missing"][1:].mean()  # the last value is that of December: 0
    assert year["missing"].min() > 80


def test_a_covariate_acts_on_its_own_step():
    rows = series(count=6)
    rows["closed"] = np.random.default_rng(1).random(len(rows)) < 0.15
    rows["weather"] = np.random.default_rng(2).choice(["rain", "sun"], len(rows))
    rows["sold"] -= 60 * rows["closed"]
    _, model, requests = prepared(rows)
    same = requests[requests["history_end"] == requests["history_end"].min()]
    one = same["shop"] == "shop 2"
    shut = forecaster.predict(model, same.assign(closed=one & (same["steps_ahead"] == 5)))["prediction"]
    apart = forecaster.predict(model, same.assign(closed=False))["prediction"] - shut

    assert apart[one & (same["steps_ahead"] == 5)].item() > 20
    assert (apart[~one | (same["steps_ahead"] != 5)] == 0).all()


def test_the_histories_are_brought_up_to_date_without_a_fit():
    rows = series()
    table, newest = declared(rows), rows["month"] > "2017-06-01"
    known = rows["shop"] != "shop 9"
    model = forecaster.fit(rows[~newest & known], table, PARAMS)
    before = forecaster.prediction_responses(model, pd.DataFrame({"shop": ["shop 3"], "month": [pd.NaT]}))
    newer = forecaster.update(model, rows, table)
    after = forecaster.prediction_responses(newer, pd.DataFrame({"shop": ["shop 3", "shop 9"], "month": pd.NaT}))

    assert before[0]["forecast"][0]["month"].startswith("2017-07-01")
    assert [each["forecast"][0]["month"][:10] for each in after] == ["2018-01-01"] * 2  # shop 9 is new
    np.testing.assert_array_equal(newer.weights_, model.weights_)
    assert newer.trees_ is model.trees_
    assert before == forecaster.prediction_responses(model, pd.DataFrame({"shop": ["shop 3"], "month": [pd.NaT]}))
    own = rows[rows["shop"] == "shop 3"]
    sent = {"shop": "shop 3", "history": own["sold"].tolist(), "history_end": own["month"].max()}
    np.testing.assert_array_equal(asked(newer, {"shop": "shop 3"}), asked(model, sent))


def test_a_series_of_which_nothing_is_new_keeps_its_history():
    rows = series()
    table = declared(rows)
    model = forecaster.fit(rows, table, PARAMS)
    newer = forecaster.update(model, rows[rows["shop"] != "shop 4"], table)

    np.testing.assert_array_equal(asked(newer, {"shop": "shop 4"}), asked(model, {"shop": "shop 4"}))


@pytest.mark.parametrize("months", [4, 9, 20])
def test_short_constant_and_new_series_are_forecast_without_a_warning(months):
    rows = series(count=4, months=months)
    rows.loc[rows["shop"] == "shop 2", "sold"] = 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = forecaster.fit(rows, declared(rows), PARAMS)
        new = {"shop": "new", "history": [1.0, None, 3.0, 5.0], "history_end": pd.Timestamp("2020-01-01")}
        found = asked(model, {"shop": "shop 2"}, {"shop": "shop 1"}, new)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], 7.0, rtol=1e-9)


def test_two_fits_of_the_same_rows_give_the_same_file(tmp_path):
    rows = series(count=3)
    described = {"model": "m", "table": "t", "inputs": [], "examples": [], "predictions": []}
    for name in ("one", "other"):
        model = forecaster.fit(rows, declared(rows), PARAMS)
        artifact.save(tmp_path / name, model, described, forecaster.TRUSTED)

    one, other = ((tmp_path / name / artifact.FILE).read_bytes() for name in ("one", "other"))
    assert one == other


def test_where_histories_would_be_too_many_whole_origins_are_left_out(monkeypatch):
    rows = series(months=150)
    table, held = declared(rows), rows["month"] > "2018-06-01"
    whole = forecaster.prediction_requests(rows, held, table, PARAMS)
    monkeypatch.setattr(seasons, "MAX_VALUES", 120 * len(whole) // 2)
    fewer = forecaster.prediction_requests(rows, held, table, PARAMS)

    kept = set(fewer["history_end"])
    assert len(kept) == 2
    pd.testing.assert_frame_equal(fewer, whole[whole["history_end"].isin(kept)])


def test_what_forecasters_of_release_0_3_took_from_seasons_is_still_there():
    with pytest.warns(FutureWarning, match="filled is removed in 1.0"):
        np.testing.assert_array_equal(seasons.filled(np.array([np.nan, 1.0, np.nan, 3.0])), [1, 1, 2, 3])


def test_the_report_shows_the_best_and_the_worst_series_and_the_coverage_that_was_wanted():
    table, model, requests = prepared(series(count=30), forecaster.Params(rounds=5, level=0.8))
    predictions = forecaster.predict(model, requests)
    (lines,) = forecaster.tables(requests, predictions, table).values()
    figures, steps = forecaster.plots(requests, predictions, table).values()

    own = requests["shop"] == (worst := lines["series"].iloc[-1])
    errors, lost = (predictions["prediction"] - requests["sold"])[own], forecaster.losses(requests, predictions, table)
    assert lines["MASE"].is_monotonic_increasing and len(lines) == 21
    expected = [lost[own].mean(), errors.abs().mean(), errors.mean()]
    np.testing.assert_allclose(lines[["MASE", "MAE", "bias"]].iloc[-1].tolist(), expected)
    assert len(figures) == 6 and list(figures)[-1].startswith(worst) and list(figures)[-1].endswith("place 30")
    (*_, coverage) = steps.values()
    assert [line.get_ydata()[0] for line in coverage.axes[0].lines][1] == 0.8


def test_the_values_before_a_forecast_are_drawn_at_their_own_times():
    table, model, requests = prepared(series(count=1))
    (figure,) = next(iter(forecaster.plots(requests, forecaster.predict(model, requests), table).values())).values()
    drawn = figure.axes[0].lines[0]
    actual = series(count=1).set_index("month")["sold"]

    np.testing.assert_allclose(drawn.get_ydata(), actual[pd.DatetimeIndex(drawn.get_xdata())])
    assert pd.Timestamp(drawn.get_xdata()[0]) < requests["history_end"].min()
