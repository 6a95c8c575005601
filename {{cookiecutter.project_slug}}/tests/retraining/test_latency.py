"""Latency is judged for a row and for many, against the champion in the same minutes."""

import time
from importlib import import_module
from types import SimpleNamespace

import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
latency = import_module(f"{PACKAGE}.retraining.latency")
Limits = import_module(f"{PACKAGE}.retraining.limits").Limits

ROWS = pd.DataFrame({"a": range(40)})


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while a version predicts, and more of it while others load the machine."""
    clock = SimpleNamespace(now=0.0, load=1.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def contender(clock, fixed, per_row):
    """A version that takes so many milliseconds for a request, and for each of its rows."""

    def predict(rows):
        clock.now += clock.load * (fixed + per_row * len(rows)) / 1000

    return SimpleNamespace(version=SimpleNamespace(predict=predict))


def slow(challenger, served=None, **allowed):
    """The names of the conditions on latency that do not hold."""
    found = latency.latency(challenger, served, ROWS, Limits(**allowed))
    return [each.name.removeprefix("latency of ") for each in found if not each.holds]


def test_a_first_model_that_is_slow_on_many_rows_only_is_refused(clock):
    challenger = contender(clock, 1, 10)

    assert slow(challenger) == ["1,000 rows"]
    assert slow(challenger, max_batch_seconds=None) == []
    assert slow(challenger, max_milliseconds=5) == ["1 row", "1,000 rows"]


@pytest.mark.parametrize(
    ("fixed", "per_row", "refused"),
    [(20, 0.1, []), (59, 0.1, []), (200, 0.1, ["1 row"]), (20, 4, ["1,000 rows"]), (45, 0.4, [])],
)
def test_a_successor_may_not_be_much_slower_than_the_champion(clock, fixed, per_row, refused):
    assert slow(contender(clock, fixed, per_row), contender(clock, 20, 0.1)) == refused


def test_a_busy_machine_slows_both(clock):
    clock.load = 20

    assert slow(contender(clock, 10, 0.1), contender(clock, 10, 0.1)) == []


def test_what_is_fast_enough_for_anyone_is_not_compared(clock):
    assert slow(contender(clock, 40, 0.01), contender(clock, 1, 0.001)) == []


def test_one_pause_among_many_predictions_does_not_count(clock):
    challenger, calls = contender(clock, 10, 0), iter(range(1000))
    predict = challenger.version.predict

    def paused(rows):
        clock.now += 2 if next(calls) == 4 else 0
        predict(rows)

    challenger.version.predict = paused
    assert slow(challenger, contender(clock, 10, 0)) == []
