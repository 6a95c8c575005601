"""An interval holds the true mean as often as it says, and resamples what is independent."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
statistics = import_module(f"{PACKAGE}.training.statistics")
table_module = import_module(f"{PACKAGE}.datasets.table")


def test_the_interval_covers_the_mean():
    """Of 200 samples with a known mean, about 95 % give an interval that holds it."""
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = statistics.interval(generator.normal(1.0, 1.0, 100), np.arange(100))
        hits += low <= 1.0 <= high

    assert 178 <= hits <= 199


def test_of_one_unit_nothing_is_known():
    assert statistics.interval(np.array([1.0, 2.0]), np.zeros(2, int)) == [-np.inf, np.inf]


@pytest.mark.parametrize(
    ("time", "group", "units"), [("time", None, 30), ("time", "shop", 30), (None, "shop", 3), (None, None, 600)]
)
def test_rows_that_follow_in_time_are_resampled_in_blocks(time, group, units):
    hours = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=600, freq="h"), "shop": np.arange(600) % 3})
    table = table_module.Table("t", None, None, "", "time", time=time, group=group)

    assert statistics.resampling_units(hours, table).max() + 1 == units


def test_a_gain_is_how_much_lower_our_loss_is():
    found = statistics.gain_over(np.full(50, 3.0), np.full(50, 1.0), np.arange(50))

    assert (found["value"], found["gain"]) == (3.0, 2.0)
    assert found["interval"] == pytest.approx([2.0, 2.0])


def test_one_row_in_a_hundred_does_not_hide_a_gain_that_all_others_show():
    """Heavy tails: a few huge gains and losses make the plain interval wide."""
    generator = np.random.default_rng(0)
    gain, units = generator.normal(1, 1, 1000), np.arange(1000)
    gain[:8] += 200 * np.array([1, -1] * 4)

    assert statistics.interval(gain, units)[0] < 0 < statistics.gain_interval(gain, units)[0]


def test_rare_losses_are_cut_but_not_forgotten():
    """A model that gains a little on every row and loses much on a few is not surely better."""
    gain, units = np.full(1000, 1.0), np.arange(1000)
    gain[:5] = -200

    assert statistics.gain_interval(gain, units)[0] < 0
